"""How many calls of a kind are under way together: whether one of them should wait for company.

Company saves the processor's time, which matters as far as there is none left: while the event loop
is half idle a call waits a quarter as long as when it is always busy.

Callers: `create_collector`, `gathering`; `server.lifecycle`, for the writer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BUSY_SHARE: Final = 0.8
"""An event loop that is busy for more of its time than this gains more by company than a caller
loses by waiting a few milliseconds for it."""
# There is load where so many were under way together of late ...
_LOAD_MIN: Final = 4
# ... of which figure this much is left with each set that goes.
_LEFT: Final = 0.95
# A set is large enough with this part of them, and with that where the loop is busy, within these
# bounds.
_TOGETHER: Final = 0.5
_TOGETHER_BUSY: Final = 0.9
_TOGETHER_MIN: Final = 8
_TOGETHER_MAX: Final = 1024
# Who has no more time than this goes alone: company would cost it what it has left.
_HURRY_S: Final = 0.25
_PATIENCE_MIN: Final = 0.1


class Crowd:
    """Counts them. Not right now but of late: after a quick commit there are few, which would then
    go alone, cost the most, and keep it so."""

    __slots__ = ("_busy_share", "_under_way", "of_late")

    def __init__(self, busy_share: Callable[[], float] = lambda: 1.0) -> None:
        """`busy_share`: of its time that the event loop was busy lately, 0 to 1."""
        self._busy_share = busy_share
        self._under_way = 0
        self.of_late = 0.0
        """The most that were under way together, less with every set that has gone since."""

    def enter(self) -> None:
        """One more is under way."""
        self._under_way += 1
        if self._under_way > self.of_late:
            self.of_late = self._under_way

    def leave(self, count: int = 1) -> None:
        """So many of them have their answers."""
        self._under_way -= count

    def set_goes(self) -> None:
        """Those who have gathered go on together."""
        self.of_late *= _LEFT

    @property
    def is_load(self) -> bool:
        """Whether company is to be expected."""
        return self.of_late >= _LOAD_MIN

    @property
    def patience(self) -> float:
        """How long to wait for company, as a part of the longest."""
        return max(_PATIENCE_MIN, min(1.0, self._busy_share() ** 2))

    @property
    def enough(self) -> float:
        """So many need not wait for more: while their answer comes the rest gathers."""
        part = _TOGETHER_BUSY if self._busy_share() > BUSY_SHARE else _TOGETHER
        return min(max(self.of_late * part, _TOGETHER_MIN), _TOGETHER_MAX)


def is_in_hurry(remaining_s: float | None) -> bool:
    """Whether a caller who waits so much longer should not wait for company. None: for ever."""
    return remaining_s is not None and remaining_s < _HURRY_S
