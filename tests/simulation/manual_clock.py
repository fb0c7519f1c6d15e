"""Ledger time that stands still until a test moves it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

START_MS = 1_700_000_000_000


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """See `server.application.clock.Clock`. Timers fire inside `advance`, in their order."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._now_ms = start_ms
        self._start_ms = start_ms
        self._order = itertools.count()
        self._timers: list[tuple[int, int, _Timer]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def elapsed_s(self) -> float:
        return (self._now_ms - self._start_ms) / 1e3

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (when_ms, next(self._order), timer))
        return timer

    def advance(self, milliseconds: int) -> None:
        """Move on, firing what falls due on the way."""
        end_ms = self._now_ms + milliseconds
        while self._timers and self._timers[0][0] <= end_ms:
            when_ms, _, timer = heapq.heappop(self._timers)
            self._now_ms = max(self._now_ms, when_ms)
            if timer.callback is not None:
                timer.callback()
        self._now_ms = end_ms

    @property
    def armed(self) -> list[int]:
        """When the timers that are still to fire are due."""
        return sorted(when_ms for when_ms, _, timer in self._timers if timer.callback is not None)
