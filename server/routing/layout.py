"""Many arrays in one piece of memory, and the `View` of them without a look at each.

A problem has 26 arrays; made one by one, and their addresses asked for one by one, they cost more
than the search does. Here one allocation holds all that are filled in, and the view's block is
written from offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.routing.view import View

Integers = NDArray[np.int64]

_BYTES: Final = 8
_WORDS: Final = 4
_KEPT_MAX: Final = 4096


class Fixed(NamedTuple):
    """An array that is there already, and its row of a view's block."""

    array: Integers
    row: tuple[int, int, int, int]

    @staticmethod
    def of(array: Integers) -> Fixed:
        """Keep its address: asking for it takes as long as a search over ten nodes."""
        if array.dtype != np.int64 or not array.flags.c_contiguous:
            raise ValueError("not a contiguous array of 64-bit numbers")
        extents = (*array.shape, 0, 0, 0)
        address = int(array.__array_interface__["data"][0])
        return Fixed(array, (address, extents[0], extents[1], extents[2]))

    @staticmethod
    def rows_of(table: Integers) -> list[Fixed]:
        """Each row of a table, for one look at its address."""
        address, *extents = Fixed.of(table).row
        size = table[0].nbytes if len(table) else 0
        return [
            Fixed(array, (address + size * place, extents[1], extents[2], 0))
            for place, array in enumerate(table)
        ]


class _Packed(View):
    """A view whose block was written by a `Layout`."""

    def __init__(
        self, arrays: dict[str, Integers], block: Integers, address: int, kind: Any
    ) -> None:
        self.arrays = arrays
        self.block = block
        self.address = address
        self._numba_type_ = kind


class Layout:
    """Names of arrays and their extents, each a letter; no letters: the caller brings the array."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = tuple(fields.items())
        self._known: dict[tuple[int, ...], _Plan] = {}

    def make(
        self, sizes: Mapping[str, int], given: Mapping[str, Fixed]
    ) -> tuple[dict[str, Integers], View]:
        """The arrays by name, those of this layout uninitialised, and their view."""
        key = tuple(sizes.values())
        plan = self._known.get(key)
        if plan is None:
            if len(self._known) >= _KEPT_MAX:
                self._known.clear()
            plan = self._known[key] = _Plan(self._fields, sizes)
        return plan.make(given)


class _Plan:
    """A layout for arrays of certain sizes. The block lies behind them, in the same memory."""

    def __init__(self, fields: tuple[tuple[str, str], ...], sizes: Mapping[str, int]) -> None:
        self._places: list[tuple[str, int, int, tuple[int, ...] | None]] = []
        """Name, begin, end and shape of each array; a begin of -1: it is brought by the caller;
        no shape: it lies in one row."""
        self._given = [name for name, letters in fields if not letters]
        rows = [row for row, (_, letters) in enumerate(fields) if not letters]
        if rows != list(range(rows[0], rows[0] + len(rows)) if rows else []):
            raise ValueError("fields that the caller brings do not lie next to each other")
        self._given_rows = slice(rows[0], rows[-1] + 1) if rows else slice(0)
        self._kind: Any = None
        self._block = np.zeros((len(fields), _WORDS), np.int64)
        self._is_own = np.zeros_like(self._block)
        at = 0
        for row, (name, letters) in enumerate(fields):
            if not letters:
                self._places.append((name, -1, 0, None))
                continue
            shape = tuple(sizes[letter] for letter in letters)
            size = int(np.prod(shape))
            self._places.append((name, at, at + size, shape if len(shape) > 1 else None))
            self._block[row, 0] = at * _BYTES
            self._block[row, 1 : 1 + len(shape)] = shape
            self._is_own[row, 0] = 1
            at += size
        self._words = at

    def make(self, given: Mapping[str, Fixed]) -> tuple[dict[str, Integers], View]:
        words = self._words
        memory = np.empty(words + self._block.size, np.int64)
        arrays = {}
        for name, start, stop, shape in self._places:
            if start < 0:
                arrays[name] = given[name].array
            elif shape is None:
                arrays[name] = memory[start:stop]
            else:
                arrays[name] = memory[start:stop].reshape(shape)
        if self._kind is None:
            view = View(arrays)
            self._kind = view._numba_type_
            return arrays, view
        address = int(memory.__array_interface__["data"][0])
        block = memory[words:].reshape(self._block.shape)
        np.multiply(self._is_own, address, out=block)
        block += self._block
        if self._given:
            block[self._given_rows] = [given[name].row for name in self._given]
        return arrays, _Packed(arrays, block, address + words * _BYTES, self._kind)
