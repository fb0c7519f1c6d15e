"""The last promises of orders in their order, and after which of them prices are solved.

Owns: `PromiseLine`. The first promise of a period and every 50th after it is a point at which
prices are worked out anew, with the last 400 promises before it as the sample of the orders still
to come. Points are counted from the period's first promise that is known, so that they are the same
for whoever knows as many.

Invariants
1. Times never go back; a promise planned before the one ahead of it counts as planned with it.
2. Points are those of the running period, at most `points` of them, the last ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

from engine.routing.prices.duals.prices import EVERY, SAMPLE

POINTS_MAX: Final = 64
"""So many solves are made up for after a restart, each from the prices of the one before."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment at which prices are worked out."""

    number: int
    """Promises known until then, in all."""
    time_ms: int
    since_ms: int
    """Since when the promises of its sample have come."""


class PromiseLine:
    """Of one process, or of one state of the ledger."""

    def __init__(
        self,
        period_ms: int,
        *,
        sample: int = SAMPLE,
        every: int = EVERY,
        points: int = POINTS_MAX,
    ) -> None:
        self._period_ms, self._sample, self._every = period_ms, sample, every
        # One more than the sample: it says since when that has come.
        self._last: deque[tuple[str, int]] = deque(maxlen=1 + sample + points * every)
        self._known: set[str] = set()
        self._period = -1
        self._in_period = 0
        self.count = 0
        """Promises in all."""
        self.points: deque[Point] = deque(maxlen=points)

    def add(self, name: str, time_ms: int) -> None:
        """One more promise; one that is in the line already changes nothing. O(1)."""
        if name in self._known:
            return
        if self._last:
            time_ms = max(time_ms, self._last[-1][1])
            if len(self._last) == self._last.maxlen:
                self._known.discard(self._last[0][0])
        self._last.append((name, time_ms))
        self._known.add(name)
        self.count += 1
        period = time_ms // self._period_ms
        if period != self._period:
            self._period, self._in_period = period, 0
            self.points.clear()
        if self._in_period % self._every == 0:
            before = max(0, len(self._last) - 1 - self._sample)
            self.points.append(Point(self.count, time_ms, self._last[before][1]))
        self._in_period += 1

    def sample(self, point: Point) -> list[tuple[str, int]]:
        """Names and times of the last promises until a point, the oldest first."""
        end = len(self._last) - (self.count - point.number)
        return list(islice(self._last, max(0, end - self._sample), end))
