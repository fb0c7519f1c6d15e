"""A real server in the test's own event loop, on a free port, with a clock the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from holdfast.v1 import (
    admin_service_pb2_grpc,
    availability_service_pb2_grpc,
    errors_pb2,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    network_service_pb2,
    network_service_pb2_grpc,
    reservation_service_pb2,
    reservation_service_pb2_grpc,
    routing_service_pb2_grpc,
    types_pb2,
)
from server.config import Config
from server.lifecycle import Server
from server.transport.warmup import warm_up
from tests.simulation.manual_clock import ManualClock


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile the kernels before the first test: no test's time is the compiler's."""
    if any(item.get_closest_marker("wire") for item in session.items):
        warm_up()


ROOM = {
    "positions_max": 1 << 14,
    "names_max": 1 << 14,
    "names_bytes_max": 1 << 18,
    "group_members_max": 1 << 12,
    "reservations_max": 1 << 12,
    "takes_max": 1 << 14,
    "supplies_max": 1 << 10,
    "requests_remembered_max": 1 << 13,
    "reply_details_kept_max": 1 << 15,
    "movements_kept_max": 1 << 13,
}


@dataclass(frozen=True)
class Error:
    """A refused call, with what its status carries."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: dict[str, str] = field(default_factory=dict)
    shortages: list[errors_pb2.Shortage] = field(default_factory=list)
    retry_ms: int = 0
    pushback_ms: int = 0


def error_of_status(status: status_pb2.Status, code: grpc.StatusCode) -> Error:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    short, retry = errors_pb2.ShortageDetails(), error_details_pb2.RetryInfo()
    for packed in status.details:
        for detail in (info, bad, short, retry):
            packed.Unpack(detail)
    assert info.domain == "holdfast"
    return Error(
        code=code,
        message=status.message,
        reason=info.reason,
        metadata=dict(info.metadata),
        fields={row.field: row.description for row in bad.field_violations},
        shortages=list(short.shortages),
        retry_ms=retry.retry_delay.ToMilliseconds(),
    )


async def refused(call: Any) -> Error:
    """The error this call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    found = caught.value
    status = rpc_status.from_call(found)
    assert status is not None, f"{found.code()} {found.details()} carries no details"
    error = error_of_status(status, found.code())
    pushback = dict(found.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
    if pushback is None:
        return error
    return Error(**{**vars(error), "pushback_ms": int(pushback)})


_running: set[Wire] = set()


@pytest.fixture(autouse=True)
async def _no_server_outlives_its_test() -> AsyncIterator[None]:
    """Where a test fails, its server is stopped all the same: the next test must not pay for it."""
    yield
    while _running:
        await _running.pop().stop()


class Wire:
    """A running server and every stub to it."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.settings = settings
        self.clock = ManualClock()
        self.server: Server
        self.channel: grpc.aio.Channel

    async def start(self) -> None:
        config = Config(
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            data=self.data,
            # On a busy machine it may come at any time: only tests that want it say so.
            **{"brownout": "off", **ROOM, **self.settings},
        )
        self.server = Server(config, make_clock=self._clock_from)
        await self.server.start()
        _running.add(self)
        # A channel of its own: gRPC would share the connection of an earlier test's port.
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{self.server.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.reservations = reservation_service_pb2_grpc.ReservationServiceStub(self.channel)
        self.availability = availability_service_pb2_grpc.AvailabilityServiceStub(self.channel)
        self.inventory = inventory_service_pb2_grpc.InventoryServiceStub(self.channel)
        self.network = network_service_pb2_grpc.NetworkServiceStub(self.channel)
        self.routing = routing_service_pb2_grpc.RoutingServiceStub(self.channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(self.channel)

    def _clock_from(self, not_before_ms: int) -> ManualClock:
        self.clock.advance(max(0, not_before_ms - self.clock.now_ms()))
        return self.clock

    async def stop(self) -> None:
        _running.discard(self)
        await self.channel.close()
        self.server.drain(0)
        await self.server.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @property
    def state(self) -> Any:
        return self.server._gateway.state

    # --- What most tests begin with --------------------------------------------------------

    async def nodes(self, *names: str) -> None:
        for name in names:
            await self.network.UpsertNode(
                network_service_pb2.UpsertNodeRequest(node=network_service_pb2.Node(node=name))
            )

    async def items(self, *skus: str, **fields: Any) -> None:
        for sku in skus:
            await self.network.UpsertItem(
                network_service_pb2.UpsertItemRequest(
                    item=network_service_pb2.Item(sku=sku, **fields)
                )
            )

    async def stock(self, sku: str, node: str, units: int) -> None:
        await self.inventory.CountInventory(
            inventory_service_pb2.CountInventoryRequest(
                counts=[inventory_service_pb2.InventoryCount(sku=sku, node=node, on_hand=units)]
            )
        )

    async def hold(self, *lines: tuple[str, str, int], **fields: Any) -> types_pb2.Reservation:
        reply = await self.reservations.CreateReservation(create(*lines, **fields))
        return reply.reservation

    async def position(self, sku: str, node: str) -> inventory_service_pb2.InventoryPosition:
        reply = await self.inventory.GetInventoryPosition(
            inventory_service_pb2.GetInventoryPositionRequest(sku=sku, node=node)
        )
        return reply.position

    async def verify(self) -> None:
        """Nothing that the ledger has stored differs from what it follows from."""
        reply = await self.inventory.VerifyInventory(
            inventory_service_pb2.VerifyInventoryRequest(skip_state_hash=True)
        )
        assert not reply.differences


def create(
    *lines: tuple[str, str, int], **fields: Any
) -> reservation_service_pb2.CreateReservationRequest:
    """A request to hold (sku, node, quantity)s."""
    request = reservation_service_pb2.CreateReservationRequest(**fields)
    for sku, node, quantity in lines:
        request.lines.add(sku=sku, node=node, quantity=quantity)
    return request


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    """Two nodes, two SKUs: ten units of pear in berlin, five in lyon, ten of plum in berlin."""
    running = Wire(tmp_path / "data")
    await running.start()
    await running.nodes("berlin", "lyon")
    await running.items("pear", "plum")
    await running.stock("pear", "berlin", 10)
    await running.stock("pear", "lyon", 5)
    await running.stock("plum", "berlin", 10)
    yield running
    await running.stop()


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Wire]:
    """A ledger in which nothing is known yet."""
    running = Wire(tmp_path / "data")
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def built(empty: Wire) -> Wire:
    """The small network of `routing_network`."""
    from tests.wire import routing_network

    await routing_network.build(empty)
    return empty
