"""All plans met so far, as the columns of a linear program.

Owns: `Columns`. A column's place never changes; the same plan met again is the same column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.routing.tariff import Integers
from engine.routing.waves.emit import COLUMNS, ENTRIES, Outlet


@dataclass(frozen=True, slots=True)
class Entries:
    """What some columns take: `column` counts within those asked for."""

    column: Integers
    resource: Integers
    taken: Integers


class _Row:
    """An array that grows."""

    def __init__(self) -> None:
        self._array: Integers = np.zeros(1 << 12, np.int64)
        self.size = 0

    def extend(self, values: Integers) -> None:
        needed = self.size + len(values)
        if needed > len(self._array):
            grown = np.zeros(max(needed, 2 * len(self._array)), np.int64)
            grown[: self.size] = self._array[: self.size]
            self._array = grown
        self._array[self.size : needed] = values
        self.size = needed

    @property
    def values(self) -> Integers:
        return self._array[: self.size]


class Columns:
    """(C) columns: order, cost in minor units, entries (resource, how much)."""

    def __init__(self) -> None:
        self._order, self._cost, self._start = _Row(), _Row(), _Row()
        self._resource, self._taken = _Row(), _Row()
        self._start.extend(np.zeros(1, np.int64))
        self._place_of: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return self._order.size

    @property
    def order(self) -> Integers:
        """(C,) whose plan it is."""
        return self._order.values

    @property
    def cost(self) -> Integers:
        """(C,) minor units."""
        return self._cost.values

    @property
    def start(self) -> Integers:
        """(C + 1,) where a column's entries begin."""
        return self._start.values

    @property
    def resource(self) -> Integers:
        """(E,) of each entry."""
        return self._resource.values

    @property
    def taken(self) -> Integers:
        """(E,) of each entry."""
        return self._taken.values

    def add(self, out: Outlet) -> Integers:
        """Keep what is new of an outlet; the places of all of its columns. Empties the outlet."""
        count = int(out.state[COLUMNS])
        places = np.zeros(count, np.int64)
        fresh = []
        size = len(self)
        keys = zip(out.order[:count].tolist(), out.mark[:count].tolist(), strict=True)
        for at, key in enumerate(keys):
            place = self._place_of.setdefault(key, size)
            if place == size:
                fresh.append(at)
                size += 1
            places[at] = place
        start = out.start[: count + 1]
        lengths = np.diff(start)
        is_fresh = np.zeros(count, np.bool_)
        is_fresh[fresh] = True
        kept = np.repeat(is_fresh, lengths)
        entries = int(out.state[ENTRIES])
        last = self._resource.size
        self._order.extend(out.order[:count][is_fresh])
        self._cost.extend(out.cost[:count][is_fresh])
        self._start.extend(last + np.cumsum(lengths[is_fresh]))
        self._resource.extend(out.resource[:entries][kept])
        self._taken.extend(out.taken[:entries][kept])
        out.clear()
        return places

    @staticmethod
    def of(
        order: Integers, cost: Integers, start: Integers, resource: Integers, taken: Integers
    ) -> Columns:
        """Columns that were found elsewhere, such as in another process."""
        made = Columns()
        for row, values in (
            (made._order, order),
            (made._cost, cost),
            (made._start, start[1:]),
            (made._resource, resource),
            (made._taken, taken),
        ):
            row.extend(values)
        return made

    def entries(self, columns: Integers) -> Entries:
        """The entries of some columns, one after another."""
        first = self.start[columns]
        lengths = self.start[columns + 1] - first
        owner = np.repeat(np.arange(len(columns)), lengths)
        before = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        at = np.arange(len(owner)) - before[owner] + first[owner]
        return Entries(owner, self.resource[at], self.taken[at])

    def scarce_entries(self, columns: Integers, capacity: Integers) -> Entries:
        """Those entries whose resource runs short where each order takes the most it could.

        The others hold nobody up: there is enough for every order at the one of `columns` that
        takes most of it. They are more than half of all.
        """
        entries = self.entries(columns)
        order = self.order[columns][entries.column]
        ranked = np.lexsort((entries.taken, entries.resource, order))
        order, resource = order[ranked], entries.resource[ranked]
        is_most = np.ones(len(ranked), np.bool_)
        is_most[:-1] = (order[1:] != order[:-1]) | (resource[1:] != resource[:-1])
        wanted = np.bincount(
            resource[is_most], weights=entries.taken[ranked[is_most]], minlength=len(capacity)
        )
        kept = (wanted > capacity)[entries.resource]
        return Entries(entries.column[kept], entries.resource[kept], entries.taken[kept])

    def taken_by(self, columns: Integers, resources: int) -> Integers:
        """(R,) what some columns take together."""
        entries = self.entries(columns)
        taken = np.bincount(entries.resource, weights=entries.taken, minlength=resources)
        return taken.astype(np.int64)

    def with_dues(self, columns: Integers, due: np.ndarray, fineness: int) -> np.ndarray:
        """(len(columns),) cost with a price on each resource, in 1/fineness of a minor unit."""
        entries = self.entries(columns)
        paid = np.bincount(
            entries.column, weights=entries.taken * due[entries.resource], minlength=len(columns)
        )
        return self.cost[columns] * fineness + paid
