"""What the generators can make by themselves: the same journeys against a server that does nothing.

Without this figure nobody could tell a slow server from a slow generator.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import pin
from holdfast.v1 import reservation_service_pb2 as wire
from loadtests.crew import Crew
from loadtests.house import core_of_server
from loadtests.light.responder import respond
from loadtests.recording import HELD_BACK, SERVED
from loadtests.scenario import Callers, Journey, Load, Phase, Scenario, Shop

_RATES = (2_000, 4_000, 6_000, 8_000, 10_000, 12_000, 16_000, 20_000, 30_000, 40_000, 60_000)
_SECONDS = 3.0
_LAG_MS_MAX = 20.0
_MADE_SHARE_MIN = 0.99
FULL_CALLS_PER_SECOND = 3_000
"""What the full server takes; about what a server's core can."""


async def generator_capacity(*, say: Callable[[str], None]) -> dict[str, float]:
    """The most journeys of one hold each that one generator begins on time: 99 % of them within
    20 ms of when they are due.

    For our client and for a foreign one where all are answered, and for ours at a server that is
    full, where the throttle holds most of them back; with the microseconds of a core that one
    journey costs, and in the last case one that was held back, each where the most are made.
    """
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtests.capacity"), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        free, full = map(int, (await program.stdout.readline()).split())
        told: dict[str, float] = {}
        for client in ("holdfast", "foreign"):
            best = await _most(Callers(client=client, processes=1), free, say)
            told[f"journeys_per_second_{client}"] = best.rate
            told[f"us_a_journey_{client}"] = round(best.us_a_journey, 1)
        throttled = Callers(processes=1, throttle_k=1.3)
        best = await _most(throttled, full, say)
        told["journeys_per_second_full"] = best.rate
        told["us_a_journey_full"] = round(best.us_a_journey, 1)
        told["us_a_journey_held_back"] = round(best.us_held_back(told["us_a_journey_holdfast"]), 1)
        return told
    finally:
        program.kill()
        await program.wait()


@dataclass(frozen=True, slots=True)
class _Made:
    """What a generator made at a rate."""

    rate: float = 0.0
    journeys: int = 0
    held_back: int = 0
    sent: int = 0
    """Attempts that left the process."""
    core_us: int = 0

    @property
    def us_a_journey(self) -> float:
        """Of a core."""
        return self.core_us / max(1, self.journeys)

    def us_held_back(self, us_sent: float) -> float:
        """What is left for each journey held back, where one that was sent cost `us_sent`."""
        return (self.core_us - self.sent * us_sent) / max(1, self.held_back)


async def _most(callers: Callers, port: int, say: Callable[[str], None]) -> _Made:
    best = _Made()
    for rate in _RATES:
        scenario = Scenario(
            name="generator",
            title="The generator itself",
            shop=Shop(hot_share=1.0),
            callers=callers,
            load=Load(arrivals="constant"),
            phases=(Phase("even", _SECONDS, float(rate)),),
            journeys=(Journey("hold"),),
        )
        with tempfile.TemporaryDirectory(prefix="holdfast-generator-") as directory:
            async with Crew(scenario, f"127.0.0.1:{port}", Path(directory)) as crew:
                told, _ = await crew.run(
                    [(_SECONDS, rate, rate)], start=time.monotonic() + 1, cut_at=[], grace_s=5
                )
        ended = told.outcomes()
        journeys, held_back = told.begun_by_phase.total(), ended[HELD_BACK]
        made = _Made(
            rate,
            journeys,
            held_back,
            journeys - held_back + told.retries,
            told.core_us_by_phase.total(),
        )
        share = journeys / (_SECONDS * rate)
        lag_ms = told.lag.ms(99) or 0.0
        say(
            f"{callers.client}: {rate:,} a second: {share:.1%} begun, {lag_ms:.1f} ms late at p99, "
            f"{made.us_a_journey:.0f} us of a core each; {ended[SERVED]:,} served, "
            f"{held_back:,} held back"
        )
        if share < _MADE_SHARE_MIN or lag_ms > _LAG_MS_MAX:
            break
        best = made
    return best


async def _serve() -> None:
    reply = wire.CreateReservationResponse()
    reply.reservation.reservation_id = "0" * 36
    message = reply.SerializeToString()
    free, free_port = await respond(message)
    full, full_port = await respond(message, FULL_CALLS_PER_SECOND)
    print(free_port, full_port, flush=True)
    async with free, full:
        await asyncio.gather(free.serve_forever(), full.serve_forever())


if __name__ == "__main__":
    cores = core_of_server()
    pin(min(cores) if cores else None)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())
