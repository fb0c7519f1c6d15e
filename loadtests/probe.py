"""Looks at the servers while they are under load: metrics, memory and processor time, twice a
second."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from loadtests.house import House

_EVERY_S = 0.5
_PATIENCE_S = 2.0
_LINE = re.compile(r"(?m)^(holdfast_\w+)(?:\{([^}]*)\})? (\S+)")
_CLASS = re.compile(r'class="(\w+)"')


@dataclass(slots=True)
class Sample:
    """One look."""

    at_s: float
    memory_bytes: int = 0
    """Of all servers."""
    queue_age_ms: dict[str, float] = field(default_factory=dict)
    """By class."""
    queue_commands: float = 0.0
    oversold_positions: float = 0.0
    expiry_due_ms: float = 0.0
    expired_holds: float = 0.0
    held: float = 0.0
    is_answered: bool = False
    """Whether any server's metrics came."""
    core_seconds: float = 0.0
    """Processor time that the servers which run have used so far."""


@dataclass(slots=True)
class Probe:
    """Samples until it is cancelled. `clock`: seconds from the run's beginning."""

    house: House
    clock: Callable[[], float]
    samples: list[Sample] = field(default_factory=list)

    async def watch(self) -> None:
        """Look, again and again."""
        while True:
            self.samples.append(await self.look())
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> Sample:
        """One look; what does not answer in time is left out."""
        sample = Sample(self.clock())
        for server in self.house.servers:
            if not server.is_running:
                continue
            sample.memory_bytes += server.resident_bytes()
            sample.core_seconds += server.core_seconds()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    _read(await _scrape(server.metrics_port), sample)
        return sample


async def _scrape(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return (await reader.read(-1)).decode("utf-8", "replace")
    finally:
        writer.close()


def _read(text: str, sample: Sample) -> None:
    values: dict[str, float] = {}
    for name, labels, value in _LINE.findall(text):
        if name == "holdfast_queue_age_seconds":
            found = _CLASS.search(labels)
            key = found[1] if found else ""
            age_ms = max(sample.queue_age_ms.get(key, 0.0), float(value) * 1e3)
            sample.queue_age_ms[key] = age_ms
        elif name == "holdfast_reservations" and 'state="held"' in labels:
            sample.held = max(sample.held, float(value))
        elif not labels:
            values[name] = float(value)
    if not values.get("holdfast_serving"):
        return
    sample.is_answered = True
    sample.queue_commands = values.get("holdfast_queue_commands", 0.0)
    sample.oversold_positions += values.get("holdfast_oversold_positions", 0.0)
    sample.expiry_due_ms = values.get("holdfast_expiry_due_seconds", 0.0) * 1e3
    sample.expired_holds = values.get("holdfast_expired_holds_total", 0.0)
