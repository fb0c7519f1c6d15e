"""One run of one scenario from beginning to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Callable

from benchmarks.measure import cores
from holdfast import aio
from loadtests.crew import Crew
from loadtests.events import Events
from loadtests.house import House
from loadtests.judge import Verdict, judge
from loadtests.probe import Probe
from loadtests.result import Result, measure
from loadtests.scenario import Phase, Scenario
from loadtests.shop import open_shop

_LEAD_S = 1.5
_WARM_UP_S, _WARM_UP_QUICK_S = 3.0, 1.0
_VERIFY_S_MAX = 300.0
_GRACE_S_MIN = 5.0


async def run(scenario: Scenario, *, is_quick: bool, say: Callable[[str], None]) -> Result:
    """Start everything, put it under load, judge it. Raises RuntimeError when it can not be run."""
    async with House(scenario) as house:
        say(f"{len(house.servers)} server(s) serve; journal: {scenario.server.journal}")
        await open_shop(house.target, scenario.shop)
        async with Crew(scenario, house.target, house.directory) as crew:
            await crew.warm_up(_WARM_UP_QUICK_S if is_quick else _WARM_UP_S)
            capacity = None
            if scenario.load.saturation_s:
                capacity = await crew.saturate()
                say(f"capacity: {capacity[0]:,.0f} calls and {capacity[1]:,.0f} journeys a second")
            result = await _under_load(scenario, house, crew, capacity, say)
            result.is_quick = is_quick
            result.verification_differences = await _verify(house, result)
        for server in house.servers:
            if server.is_running:  # one that is not is counted as a death
                await server.stop()
        result.deaths = house.deaths
        result.drains_s = [took for server in house.servers for took in server.drains_s]
        say("judging: the whole journal is replayed")
        result.verdict = await judge(house.journal_url, crew.evidence_files)
    measure(result)
    return result


def stretches_of(
    phases: tuple[Phase, ...], capacity: tuple[float, float] | None
) -> list[tuple[float, float, float]]:
    """Each phase's seconds, and journeys a second at its beginning and end."""
    made = []
    for phase in phases:
        unit = 1.0
        first = phase.rate
        if phase.times is not None:
            assert capacity is not None
            unit, first = capacity[1], phase.times
        assert first is not None
        last = first if phase.until is None else phase.until
        made.append((phase.seconds, first * unit, last * unit))
    return made


async def _under_load(
    scenario: Scenario,
    house: House,
    crew: Crew,
    capacity: tuple[float, float] | None,
    say: Callable[[str], None],
) -> Result:
    events = Events(scenario, house)
    expire_at = await events.before()
    for note in events.happened.notes:
        say(note)
    lead_s = _LEAD_S
    for event in scenario.events:
        if event.kind == "expiry" and expire_at is not None:
            lead_s = expire_at - scenario.event_s(event) - time.time()
    start = time.monotonic() + lead_s
    start_unix_s = time.time() + lead_s

    def clock() -> float:
        return time.monotonic() - start

    stretches = stretches_of(scenario.phases, capacity)
    for phase, (seconds, first, last) in zip(scenario.phases, stretches, strict=True):
        rate = f"{first:,.0f}" + ("" if first == last else f" to {last:,.0f}")
        say(f"  {phase.name}: {seconds:g} s at {rate} journeys a second")
    probe = Probe(house, clock)
    probe.samples.append(await probe.look())
    watching = asyncio.ensure_future(probe.watch())
    happening = asyncio.ensure_future(events.during(clock))
    cuts = [scenario.event_s(event) for event in scenario.events if event.kind == "reconnect"]
    for at_s in cuts:
        events.happened.marks.append((at_s, at_s, "every connection is cut"))
    try:
        grace_s = max(_GRACE_S_MIN, 2 * scenario.callers.timeout_s)
        recording, witness = await crew.run(
            stretches,
            start=start,
            cut_at=cuts,
            grace_s=grace_s + scenario.callers.checkout_patience_s,
        )
        await happening
    finally:
        happening.cancel()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    probe.samples.append(await probe.look())
    used_s = recording.core_us_by_phase.total() / 1e6
    events.happened.notes.append(
        f"the generators used {used_s / scenario.seconds:.2f} cores; "
        f"{recording.not_made:,} journeys they could not begin in time"
    )
    if recording.connects:
        wanted = crew.size * scenario.callers.connections
        events.happened.notes.append(
            f"callers connected {recording.connects:,} times, to have {wanted:,} connections"
        )
    if witness is not None and not crew.is_witness_first:
        events.happened.notes.append(
            "the witness had to wait for its turn like the generators: only root may put it first"
        )
    return Result(
        scenario=scenario,
        stretches=stretches,
        capacity=capacity,
        recording=recording,
        witness=witness,
        samples=probe.samples,
        happened=events.happened,
        verdict=Verdict(),
        verification_differences=0,
        deaths=0,
        drains_s=[],
        start_unix_s=start_unix_s,
        machine=machine(),
        notes=list(events.happened.notes),
    )


async def _verify(house: House, result: Result) -> int:
    """What the server itself finds when it recomputes every balance."""
    async with aio.Client(house.target, slow_timeout=_VERIFY_S_MAX) as client:
        try:
            found = await client.verify(skip_state_hash=True)
        except Exception as error:  # noqa: BLE001 - a server that can not be asked is a finding
            result.notes.append(f"the live verification failed: {error}")
            return 1
    return len(found.differences)


def machine() -> str:
    """Where this ran, in a line."""
    name = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    there = len(cores()) or os.cpu_count() or 1
    load = f", load average {os.getloadavg()[0]:.1f} before it" if hasattr(os, "getloadavg") else ""
    return (
        f"{there} cores of {name or platform.machine()}, Python {platform.python_version()}{load}"
    )
