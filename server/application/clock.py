"""Ledger time, as a port: the one place where the server reads a clock.

Ledger time is the wall clock's time at start plus what has passed since by the monotonic clock. A
wall clock that is set back or forward while the server runs therefore changes nothing: no hold
expires early or late. It also never begins before the last time in the journal, so it does not go
back over a restart either; a wall clock that is behind then catches up by standing still for us.

(While a machine is suspended the monotonic clock stands still: holds then live that much longer.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come. Nothing happens when it has come already."""
        ...


class Clock(Protocol):
    """Ledger time and durations."""

    def now_ms(self) -> int:
        """Ledger time in milliseconds since 1970. Never goes back."""
        ...

    def elapsed_s(self) -> float:
        """Seconds since some fixed moment, for measuring durations."""
        ...

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop once ledger time has reached `when_ms`."""
        ...


class SystemClock:
    """The real clock, anchored when it is made."""

    def __init__(
        self,
        *,
        not_before_ms: int = 0,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Anchor at the wall clock, or at `not_before_ms` where that is later."""
        self._monotonic_ns = monotonic_ns
        self._anchor_ms = max(wall_ms(), not_before_ms)
        self._anchor_ns = monotonic_ns()

    def now_ms(self) -> int:
        """The anchor plus what has passed since."""
        return self._anchor_ms + (self._monotonic_ns() - self._anchor_ns) // 1_000_000

    def elapsed_s(self) -> float:
        """Seconds since the anchor."""
        return (self._monotonic_ns() - self._anchor_ns) / 1e9

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Timer:
        """A timer of the running event loop, which counts by the monotonic clock too."""
        wait_s = max(0.0, (when_ms - self._anchor_ms) / 1e3 - self.elapsed_s())
        return asyncio.get_running_loop().call_later(wait_s, callback)
