"""The one driver of all of them: a closed loop of grpc.aio calls, the same bytes for everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.calls import Call
from benchmarks.measure import no_collector


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round of one peer came to."""

    orders: int
    seconds: float
    p50_ms: float
    p99_ms: float
    core_ms_per_order: float
    """Processor time of all processes of the peer, the driver left out."""

    @property
    def orders_per_second(self) -> float:
        """Orders acknowledged a second."""
        return self.orders / self.seconds


async def drive(
    calls: Sequence[Call], messages: Iterator[bytes], *, seconds: float, in_flight: int
) -> tuple[list[float], float]:
    """Keep `in_flight` orders under way on each of `calls`. (latencies in seconds, seconds)

    An order that is refused ends the measurement: it raises.
    """
    latencies: list[float] = []
    started = time.perf_counter()
    until = started + seconds

    async def one_after_another(call: Call) -> None:
        while (began := time.perf_counter()) < until:
            await call(next(messages))
            latencies.append(time.perf_counter() - began)

    with no_collector():
        await asyncio.gather(*(one_after_another(call) for call in calls for _ in range(in_flight)))
    return latencies, time.perf_counter() - started
