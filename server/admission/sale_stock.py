"""How many units of some SKUs may be held now, over all nodes: read from the ledger's tables.

Callers: the transport, on the event loop, between two batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine import commands, reads, tables
from engine.state import State


class SaleStock:
    """The stock of a sale. Rows of the ledger's tables are only ever added, so each is looked at
    once."""

    def __init__(self, skus: Sequence[str]) -> None:
        self._skus = tuple(skus)
        self._state: State | None = None
        self._names = self._positions = 0
        """Rows looked at."""
        self._sku_rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._stock_rows: NDArray[np.int64] = np.zeros(0, np.int64)

    def units(self, state: State) -> int:
        """Units on hand and not promised, of unfenced stock, at nodes that are not frozen.

        O(nodes that have the SKUs).
        """
        self._find(state)
        positions = state.positions[self._stock_rows]
        is_open = state.names["flags"][positions["node"]] & tables.NODE_IS_FROZEN == 0
        free = positions["on_hand"] - positions["held"] - positions["committed"]
        free = free - positions["withheld"]
        free = free - np.where(positions["flags"] & tables.FENCED, positions["fenced"], 0)
        return int(np.maximum(free, 0)[is_open].sum())

    def _find(self, state: State) -> None:
        """Look at the rows added since."""
        if state is not self._state:
            self._state, self._names, self._positions = state, 0, 0
            self._sku_rows = self._stock_rows = np.zeros(0, np.int64)
        names = int(state.meta["name_count"][0])
        if names > self._names and len(self._sku_rows) < len(self._skus):
            found = [reads.find_name(state, commands.SKU, sku) for sku in self._skus]
            rows = np.array([row for row in found if row >= 0], np.int64)
            if len(rows) > len(self._sku_rows):
                self._sku_rows, self._positions = rows, 0
                self._stock_rows = np.zeros(0, np.int64)
        self._names = names
        count = int(state.meta["position_count"][0])
        if count > self._positions:
            new = state.positions[self._positions : count]
            wanted = (new["kind"] == tables.STOCK) & np.isin(new["sku"], self._sku_rows)
            more = np.flatnonzero(wanted) + self._positions
            self._stock_rows = np.concatenate((self._stock_rows, more))
            self._positions = count
