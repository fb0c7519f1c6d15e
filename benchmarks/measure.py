"""Measuring: clocks, what to keep of several rounds, one core for one process.

Figures of a kernel are taken by the thread's own processor time: on a machine that others use too
it is what the kernel costs one core, where the wall clock would show what the others left over.
Figures of a server are taken by the wall clock, in rounds that alternate with what they are
compared with.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Say = Callable[[str], None]
"""Prints one line of progress."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and greatest of some measurements of one thing, in their unit."""

    least: float
    median: float
    greatest: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return Spread(min(values), statistics.median(values), max(values))

    def show(self, form: str = ",.2f") -> str:
        """For a line of progress."""
        return f"{self.median:{form}} ({self.least:{form}} to {self.greatest:{form}})"


def core_s() -> float:
    """Processor time of this thread in seconds."""
    return time.thread_time()


def cores() -> list[int]:
    """Numbers of the cores this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(core: int | None) -> None:
    """Keep this process on one core; nothing happens where there is no such thing."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def two_cores() -> tuple[int | None, int | None]:
    """The server's core and the callers': the first and the last there are."""
    there = cores()
    return (there[0], there[-1]) if len(there) > 1 else (None, None)


@contextmanager
def no_collector() -> Iterator[None]:
    """No garbage collection inside: it is the caller's, not what is measured."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
