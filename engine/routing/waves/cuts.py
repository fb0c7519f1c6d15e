"""Cuts: what several orders can not take together, though shares of their plans could.

The linear program over plans may give an order half of one plan and half of another. Take some of
its rows (what a resource has, that an order has one plan) whose right sides add up to an odd
number, add them, halve, and round every coefficient down: whole plans keep to the right side
rounded down too (Chvatal 1973, Gomory 1958), shares of plans may not. Such a cut is

    sum over chosen plans of floor((order's row is in it + units taken of its resources) / 2)
    <= floor((rows of orders in it + what there is of its resources) / 2)

With a price on each cut the bound of `pricing` stays one, and is higher: every order's plans pay
for what they take together (`engine.routing.cuts`), which the exact search adds, whatever plans
have been met. Rows of pickups are left out, as a plan's services are chosen by cost.

Owns: `Cuts`, `Coefficients`, `Charged`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine.compiled import Integer, kernel
from engine.routing.cuts import EVERY_LINE
from engine.routing.tariff import Integers
from engine.routing.view import View
from engine.routing.waves.columns import Columns
from engine.routing.waves.memory import CUTS_MAX, ROWS_PER_CUT_MAX, Memory
from engine.routing.waves.wave import Wave
from engine.routing.work import CUTS

_MANY: Final = 1 << 20
_MONEY_MOST: Final = 1 << 46


@dataclass(frozen=True, slots=True)
class Charged:
    """Cuts at prices."""

    view: View
    """The cuts of each order, as `charge` reads them."""
    allowed: int
    """What all cuts allow, at their prices; 1/FINENESS of a minor unit."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Of columns in cuts, where they are not 0: `column` counts within those asked for."""

    column: Integers
    cut: Integers
    count: Integers


