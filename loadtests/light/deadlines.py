"""The deadlines of many calls by one timer: a timer for each would cost as much as sending it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

_STEP_S = 0.004


class Deadlines:
    """Calls `on_due` with each number that was added, at most `_STEP_S` and a turn of the loop
    after its deadline.

    Most calls end long before: whether there is still something to do is for `on_due` to know.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[int], None]) -> None:
        self._loop = loop
        self._on_due = on_due
        self._steps: dict[int, list[int]] = {}
        self._looked = 0

    def add(self, number: int, deadline: float) -> None:
        """`deadline` in seconds of the loop's clock."""
        step = math.ceil(deadline / _STEP_S)
        numbers = self._steps.get(step)
        if numbers is not None:
            numbers.append(number)
            return
        if not self._steps:
            self._looked = int(self._loop.time() / _STEP_S) - 1
            self._loop.call_later(_STEP_S, self._look)
        # What is due already is found by the next look.
        self._steps.setdefault(max(step, self._looked + 1), []).append(number)

    def _look(self) -> None:
        now = int(self._loop.time() / _STEP_S)
        for step in range(self._looked + 1, now + 1):
            for number in self._steps.pop(step, ()):
                self._on_due(number)
        self._looked = now
        if self._steps:
            self._loop.call_later(_STEP_S, self._look)
