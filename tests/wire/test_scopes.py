"""What a caller may not do is refused with its name, before anything of it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import (
    admin_service_pb2_grpc,
    availability_service_pb2_grpc,
    inventory_service_pb2_grpc,
    network_service_pb2_grpc,
    reservation_service_pb2_grpc,
    routing_service_pb2_grpc,
)
from holdfast.v1 import availability_service_pb2 as availability
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from server.lifecycle import Server
from tests.wire.certificates import Authority
from tests.wire.conftest import create, refused
from tests.wire.test_tls import channel, start

pytestmark = pytest.mark.wire

SCOPES = """
[callers."spiffe://shop.example/checkout"]
scopes = ["read", "reserve"]
[callers."spiffe://shop.example/wms"]
scopes = ["read", "inventory", "network"]
[callers."spiffe://shop.example/sre"]
scopes = ["admin"]
"""


class Shop:
    """A server over mutual TLS, and a channel for each caller."""

    def __init__(self, server: Server, authority: Authority) -> None:
        self._server = server
        self._authority = authority
        self._channels: list[grpc.aio.Channel] = []

    def caller(self, name: str) -> grpc.aio.Channel:
        pair = self._authority.caller(name, spiffe=f"spiffe://shop.example/{name}")
        made = channel(self._server.port, self._authority, pair)
        self._channels.append(made)
        return made

    async def close(self) -> None:
        for one in self._channels:
            await one.close()
        await self._server.stop()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    authority = Authority()
    (tmp_path / "scopes.toml").write_text(SCOPES)
    server, _ = await start(tmp_path, authority, mutual=True, scopes=tmp_path / "scopes.toml")
    made = Shop(server, authority)
    yield made
    await made.close()


async def stocked(shop: Shop) -> None:
    """Ten pears in berlin, by who may do that."""
    wms = shop.caller("wms")
    stub = network_service_pb2_grpc.NetworkServiceStub(wms)
    await stub.UpsertNode(network.UpsertNodeRequest(node=network.Node(node="berlin")))
    await stub.UpsertItem(network.UpsertItemRequest(item=network.Item(sku="pear")))
    await inventory_service_pb2_grpc.InventoryServiceStub(wms).CountInventory(
        inventory.CountInventoryRequest(
            counts=[inventory.InventoryCount(sku="pear", node="berlin", on_hand=10)]
        )
    )


async def denied(call: Any, scope: str, method: str, caller: str) -> None:
    error = await refused(call)
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
    assert error.metadata == {
        "scope": scope,
        "method": method,
        "caller": f"spiffe://shop.example/{caller}",
    }
    assert f"{method} needs the scope {scope!r}" in error.message


async def test_each_caller_does_what_its_scopes_say_and_no_more(shop: Shop):
    await stocked(shop)
    checkout, wms, sre = shop.caller("checkout"), shop.caller("wms"), shop.caller("sre")
    held = await reservation_service_pb2_grpc.ReservationServiceStub(checkout).CreateReservation(
        create(("pear", "berlin", 1))
    )
    assert held.reservation.reservation_id
    await denied(
        reservation_service_pb2_grpc.ReservationServiceStub(wms).CreateReservation(
            create(("pear", "berlin", 1))
        ),
        *("reserve", "CreateReservation", "wms"),
    )
    await denied(
        inventory_service_pb2_grpc.InventoryServiceStub(checkout).AdjustInventory(
            inventory.AdjustInventoryRequest(
                adjustments=[inventory.InventoryAdjustment(sku="pear", node="berlin", delta=9)]
            )
        ),
        *("inventory", "AdjustInventory", "checkout"),
    )
    await denied(
        admin_service_pb2_grpc.AdminServiceStub(wms).Drain(admin.DrainRequest()),
        *("admin", "Drain", "wms"),
    )
    await denied(
        availability_service_pb2_grpc.AvailabilityServiceStub(sre).QueryAvailability(
            availability.QueryAvailabilityRequest(skus=["pear"])
        ),
        *("read", "QueryAvailability", "sre"),
    )
    assert (
        await admin_service_pb2_grpc.AdminServiceStub(sre).GetStatus(admin.GetStatusRequest())
    ).version
    # Nothing that was refused left a trace.
    told = await inventory_service_pb2_grpc.InventoryServiceStub(wms).GetInventoryPosition(
        inventory.GetInventoryPositionRequest(sku="pear", node="berlin")
    )
    assert (told.position.on_hand, told.position.held) == (10, 1)


async def test_streams_are_refused_alike(shop: Shop):
    checkout, wms = shop.caller("checkout"), shop.caller("wms")
    feed = inventory_service_pb2_grpc.InventoryServiceStub(checkout).IngestInventory(
        iter([inventory.IngestInventoryRequest(feed_id="f", sequence=1)])
    )
    await denied(feed.read(), "inventory", "IngestInventory", "checkout")
    wave = routing_service_pb2_grpc.RoutingServiceStub(wms).PlanOrders(
        iter([routing.PlanOrdersRequest()])
    )
    await denied(wave.read(), "reserve", "PlanOrders", "wms")


async def test_who_is_not_named_may_do_nothing_but_ask_for_health(shop: Shop):
    stranger = shop.caller("stranger")
    await denied(
        availability_service_pb2_grpc.AvailabilityServiceStub(stranger).QueryAvailability(
            availability.QueryAvailabilityRequest(skus=["pear"])
        ),
        *("read", "QueryAvailability", "stranger"),
    )
    health = await health_pb2_grpc.HealthStub(stranger).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
