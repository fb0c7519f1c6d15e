"""The columns that a search chooses from, order by order, cheapest at the prices first.

Owns: `Pool`, which lays some of the columns out for the kernels of `ascent` and `ruin`.

Of what a column takes it keeps only what can run short.

Invariants
1. ``first[o] : first[o + 1]`` are the pool's columns of order ``o``.
2. ``start[c] : start[c + 1]`` are the entries of column ``c``: those of scarce resources.
3. ``users_start[r] : users_start[r + 1]`` name the columns that take of a scarce resource ``r``.
4. ``by_cost[first[o] : first[o + 1]]`` are the order's columns again, by cost without prices.
"""

from __future__ import annotations

import numpy as np

from engine.routing.tariff import Integers
from engine.routing.view import View
from engine.routing.waves.columns import Columns
from engine.routing.waves.memory import FINENESS

NO_LIMIT = 1 << 40

NONE = -1
"""In place of a column: the order is left unrouted."""


class Pool:
    """Some columns of each order."""

    def __init__(
        self,
        columns: Columns,
        due: Integers,
        unrouted: Integers,
        capacity: Integers,
        *,
        per_order_most: int,
        keep: Integers,
        above_most: int = NO_LIMIT,
    ) -> None:
        """The `per_order_most` cheapest columns of each order at `due`, of these none that is more
        than `above_most` minor units above the cheapest; and those in `keep`."""
        everyone = np.arange(len(columns))
        paid = columns.with_dues(everyone, due, FINENESS).astype(np.int64)
        ranked = np.lexsort((everyone, paid, columns.order))
        owner = columns.order[ranked]
        begins = np.searchsorted(owner, np.arange(len(unrouted)))
        wanted = np.arange(len(ranked)) - begins[owner] < per_order_most
        cheapest = paid[ranked[np.minimum(begins, len(ranked) - 1)]] if len(ranked) else begins
        wanted &= paid[ranked] - cheapest[owner] <= above_most * FINENESS
        wanted[np.isin(ranked, keep)] = True
        self.place = ranked[wanted]
        """(C,) the place of each among all columns."""
        owner = np.ascontiguousarray(columns.order[self.place])
        cost = np.ascontiguousarray(columns.cost[self.place])
        entries = columns.scarce_entries(self.place, capacity)
        by_resource = np.argsort(entries.resource, kind="stable")
        self.view = View(
            {
                "first": np.searchsorted(owner, np.arange(len(unrouted) + 1)).astype(np.int64),
                "order": owner,
                "cost": cost,
                "by_cost": np.lexsort((cost, owner)).astype(np.int64),
                "start": np.searchsorted(entries.column, np.arange(len(self.place) + 1)).astype(
                    np.int64
                ),
                "resource": entries.resource,
                "taken": entries.taken,
                "users_start": np.searchsorted(
                    entries.resource[by_resource], np.arange(len(capacity) + 1)
                ).astype(np.int64),
                "users": entries.column[by_resource].astype(np.int64),
                "unrouted": unrouted,
                "capacity": capacity,
            }
        )
        # One more than there are: where NONE looks, even if there are no columns at all.
        self._at = np.full(len(columns) + 1, NONE)
        self._at[self.place] = np.arange(len(self.place))
        self._place = np.append(self.place, NONE)

    def of_columns(self, chosen: Integers) -> Integers:
        """(O,) from places among all columns to places in the pool; NONE stays NONE."""
        return self._at[chosen]

    def to_columns(self, chosen: Integers) -> Integers:
        """(O,) and back."""
        return self._place[chosen]
