"""A SKU that is sold out: told the same way by every path, and never while a unit is there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from engine import outcomes, reads
from holdfast.v1 import admin_service_pb2, inventory_service_pb2
from holdfast.v1 import reservation_service_pb2 as messages
from server.transport.services.reservations import ReservationService
from server.transport.sold_out import SoldOut
from tests.wire.conftest import Error, Wire, create, refused

pytestmark = pytest.mark.wire


@asynccontextmanager
async def serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, early: str
) -> AsyncIterator[tuple[Wire, SoldOut]]:
    made: list[SoldOut] = []
    begin = ReservationService.__init__

    def remember(self: ReservationService, *given: Any) -> None:
        begin(self, *given)
        made.append(self._sold_out)

    monkeypatch.setattr(ReservationService, "__init__", remember)
    wire = Wire(tmp_path / "data", sold_out_early=early)
    await wire.start()
    await wire.nodes("berlin", "lyon")
    await wire.items("pear")
    await wire.stock("pear", "berlin", 1)
    await wire.stock("pear", "lyon", 0)
    try:
        yield wire, made[-1]
    finally:
        await wire.stop()


def pear(units: int = 1, node: str = "berlin", **fields: Any) -> messages.CreateReservationRequest:
    request = create(("pear", node, units), **fields)
    request.ttl.seconds = 60
    return request


async def told(wire: Wire, request: messages.CreateReservationRequest) -> Error:
    return await refused(wire.reservations.CreateReservation(request))


def without_revision(error: Error) -> Error:
    return replace(error, metadata={**error.metadata, "revision": ""})


async def hold(wire: Wire, **fields: Any) -> str:
    reply = await wire.reservations.CreateReservation(pear(**fields))
    return str(reply.reservation.reservation_id)


async def cancel(wire: Wire, reservation_id: str) -> None:
    await wire.reservations.CancelReservation(
        messages.CancelReservationRequest(reservation_id=reservation_id)
    )


def early_answers(wire: Wire) -> int:
    return wire.server.metrics.sold_out_early


@pytest.mark.parametrize("early", ["off", "on"])
async def test_everyone_is_told_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: str
):
    async with serving(tmp_path, monkeypatch, early=early) as (wire, _):
        await hold(wire)
        errors = [await told(wire, pear(request_id=f"r-{n}", owner=f"o-{n}")) for n in range(4)]
        assert errors[0].reason == "INSUFFICIENT_STOCK"
        assert errors[0].shortages[0].available_quantity == 0
        assert len({str(without_revision(error)) for error in errors}) == 1
        assert early_answers(wire) == (3 if early == "on" else 0)
        numbers = [int(error.metadata["revision"]) for error in errors]
        assert numbers == sorted(numbers)
        assert numbers[-1] == wire.state.revision
        assert (len(set(numbers)) == 4) is (early == "off")


async def test_a_unit_that_comes_back_is_sold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By a cancel, by a hold that runs out (at that very instant), by a count."""
    async with serving(tmp_path, monkeypatch, early="on") as (wire, _):
        first = await hold(wire)
        for number in range(3):
            await told(wire, pear(request_id=f"a-{number}"))
        assert early_answers(wire) == 2
        await cancel(wire, first)
        await hold(wire, request_id="b")
        await told(wire, pear(request_id="c"))
        wire.clock.advance(60_000)
        await hold(wire, request_id="d")
        await told(wire, pear(request_id="e"))
        await wire.stock("pear", "berlin", 2)
        await hold(wire, request_id="f")
        await told(wire, pear(request_id="g"))


async def test_a_refusal_told_early_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with serving(tmp_path, monkeypatch, early="on") as (wire, _):
        held = await hold(wire)
        await told(wire, pear(request_id="learnt"))
        first = await told(wire, pear(request_id="late", owner="cart"))
        assert early_answers(wire) == 1
        await cancel(wire, held)
        assert await told(wire, pear(request_id="late", owner="cart")) == first
        for other in (pear(request_id="late", owner="other"), pear(2, request_id="late")):
            assert (await told(wire, other)).reason == "REQUEST_ID_REUSED"
        assert (await wire.position("pear", "berlin")).available == 1


async def test_what_the_ledger_remembers_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with serving(tmp_path, monkeypatch, early="on") as (wire, _):
        request = pear(request_id="last")
        last = await wire.reservations.CreateReservation(request)
        refusal = await told(wire, pear(request_id="learnt"))
        await told(wire, pear(request_id="early"))
        assert await wire.reservations.CreateReservation(request) == last
        assert await told(wire, pear(request_id="learnt")) == refusal
        assert early_answers(wire) == 1


async def test_a_request_that_is_under_way_goes_to_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its first attempt may still find a unit: the two must have one answer."""
    async with serving(tmp_path, monkeypatch, early="on") as (wire, sold_out):
        await hold(wire)
        await told(wire, pear(request_id="learnt"))
        sold_out._under_way[b"\0twice"] += 1
        await told(wire, pear(request_id="twice"))
        assert early_answers(wire) == 0


async def test_nothing_is_told_early_while_requests_from_before_are_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They came when nothing was told early, so their names were not read: a repeat of one of them
    would not be known."""
    async with serving(tmp_path, monkeypatch, early="on") as (wire, sold_out):
        await hold(wire)
        await told(wire, pear(request_id="learnt"))
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(raw: bytes, call: object) -> bytes:
            asked.set()
            await go_on.wait()
            return raw

        sold_out._early = lambda: False
        before = asyncio.ensure_future(sold_out.before(slow)(b"", None))
        await asked.wait()
        sold_out._early = lambda: True
        await told(wire, pear(request_id="meanwhile"))
        assert early_answers(wire) == 0
        go_on.set()
        await before
        await told(wire, pear(request_id="afterwards"))
        assert early_answers(wire) == 1


