"""What a shopper does: the steps of a journey, each a call that is recorded."""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import grpc

import holdfast.calls.availability as availability_calls
import holdfast.calls.reservations as reservation_calls
import holdfast.calls.routing as routing_calls
from holdfast.calls.call import Call
from holdfast.errors import DeadlineExceeded, HoldfastError, InsufficientStock, Throttled
from holdfast.ids import made_id
from holdfast.v1 import reservation_service_pb2 as wire
from holdfast.values.network import Place
from holdfast.values.reservations import Reservation
from holdfast.values.routing import RoutingLine, RoutingOrder
from loadtests.callers import Caller
from loadtests.recording import DECLINED, FAILED, HELD_BACK, LATE, REFUSED, SERVED, Recorder
from loadtests.scenario import MAKING, Callers, Journey, Shop, think_s

T = TypeVar("T")
_PAUSE_S = 0.25
_CALLS_KEPT_MAX = 10_000
_DECISIONS = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.ABORTED,
    }
)
_TURNED_AWAY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,  # how gRPC's core sheds
    }
)


def sku_name(number: int) -> str:
    """Of the SKU with this number; 0 is the hot one."""
    return f"SKU-{number:06d}"


def node_name(number: int) -> str:
    """Of the node with this number."""
    return f"NODE-{number:04d}"


# Where nodes are and parcels go to: all over the country, by postal code.
PLACES = tuple(
    Place("US", code, time_zone="UTC")
    for code in (
        *("10001", "60601", "94103", "98101", "77002", "33101", "30303", "02108", "80202", "85004"),
        *("97201", "19103", "20001", "48201", "55401", "63101", "70112", "84101", "87101", "89101"),
    )
)


def outcome_of(error: HoldfastError) -> str:
    """Which kind of end an error is."""
    if isinstance(error, Throttled):
        return HELD_BACK
    if isinstance(error, DeadlineExceeded):
        return LATE
    if error.code in _DECISIONS:
        return DECLINED
    return REFUSED if error.code in _TURNED_AWAY else FAILED


