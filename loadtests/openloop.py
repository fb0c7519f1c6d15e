"""The two ways to begin journeys: when they are due, or whenever an earlier one ends.

The open loop never waits for an answer: what is due begins, however many are under way. So a server
that stalls meets a queue, as it would in a sale, and the stall shows in everybody's latency. A loop
that waited would leave out just the calls that would have been slow (Tene's coordinated omission).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from loadtests.recording import Recorder

UNDER_WAY_MAX = 200_000
# A generator that falls behind leaves arrivals out and counts them. Would it begin them late, its
# own slowness would be in every latency, and be taken for the server's.
BEHIND_S_MAX = 0.05
_TICK_S = 0.001
# Answers are heard also while many are due.
_BEGUN_AT_ONCE_MAX = 64
Begin = Callable[[int, float, float], Coroutine[Any, Any, object] | None]
"""A journey by its number, when it is due and when that is; None: it ended where it began."""
Go = Callable[[int, float], Awaitable[object]]
"""A journey by its number and when it is due, to its end."""


async def open_loop(
    due: Sequence[float],
    begin: Begin,
    recorder: Recorder,
    *,
    clock: Callable[[], float],
    under_way_max: int = UNDER_WAY_MAX,
    grace_s: float = 30.0,
) -> None:
    """Begin a journey at each of `due`, ascending seconds of `clock`; return when all have ended.

    Journeys that still run `grace_s` after the last one began are cancelled. Those that this
    generator can not begin within `BEHIND_S_MAX`, or beyond `under_way_max` at once, are left out
    and counted: they say something about the generator, nothing about the server.
    """
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[object]] = set()
    at, count = 0, len(due)
    while at < count:
        now_s = clock()
        pause_at = min(at + _BEGUN_AT_ONCE_MAX, count)
        while at < pause_at and (due_s := due[at]) <= now_s:
            # Asked anew each time: what begins late is told how late.
            begun_s = clock()
            if begun_s - due_s > BEHIND_S_MAX or len(under_way) >= under_way_max:
                recorder.recording.not_made += 1
            else:
                recorder.began(due_s, begun_s)
                journey = begin(at, due_s, begun_s)
                if journey is not None:
                    task = loop.create_task(journey)
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
            at += 1
        if at < count:
            left_s = due[at] - clock()
            await asyncio.sleep(max(left_s, _TICK_S) if left_s > 0 else 0)
    if under_way:
        _, left = await asyncio.wait(under_way, timeout=grace_s)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def closed_loop(go: Go, *, at_once: int, until_s: float, clock: Callable[[], float]) -> int:
    """Keep `at_once` journeys under way until `until_s` of `clock`; returns how many ended."""
    ended = 0

    async def one_after_another(first: int) -> None:
        nonlocal ended
        number = first
        while (now_s := clock()) < until_s:
            await go(number, now_s)
            number += at_once
            ended += 1

    await asyncio.gather(*(one_after_another(first) for first in range(at_once)))
    return ended
