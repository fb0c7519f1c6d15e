"""A stall of the server shows in everybody's latency; a generator that waited would not see it.

All of it on a loop without real time: a second of service is no second of the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from loadtests import openloop
from loadtests.recording import SERVED, Recorder, Recording
from tests.simulation.virtual_loop import run_virtual

SERVICE_S = 0.001
STALL_FROM_S, STALL_UNTIL_S = 4.0, 6.0
RATE, SECONDS = 100, 10


class Stalling:
    """Answers in a millisecond, but not while it stalls."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def begin(self, number: int, due_s: float, now_s: float) -> Coroutine[Any, Any, None]:
        return self.go(number, due_s)

    async def go(self, number: int, due_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        if STALL_FROM_S <= now_s < STALL_UNTIL_S:
            await asyncio.sleep(STALL_UNTIL_S - now_s)
        await asyncio.sleep(SERVICE_S)
        self.recorder.ended("hold", SERVED, due_s, asyncio.get_running_loop().time())


def recorded(how: str) -> Recording:
    async def main() -> Recording:
        recorder = Recorder([float(SECONDS)])
        clock = asyncio.get_running_loop().time
        stalling = Stalling(recorder)
        if how == "open":
            due = (np.arange(RATE * SECONDS) / RATE).tolist()
            await openloop.open_loop(due, stalling.begin, recorder, clock=clock)
        else:
            await openloop.closed_loop(stalling.go, at_once=1, until_s=SECONDS, clock=clock)
        return recorder.finish()

    return run_virtual(main())


def test_a_planted_stall_shows_in_the_latencies() -> None:
    latencies = recorded("open").latencies(None, {"hold"})
    assert len(latencies) == RATE * SECONDS
    # 2 of 10 seconds stalled: a fifth of all waits, evenly from 2 s down to nothing.
    assert latencies.ms(79) == pytest.approx(SERVICE_S * 1e3, abs=2.0)
    assert latencies.ms(90) == pytest.approx(1_000, rel=0.05)
    assert latencies.ms(99.9) == pytest.approx(2_000, rel=0.05)


def test_a_closed_loop_would_have_left_the_slow_ones_out() -> None:
    latencies = recorded("closed").latencies(None, {"hold"})
    assert (latencies.ms(99.9) or 0) == pytest.approx(SERVICE_S * 1e3, abs=1.0)


def test_every_arrival_is_offered_in_the_second_it_was_due() -> None:
    told = recorded("open")
    assert [told.offered[second, "hold"] for second in range(SECONDS)] == [RATE] * SECONDS
    assert told.ended[5, "hold", SERVED] == 0
    assert told.ended[6, "hold", SERVED] == 3 * RATE


def test_latency_counts_from_when_it_was_due_even_if_the_generator_was_late() -> None:
    async def main() -> Recording:
        recorder = Recorder([10.0])
        clock = asyncio.get_running_loop().time
        stalling = Stalling(recorder)
        await asyncio.sleep(0.04)  # the generator itself is late
        await openloop.open_loop([0.0], stalling.begin, recorder, clock=clock)
        return recorder.finish()

    told = run_virtual(main())
    assert told.latencies(None, {"hold"}).ms(50) == pytest.approx(41, abs=0.5)
    assert told.lag.ms(50) == pytest.approx(40, abs=0.5)


def test_what_the_generator_can_not_begin_in_time_is_counted_and_left_out() -> None:
    async def main() -> Recording:
        recorder = Recorder([10.0])
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(openloop.BEHIND_S_MAX + 0.5)
        due = [0.0, 0.1, 1.0, 2.0]
        await openloop.open_loop(due, Stalling(recorder).begin, recorder, clock=clock)
        return recorder.finish()

    told = run_virtual(main())
    assert told.not_made == 2
    assert told.outcomes()[SERVED] == 2


def test_no_more_journeys_are_under_way_than_allowed() -> None:
    async def main() -> Recording:
        recorder = Recorder([10.0])
        clock = asyncio.get_running_loop().time
        due = [STALL_FROM_S + number / 100 for number in range(50)]
        await openloop.open_loop(
            due, Stalling(recorder).begin, recorder, clock=clock, under_way_max=20
        )
        return recorder.finish()

    told = run_virtual(main())
    assert told.outcomes()[SERVED] == 20
    assert told.not_made == 30


def test_a_journey_that_never_ends_is_cancelled_after_the_grace() -> None:
    async def main() -> bool:
        cancelled = False

        async def forever(number: int, due_s: float, now_s: float) -> None:
            nonlocal cancelled
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                cancelled = True
                raise

        clock = asyncio.get_running_loop().time
        await openloop.open_loop([0.0], forever, Recorder([1.0]), clock=clock, grace_s=5)
        return cancelled

    assert run_virtual(main())


def test_a_journey_that_ends_where_it_begins_is_begun_like_the_others() -> None:
    async def main() -> Recording:
        recorder = Recorder([10.0])
        stalling = Stalling(recorder)

        def every_second(number: int, due_s: float, now_s: float) -> Any:
            return stalling.go(number, due_s) if number % 2 else None

        due = [number / 1_000 for number in range(1_000)]
        clock = asyncio.get_running_loop().time
        await openloop.open_loop(due, every_second, recorder, clock=clock)
        return recorder.finish()

    told = run_virtual(main())
    assert told.begun_by_phase[0] == 1_000
    assert told.outcomes() == {SERVED: 500}
