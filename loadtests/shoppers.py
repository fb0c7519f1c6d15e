"""What a shopper does: the steps of a journey, each a call that is recorded.

At ten times the capacity nine of ten journeys end where they begin, held back by the client's
throttle. So `Shoppers.begin` asks the throttle first: a journey whose first call is held back costs
no task and no request.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import grpc

from holdfast.calls.call import Call
from holdfast.errors import (
    DeadlineExceeded,
    HoldfastError,
    InsufficientStock,
    ReservationExpired,
    Throttled,
)
from holdfast.retry import Attempts
from loadtests.asking import EXTENSION_S, Asking, Line
from loadtests.callers import Caller
from loadtests.recording import DECLINED, FAILED, HELD_BACK, LATE, REFUSED, SERVED, Recorder
from loadtests.scenario import MAKING, Callers, Journey, Shop, think_s

_PAUSE_S = 0.25
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
# What a reservation is after these steps.
_BECOMES = {"confirm": "CONFIRMED", "cancel": "CANCELLED"}


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


@dataclass(frozen=True, slots=True)
class _Course:
    """A journey, made ready to be gone many times."""

    journey: Journey
    steps: tuple[tuple[str, tuple[float, float] | None], ...]
    """Each step, and how long it lasts where it is a pause."""
    ask: Callable[[], Attempts] | None
    """Makes the attempts of its first call; None where nobody would hold it back, or where it
    begins with a pause."""


class Shoppers:
    """All shoppers of one generator; `begin` sends one of them off."""

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
        self._asking = Asking(shop, chance, name)
        self._until_s = [until_s for until_s, _ in mixes[:-1]]
        self._mixes = [
            ([self._course(each) for each in mix], list(accumulate(each.share for each in mix)))
            for mix in ([mix for _, mix in mixes] or [journeys])
        ]
        self._patience_s = settings.checkout_patience_s
        self._recorder = recorder
        self._chance = chance
        self._clock = clock
        self.evidence = Evidence()
        self.hurries = False
        """Leave out every pause."""

    def begin(self, number: int, due_s: float, now_s: float) -> Coroutine[Any, Any, bool] | None:
        """One shopper's journey, which was due at `due_s`, to be awaited: whether it came to its
        end. None: its first call was held back on the spot, and that is recorded."""
        courses, shares = self._mixes[bisect_right(self._until_s, due_s)]
        at = bisect_right(shares, self._chance.random() * shares[-1]) if len(courses) > 1 else 0
        course = courses[at]
        attempts = None
        if course.ask is not None:
            attempts = course.ask()
            if not attempts.admitted():
                self._recorder.held_back(course.steps[0][0], due_s, now_s)
                return None
        return self._go(course, number, due_s, attempts)

    async def go(self, number: int, due_s: float) -> bool:
        """`begin`, and on to the end."""
        journey = self.begin(number, due_s, self._clock())
        return journey is not None and await journey

    def _course(self, journey: Journey) -> _Course:
        steps = tuple((step, think_s(step)) for step in journey.steps)
        first, pause = steps[0]
        ask = None
        if pause is None:
            ask = self._caller.attempts_of(self._call(first, journey, 0, "")[0])
        return _Course(journey, steps, ask)

    def _call(
        self, step: str, journey: Journey, number: int, held: str
    ) -> tuple[Call[str], tuple[Line, ...]]:
        """The call of a step, and what it holds where it is a hold."""
        if step != "hold":
            return self._asking.step(step, journey, number, held), ()
        lines = self._asking.lines(journey)
        return self._asking.hold(lines, journey.ttl_s, number), lines

    async def _go(
        self, course: _Course, number: int, due_s: float, attempts: Attempts | None
    ) -> bool:
        held = ""
        live_until_s = 0.0
        for step, pause in course.steps:
            if pause is not None:
                if not self.hurries:
                    await asyncio.sleep(self._chance.uniform(*pause))
            else:
                told = await self._step(
                    course.journey, step, number, held, live_until_s, due_s, attempts
                )
                if told is None:
                    return False
                held = told or held
                if step in MAKING:
                    live_until_s = self._clock() + course.journey.ttl_s
                elif step == "extend":
                    live_until_s = max(live_until_s, self._clock() + EXTENSION_S)
                attempts = None
            due_s = self._clock()
        return True

    async def _step(
        self,
        journey: Journey,
        step: str,
        number: int,
        held: str,
        live_until_s: float,
        due_s: float,
        attempts: Attempts | None,
    ) -> str | None:
        """The reservation's id, "" where it made none; None: it was not served.

        `live_until_s`: by the shopper's clock, after which a hold's time has surely passed.
        """
        call, lines = self._call(step, journey, number, held)
        state = _BECOMES.get(step)
        is_too_late = step == "confirm" and self._clock() >= live_until_s
        sent_ms = time.time_ns() // 1_000_000
        try:
            if step == "confirm":
                told = await self._patiently(call)
            else:
                told = await self._caller.perform(call, attempts)
        except HoldfastError as error:
            self._failed(step, error, due_s)
            if is_too_late and isinstance(error, ReservationExpired):
                self._recorder.recording.confirms_too_late += 1
            if isinstance(error, InsufficientStock) and len(lines) == 1:
                answered_ms = time.time_ns() // 1_000_000
                self.evidence.short.append((sent_ms, answered_ms, *lines[0]))
            if state is not None and outcome_of(error) is not DECLINED:
                # It may have taken effect or not: nobody was told.
                self.evidence.acknowledged[held] = f"{state}?"
            return None
        self._recorder.ended(step, SERVED, due_s, self._clock())
        if step in MAKING:
            self.evidence.acknowledged[told] = "HELD"
        elif state is not None:
            self.evidence.acknowledged[held] = state
        return told

    async def _patiently(self, call: Call[str]) -> str:
        """Ask until it is decided, or the patience is over; each time the very same request."""
        until_s = self._clock() + self._patience_s
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
