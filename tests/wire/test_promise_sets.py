"""Promises that come together: each is its own caller's, and answered as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import commands
from engine.commands import CommandBatch
from engine.hashing import wide_key_of
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from server.application.gateway import Gateway
from server.caller import Caller
from server.documents import ROUTING_DECISION
from server.routing.decisions import Decision
from server.transport.columns import request_key
from server.transport.express_plans import PlanWriter
from server.transport.gathering import Gathered
from server.transport.services.express_promises import ExpressPromises
from server.transport.services.promises import PromiseService
from tests.wire.conftest import Wire
from tests.wire.routing_network import RATES, ZONES, build, node, order, service, upsert

pytestmark = pytest.mark.wire

FAR = "94103"


@dataclass(frozen=True)
class Asking:
    """Who promises in a set, as the service sees them."""

    caller: Caller

    def remaining_s(self) -> float | None:
        return None


class Sets:
    """A server, and sets of promises that come to it at once."""

    def __init__(self, wire: Wire, service: PromiseService, pieces: list[CommandBatch]) -> None:
        self.wire = wire
        self.service = service
        self.pieces = pieces
        """What sets gave to the ledger."""

    async def promise(self, *asked: tuple[bytes, routing.PromiseOrderRequest]) -> list[Any]:
        """What each of (caller, request) is told: its reply; None where it goes the plain way; or
        why it failed."""
        loop = asyncio.get_running_loop()
        calls = [
            Gathered(
                request.SerializeToString(deterministic=True),
                Asking(Caller(caller)),  # type: ignore[arg-type]
                loop.create_future(),
            )
            for caller, request in asked
        ]
        await self.service._promise_together(calls)
        told = await asyncio.gather(*(one.told for one in calls), return_exceptions=True)
        return [
            routing.PromiseOrderResponse.FromString(one) if isinstance(one, bytes) else one
            for one in told
        ]

    def decisions(self) -> dict[str, Decision]:
        """What is kept, by reservation."""
        return {
            name.partition("\0")[0]: Decision.from_bytes(kept[0])
            for (kind, name), kept in self.wire.state.documents.items()
            if kind == ROUTING_DECISION
        }


async def made(data: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Sets:
    found: list[PromiseService] = []
    pieces: list[CommandBatch] = []
    register, submit = PromiseService.register, Gateway.submit

    def note(self: PromiseService, methods: Any) -> None:
        found.append(self)
        register(self, methods)

    async def noted(self: Gateway, batch: CommandBatch, **how: Any) -> Any:
        pieces.append(batch)
        return await submit(self, batch, **how)

    monkeypatch.setattr(PromiseService, "register", note)
    wire = Wire(data, **settings)
    await wire.start()
    await build(wire)
    monkeypatch.setattr(Gateway, "submit", noted)
    return Sets(wire, found[-1], pieces)


def ask(name: str, *, zip_code: str = "10002", **fields: Any) -> routing.PromiseOrderRequest:
    return routing.PromiseOrderRequest(
        order=order(("mug", 1), zip_code=zip_code, reservation_id=name), **fields
    )


def actors(batch: CommandBatch) -> list[bytes]:
    """Who each command of a piece is of."""
    text, at, found = batch.text.tobytes(), 0, []
    for header in batch.headers:
        start = at + int(header["reservation_bytes"]) + int(header["owner_bytes"])
        found.append(text[start : start + int(header["actor_bytes"])])
        at += int(header["text_bytes"])
    return found


async def test_callers_of_one_set_keep_their_own_names_and_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where the oldest decisions go, and capacities are set, in the same piece before them."""
    sets = await made(tmp_path, monkeypatch, routing_decisions_max=4)
    assert None not in await sets.promise((b"", ask("old")))
    limited = node("newark", pick_capacity_per_day=100)
    await sets.wire.network.UpsertNode(network.UpsertNodeRequest(node=limited))
    callers = [b"ann", b"x" * 128, b"", b"bob"]
    asked = [(who, ask(f"new-{at}", request_id="same")) for at, who in enumerate(callers)]
    replies = await sets.promise(*asked)
    assert [one.reservation.reservation_id for one in replies] == [f"new-{at}" for at in range(4)]
    kept = sets.decisions()
    assert list(kept) == ["new-0", "new-1", "new-2", "new-3"]
    for who, (name, decision) in zip(callers, kept.items(), strict=True):
        assert decision.key.request == request_key(who, b"same")
        command = CommandBatch.from_bytes(decision.command)
        assert actors(command) == [who]
        header = command.headers[0]
        attempt = wide_key_of(who + b"\0same\0attempt0")
        assert (int(header["request_hi"]), int(header["request_lo"])) == attempt
        assert routing.RoutingOrder.FromString(decision.order).reservation_id == name
    piece = sets.pieces[-1]
    kinds = piece.headers["kind"].tolist()
    pairs = [commands.PUT_DOCUMENT, commands.CREATE] * 4
    assert kinds[:-8] == [commands.DELETE_DOCUMENT, *[commands.SET_CAPACITY] * 4]
    assert kinds[-8:] == pairs
    assert actors(piece)[-8:] == [who for who in callers for _ in range(2)]
    await sets.wire.verify()
    await sets.wire.stop()


