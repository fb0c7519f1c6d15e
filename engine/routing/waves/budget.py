"""How long a wave may be worked on: the caller's clock, or work that is counted.

Owns: `Budget`, `ClockBudget`, `WorkBudget`. The engine reads no clock; a caller gives one. With a
`WorkBudget` the same wave has the same answer on every machine, however slow: every step is charged
what it takes on one core of about 2020, and solvers are limited by their own deterministic time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Budget(Protocol):
    """Seconds for a wave."""

    @property
    def total_s(self) -> float:
        """All of them."""
        ...

    @property
    def is_deterministic(self) -> bool:
        """Whether `left_s` depends on nothing but what was spent."""
        ...

    def left_s(self) -> float:
        """What is left; may be negative."""
        ...

    def spend(self, work_s: float) -> None:
        """Work has been done that takes about so long."""
        ...


@dataclass(slots=True)
class WorkBudget:
    """Counted work; seconds only by name."""

    total_s: float
    spent_s: float = 0.0
    is_deterministic: bool = True

    def left_s(self) -> float:
        """What was not spent."""
        return self.total_s - self.spent_s

    def spend(self, work_s: float) -> None:
        """Count it."""
        self.spent_s += work_s


class ClockBudget:
    """Seconds by a clock of the caller's, such as ``time.monotonic``."""

    is_deterministic = False

    def __init__(self, total_s: float, clock: Callable[[], float]) -> None:
        self.total_s = total_s
        self._clock = clock
        self._end = clock() + total_s

    def left_s(self) -> float:
        """Until the time is up."""
        return self._end - self._clock()

    def spend(self, work_s: float) -> None:
        """The clock has seen it."""
