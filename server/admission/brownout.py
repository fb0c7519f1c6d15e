"""Whether less than the best answer is given, so that more are answered at all.

Two things have a cheaper answer that is still right: availability that was read a moment ago and
says so (`degraded`, with the time it was true at), and plans of the rule of thumb instead of the
search, for orders that are not usual ones (a usual order's search costs less than all else about
it). Selling has none: a hold is a hold.
"""

from __future__ import annotations

import enum
from collections.abc import Callable


class Mode(enum.Enum):
    """What the operator said."""

    AUTO = "auto"  # while the limiter says that more comes than can be answered
    ON = "on"
    OFF = "off"


class Brownout:
    """The switches. Callers: services ask before an answer whose cheaper form they have."""

    def __init__(self, mode: Mode, is_overloaded: Callable[[], bool]) -> None:
        self.mode = mode
        self._is_overloaded = is_overloaded
        self.degraded_answers = 0
        """Answers given in their cheaper form so far."""

    @property
    def is_active(self) -> bool:
        """Whether cheaper answers are given now."""
        if self.mode is Mode.AUTO:
            return self._is_overloaded()
        return self.mode is Mode.ON

    @property
    def cached_availability(self) -> bool:
        """Whether QueryAvailability may tell what it read a moment ago."""
        return self.is_active

    @property
    def greedy_routing(self) -> bool:
        """Whether routing takes the rule of thumb's plan without searching for a better one, where
        the order is not a usual one."""
        return self.is_active