async def test_an_order_beyond_the_known_days_goes_the_plain_way_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those before and behind it in its set are promised; its own answer is the plain one."""
    sets = await made(tmp_path, monkeypatch)
    wire = sets.wire
    for name in RATES:
        slow = service(name)
        for transit in slow.transits:
            if transit.zone == ZONES[2]:
                transit.days_min, transit.days_max = 200, 300
        await upsert(wire, slow)
    far = order(("mug", 1), zip_code=FAR)
    shown = await wire.routing.PlanFulfillment(routing.PlanFulfillmentRequest(order=far))
    (shipment,) = shown.plans[0].shipments
    window = shipment.delivery_window
    assert window.end_time.seconds - window.start_time.seconds > 90 * 86_400
    replies = await sets.promise(
        (b"ann", ask("first")),
        (b"bob", ask("far", zip_code=FAR, request_id="far")),
        (b"cat", ask("last", request_id="last")),
    )
    assert [type(one) for one in replies] == [
        *(routing.PromiseOrderResponse, type(None), routing.PromiseOrderResponse),
    ]
    assert list(sets.decisions()) == ["first", "last"]
    assert [one.reservation.lines[0].quantity for one in (replies[0], replies[2])] == [1, 1]
    assert replies[0].plan == replies[2].plan
    held = await wire.routing.PromiseOrder(ask("far", zip_code=FAR, request_id="far"))
    assert held.plan.shipments[0].delivery_window == window
    await wire.verify()
    await wire.stop()


async def test_who_loses_the_last_unit_in_a_set_is_planned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Eight want one of the five nearest units; two sets at once, and old decisions go."""
    sets = await made(tmp_path, monkeypatch, routing_decisions_max=3)
    wishes = [(b"ann", ask(f"order-{at}", request_id=f"r-{at}" * (at % 2))) for at in range(8)]
    first, second = await asyncio.gather(sets.promise(*wishes[:4]), sets.promise(*wishes[4:]))
    replies = [*first, *second]
    assert [one.reservation.reservation_id for one in replies] == [f"order-{n}" for n in range(8)]
    nodes = [one.plan.shipments[0].node for one in replies]
    assert sorted(nodes) == ["manhattan"] * nodes.count("manhattan") + ["newark"] * 5
    assert [one.replans > 0 for one in replies] == [name != "newark" for name in nodes]
    assert [one.reservation.lines[0].takes[0].node for one in replies] == nodes
    log = sets.service._log
    await sets.promise((b"", ask("another")))
    assert len(log) == 3
    kept = [name for kind, name in sets.wire.state.documents if kind == ROUTING_DECISION]
    assert sorted(kept) == sorted(log._kept)
    await sets.wire.verify()
    await sets.wire.stop()


async def test_what_fails_for_one_order_fails_for_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sets = await made(tmp_path, monkeypatch)
    midnights = PlanWriter.midnights

    def unknown(self: PlanWriter, time_zone: str, now_ms: int) -> Any:
        if time_zone == "Asia/Tokyo":
            raise KeyError(time_zone)
        return midnights(self, time_zone, now_ms)

    monkeypatch.setattr(PlanWriter, "midnights", unknown)
    broken = ask("broken", request_id="broken")
    broken.order.destination.time_zone = "Asia/Tokyo"
    replies = await sets.promise((b"", ask("first")), (b"", broken), (b"", ask("last")))
    assert isinstance(replies[1], KeyError)
    names = [replies[at].reservation.reservation_id for at in (0, 2)]
    assert names == list(sets.decisions()) == ["first", "last"]
    await sets.wire.verify()
    await sets.wire.stop()


async def test_a_set_that_fails_gives_its_turns_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sets = await made(tmp_path, monkeypatch)
    wishes: Sequence[Any] = [(b"", ask(f"order-{at}", request_id=f"r-{at}")) for at in range(3)]
    for place in ("read", "promise"):
        with monkeypatch.context() as patched:
            original = getattr(ExpressPromises, place)
            seen: list[Any] = []

            def fail(
                self: Any,
                *given: Any,
                original: Any = original,
                seen: list[Any] = seen,
                last: str = place,
            ) -> Any:
                seen.append(given)
                if last == "promise" or len(seen) == 3:
                    raise RuntimeError("broken")
                return original(self, *given)

            patched.setattr(ExpressPromises, place, fail)
            with pytest.raises(RuntimeError, match="broken"):
                await sets.promise(*wishes)
        assert sets.service._in_sets == {}
    assert None not in await sets.promise(*wishes)
    await sets.wire.stop()
