"""How much work under way is right: a limit that follows the time answers take. Pure.

The gradient of Netflix's concurrency-limits (Gradient2Limit) and of Envoy's adaptive concurrency
filter: the limit is multiplied by (time that is tolerated) / (time it took) and gets some room on
top to find out whether more would do. Three differences; the first two because a ledger that
commits in groups is *slower by design* when more is under way, and still does more:

- What is tolerated never falls below `tolerated_ms_min`: below it no time is a sign of congestion.
- What is tolerated never grows above `tolerated_ms_max`, however long the congestion lasts: the
  usual time, which it is measured by, is learnt from congested times too, but ten times slower.
- Where answers are much faster than tolerated the limit grows by as much, at most twofold, instead
  of by the square root alone: after a stall it is back within a second, not within a minute.

Invariants
1. `limit_min <= limit <= limit_max`.
2. While answers are faster than `tolerated_ms_min` the limit never falls.
3. It grows only where at least half of it was in use, what was not needed was not tried out; or
   where it kept someone out while nothing told of any congestion (`rise`).

Callers: `limiter`, once a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# A usual time is what some 600 windows (a minute of 0.1 s) showed on average.
_USUAL_WEIGHT: Final = 1 / 600
_USUAL_WEIGHT_CONGESTED: Final = _USUAL_WEIGHT / 10
# One window in a bad way must not decide alone: each moves the limit half of the way.
_WEIGHT: Final = 0.5
_GRADIENT_MIN: Final = 0.5
_GRADIENT_MAX: Final = 2.0
_RISE: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Bounds of the limit, and what is tolerated. Times in milliseconds."""

    limit_min: int = 128
    """So few callers are no overload, however slow the machine is."""
    limit_max: int = 1_024
    tolerance: float = 2.0
    """How many times the usual time is still tolerated."""
    tolerated_ms_min: float = 50.0
    tolerated_ms_max: float = 200.0

    def __post_init__(self) -> None:
        if not 1 <= self.limit_min <= self.limit_max:
            raise ValueError(
                f"limit_min must lie between 1 and limit_max ({self.limit_max}), "
                f"not {self.limit_min}"
            )
        if self.tolerance < 1:
            raise ValueError(f"tolerance must be at least 1, not {self.tolerance}")
        if not 0 < self.tolerated_ms_min <= self.tolerated_ms_max:
            raise ValueError(
                "tolerated_ms_min must be above 0 and at most tolerated_ms_max "
                f"({self.tolerated_ms_max}), not {self.tolerated_ms_min}"
            )


class GradientLimit:
    """The limit. It begins at its maximum: a limit that nothing has asked for refuses nobody."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self._limit = float(settings.limit_max)
        self._usual_ms = 0.0

    @property
    def limit(self) -> int:
        """How much may be under way."""
        return int(self._limit)

    @property
    def usual_ms(self) -> float:
        """How long an answer usually takes; 0 before the first."""
        return self._usual_ms

    @property
    def tolerated_ms(self) -> float:
        """How long an answer may take before the limit falls."""
        settings = self.settings
        return min(
            settings.tolerated_ms_max,
            max(settings.tolerated_ms_min, settings.tolerance * self._usual_ms),
        )

    def update(self, took_ms: float, in_flight_max: int) -> int:
        """A window is over in which answers took `took_ms` on average and at most `in_flight_max`
        were under way; the new limit. O(1)."""
        if not took_ms > 0 or not math.isfinite(took_ms):
            raise ValueError(f"took_ms must be a finite number above 0, not {took_ms}")
        tolerated_ms = self.tolerated_ms
        is_congested = took_ms > tolerated_ms
        self._learn(took_ms, _USUAL_WEIGHT_CONGESTED if is_congested else _USUAL_WEIGHT)
        if not is_congested and in_flight_max < self.limit // 2:
            return self.limit
        gradient = max(_GRADIENT_MIN, min(_GRADIENT_MAX, tolerated_ms / took_ms))
        # Falling, it counts from what was under way: a limit far above that says nothing.
        base = min(self._limit, max(in_flight_max, 1)) if is_congested else self._limit
        aim = base * gradient + math.sqrt(base)
        moved = self._limit + (aim - self._limit) * _WEIGHT
        self._limit = max(self.settings.limit_min, min(self.settings.limit_max, moved))
        return self.limit

    def rise(self) -> int:
        """A window is over that kept someone out, and in which nothing was answered that tells how
        long answers take; the new limit. What lowered it may be long over. O(1)."""
        self._limit = min(self.settings.limit_max, self._limit * _RISE)
        return self.limit

    def _learn(self, took_ms: float, weight: float) -> None:
        if self._usual_ms == 0.0:
            self._usual_ms = min(took_ms, self.settings.tolerated_ms_max)
            return
        self._usual_ms += (took_ms - self._usual_ms) * weight
        if self._usual_ms > 2 * took_ms:
            # Much faster than usual: the usual was learnt in worse times.
            self._usual_ms *= 0.95
