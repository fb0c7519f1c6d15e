"""The engine's kernels run as plain Python: every step can be counted and every row is checked.

Inside `interpreted` all kernels are replaced by the functions they were compiled from. Tables are
then watched: a row outside a table, which compiled code would read or write silently, raises
IndexError (a negative one too), and each access to a table is counted.
"""

from __future__ import annotations

import pkgutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray

import engine
from engine import apply, machine
from engine.state import State


class Row:
    """A record whose fields are attributes, written in place."""

    __slots__ = ("record",)

    def __init__(self, record: Any) -> None:
        object.__setattr__(self, "record", record)

    def __getattr__(self, name: str) -> Any:
        return self.record[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self.record[name] = value


class WatchedTable:
    """A table whose rows are read and written one by one, within its bounds."""

    def __init__(self, name: str, array: NDArray[Any], steps: Counter[str]) -> None:
        self.name = name
        self.array = array
        self.shape = array.shape
        self.steps = steps

    def _checked(self, at: Any) -> Any:
        self.steps[self.name] += 1
        for place, size in zip(at if isinstance(at, tuple) else (at,), self.shape, strict=False):
            if not isinstance(place, slice) and not 0 <= place < size:
                raise IndexError(f"{self.name}[{at}]: its shape is {self.shape}")
        return at

    def __getitem__(self, at: Any) -> Any:
        found = self.array[self._checked(at)]
        return Row(found) if self.array.dtype.names else found

    def __setitem__(self, at: Any, value: Any) -> None:
        self.array[self._checked(at)] = value.record if isinstance(value, Row) else value


class WatchedTables:
    """All tables of a state, as the kernels name them."""

    def __init__(self, arrays: dict[str, NDArray[Any]], steps: Counter[str]) -> None:
        for name, array in arrays.items():
            setattr(self, name, WatchedTable(name, array, steps))


@contextmanager
def interpreted() -> Iterator[Counter[str]]:
    """Run everything inside as plain Python; the steps by table."""
    steps: Counter[str] = Counter()
    saved: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, value: Any) -> None:
        saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def watched(state: State) -> WatchedTables:
        return WatchedTables(state.seen_by_kernels(), steps)

    for info in pkgutil.iter_modules(engine.__path__):
        module = import_module(f"engine.{info.name}")
        for name, value in list(vars(module).items()):
            if isinstance(value, Dispatcher):
                replace(module, name, value.py_func)
    # Looking ahead asks memory for what is needed soon: there is nothing to see in it here.
    replace(apply, "ahead", lambda *arguments: arguments[4])
    columns = vars(machine)["apply_columns"]

    def apply_columns(st: Any, now_ms: int, *arrays: NDArray[Any]) -> None:
        names = ("headers", "lines", "text")
        watched_arrays = (
            WatchedTable(name, array, steps) for name, array in zip(names, arrays, strict=True)
        )
        columns(st, np.int64(now_ms), *watched_arrays)

    replace(machine, "apply_columns", apply_columns)

    def keep(state: State, tables: Any) -> None:
        state.__dict__["tables"] = tables  # for after: the property hides it meanwhile

    setattr(State, "tables", property(watched, keep))  # noqa: B010
    try:
        with np.errstate(over="ignore"):
            yield steps
    finally:
        delattr(State, "tables")
        for owner, name, value in reversed(saved):
            setattr(owner, name, value)
