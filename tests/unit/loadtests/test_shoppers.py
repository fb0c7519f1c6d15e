"""A journey whose first call is held back ends where it begins, by the library's own throttle."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import pytest

from holdfast.calls.call import Call
from holdfast.failures import Failure
from holdfast.retry import Attempts, Patience, RetryBudget, RetryPolicy
from holdfast.throttle import Throttle
from holdfast.v1 import reservation_service_pb2 as wire
from loadtests.recording import DECLINED, HELD_BACK, REFUSED, SERVED, Recorder, Recording
from loadtests.scenario import Callers, Journey, Shop
from loadtests.shoppers import Shoppers

T = TypeVar("T")
POLICY = RetryPolicy(attempts_max=1)
EXPIRED = Failure(grpc.StatusCode.FAILED_PRECONDITION, "it is over", "RESERVATION_EXPIRED")
TOO_MUCH = Failure(grpc.StatusCode.UNAVAILABLE, "too much", "OVERLOADED", retry_after_s=0.0)
SHED = Failure(grpc.StatusCode.UNAVAILABLE, "too much", "OVERLOADED", retry_after_s=1.0)


class Full:
    """A caller with the library's attempts, at a server that takes every `takes`-th call."""

    retries = connects = 0

    def __init__(self, takes: int, *, is_asked_first: bool = True) -> None:
        throttle = Throttle(1.3)

        # Time stands still and chance follows the count of calls: whoever else asks for it in
        # between changes nothing.
        def chance() -> float:
            return throttle._requests * 0.618034 % 1

        self._patience = Patience(POLICY, RetryBudget(POLICY), throttle, lambda: 1.0, chance)
        self._takes = takes
        self._is_asked_first = is_asked_first
        self.sent: list[Any] = []
        self.were_asked_first: list[bool] = []

    def attempts_of(self, like: Call[Any]) -> Callable[[], Attempts] | None:
        return self._attempts if self._is_asked_first else None

    def _attempts(self) -> Attempts:
        return Attempts(self._patience, True, 100.0)

    async def perform(self, call: Call[T], attempts: Attempts | None = None) -> T:
        self.were_asked_first.append(attempts is not None)
        attempts = attempts or self._attempts()
        attempts.begin()
        self.sent.append(call.request)
        if len(self.sent) % self._takes:
            attempts.failed(SHED)
        attempts.succeeded()
        reply = wire.CreateReservationResponse()
        reply.reservation.reservation_id = f"r-{len(self.sent)}"
        return call.read(reply)

    def cut(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class Slow(Full):
    """A server whose confirms are turned away `turned_away` times, and come too late then."""

    def __init__(self, turned_away: int) -> None:
        super().__init__(takes=1)
        self._turned_away = turned_away

    async def perform(self, call: Call[T], attempts: Attempts | None = None) -> T:
        if call.method.name != "ConfirmReservation":
            return await super().perform(call, attempts)
        attempts = self._attempts()
        attempts.begin()
        self._turned_away -= 1
        attempts.failed(EXPIRED if self._turned_away < 0 else TOO_MUCH)
        raise AssertionError("the policy asks once")


def shoppers_of(
    caller: Any, recorder: Recorder, *journeys: Journey, clock: Callable[[], float] = lambda: 1.0
) -> Shoppers:
    return Shoppers(
        caller,
        Shop(hot_share=1.0),
        journeys or (Journey("hold"),),
        Callers(),
        recorder,
        chance=random.Random(1),
        clock=clock,
    )


async def test_a_journey_held_back_costs_no_request_and_is_recorded() -> None:
    caller, recorder = Full(takes=1_000_000), Recorder([10.0])
    shoppers = shoppers_of(caller, recorder)
    ended_at_once = 0
    for number in range(500):
        journey = shoppers.begin(number, 0.5, 0.5)
        if journey is None:
            ended_at_once += 1
        else:
            assert not await journey
    told = recorder.finish()
    assert 0 < len(caller.sent) < 20
    assert ended_at_once == 500 - len(caller.sent)
    assert told.outcomes() == {HELD_BACK: ended_at_once, REFUSED: len(caller.sent)}
    assert told.reasons["hold", HELD_BACK, "UNAVAILABLE THROTTLED"] == ended_at_once
    assert told.offered[0, "hold"] == 500


@pytest.mark.parametrize("takes", [1, 2, 3])
async def test_asked_first_or_last_the_throttle_lets_the_same_journeys_out(takes: int) -> None:
    owners, recordings = [], []
    for is_asked_first in (True, False):
        caller = Full(takes, is_asked_first=is_asked_first)
        recorder = Recorder([10.0])
        shoppers = shoppers_of(caller, recorder)
        for number in range(1_000):
            await shoppers.go(number, 0.5)
        owners.append([request.owner for request in caller.sent])
        recordings.append(recorder.finish())
    assert owners[0] == owners[1]
    for name in ("offered", "ended", "phase_ended", "reasons"):
        assert getattr(recordings[0], name) == getattr(recordings[1], name)
    assert recordings[0].outcomes()[SERVED] == len(owners[0]) // takes > 0


async def test_only_the_first_call_of_a_journey_is_asked_for_before() -> None:
    caller = Full(takes=1)
    steps = ("hold", "track", "confirm")
    shoppers = shoppers_of(caller, Recorder([10.0]), Journey("buys", steps=steps))
    assert await shoppers.go(0, 0.5)
    assert caller.were_asked_first == [True, False, False]


async def test_a_journey_that_begins_with_a_pause_is_asked_for_when_it_calls() -> None:
    caller = Full(takes=1)
    shoppers = shoppers_of(caller, Recorder([10.0]), Journey("late", steps=("think:0-0", "hold")))
    assert await shoppers.go(0, 0.5)
    assert caller.were_asked_first == [False]


async def test_what_was_acknowledged_is_kept_as_evidence() -> None:
    shoppers = shoppers_of(
        Full(takes=1), Recorder([10.0]), Journey("buys", steps=("hold", "confirm"))
    )
    await shoppers.go(0, 0.5)
    assert shoppers.evidence.acknowledged == {"r-1": "CONFIRMED"}


@pytest.mark.parametrize(
    ("seconds_a_look", "turned_away", "too_late"),
    [(0.0, 0, 0), (0.0, 2, 0), (10.0, 0, 1)],
)
async def test_only_a_confirm_that_was_first_sent_after_the_holds_time_is_too_late(
    seconds_a_look: float, turned_away: int, too_late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten seconds between any two looks at the clock, a hold of five is over before."""
    monkeypatch.setattr("loadtests.shoppers._PAUSE_S", 0.0)
    looks = itertools.count()
    recorder = Recorder([1_000.0])
    shoppers = shoppers_of(
        Slow(turned_away),
        recorder,
        Journey("buys", steps=("hold", "confirm"), ttl_s=5),
        clock=lambda: next(looks) * seconds_a_look,
    )
    assert not await shoppers.go(0, 0.0)
    told = recorder.finish()
    expired = "FAILED_PRECONDITION RESERVATION_EXPIRED"
    assert told.reasons["confirm", DECLINED, expired] == 1
    assert (told.asked_again, told.confirms_too_late) == (turned_away, too_late)
    assert Recording.from_json(told.to_json()).confirms_too_late == too_late
