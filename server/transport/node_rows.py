"""All nodes of the ledger, for questions that name none. Names are only ever added."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine import commands
from engine.state import State
from server.transport.ledger_view import LedgerView


class NodeRows:
    """Keys of all nodes, kept up to date by reading only the names added since."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view
        self._state: State | None = None
        self._read = 0
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)

    def rows(self) -> NDArray[np.int64]:
        """Name rows of all nodes, in the order they were made."""
        state = self._view.state
        if self._state is not state:
            self._state, self._read = state, 0
            self._rows = np.zeros(0, np.int64)
        count = int(state.meta["name_count"][0])
        if count > self._read:
            kinds = state.names["kind"][self._read : count]
            found = np.flatnonzero(kinds == commands.NODE) + self._read
            if len(found):
                self._rows = np.concatenate((self._rows, found))
            self._read = count
        return self._rows

    def keys(self) -> NDArray[np.uint64]:
        """Their keys."""
        rows = self.rows()
        keys: NDArray[np.uint64] = self._view.state.names["key"][rows]
        return keys
