"""A budget of processor time, for machines that others use too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from engine.routing.waves.budget import NO_CLOCK_S, ClockBudget

_LOOK_EVERY_S: Final = 0.01


class CoreBudget(ClockBudget):
    """Seconds of this process's processor time."""

    def __init__(self, total_s: float) -> None:
        super().__init__(total_s, time.process_time)

    def clock_left_s(self) -> float:
        """The wall clock stops nothing."""
        return NO_CLOCK_S

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within it `stop` is called when the processor time is used up."""
        is_over = threading.Event()

        def watch() -> None:
            # More than once: before a search has begun there is nothing to stop.
            while not is_over.wait(_LOOK_EVERY_S):
                if self.left_s() <= 0:
                    stop()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()