@dataclass(slots=True)
class Evidence:
    """What callers were told, for the judge."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """Reservation -> the last state it was acknowledged in: HELD, CONFIRMED, CANCELLED."""
    short: list[tuple[int, int, str, str, int]] = field(default_factory=list)
    """(sent, answered, SKU, node, units wanted) of holds refused for stock; times in Unix ms."""


class Shoppers:
    """All shoppers of one generator; `go` is one of them."""

    def __init__(
        self,
        caller: Caller,
        shop: Shop,
        journeys: tuple[Journey, ...],
        settings: Callers,
        recorder: Recorder,
        *,
        chance: random.Random,
        clock: Callable[[], float],
        name: str = "",
        mixes: Sequence[tuple[float, tuple[Journey, ...]]] = (),
    ) -> None:
        """`clock`: seconds from the run's beginning. `name`: a part of every owner's. `mixes`:
        until when which journeys begin, where that changes."""
        self._caller = caller
        self._shop = shop
        self._until_s = [until_s for until_s, _ in mixes[:-1]]
        self._mixes = [
            (mix, [journey.share for journey in mix])
            for mix in ([mix for _, mix in mixes] or [journeys])
        ]
        self._patience_s = settings.checkout_patience_s
        self._timeout_s = settings.timeout_s
        self._recorder = recorder
        self._chance = chance
        self._clock = clock
        self._name = name
        self._unique = made_id()
        self._requests = 0
        self._calls: dict[tuple[tuple[tuple[str, str, int], ...], float], Call[Reservation]] = {}
        self.evidence = Evidence()
        self.hurries = False
        """Leave out every pause."""

    async def go(self, number: int, due_s: float) -> bool:
        """One shopper's journey, which is due at `due_s`; whether it came to its end."""
        chance = self._chance
        journeys, shares = self._mixes[bisect_right(self._until_s, due_s)]
        journey = journeys[0] if len(journeys) == 1 else chance.choices(journeys, shares)[0]
        held: Reservation | None = None
        for step in journey.steps:
            pause = think_s(step)
            if pause is not None:
                if not self.hurries:
                    await asyncio.sleep(chance.uniform(*pause))
                due_s = self._clock()
            elif step in MAKING:
                make = self._hold if step == "hold" else self._promise
                held = await make(journey, number, due_s)
                if held is None:
                    return False
                due_s = self._clock()
            else:
                if not await self._step(step, held, due_s):
                    return False
                due_s = self._clock()
        return True

    async def _hold(self, journey: Journey, number: int, due_s: float) -> Reservation | None:
        lines = tuple(self._line() for _ in range(journey.lines))
        call = self._reserve(lines, journey.ttl_s, number)
        sent_ms = time.time_ns() // 1_000_000
        try:
            held = await self._caller.perform(call)
        except HoldfastError as error:
            self._failed("hold", error, due_s)
            if isinstance(error, InsufficientStock) and len(lines) == 1:
                answered_ms = time.time_ns() // 1_000_000
                self.evidence.short.append((sent_ms, answered_ms, *lines[0]))
            return None
        self._recorder.ended("hold", SERVED, due_s, self._clock())
        self.evidence.acknowledged[held.reservation_id] = "HELD"
        return held

    async def _promise(self, journey: Journey, number: int, due_s: float) -> Reservation | None:
        order = replace(self._order(journey.lines), owner=f"shopper-{self._name}-{number}")
        try:
            promise = await self._caller.perform(
                routing_calls.promise_order(order, ttl=journey.ttl_s)
            )
        except HoldfastError as error:
            self._failed("promise", error, due_s)
            return None
        self._recorder.ended("promise", SERVED, due_s, self._clock())
        self.evidence.acknowledged[promise.reservation.reservation_id] = "HELD"
        return promise.reservation

    def _order(self, lines: int) -> RoutingOrder:
        wanted = {self._line()[0]: None for _ in range(lines)}
        return RoutingOrder(
            tuple(RoutingLine(sku, 1) for sku in wanted), self._chance.choice(PLACES)
        )

    def _reserve(
        self, lines: tuple[tuple[str, str, int], ...], ttl_s: float, number: int
    ) -> Call[Reservation]:
        """The client library's own call for these lines, under a request id and owner of its own.

        Only these two differ between shoppers who want the same, so the rest is built once: that
        is a third of what a call costs a generator.
        """
        like = self._calls.get((lines, ttl_s))
        if like is None:
            like = reservation_calls.reserve(lines, ttl=ttl_s)
            if len(self._calls) < _CALLS_KEPT_MAX:
                self._calls[lines, ttl_s] = like
        self._requests += 1
        request = wire.CreateReservationRequest()
        request.MergeFromString(like.request.SerializeToString())
        request.request_id = f"{self._unique}-{self._requests}"
        request.owner = f"shopper-{self._name}-{number}"
        return replace(like, request=request, request_id=request.request_id)

    def _line(self) -> tuple[str, str, int]:
        shop, chance = self._shop, self._chance
        if shop.hot_share >= 1 or (shop.hot_share and chance.random() < shop.hot_share):
            return sku_name(0), node_name(0), 1
        sku = int(chance.random() * shop.skus)
        return sku_name(sku), node_name(int(chance.random() * shop.nodes)), 1

    async def _step(self, step: str, held: Reservation | None, due_s: float) -> bool:
        call: Call[Any]
        state = ""
        if step == "browse":
            sku, node, _ = self._line()
            call = availability_calls.availability(sku, nodes=[node])
        elif step == "plan":
            call = routing_calls.plan_fulfillment(self._order(1))
        elif held is None:
            return False
        elif step == "track":
            call = reservation_calls.get(held.reservation_id)
        elif step == "extend":
            call = reservation_calls.extend(held.reservation_id, ttl=60)
        elif step == "cancel":
            call, state = reservation_calls.cancel(held.reservation_id), "CANCELLED"
        else:
            call, state = self._confirmation(held), "CONFIRMED"
        try:
            await self._patiently(call, self._patience_s if step == "confirm" else 0.0)
        except HoldfastError as error:
            self._failed(step, error, due_s)
            if state and held is not None and outcome_of(error) is not DECLINED:
                # It may have taken effect or not: nobody was told.
                self.evidence.acknowledged[held.reservation_id] = f"{state}?"
            return False
        self._recorder.ended(step, SERVED, due_s, self._clock())
        if state and held is not None:
            self.evidence.acknowledged[held.reservation_id] = state
        return True

    def _confirmation(self, held: Reservation) -> Call[Reservation]:
        return reservation_calls.confirm(held.reservation_id, request_id=made_id())

    async def _patiently(self, call: Call[T], patience_s: float) -> T:
        """Ask until it is decided, or the patience is over; each time the very same request."""
        until_s = self._clock() + patience_s
        while True:
            try:
                return await self._caller.perform(call)
            except HoldfastError as error:
                pause_s = (error.retry_after_s or 0.0) + self._chance.uniform(0, 2 * _PAUSE_S)
                is_decided = outcome_of(error) in (DECLINED, FAILED)
                if is_decided or self._clock() + pause_s > until_s:
                    raise
                self._recorder.recording.asked_again += 1
                await asyncio.sleep(pause_s)

    def _failed(self, step: str, error: HoldfastError, due_s: float) -> None:
        outcome = outcome_of(error)
        self._recorder.ended(
            step,
            outcome,
            due_s,
            self._clock(),
            reason=f"{error.code.name} {error.reason}".strip(),
            is_explained=outcome == REFUSED
            and bool(error.reason)
            and error.retry_after_s is not None,
        )
