"""One generator process: ``python -m loadtests.worker`` obeys lines of JSON on standard input.

Each order is answered by one line on standard output. A run's recording and its evidence go to
files that the order names. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.retry import RetryPolicy
from loadtests import openloop
from loadtests.callers import caller_of
from loadtests.recording import ANSWERED, Recorder, Recording
from loadtests.scenario import ROUTED, Journey, mixes, parse_parts
from loadtests.schedule import Stretch, arrival_times
from loadtests.shoppers import Shoppers

_WARM_UP_STEPS = ("browse", "hold", "track", "extend", "cancel")
_WARM_UP_AT_ONCE = 8
# While the capacity is measured nobody comes back by himself: each answer is one attempt's.
_ONCE = RetryPolicy(attempts_max=1, attempt_share=1.0)


class Worker:
    """Obeys orders for one scenario."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._parts = parse_parts(order["scenario"])
        self._target = order["target"]
        self._part, self._of = order["part"], order["parts"]

    async def warm_up(self, order: dict[str, Any]) -> dict[str, Any]:
        """Use every call a little, and give back what was held: a first call is slow anywhere."""
        begun = time.monotonic()

        def clock() -> float:
            return time.monotonic() - begun

        parts = self._parts
        steps: tuple[str, ...] = _WARM_UP_STEPS
        if parts.shop.carrier_services:
            steps = (*ROUTED, "cancel", *steps)
        caller = caller_of(parts.callers, self._target, throttled=False)
        shoppers = Shoppers(
            caller,
            replace(parts.shop, hot_share=0.0),
            (Journey("warm-up", 1.0, steps),),
            parts.callers,
            Recorder([order["seconds"]]),
            chance=random.Random(f"warm/{self._part}"),
            clock=clock,
            name=f"w{self._part}",
        )
        await openloop.closed_loop(
            shoppers.go, at_once=_WARM_UP_AT_ONCE, until_s=order["seconds"], clock=clock
        )
        await caller.close()
        _write_evidence(shoppers, order)
        return {}

    async def saturate(self, order: dict[str, Any]) -> dict[str, Any]:
        """Keep some journeys under way; count what was answered after a fifth of the time."""
        begun = time.monotonic()

        def clock() -> float:
            return time.monotonic() - begun

        seconds = order["seconds"]
        warm_s = seconds / 5
        recorder = Recorder([warm_s, seconds])
        settings = self._parts.callers
        caller = caller_of(settings, self._target, throttled=False, retry=_ONCE)
        shoppers = self._shoppers(caller, recorder, clock, f"s{self._part}")
        shoppers.hurries = True
        journeys = 0

        async def go(number: int, due_s: float) -> bool:
            nonlocal journeys
            came = await shoppers.go(number, due_s)
            if warm_s <= clock() < seconds:
                journeys += 1
            return came

        await openloop.closed_loop(go, at_once=order["in_flight"], until_s=seconds, clock=clock)
        await caller.close()
        outcomes = recorder.finish().outcomes({1})
        answered = sum(outcomes[outcome] for outcome in ANSWERED)
        # A journey that was turned away took none of the capacity, and would count as one.
        answered_share = answered / max(1, outcomes.total())
        _write_evidence(shoppers, order)
        return {
            "calls_per_second": answered / (seconds - warm_s),
            "journeys_per_second": journeys * answered_share / (seconds - warm_s),
        }

    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Begin journeys by the schedule; `start` is a moment of the monotonic clock."""
        stretches = [Stretch(*each) for each in order["stretches"]]
        ends, at = [], 0.0
        for stretch in stretches:
            at += stretch.seconds
            ends.append(at)
        load = self._parts.load
        due = arrival_times(
            stretches,
            is_poisson=load.arrivals == "poisson",
            seed=load.seed,
            part=self._part,
            parts=self._of,
        ).tolist()
        start: float = order["start"]

        def clock() -> float:
            return time.monotonic() - start

        recorder = Recorder(ends)
        caller = caller_of(self._parts.callers, self._target)
        shoppers = self._shoppers(caller, recorder, clock, f"{self._part}", ends)
        cuts = [asyncio.ensure_future(_cut_at(caller.cut, at_s, clock)) for at_s in order["cut_at"]]
        core_used = asyncio.ensure_future(_core_used(ends, recorder.recording, clock))
        # Nothing is freed in cycles that would matter within minutes; its pauses would.
        gc.collect()
        gc.freeze()
        gc.disable()
        await openloop.open_loop(
            due, shoppers.begin, recorder, clock=clock, grace_s=order["grace_s"]
        )
        gc.enable()
        for cut in cuts:
            cut.cancel()
        await core_used
        await caller.close()
        recording = recorder.finish()
        recording.retries = caller.retries
        recording.connects = caller.connects
        _write(order["recording"], recording.to_json())
        _write_evidence(shoppers, order)
        return {}

    def _shoppers(
        self, caller: Any, recorder: Recorder, clock: Any, name: str, ends: Sequence[float] = ()
    ) -> Shoppers:
        parts = self._parts
        by_phase = list(zip(ends, mixes(parts), strict=True)) if ends else []
        return Shoppers(
            caller,
            parts.shop,
            parts.journeys,
            replace(parts.callers),
            recorder,
            chance=random.Random(f"{parts.load.seed}/{name}"),
            clock=clock,
            name=name,
            mixes=by_phase,
        )


async def _cut_at(cut: Any, at_s: float, clock: Any) -> None:
    await asyncio.sleep(max(0.0, at_s - clock()))
    cut()


async def _core_used(ends: Sequence[float], recording: Recording, clock: Any) -> None:
    """Note the processor time that this process uses until each of `ends`."""
    await asyncio.sleep(max(0.0, -clock()))
    before_s = time.process_time()
    for phase, end_s in enumerate(ends):
        await asyncio.sleep(max(0.0, end_s - clock()))
        used_s = time.process_time()
        recording.core_us_by_phase[phase] = round((used_s - before_s) * 1e6)
        before_s = used_s


def _write_evidence(shoppers: Shoppers, order: dict[str, Any]) -> None:
    told = {"acknowledged": shoppers.evidence.acknowledged, "short": shoppers.evidence.short}
    _write(order["evidence"], told)


def _write(file: str, told: dict[str, Any]) -> None:
    Path(file).write_text(json.dumps(told))


async def main() -> None:
    """Obey until there is nobody left to be obeyed."""
    loop = asyncio.get_running_loop()
    worker: Worker | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "prepare":
            worker, answer = Worker(order), {}
        else:
            assert worker is not None
            answer = await getattr(worker, order["do"])(order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
