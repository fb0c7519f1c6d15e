"""Long work on the event loop, in small steps that leave others their time.

A turn after each step keeps other calls from waiting long; but a loop that is busy all the time
counts as overloaded (`server.admission.limiter`), and then everybody is served less. So after a
stretch of work comes a rest, a part of it as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

STRETCH_S: Final = 0.008
REST_SHARE: Final = 0.25
"""Of the stretch: the loop is busy for four fifths of the time at most, with this work alone."""


class Pace:
    """Of one piece of long work."""

    def __init__(
        self,
        now_s: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now_s = now_s
        self._sleep = sleep
        self._since_s = now_s()

    async def turn(self) -> None:
        """Between two steps: let others have theirs, and rest when it is time."""
        worked_s = self._now_s() - self._since_s
        if worked_s < STRETCH_S:
            await self._sleep(0)
            return
        await self._sleep(REST_SHARE * worked_s)
        self._since_s = self._now_s()
