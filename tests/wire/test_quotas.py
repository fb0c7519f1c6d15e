"""Quotas as callers meet them: rates, open holds, units of a SKU, and what frees them again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from engine import commands, outcomes, reads
from holdfast.v1 import admin_service_pb2, routing_service_pb2
from holdfast.v1 import reservation_service_pb2 as messages
from server.application.gateway import Gateway
from server.caller import Caller
from server.lifecycle import CannotStart
from server.transport.errors import Refused
from tests.wire import routing_network
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire
NOBODY = b""


@asynccontextmanager
async def serving(tmp_path: Path, quotas: str) -> AsyncIterator[Wire]:
    """Quotas for every caller, which here is the nameless one."""
    path = tmp_path / "quotas.toml"
    path.write_text(f"[default]\n{quotas}\n")
    wire = Wire(tmp_path / "data", quotas=path)
    await wire.start()
    await wire.nodes("berlin", "lyon")
    await wire.items("pear", "plum")
    for sku in ("pear", "plum"):
        for node in ("berlin", "lyon"):
            await wire.stock(sku, node, 1_000)
    try:
        yield wire
    finally:
        await wire.stop()


def pear(units: int = 1, **fields: Any) -> messages.CreateReservationRequest:
    return create(("pear", "berlin", units), **fields)


async def test_more_requests_than_the_rate_allows_are_refused_with_all_a_caller_needs(
    tmp_path: Path,
):
    async with serving(tmp_path, "requests_per_second = 100") as wire:
        admission = wire.server.admission
        admission._buckets.clear()
        admission._elapsed_s = lambda: 50.0
        for _ in range(100):
            await wire.reservations.CreateReservation(pear())
        call = wire.reservations.CreateReservation(pear())
        error = await refused(call)
        assert (error.code, error.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "QUOTA_EXCEEDED",
        )
        assert error.metadata == {"limit": "requests_per_second", "maximum": "100"}
        assert error.retry_ms > 0
        status = await rpc_status.aio.from_call(call)
        failure = error_details_pb2.QuotaFailure()
        assert status is not None
        assert any(detail.Unpack(failure) for detail in status.details)
        assert failure.violations[0].subject == "caller/"
        admission._elapsed_s = lambda: 50.02
        for _ in range(2):
            await wire.reservations.CreateReservation(pear())
        assert (await refused(wire.reservations.CreateReservation(pear()))).retry_ms > 0
        text = wire.server.metrics.text().decode()
        assert 'holdfast_quota_refusals_total{quota="requests_per_second"} 2.0' in text


async def test_a_bulk_counts_as_its_requests(tmp_path: Path):
    async with serving(tmp_path, "requests_per_second = 10\nrequests_burst = 50") as wire:
        admission = wire.server.admission
        admission._buckets.clear()
        admission._elapsed_s = lambda: 50.0
        bulk = messages.BulkCreateReservationsRequest(requests=[pear()] * 120)
        reply = await wire.reservations.BulkCreateReservations(bulk)
        assert len(reply.results) == 120
        admission._elapsed_s = lambda: 56.0  # 70 owed, 60 came in
        await refused(wire.reservations.BulkCreateReservations(bulk))
        admission._elapsed_s = lambda: 57.2
        await wire.reservations.BulkCreateReservations(bulk)


async def test_callers_have_rates_of_their_own(tmp_path: Path):
    async with serving(tmp_path, "requests_per_second = 100") as wire:
        admission = wire.server.admission
        admission._elapsed_s = lambda: 50.0
        one, other = Caller(b"one"), Caller(b"other")
        for caller in (one, other):
            for _ in range(100):
                admission.check_rate(caller, lambda: 1)
        with pytest.raises(Refused):
            admission.check_rate(one, lambda: 1)
        with pytest.raises(Refused):
            admission.check_rate(other, lambda: 1)


async def at_the_limit(wire: Wire) -> None:
    error = await refused(wire.reservations.CreateReservation(pear()))
    assert error.reason == "QUOTA_EXCEEDED"
    assert error.metadata["limit"] == "open_holds_max"
    assert error.retry_ms > 0


async def test_whatever_ends_a_hold_makes_room_for_another(tmp_path: Path):
    async with serving(tmp_path, "open_holds_max = 2") as wire:
        first = await wire.hold(("pear", "berlin", 1))
        second = await wire.hold(("pear", "berlin", 1))
        await at_the_limit(wire)
        await wire.reservations.CancelReservation(
            messages.CancelReservationRequest(reservation_id=first.reservation_id)
        )
        third = pear()
        third.ttl.seconds = 60
        await wire.reservations.CreateReservation(third)
        await at_the_limit(wire)
        await wire.reservations.ConfirmReservation(
            messages.ConfirmReservationRequest(reservation_id=second.reservation_id)
        )
        await wire.hold(("pear", "berlin", 1))
        await at_the_limit(wire)
        wire.clock.advance(60_001)  # the third one's time is over
        await wire.hold(("pear", "berlin", 1))
        await at_the_limit(wire)


async def test_the_time_to_come_back_is_when_the_first_hold_runs_out(tmp_path: Path):
    async with serving(tmp_path, "open_holds_max = 1") as wire:
        request = pear()
        request.ttl.seconds = 30
        await wire.reservations.CreateReservation(request)
        wire.clock.advance(10_000)
        error = await refused(wire.reservations.CreateReservation(pear()))
        assert 20_000 <= error.retry_ms <= 30_000


async def test_a_repeated_request_gets_its_first_answer_at_the_limit(tmp_path: Path):
    async with serving(tmp_path, "open_holds_max = 1") as wire:
        request = pear(request_id="r-1")
        first = await wire.reservations.CreateReservation(request)
        await at_the_limit(wire)
        assert await wire.reservations.CreateReservation(request) == first
        book = wire.server.admission.holds.book
        assert book.open_holds(wire.state, wire.clock.now_ms(), NOBODY) == 1


async def test_a_refused_hold_takes_nothing_of_the_quota(tmp_path: Path):
    async with serving(tmp_path, "open_holds_max = 1\nunits_per_sku_max = 5000") as wire:
        for _ in range(3):
            error = await refused(wire.reservations.CreateReservation(pear(2_000)))
            assert error.reason == "INSUFFICIENT_STOCK"
        await wire.hold(("pear", "berlin", 1))


async def test_batches_and_bulks_count_all_they_make(tmp_path: Path):
    async with serving(tmp_path, "open_holds_max = 10") as wire:
        batch = messages.BatchCreateReservationsRequest(requests=[pear()] * 6)
        bulk = messages.BulkCreateReservationsRequest(requests=[pear()] * 5)
        await wire.reservations.BatchCreateReservations(batch)
        assert (await refused(wire.reservations.BulkCreateReservations(bulk))).metadata[
            "limit"
        ] == "open_holds_max"
        del bulk.requests[0]
        await wire.reservations.BulkCreateReservations(bulk)
        await at_the_limit(wire)


async def test_commands_on_a_stream_count_too(tmp_path: Path):
    async with serving(tmp_path, "open_holds_max = 2") as wire:

        async def commands() -> AsyncIterator[messages.ExchangeReservationsRequest]:
            for number in range(3):
                yield messages.ExchangeReservationsRequest(
                    correlation_id=number, create_reservation=pear()
                )

        results = [r async for r in wire.reservations.ExchangeReservations(commands())]
        refusals = [r for r in results if r.WhichOneof("result") == "status"]
        assert len(results) == 3
        assert len(refusals) == 1
        assert refusals[0].status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        await at_the_limit(wire)


async def test_units_of_a_sku_are_counted_over_nodes_and_lines(tmp_path: Path):
    async with serving(tmp_path, "units_per_sku_max = 10") as wire:
        held = await wire.hold(("pear", "berlin", 4), ("pear", "lyon", 3), ("plum", "lyon", 9))
        error = await refused(wire.reservations.CreateReservation(pear(4)))
        assert error.metadata == {"limit": "units_per_sku_max", "maximum": "10"}
        assert "7 units of 'pear' held" in error.message
        await wire.hold(("pear", "berlin", 3))
        await refused(wire.reservations.CreateReservation(pear(1)))
        cancel = messages.CancelReservationRequest(reservation_id=held.reservation_id)
        cancel.lines.add(line=0, quantity=2)
        await wire.reservations.CancelReservation(cancel)
        await wire.hold(("pear", "berlin", 2))
        await refused(wire.reservations.CreateReservation(pear(1)))


async def test_a_hold_may_be_rewritten_within_the_quota_but_not_beyond(tmp_path: Path):
    async with serving(tmp_path, "units_per_sku_max = 10") as wire:
        held = await wire.hold(("pear", "berlin", 10))
        revise = messages.ReviseReservationRequest(reservation_id=held.reservation_id)
        revise.lines.add(sku="pear", node="lyon", quantity=11)
        assert (await refused(wire.reservations.ReviseReservation(revise))).reason == (
            "QUOTA_EXCEEDED"
        )
        revise.lines[0].quantity = 9
        await wire.reservations.ReviseReservation(revise)
        await wire.hold(("pear", "berlin", 1))
        await refused(wire.reservations.CreateReservation(pear(1)))


async def test_an_owners_new_hold_may_take_the_place_of_the_old_one(tmp_path: Path):
    async with serving(tmp_path, "open_holds_max = 1\nunits_per_sku_max = 3") as wire:
        await wire.hold(("pear", "berlin", 3), owner="cart")
        await wire.hold(("pear", "berlin", 2), owner="cart", replace_owner_holds=True)
        await at_the_limit(wire)
        await wire.hold(("pear", "berlin", 3), owner="cart", replace_owner_holds=True)
        error = await refused(
            wire.reservations.CreateReservation(pear(1, owner="other", replace_owner_holds=True))
        )
        assert error.reason == "QUOTA_EXCEEDED"


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_counted_is_what_the_ledger_says(tmp_path: Path, seed: int):
    """After any mix of steps: open holds and units are those of all live holds there are."""
    chance = random.Random(seed)
    async with serving(tmp_path, "open_holds_max = 12\nunits_per_sku_max = 40") as wire:
        made: list[str] = []
        for _ in range(150):
            step = chance.random()
            if step < 0.6 or not made:
                request = create(
                    ("pear", chance.choice(["berlin", "lyon"]), chance.randint(1, 8)),
                    ("plum", "lyon", chance.randint(1, 8)),
                )
                request.ttl.seconds = chance.randint(5, 60)
                try:
                    reply = await wire.reservations.CreateReservation(request)
                    made.append(reply.reservation.reservation_id)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
            elif step < 0.75:
                await ended(wire, chance.choice(made), messages.CancelReservationRequest)
            elif step < 0.85:
                await ended(wire, chance.choice(made), messages.ConfirmReservationRequest)
            elif step < 0.98:
                wire.clock.advance(chance.randint(0, 10_000))
            else:
                await wire.restart()
            await agrees(wire)
        await wire.admin.CreateSnapshot(admin_service_pb2.CreateSnapshotRequest())
        await wire.restart()
        await agrees(wire)


async def test_a_promise_is_a_hold_of_its_caller(tmp_path: Path):
    path = tmp_path / "quotas.toml"
    path.write_text("[default]\nopen_holds_max = 1\n")
    wire = Wire(tmp_path / "data", quotas=path)
    await wire.start()
    try:
        await routing_network.build(wire)
        promise = routing_service_pb2.PromiseOrderRequest(order=routing_network.order(("mug", 1)))
        await wire.routing.PromiseOrder(promise)
        assert (await refused(wire.routing.PromiseOrder(promise))).reason == "QUOTA_EXCEEDED"
        await wire.restart()
        assert (await refused(wire.routing.PromiseOrder(promise))).reason == "QUOTA_EXCEEDED"
    finally:
        await wire.stop()


@pytest.mark.parametrize("is_promise", [False, True])
async def test_a_hold_whose_caller_has_gone_counts(
    is_promise: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "quotas.toml"
    path.write_text("[default]\nopen_holds_max = 1\n")
    wire = Wire(tmp_path / "data", quotas=path)
    await wire.start()
    begun, go_on = asyncio.Event(), asyncio.Event()
    submit = Gateway.submit

    async def slow(self: Gateway, *given: Any, **how: Any) -> Any:
        answer = await submit(self, *given, **how)
        begun.set()
        await go_on.wait()
        return answer

    try:
        await routing_network.build(wire)
        promise = routing_service_pb2.PromiseOrderRequest(order=routing_network.order(("mug", 1)))
        hold = create(("mug", "newark", 1))
        monkeypatch.setattr(Gateway, "submit", slow)
        call = wire.routing.PromiseOrder(promise) if is_promise else None
        call = call or wire.reservations.CreateReservation(hold)
        await begun.wait()
        call.cancel()
        while wire.server.open_calls:  # noqa: ASYNC110 - until the server has heard of it
            await asyncio.sleep(0)
        go_on.set()
        assert (await refused(wire.reservations.CreateReservation(hold))).reason == "QUOTA_EXCEEDED"
        assert wire.state.meta["held_count"][0] == 1
    finally:
        go_on.set()
        await wire.stop()


async def ended(wire: Wire, name: str, request: Any) -> None:
    call = {
        messages.CancelReservationRequest: wire.reservations.CancelReservation,
        messages.ConfirmReservationRequest: wire.reservations.ConfirmReservation,
    }[request]
    try:
        await call(request(reservation_id=name))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise


async def agrees(wire: Wire) -> None:
    book, now_ms = wire.server.admission.holds.book, wire.clock.now_ms()
    live = []
    for row in reads.reservations_from(wire.state, 0):
        shown, takes = reads.reservation_outcome(wire.state, row)
        if shown["state"][0] == outcomes.HELD and shown["expire_ms"][0] > now_ms:
            live.append((row, takes))
    assert book.open_holds(wire.state, now_ms, NOBODY) == len(live) <= 12
    for sku in ("pear", "plum"):
        name = reads.find_name(wire.state, commands.SKU, sku)
        units = sum(
            int(wire.state.takes["quantity"][take])
            for row, _ in live
            for take in reads.takes_of(wire.state, row)
            if wire.state.positions["sku"][wire.state.takes["position"][take]] == name
        )
        assert book.units(wire.state, now_ms, NOBODY, sku, name) == units <= 40


async def test_a_file_that_is_not_as_it_should_be_keeps_the_server_from_starting(tmp_path: Path):
    path = tmp_path / "quotas.toml"
    path.write_text("[default]\nopen_holds = 3\n")
    with pytest.raises(CannotStart, match="open_holds is unknown"):
        await Wire(tmp_path / "data", quotas=path).start()