async def test_nothing_is_remembered_of_a_refusal_that_was_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The journal fails meanwhile: what was read may never have been."""
    async with serving(tmp_path, monkeypatch, early="on") as (wire, sold_out):
        await hold(wire)
        await told(wire, pear(request_id="learnt"))

        async def fails() -> None:
            raise wire.server._gateway.draining()

        durable = wire.server._gateway.durable
        monkeypatch.setattr(type(wire.server._gateway), "durable", lambda self: fails())
        assert (await told(wire, pear(request_id="x"))).reason == "DRAINING"
        assert not sold_out._remembered
        monkeypatch.setattr(type(wire.server._gateway), "durable", lambda self: durable())
        assert (await told(wire, pear(request_id="x"))).reason == "INSUFFICIENT_STOCK"


async def test_requests_that_could_still_be_filled_are_never_told_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The owner's own holds, supply on its way, another quantity."""
    async with serving(tmp_path, monkeypatch, early="on") as (wire, _):
        await hold(wire, owner="cart")
        own = pear(owner="cart", replace_owner_holds=True)
        for number in range(2):
            other = pear(owner="other", replace_owner_holds=True, request_id=f"x-{number}")
            assert (await told(wire, other)).reason == "INSUFFICIENT_STOCK"
        await wire.reservations.CreateReservation(own)
        incoming = pear()
        incoming.lines[0].supply_policy = 2
        for number in range(2):
            incoming.request_id = f"y-{number}"
            assert (await told(wire, incoming)).reason == "INSUFFICIENT_STOCK"
        assert early_answers(wire) == 0
        supply = inventory_service_pb2.UpsertSupplyRequest(
            supply_id="po", sku="pear", node="berlin", quantity=5, type=1
        )
        supply.expected_time.FromMilliseconds(wire.clock.now_ms() + 60_000)
        await wire.inventory.UpsertSupply(supply)
        incoming.request_id = "z"
        await wire.reservations.CreateReservation(incoming)


async def test_a_frozen_node_is_told_by_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with serving(tmp_path, monkeypatch, early="on") as (wire, _):
        await hold(wire)
        await told(wire, pear(request_id="learnt"))
        await wire.admin.FreezeNode(admin_service_pb2.FreezeNodeRequest(node="berlin"))
        assert (await told(wire, pear(request_id="frozen"))).reason == "NODE_FROZEN"


def units_there(wire: Wire, node: str, now_ms: int) -> int:
    """What is on hand less what live holds and confirmed orders have, one by one."""
    state = wire.state
    row = reads.position_row(state, "pear", node)
    there = int(state.positions["on_hand"][row])
    for number in reads.reservations_from(state, 0):
        shown, _ = reads.reservation_outcome(state, number)
        expired = shown["state"][0] == outcomes.HELD and shown["expire_ms"][0] <= now_ms
        if shown["state"][0] in (outcomes.HELD, outcomes.CONFIRMED) and not expired:
            for take in reads.takes_of(state, number):
                if int(state.takes["position"][take]) == row:
                    there -= int(state.takes["quantity"][take])
    return there


@pytest.mark.parametrize("seed", range(4))
async def test_never_sold_out_while_a_unit_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Shoppers, cancels, confirms, counts and time, many at once, on a handful of units: at the
    moment of every early refusal the units are counted one by one."""
    chance = random.Random(seed)
    checked = 0
    look = SoldOut._refused_now

    def looked(self: SoldOut, request: Any, key: tuple[int, int]) -> Any:
        nonlocal checked
        found = look(self, request, key)
        if found is not None:
            words = found.status.message.split(": ")[1].split(" ")
            wanted, node = int(words[0]), words[4].strip("'")
            there = units_there(wire, node, wire.clock.now_ms())
            assert max(0, there) < wanted, f"{there} there, {wanted} asked for"
            checked += 1
        return found

    monkeypatch.setattr(SoldOut, "_refused_now", looked)
    held: list[str] = []
    answers: dict[str, str] = {}

    async def shop(number: int) -> None:
        request = pear(
            chance.choice([1, 1, 1, 2]),
            chance.choice(["berlin", "lyon"]),
            request_id=f"r-{number}",
            owner=f"o-{number}",
        )
        request.ttl.seconds = chance.choice([5, 30])
        for _ in range(chance.choice([1, 1, 2])):
            try:
                reply = await wire.reservations.CreateReservation(request)
                answer = reply.SerializeToString().hex()
                held.append(reply.reservation.reservation_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                    raise
                answer = str(dict(error.trailing_metadata() or ()))
            assert answers.setdefault(request.request_id, answer) == answer

    async def settle() -> None:
        if held:
            name = held.pop(chance.randrange(len(held)))
            call, request = chance.choice(
                [
                    (wire.reservations.CancelReservation, messages.CancelReservationRequest),
                    (wire.reservations.ConfirmReservation, messages.ConfirmReservationRequest),
                ]
            )
            try:
                await call(request(reservation_id=name))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                    raise

    async with serving(tmp_path, monkeypatch, early="on") as (wire, _):
        number = 0
        for _ in range(40):
            steps = []
            for _ in range(12):
                drawn = chance.random()
                number += 1
                if drawn < 0.75:
                    steps.append(shop(number))
                elif drawn < 0.95:
                    steps.append(settle())
                else:
                    node = chance.choice(["berlin", "lyon"])
                    steps.append(wire.stock("pear", node, chance.randint(0, 12)))
            await asyncio.gather(*steps)
            wire.clock.advance(chance.choice([0, 0, 1_000, 5_000]))
        await wire.verify()
    assert checked > 20
