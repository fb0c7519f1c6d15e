"""Finds keys that came before, in a file of millions of rows, in 16 bytes a row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class SeenKeys:
    """The keys of a file so far: 64-bit hashes with the number of the row that had each first.

    Hashes lie in sorted runs that grow like those of a merge sort, so adding n keys costs
    O(n log n) in all, in numpy. Two keys of equal hash would be taken for one: at ten million
    rows the chance of one such pair is 3 in a million.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add(
        self, keys: Iterable[object], numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Note `keys` at rows `numbers`; the indices of those seen before, and where each was."""
        hashes = np.fromiter(map(hash, keys), np.int64, len(numbers))
        order = np.argsort(hashes, kind="stable")  # stable: the first of equals stays first
        ordered = hashes[order]
        first_at = np.empty(len(hashes), np.int64)
        # Looked for in their order, so that each search begins where the last one ended: in no
        # order the searches alone take longer than reading the file.
        first_at[order] = self._find(ordered)
        repeats = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
        for place in repeats:  # of a key within this very block
            if first_at[order[place]] < 0:
                earlier = order[place - 1]
                known = first_at[earlier]
                first_at[order[place]] = known if known >= 0 else numbers[earlier]
        new = order[first_at[order] < 0]
        self._runs.append((hashes[new], numbers[new]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._merge()
        again = np.flatnonzero(first_at >= 0)
        return again, first_at[again]

    def _find(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row at which each hash was first seen; -1: never."""
        first_at = np.full(len(hashes), -1, np.int64)
        for known, rows in self._runs:
            if len(known):
                place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
                found = known[place] == hashes
                first_at[found] = rows[place[found]]
        return first_at

    def _merge(self) -> None:
        hashes, numbers = (
            np.concatenate(pair) for pair in zip(self._runs.pop(), self._runs.pop(), strict=True)
        )
        order = np.argsort(hashes, kind="stable")
        self._runs.append((hashes[order], numbers[order]))
