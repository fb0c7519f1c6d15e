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
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import pin
from holdfast.v1 import reservation_service_pb2 as wire
from loadtests.crew import Crew
from loadtests.house import core_of_server
from loadtests.light.responder import respond
from loadtests.recording import SERVED
from loadtests.scenario import Callers, Journey, Load, Phase, Scenario

_RATES = (2_000, 4_000, 6_000, 8_000, 10_000, 12_000, 16_000, 20_000, 30_000, 40_000)
_SECONDS = 4.0
_LAG_MS_MAX = 20.0
_SHARE_MIN = 0.99


async def generator_capacity(*, say: Callable[[str], None]) -> dict[str, float]:
    """The most journeys of one hold each that begin on time, for our client and for a foreign one.

    "On time": 99 % begin within 20 ms of when they are due, and are answered.
    """
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtests.capacity"), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        port = int(await program.stdout.readline())
        told = {}
        for client in ("holdfast", "foreign"):
            told[f"journeys_per_second_{client}"] = await _most(client, port, say)
        return told
    finally:
        program.kill()
        await program.wait()


async def _most(client: str, port: int, say: Callable[[str], None]) -> float:
    best = 0.0
    for rate in _RATES:
        scenario = Scenario(
            name="generator",
            title="The generator itself",
            callers=Callers(client=client, processes=1),
            load=Load(arrivals="constant"),
            phases=(Phase("even", _SECONDS, float(rate)),),
            journeys=(Journey("hold"),),
        )
        scenario = replace(scenario)
        with tempfile.TemporaryDirectory(prefix="holdfast-generator-") as directory:
            async with Crew(scenario, f"127.0.0.1:{port}", Path(directory)) as crew:
                told, _ = await crew.run(
                    [(_SECONDS, rate, rate)], start=time.monotonic() + 1, cut_at=[], grace_s=5
                )
        served = told.outcomes()[SERVED] / (_SECONDS * rate)
        lag_ms = told.lag.ms(99) or 0.0
        say(f"{client}: {rate:,} a second: {served:.1%} served, begun {lag_ms:.1f} ms late at p99")
        if served < _SHARE_MIN or lag_ms > _LAG_MS_MAX:
            break
        best = float(rate)
    return best


async def _serve() -> None:
    reply = wire.CreateReservationResponse()
    reply.reservation.reservation_id = "0" * 36
    server, port = await respond(reply.SerializeToString())
    print(port, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    cores = core_of_server()
    pin(min(cores) if cores else None)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())
