"""What happens to the house during a run: each event of a scenario, at its moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from holdfast import aio
from loadtests.house import ROOT, House, ServerProcess, cores_of_callers, pinned
from loadtests.scenario import Event, Scenario

_SEED_HOLDS_A_SECOND = 20_000
_SEED_SPARE_S = 8.0
_READY_S_MAX = 120.0
# Attackers have machines of their own. Here they take what honest callers leave of a core: else the
# honest would wait for their own turn, and that would be taken for the server's slowness.
_ATTACKER_NICE = 19


@dataclass(slots=True)
class Happened:
    """What was done, for the report and the measures."""

    marks: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, until, what), seconds from the run's beginning."""
    feed_rows: int = 0
    attacks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Events:
    """All events of a run. `clock`: seconds from its beginning."""

    scenario: Scenario
    house: House
    happened: Happened = field(default_factory=Happened)
    _attackers: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    async def before(self) -> float | None:
        """What has to be there before the run: the Unix second at which the holds of an `expiry`
        begin to end, or None. The first phase has to begin in time for it."""
        for event in self.scenario.events:
            if event.kind == "expiry":
                return await self._seed(event)
        return None

    async def _seed(self, event: Event) -> float:
        lead_s = self.scenario.event_s(event)
        expire_at = time.time() + event.holds / _SEED_HOLDS_A_SECOND + lead_s + _SEED_SPARE_S
        told = await self._companion(
            "holds",
            {
                "holds": event.holds,
                "expire_at": expire_at,
                "within_s": event.for_s,
            },
        )
        self.happened.notes.append(
            f"{told['made']:,} holds were made in {told['seconds']:.1f} s, "
            f"{told['refused']:,} refused"
        )
        if time.time() > expire_at - lead_s:
            raise RuntimeError(
                f"making {event.holds:,} holds took {told['seconds']:.0f} s: they end too early"
            )
        if told["refused"]:
            raise RuntimeError(f"{told['refused']:,} of {event.holds:,} holds were refused")
        return expire_at

    async def during(self, clock: Callable[[], float]) -> None:
        """Let every event happen at its time; ends when all are over."""
        others = [event for event in self.scenario.events if event.kind != "reconnect"]
        await asyncio.gather(*(self._happen(event, clock) for event in others))

    async def _happen(self, event: Event, clock: Callable[[], float]) -> None:
        if event.kind == "hostile":
            # A program takes its time to start, on a busy core seconds: it waits for its cue.
            attacker = await self._start(_attack_of(event, self.house.target))
            os.setpriority(os.PRIO_PROCESS, attacker.pid, _ATTACKER_NICE)
            self._attackers[id(event)] = attacker
        await asyncio.sleep(max(0.0, self.scenario.event_s(event) - clock()))
        began_s = clock()
        text = await getattr(self, f"_{event.kind}")(event)
        self.happened.marks.append((began_s, clock(), text))

    async def _expiry(self, event: Event) -> str:
        await asyncio.sleep(event.for_s)
        return f"{event.holds:,} holds end"

    async def _slow_redis(self, event: Event) -> str:
        proxy = self.house.redis_proxy
        assert proxy is not None
        before = proxy.faults
        proxy.change(
            latency_ms=event.latency_ms, jitter_ms=event.jitter_ms, black_hole=event.black_hole
        )
        try:
            await asyncio.sleep(event.for_s)
        finally:
            proxy.set(before)
        if event.black_hole:
            return "Redis silent"
        return f"Redis {event.latency_ms:g} to {event.latency_ms + event.jitter_ms:g} ms late"

    async def _restart(self, event: Event) -> str:
        """Every server once: SIGTERM, start again, wait until it serves or stands by."""
        servers = self.house.servers
        first = await self._serving()
        for server in [first, *(each for each in servers if each is not first)]:
            took_s = await server.stop()
            self.happened.notes.append(f"{server.target} drained in {took_s:.2f} s")
            server.launch()
            await server.ready(service="holdfast.ready" if len(servers) > 1 else "")
        return "rolling restart" if len(servers) > 1 else "restart"

    async def _kill(self, event: Event) -> str:
        server = await self._serving()
        await server.kill()
        server.launch()
        await server.ready(service="holdfast.ready" if len(self.house.servers) > 1 else "")
        return "kill -9"

    async def _serving(self) -> ServerProcess:
        until = time.monotonic() + _READY_S_MAX
        while time.monotonic() < until:
            for server in self.house.servers:
                async with aio.Client(server.target) as client:
                    with contextlib.suppress(Exception):
                        await client.wait_until_serving(0.3)
                        return server
        raise RuntimeError("no server serves")

    async def _feed(self, event: Event) -> str:
        told = await self._companion("feed", {"rows": event.rows, "feed_id": "peak"})
        self.happened.feed_rows += told["rows"]
        self.happened.notes.append(
            f"feed: {told['rows']:,} rows in {told['seconds']:.1f} s "
            f"({told['rows'] / max(told['seconds'], 1e-9):,.0f} a second)"
        )
        return f"feed of {event.rows:,} rows"

    async def _hostile(self, event: Event) -> str:
        told = await self._finish(self._attackers.pop(id(event)), {})
        self.happened.attacks.append(told)
        self.happened.notes.append(
            f"{event.attack}: " + ", ".join(f"{key} {value:,}" for key, value in told.items())
        )
        return event.attack.replace("_", " ")

    async def _companion(self, kind: str, order: dict[str, Any]) -> dict[str, Any]:
        shop = asdict(self.scenario.shop)
        full = {**order, "target": self.house.target, "shop": shop}
        return await self._program(["loadtests.companions", kind], full)

    async def _program(self, module: list[str], order: dict[str, Any]) -> dict[str, Any]:
        """Start a program of ours and await what it says."""
        return await self._finish(await self._start(module), order)

    async def _start(self, module: list[str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *pinned([sys.executable, "-m", *module], cores_of_callers()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )

    async def _finish(
        self, program: asyncio.subprocess.Process, order: dict[str, Any]
    ) -> dict[str, Any]:
        """Give it its order, a line; returns the last line it says. Raises RuntimeError."""
        try:
            told, _ = await program.communicate(json.dumps(order).encode() + b"\n")
        except asyncio.CancelledError:
            program.kill()
            await program.wait()
            raise
        if program.returncode:
            raise RuntimeError(f"a program of the run ended with {program.returncode}; see above")
        answer: dict[str, Any] = json.loads(told.decode().splitlines()[-1])
        return answer


def _attack_of(event: Event, target: str) -> list[str]:
    """The module and its arguments; it begins with the first line it is given."""
    return [
        *("loadtests.hostile", event.attack, "--target", target.split(",")[0], "--wait"),
        *("--seconds", str(event.for_s), "--connections", str(event.connections)),
        *("--per-second", str(event.per_second)),
    ]
