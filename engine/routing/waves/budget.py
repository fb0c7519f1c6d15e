"""How long a wave may be worked on: the caller's clock, or work that is counted.

Owns: `Budget`, `ClockBudget`, `WorkBudget`, `search_work_s`. The engine reads no clock; a caller
gives one. With a `WorkBudget` the same wave has the same answer on every machine, however slow:
every step is charged what it takes on one core of about 2020, and solvers are limited by their own
deterministic time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

NO_CLOCK_S: Final = 1e6
"""What a clock leaves that is not there."""

_WORK_S_PER_NODE = 2e-6
_WORK_S_PER_STEP = 3e-8


def search_work_s(nodes: int, steps: int) -> float:
    """What one look at each order takes: `nodes` of all of them, `steps` of their searches."""
    return nodes * _WORK_S_PER_NODE + steps * _WORK_S_PER_STEP


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

    def clock_left_s(self) -> float:
        """Until a clock stops it; NO_CLOCK_S where none does."""
        ...

    def stopping(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """Within it `stop` is called, from another thread, when nothing is left: by budgets whose
        clock is not the wall's, where a step can not look at it and would take too long."""
        ...

    def spend(self, work_s: float) -> None:
        """Work has been done that takes about so long."""
        ...


Stopping = Callable[[Callable[[], None]], AbstractContextManager[None]]


def nobody_stops(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """Nobody calls `stop`."""
    return nullcontext()


@dataclass(slots=True)
class WorkBudget:
    """Counted work; seconds only by name.

    `until`: says how long a clock still leaves, for callers who wait no longer than that. Where it
    stops the work before the count does, the answer is not the same on another machine
    (`is_deterministic`).
    """

    total_s: float
    spent_s: float = 0.0
    until: Callable[[], float] | None = None
    is_deterministic: bool = True

    def left_s(self) -> float:
        """What was not spent."""
        if self.clock_left_s() <= 0:
            self.is_deterministic = False
            return min(0.0, self.total_s - self.spent_s)
        return self.total_s - self.spent_s

    def clock_left_s(self) -> float:
        """What the clock leaves."""
        return NO_CLOCK_S if self.until is None else self.until()

    def stopping(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """Nobody does: who works long asks for `clock_left_s` before."""
        return nullcontext()

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

    def clock_left_s(self) -> float:
        """The same."""
        return self.left_s()

    def stopping(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """Nobody does: who works long asks for `clock_left_s` before."""
        return nullcontext()

    def spend(self, work_s: float) -> None:
        """The clock has seen it."""
