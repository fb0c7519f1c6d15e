"""What a movement was made by, and where a transfer comes from, is told on the wire: by the server
that did it, by the one started after it, and by the one that takes over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import inventory_service_pb2 as messages
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import types_pb2
from tests.redis_server import RedisServer, running
from tests.wire.conftest import Wire, refused

pytestmark = pytest.mark.wire
DAY_MS = 86_400_000
LONG = "r" * 64

Told = tuple[str, str, str]
"""(request_id, supply_id, reference)"""


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    """Pears in berlin; nothing has moved but what `stock` counted."""
    settings: dict[str, Any] = {}
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings["journal"] = server.url("lease_ms=600000")
    wire = Wire(tmp_path / "data", **settings)
    await wire.start()
    await wire.nodes("berlin", "lyon")
    await wire.items("pear")
    await wire.stock("pear", "berlin", 100)
    yield wire
    await wire.stop()


async def announce(wire: Wire, **fields: Any) -> messages.Supply:
    request = messages.UpsertSupplyRequest(sku="pear", node="lyon", quantity=5, **fields)
    request.expected_time.FromMilliseconds(wire.clock.now_ms() + DAY_MS)
    return (await wire.inventory.UpsertSupply(request)).supply


async def feed(wire: Wire, *chunks: Message) -> None:
    async def sent() -> AsyncIterator[Message]:
        for chunk in chunks:
            yield chunk

    async for reply in wire.inventory.IngestInventory(sent()):
        assert not reply.errors


async def ship(wire: Wire, name: str, request_id: str, exchanged: bool = False) -> None:
    """Hold, confirm and ship two pears as this reservation."""
    await wire.hold(("pear", "berlin", 2), reservation_id=name, owner="ann", request_id=name)
    await wire.reservations.ConfirmReservation(
        reservations.ConfirmReservationRequest(reservation_id=name, request_id=f"c-{name}")
    )
    request = reservations.FulfillReservationRequest(reservation_id=name, request_id=request_id)
    if not exchanged:
        await wire.reservations.FulfillReservation(request)
        return

    async def sent() -> AsyncIterator[Message]:
        yield reservations.ExchangeReservationsRequest(
            correlation_id=1, fulfill_reservation=request
        )

    async for reply in wire.reservations.ExchangeReservations(sent()):
        assert not reply.status.code, reply


async def move(wire: Wire) -> list[Told]:
    """Move units in every way there is; what the movements are to tell, from old to new."""
    inventory = wire.inventory
    adjusted = messages.InventoryAdjustment(sku="pear", node="berlin", delta=1, reference="note")
    await inventory.AdjustInventory(
        messages.AdjustInventoryRequest(request_id="a-1", adjustments=[adjusted])
    )
    counted = messages.InventoryCount(sku="pear", node="berlin", on_hand=50, reference=LONG)
    await inventory.CountInventory(
        messages.CountInventoryRequest(request_id=LONG, counts=[counted])
    )
    withheld = messages.InventoryWithholding(
        sku="pear", node="berlin", bucket=types_pb2.WITHHELD_BUCKET_DAMAGED, delta=1
    )
    await inventory.WithholdInventory(
        messages.WithholdInventoryRequest(request_id="w-1", withholdings=[withheld])
    )
    transfer = messages.TransferInventoryRequest(
        request_id="t-1",
        source_node="berlin",
        destination_node="lyon",
        lines=[messages.TransferLine(sku="pear", quantity=3)],
    )
    await inventory.TransferInventory(transfer)
    transfer.request_id, transfer.reference, transfer.lines[0].supply_id = "t-2", "van", "on-road"
    transfer.expected_time.FromMilliseconds(wire.clock.now_ms() + DAY_MS)
    await inventory.TransferInventory(transfer)
    for units, reference in ((1, ""), (2, "slip")):
        await inventory.ReceiveSupply(
            messages.ReceiveSupplyRequest(
                request_id=f"r-{units}", supply_id="on-road", quantity=units, reference=reference
            )
        )
    await ship(wire, "order-1", "f-1")
    back = types_pb2.LineQuantity(line=0, quantity=1)
    await wire.reservations.ReturnReservation(
        reservations.ReturnReservationRequest(
            reservation_id="order-1", request_id="b-1", lines=[back]
        )
    )
    await ship(wire, "order-2", "f-2", exchanged=True)
    await feed(
        wire,
        messages.IngestInventoryRequest(
            feed_id="wms", sequence=1, skus=["pear"], nodes=["berlin"], quantities=[40]
        ),
    )
    await inventory.AdjustInventory(messages.AdjustInventoryRequest(adjustments=[adjusted]))
    return [
        ("", "", ""),
        ("a-1", "", "note"),
        (LONG, "", LONG),
        ("w-1", "", ""),
        ("t-1", "", ""),
        ("t-1", "", ""),
        ("t-2", "on-road", "van"),
        ("r-1", "on-road", ""),
        ("r-2", "on-road", "slip"),
        ("f-1", "", ""),
        ("b-1", "", ""),
        ("f-2", "", ""),
        ("wms", "", "wms"),
        ("", "", "note"),
    ]


async def movements(wire: Wire) -> list[Told]:
    reply = await wire.inventory.ListInventoryMovements(messages.ListInventoryMovementsRequest())
    return [(each.request_id, each.supply_id, each.reference) for each in reply.movements]


async def sources(wire: Wire) -> dict[str, str]:
    reply = await wire.inventory.ListSupplies(messages.ListSuppliesRequest())
    return {each.supply_id: each.source_node for each in reply.supplies}


async def test_movements_tell_what_made_them_before_and_after_a_restart(shop: Wire):
    told = await move(shop)
    assert await movements(shop) == told
    await shop.restart()
    assert await movements(shop) == told, "replayed from the journal"
    await shop.admin.CreateSnapshot(admin.CreateSnapshotRequest())
    await shop.restart()
    assert await movements(shop) == told, "restored from a snapshot"
    adjusted = messages.InventoryAdjustment(sku="pear", node="berlin", delta=1)
    again = messages.AdjustInventoryRequest(request_id="a-9", adjustments=[adjusted])
    for _ in range(2):
        await shop.inventory.AdjustInventory(again)
    assert await movements(shop) == [*told, ("a-9", "", "")], "once, however often it is asked"
    await shop.verify()


async def test_movements_are_listed_by_their_request(shop: Wire):
    """Whole names only, page by page, together with other filters, also after a restart."""
    told = await move(shop)
    await shop.admin.CreateSnapshot(admin.CreateSnapshotRequest())
    for _ in range(2):
        for name in ("a-1", LONG, "t-1", "f-1", "wms"):
            request = messages.ListInventoryMovementsRequest(request_id=name, page_size=1)
            found = []
            while not found or request.page_token:
                page = await shop.inventory.ListInventoryMovements(request)
                found += [each.request_id for each in page.movements]
                request.page_token = page.next_page_token
            assert found == [name] * sum(name == one[0] for one in told)
        for name in ("a", "a-11", "r" * 63, "A-1", "c-order-1"):
            request = messages.ListInventoryMovementsRequest(request_id=name)
            assert not (await shop.inventory.ListInventoryMovements(request)).movements
        for filters, count in (
            ({"node": "lyon"}, 1),
            ({"reservation_id": "order-1"}, 0),
        ):
            request = messages.ListInventoryMovementsRequest(request_id="t-1", **filters)
            assert len((await shop.inventory.ListInventoryMovements(request)).movements) == count
        await shop.restart()


async def test_a_request_id_to_list_by_is_refused_as_any_other(shop: Wire):
    request = messages.ListInventoryMovementsRequest(request_id=LONG + "r")
    error = await refused(shop.inventory.ListInventoryMovements(request))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    assert "request_id_bytes_max" in error.fields["request_id"]
    await move(shop)
    request = messages.ListInventoryMovementsRequest(request_id="t-1", page_size=1)
    token = (await shop.inventory.ListInventoryMovements(request)).next_page_token
    request = messages.ListInventoryMovementsRequest(request_id="t-2", page_token=token)
    error = await refused(shop.inventory.ListInventoryMovements(request))
    assert (error.reason, list(error.fields)) == ("FIELD_INVALID", ["page_token"])


async def test_a_transfer_tells_its_source_wherever_it_is_read(shop: Wire):
    transfer = messages.SUPPLY_TYPE_TRANSFER
    made = await announce(shop, supply_id="s-1", type=transfer, source_node="berlin")
    assert made.source_node == "berlin"
    assert not (await announce(shop, supply_id="s-2", type=transfer)).source_node
    moved = messages.TransferInventoryRequest(
        source_node="berlin",
        destination_node="lyon",
        lines=[messages.TransferLine(sku="pear", quantity=1, supply_id="s-3")],
    )
    moved.expected_time.FromMilliseconds(shop.clock.now_ms() + DAY_MS)
    (sent,) = (await shop.inventory.TransferInventory(moved)).supplies
    assert sent.source_node == "berlin"
    wanted = {"s-1": "berlin", "s-2": "", "s-3": "berlin"}
    assert await sources(shop) == wanted
    await shop.restart()
    assert await sources(shop) == wanted, "replayed from the journal"
    await shop.admin.CreateSnapshot(admin.CreateSnapshotRequest())
    await shop.restart()
    assert await sources(shop) == wanted, "restored from a snapshot"

    later = await announce(shop, supply_id="s-1", type=transfer)
    assert later.source_node == "berlin", "what an upsert does not name stays as it was"
    received = await shop.inventory.ReceiveSupply(
        messages.ReceiveSupplyRequest(supply_id="s-1", quantity=2)
    )
    assert received.supply.source_node == "berlin"
    cancelled = await shop.inventory.CancelSupply(messages.CancelSupplyRequest(supply_id="s-1"))
    assert cancelled.supply.source_node == "berlin"
    assert await sources(shop) == wanted


async def test_an_unknown_source_is_refused_by_name(shop: Wire):
    error = await refused(
        announce(shop, supply_id="s-1", type=messages.SUPPLY_TYPE_TRANSFER, source_node="atlantis")
    )
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "NODE_NOT_FOUND")
    assert (error.metadata["line"], error.metadata["node"]) == ("source_node", "atlantis")
    assert await sources(shop) == {}


async def test_a_repeated_announcement_is_answered_byte_for_byte(shop: Wire):
    request = messages.UpsertSupplyRequest(
        request_id="u-1",
        supply_id="s-1",
        sku="pear",
        node="lyon",
        quantity=5,
        type=messages.SUPPLY_TYPE_TRANSFER,
        source_node="berlin",
    )
    request.expected_time.FromMilliseconds(shop.clock.now_ms() + DAY_MS)
    first = await shop.inventory.UpsertSupply(request)
    await announce(shop, supply_id="s-1", type=messages.SUPPLY_TYPE_TRANSFER, source_node="lyon")
    await shop.restart()
    again = await shop.inventory.UpsertSupply(request)
    assert again.SerializeToString(deterministic=True) == first.SerializeToString(
        deterministic=True
    )
    request.source_node = "lyon"
    assert (await refused(shop.inventory.UpsertSupply(request))).reason == "REQUEST_ID_REUSED"


async def test_the_one_that_takes_over_tells_it_too(tmp_path: Path, redis_server: RedisServer):
    journal = redis_server.url("lease_ms=600000")
    first = Wire(tmp_path / "first", journal=journal)
    await first.start()
    await first.nodes("berlin", "lyon")
    await first.items("pear")
    await first.stock("pear", "berlin", 100)
    second = Wire(tmp_path / "second", journal=journal, standby=True)
    await second.start()
    told = await move(first)
    await first.stop()
    watch = health_pb2_grpc.HealthStub(second.channel).Watch(health_pb2.HealthCheckRequest())
    while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
        pass
    watch.cancel()
    assert await movements(second) == told
    assert await sources(second) == {"on-road": "berlin"}
    await second.verify()
    await second.stop()
