"""Ledger time: anchored once, blind to what happens to the wall clock."""

from __future__ import annotations

import asyncio

import pytest

from server.application.clock import SystemClock
from tests.simulation.virtual_loop import run_virtual

WALL_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class Machine:
    """A machine whose wall clock and monotonic clock a test moves."""

    def __init__(self) -> None:
        self.wall_ms = WALL_MS
        self.monotonic_ns = 5_000_000_000

    def clock(self, not_before_ms: int = 0) -> SystemClock:
        return SystemClock(
            not_before_ms=not_before_ms,
            wall_ms=lambda: self.wall_ms,
            monotonic_ns=lambda: self.monotonic_ns,
        )


def test_time_begins_at_the_wall_clock_and_goes_on_by_the_monotonic_one() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now_ms() == WALL_MS
    machine.monotonic_ns += 1_234_999_999
    assert clock.now_ms() == WALL_MS + 1_234
    assert clock.elapsed_s() == pytest.approx(1.234999999)


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
def test_a_wall_clock_that_jumps_changes_nothing(jump_ms: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ms += jump_ms
    machine.monotonic_ns += 1_000_000_000
    assert clock.now_ms() == WALL_MS + 1_000


def test_time_never_begins_before_the_journals_last() -> None:
    machine = Machine()
    machine.wall_ms -= HOUR_MS
    clock = machine.clock(not_before_ms=WALL_MS)
    assert clock.now_ms() == WALL_MS
    machine.monotonic_ns += 5_000_000
    assert clock.now_ms() == WALL_MS + 5


def test_a_timer_fires_when_ledger_time_has_come_and_not_before() -> None:
    async def run() -> list[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        clock = SystemClock(wall_ms=lambda: WALL_MS, monotonic_ns=lambda: round(loop.time() * 1e9))
        fired: list[tuple[str, int]] = []

        def note(name: str) -> None:
            fired.append((name, clock.now_ms() - WALL_MS))

        await asyncio.sleep(0.0105)
        clock.call_at(WALL_MS + 5_000, lambda: note("later"))
        clock.call_at(WALL_MS + 250, lambda: note("soon"))
        clock.call_at(WALL_MS - 99, lambda: note("overdue"))
        clock.call_at(WALL_MS + 300, lambda: note("never")).cancel()
        await asyncio.sleep(6)
        return fired

    assert run_virtual(run()) == [("overdue", 10), ("soon", 250), ("later", 5_000)]