class Cuts:
    """(K) cuts of a wave: their rows, what they allow, and what the kernels see of them."""

    def __init__(self, wave: Wave, memory: Memory) -> None:
        shared = memory.whole.arrays
        self._nodes, self._items = wave.nodes, wave.items
        self._orders = len(wave.orders)
        self._capacity = memory.capacity
        owner = np.repeat(np.arange(self._orders), np.diff(shared["node_start"]))
        self._place = np.full((self._orders, self._nodes), -1, np.int64)
        """(O, N) which of an order's nodes is one of the wave's; -1 where it has it not."""
        self._place[owner, shared["node"]] = np.arange(len(owner)) - shared["node_start"][owner]
        self._owner = np.repeat(np.arange(self._orders), np.diff(shared["item_start"]))
        self._item = shared["item"]
        self._line = np.arange(len(self._item)) - shared["item_start"][self._owner]
        self._quantity = np.concatenate([one.problem.arrays.quantity for one in wave.orders])
        units = np.bincount(self._owner, weights=self._quantity)
        self.dearest = _MONEY_MOST // max(1, int(units.max()))
        """The highest price of a unit or a cut, in 1/FINENESS of a minor unit: a plan that pays it
        for all of its units still fits 64 bits. A linear program's may be above it."""
        self._rows: dict[tuple[int, ...], int] = {}
        self.most: Integers = np.zeros(0, np.int64)
        """(K,) right sides."""

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: tuple[int, ...]) -> bool:
        """Keep the cut of some rows, orders first and resources after them, in ascending order;
        whether it is new. One that there is no room for is not kept."""
        if rows in self._rows or len(self._rows) == CUTS_MAX or len(rows) > ROWS_PER_CUT_MAX:
            return False
        self._rows[rows] = len(self._rows)
        total = sum(1 if row < self._orders else self._of(row) for row in rows)
        self.most = np.append(self.most, total // 2)
        return True

    def _of(self, row: int) -> int:
        return int(self._capacity[row - self._orders])

    def coefficients(self, columns: Columns, places: Integers) -> Coefficients:
        """What the cuts count of the columns at `places`."""
        row = np.array([row for rows in self._rows for row in rows], np.int64)
        cut = np.repeat(np.arange(len(self)), [len(rows) for rows in self._rows])
        ranked = np.argsort(row, kind="stable")
        row, cut = row[ranked], cut[ranked]
        entries = columns.entries(places)
        column = np.concatenate([np.arange(len(places)), entries.column])
        wanted = np.concatenate([columns.order[places], self._orders + entries.resource])
        taken = np.concatenate([np.ones(len(places), np.int64), entries.taken])
        first = np.searchsorted(row, wanted)
        times = np.searchsorted(row, wanted, side="right") - first
        owner = np.repeat(np.arange(len(wanted)), times)
        at = np.arange(len(owner)) - np.repeat(np.cumsum(times) - times, times) + first[owner]
        key, place = np.unique(column[owner] * len(self) + cut[at], return_inverse=True)
        count = np.bincount(place, weights=taken[owner], minlength=len(key)).astype(np.int64) // 2
        kept = count > 0
        return Coefficients(key[kept] // len(self), key[kept] % len(self), count[kept])

    def charged(self, prices: Integers) -> Charged:
        """At some prices, (K,) in 1/FINENESS of a minor unit."""
        return Charged(self._view(prices), int(prices @ self.most))

    def _view(self, prices: Integers) -> View:
        order, cut, node, line, units = self._places()
        has_row = np.zeros((self._orders, len(self)), np.int64)
        for at, rows in enumerate(self._rows):
            for row in rows:
                if row < self._orders:
                    has_row[row, at] = 1
        key = order * len(self) + cut
        most = np.bincount(key, weights=units, minlength=has_row.size).astype(np.int64)
        # An order that can not take two of a cut's units has nothing to do with it.
        kept = (most + has_row.ravel())[key] >= 2
        ranked = np.flatnonzero(kept)[np.argsort(key[kept], kind="stable")]
        pairs, start = np.unique(key[ranked], return_index=True)
        return View(
            {
                "first": np.searchsorted(pairs, np.arange(self._orders + 1) * len(self)),
                "cut": pairs % len(self),
                "offset": has_row.ravel()[pairs],
                "start": np.append(start, len(ranked)).astype(np.int64),
                "node": node[ranked],
                "line": line[ranked],
                "price": prices,
            }
        )

    def _places(self) -> tuple[Integers, ...]:
        """Order, cut, its node, its line, and units of that line at most, of every place."""
        stock = self._nodes * self._items
        found = [np.zeros((5, 0), np.int64)]
        for cut, rows in enumerate(self._rows):
            for row in rows:
                resource = row - self._orders
                if resource < 0:
                    continue
                if resource < stock:
                    node, item = divmod(resource, self._items)
                    at = np.flatnonzero(self._item == item)
                    at = at[self._place[self._owner[at], node] >= 0]
                    order, line, units = self._owner[at], self._line[at], self._quantity[at]
                else:
                    node = resource - stock
                    order = np.flatnonzero(self._place[:, node] >= 0)
                    line, units = np.full(len(order), EVERY_LINE), np.full(len(order), _MANY)
                found.append(
                    np.stack(
                        [order, np.full(len(order), cut), self._place[order, node], line, units]
                    )
                )
        return tuple(np.concatenate(found, axis=1))


def no_cuts(orders: int) -> Charged:
    """None of them."""
    empty = np.zeros(0, np.int64)
    return Charged(
        View(
            {
                "first": np.zeros(orders + 1, np.int64),
                "cut": empty,
                "offset": empty,
                "start": np.zeros(1, np.int64),
                "node": empty,
                "line": empty,
                "price": empty,
            }
        ),
        0,
    )


@kernel
def charge(cuts: Any, w: Any, order: Integer) -> None:
    """Tell a search of the cuts that its order is charged by."""
    count = 0
    places = 0
    w.cut_start[0] = 0
    for at in range(cuts.first[order], cuts.first[order + 1]):
        price = cuts.price[cuts.cut[at]]
        if price == 0:
            continue
        w.cut_price[count] = price
        w.cut_offset[count] = cuts.offset[at]
        for place in range(cuts.start[at], cuts.start[at + 1]):
            w.cut_node[places] = cuts.node[place]
            w.cut_line[places] = cuts.line[place]
            places += 1
        count += 1
        w.cut_start[count] = places
    w.state[CUTS] = count
