"""Admission as callers meet it: who is let in, what the others are told, and who never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import (
    admin_service_pb2,
    availability_service_pb2,
    inventory_service_pb2,
    network_service_pb2,
    queue_service_pb2,
    routing_service_pb2,
)
from holdfast.v1 import reservation_service_pb2 as messages
from server.admission.classes import WorkClass
from server.transport.admission import CLASS_OF, UNLIMITED_SERVICES
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire

SERVICES = [
    (module.DESCRIPTOR.package, service)
    for module in (
        admin_service_pb2,
        availability_service_pb2,
        inventory_service_pb2,
        messages,
        network_service_pb2,
        queue_service_pb2,
        routing_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]


@asynccontextmanager
async def serving(tmp_path: Path, **settings: Any) -> AsyncIterator[Wire]:
    wire = Wire(tmp_path / "data", **settings)
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear", "plum")
    await wire.stock("pear", "berlin", 100)
    await wire.stock("plum", "berlin", 100)
    try:
        yield wire
    finally:
        await wire.stop()


@asynccontextmanager
async def full(wire: Wire, work: WorkClass = WorkClass.RESERVE) -> AsyncIterator[None]:
    """As many calls of this class are under way as may be."""
    limiter = wire.server.admission.limiter
    entered = 0
    while limiter.enter(work, b"%s %d" % (work.name.encode(), entered)) is None:
        entered += 1
    try:
        yield
    finally:
        for number in range(entered):
            limiter.leave(work, b"%s %d" % (work.name.encode(), number), None)


def confirm(reservation_id: str) -> messages.ConfirmReservationRequest:
    return messages.ConfirmReservationRequest(
        reservation_id=reservation_id, request_id=f"confirm-{reservation_id}"
    )


def test_every_method_has_a_class():
    """A new method is REPORT until someone thinks about it; what is named here exists."""
    names = {method.name for _, service in SERVICES for method in service.methods}
    assert set(CLASS_OF) <= names
    writes = {"Create", "Confirm", "Cancel", "Extend", "Revise", "Reassign", "Fulfill", "Return"}
    for _, service in SERVICES:
        if service.full_name in UNLIMITED_SERVICES:
            continue
        for method in service.methods:
            if service.name == "ReservationService" and not method.server_streaming:
                assert method.name in CLASS_OF, method.name
            if service.name != "ReservationService" and method.name.split("Inventory")[0] in writes:
                assert method.name not in CLASS_OF or CLASS_OF[method.name] >= WorkClass.READ


async def test_a_full_server_says_why_and_when_to_come_back(tmp_path: Path):
    async with serving(tmp_path) as wire:
        async with full(wire):
            error = await refused(
                wire.reservations.CreateReservation(create(("pear", "berlin", 1)))
            )
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
            assert error.retry_ms > 0
            assert error.pushback_ms == error.retry_ms
            assert "admission_limit" in error.message
        assert (await wire.hold(("pear", "berlin", 1))).reservation_id


async def test_confirmations_and_cancellations_of_live_holds_get_through(tmp_path: Path):
    async with serving(tmp_path) as wire:
        first = await wire.hold(("pear", "berlin", 1))
        second = await wire.hold(("pear", "berlin", 1))
        async with full(wire), full(wire, WorkClass.EXTEND):
            assert await wire.reservations.ConfirmReservation(confirm(first.reservation_id))
            assert await wire.reservations.CancelReservation(
                messages.CancelReservationRequest(reservation_id=second.reservation_id)
            )
            extend = messages.ExtendReservationRequest(reservation_id=first.reservation_id)
            extend.ttl.seconds = 60
            error = await refused(wire.reservations.ExtendReservation(extend))
            assert error.reason == "OVERLOADED"


@pytest.mark.parametrize("crowd", [WorkClass.REPORT, WorkClass.READ, WorkClass.RESERVE])
async def test_a_crowd_of_less_urgent_calls_leaves_room_for_more_urgent_ones(
    tmp_path: Path, crowd: WorkClass
):
    count = inventory_service_pb2.CountInventoryRequest(
        counts=[inventory_service_pb2.InventoryCount(sku="pear", node="berlin", on_hand=100)]
    )
    query = availability_service_pb2.QueryAvailabilityRequest(skus=["pear"])
    async with serving(tmp_path) as wire, full(wire, crowd):
        calls = {
            WorkClass.RESERVE: wire.reservations.CreateReservation(create(("pear", "berlin", 1))),
            WorkClass.READ: wire.availability.QueryAvailability(query),
            WorkClass.REPORT: wire.inventory.CountInventory(count),
        }
        for work, call in calls.items():
            if work < crowd:
                await call
            else:
                assert (await refused(call)).reason == "OVERLOADED"


async def test_the_operator_is_never_kept_out(tmp_path: Path):
    async with serving(tmp_path) as wire, full(wire, WorkClass.SETTLE):
        assert await wire.admin.GetStatus(admin_service_pb2.GetStatusRequest())
        assert b"holdfast_admission_in_flight" in wire.server.metrics.text()


async def test_commands_on_a_stream_wait_for_room(tmp_path: Path):
    async with serving(tmp_path) as wire:
        held = await wire.hold(("pear", "berlin", 1))
        commands: asyncio.Queue[messages.ExchangeReservationsRequest | None] = asyncio.Queue()

        async def sent() -> AsyncIterator[messages.ExchangeReservationsRequest]:
            while (command := await commands.get()) is not None:
                yield command

        stream = wire.reservations.ExchangeReservations(sent())
        async with full(wire):
            commands.put_nowait(
                messages.ExchangeReservationsRequest(
                    correlation_id=1, create_reservation=create(("plum", "berlin", 1))
                )
            )
            commands.put_nowait(
                messages.ExchangeReservationsRequest(
                    correlation_id=2, confirm_reservation=confirm(held.reservation_id)
                )
            )
            assert (await stream.read()).correlation_id == 2
        wire.server.admission.wake()
        result = await stream.read()
        assert (result.correlation_id, result.WhichOneof("result")) == (1, "create_reservation")
        commands.put_nowait(None)
        assert await stream.read() == grpc.aio.EOF


async def test_what_could_not_be_answered_in_time_is_dropped_before_it_is_read(tmp_path: Path):
    async with serving(tmp_path) as wire:
        limiter = wire.server.admission.limiter
        # The ledger has stood still: every answer of the last window took five seconds.
        limiter._shortest_before_s, limiter._began_s = 5.0, float("inf")
        call = wire.reservations.CreateReservation(create(("pear", "berlin", 1)), timeout=4.0)
        error = await refused(call)
        assert error.reason == "DEADLINE_NOT_MET"
        assert (await wire.position("pear", "berlin")).held == 0
        # Nobody was let in since: that it is over can only be found out by trying.
        limiter._began_s = float("-inf")
        await wire.reservations.CreateReservation(create(("pear", "berlin", 1)), timeout=4.0)
        assert (await wire.position("pear", "berlin")).held == 1


async def test_what_is_counted_is_told(tmp_path: Path):
    async with serving(tmp_path) as wire:
        await wire.hold(("pear", "berlin", 1))
        async with full(wire):
            await refused(wire.reservations.CreateReservation(create(("pear", "berlin", 1))))
            text = wire.server.metrics.text().decode()
        assert 'holdfast_shed_total{class="reserve",limit="admission_limit"} 1.0' in text
        assert 'holdfast_admission_in_flight{class="reserve"} 870.0' in text
        assert "holdfast_admission_limit 1024.0" in text
        assert "holdfast_brownout 0.0" in text


# --- Brown-out --------------------------------------------------------------------------------


def query(**fields: Any) -> availability_service_pb2.QueryAvailabilityRequest:
    return availability_service_pb2.QueryAvailabilityRequest(skus=["pear"], **fields)


async def test_a_brownout_tells_what_it_read_a_moment_ago_and_says_so(tmp_path: Path):
    async with serving(tmp_path, brownout="on") as wire:
        first = await wire.availability.QueryAvailability(query())
        assert (first.totals[0].available, first.totals[0].degraded) == (100, False)
        await wire.hold(("pear", "berlin", 30))
        again = await wire.availability.QueryAvailability(query())
        assert (again.totals[0].available, again.totals[0].degraded) == (100, True)
        assert again.positions[0].degraded
        assert again.as_of_time == first.as_of_time
        assert again.revision == first.revision
        assert b"holdfast_degraded_answers_total 1.0" in wire.server.metrics.text()
        wire.clock.advance(1_001)
        fresh = await wire.availability.QueryAvailability(query())
        assert (fresh.totals[0].available, fresh.totals[0].degraded) == (70, False)


async def test_who_wants_to_read_its_own_writes_does_in_a_brownout_too(tmp_path: Path):
    async with serving(tmp_path, brownout="on") as wire:
        now = query()
        now.max_staleness.FromMilliseconds(0)
        for held in range(3):
            reply = await wire.availability.QueryAvailability(now)
            assert (reply.totals[0].available, reply.totals[0].degraded) == (100 - held, False)
            await wire.hold(("pear", "berlin", 1))


async def test_numbers_are_never_older_than_the_caller_allows(tmp_path: Path):
    async with serving(tmp_path, brownout="on") as wire:
        soon = query()
        soon.max_staleness.FromMilliseconds(100)
        await wire.availability.QueryAvailability(soon)
        await wire.hold(("pear", "berlin", 1))
        wire.clock.advance(100)
        assert (await wire.availability.QueryAvailability(soon)).totals[0].degraded
        wire.clock.advance(1)
        assert (await wire.availability.QueryAvailability(soon)).totals[0].available == 99


async def test_without_a_brownout_nothing_is_kept(tmp_path: Path):
    async with serving(tmp_path, brownout="off") as wire:
        for held in range(3):
            reply = await wire.availability.QueryAvailability(query())
            assert (reply.totals[0].available, reply.totals[0].degraded) == (100 - held, False)
            await wire.hold(("pear", "berlin", 1))
