"""Working days: of a node, and of a carrier on the road."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DAYS_AHEAD = 800
"""How far ahead a working day is looked for: a year of transit over holidays."""

_MONDAY_TO_SATURDAY = frozenset(range(6))
_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()


def day_of(now_ms: int) -> int:
    """The day (an ordinal) that it is, in UTC."""
    return now_ms // _DAY_MS + _EPOCH


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    """Weekdays (0: Monday) that are worked, and the days off among them."""

    weekdays: frozenset[int]
    holidays: frozenset[date]

    @staticmethod
    def of(weekdays: Iterable[int], holidays: Iterable[str]) -> WorkCalendar:
        """From a Calendar's fields: weekdays from 1, none for Monday to Saturday."""
        days = frozenset(day - 1 for day in weekdays) or _MONDAY_TO_SATURDAY
        return WorkCalendar(days, frozenset(map(date.fromisoformat, holidays)))

    def works(self, day: date) -> bool:
        """Whether this day is worked."""
        return day.weekday() in self.weekdays and day not in self.holidays

    def next_from(self, day: date) -> date | None:
        """The first working day from `day` on; None where there is none in `DAYS_AHEAD`."""
        for _ in range(DAYS_AHEAD):
            if self.works(day):
                return day
            day += _DAY
        return None


@dataclass(frozen=True, slots=True)
class RoadDays:
    """A carrier's working days from a day on, to step over them without a loop."""

    passed: NDArray[np.int64]
    """(DAYS_AHEAD,) working days up to and with each day."""
    working: NDArray[np.int64]
    """Ordinals of the working days, in order."""


@lru_cache(maxsize=1024)
def road_days(calendar: WorkCalendar, base: int) -> RoadDays | None:
    """None for a calendar that never works."""
    first = date.fromordinal(base)
    works = np.array([calendar.works(first + _DAY * ahead) for ahead in range(DAYS_AHEAD)])
    if not works.any():
        return None
    return RoadDays(np.cumsum(works, dtype=np.int64), np.flatnonzero(works) + base)
