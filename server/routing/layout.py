"""Many arrays in one piece of memory, and the `View` of them without a look at each.

A problem has 26 arrays; made one by one, and their addresses asked for one by one, they cost more
than the search does. Here one allocation holds all that are filled in, and the view's block is
written from offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.routing.view import View

Integers = NDArray[np.int64]

_BYTES: Final = 8
_KEPT_MAX: Final = 4096


class _Packed(View):
    """A view whose block was written by a `Layout`."""

    def __init__(self, arrays: dict[str, Integers], block: Integers, kind: Any) -> None:
        self.arrays = arrays
        self.block = block
        self.address = int(block.__array_interface__["data"][0])
        self._numba_type_ = kind


class Layout:
    """Names of arrays and their extents, each a letter; no letters: the caller brings the array."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = tuple(fields.items())
        self._known: dict[tuple[int, ...], _Plan] = {}

    def make(
        self, sizes: Mapping[str, int], given: Mapping[str, Integers]
    ) -> tuple[dict[str, Integers], View]:
        """The arrays by name, those of this layout uninitialised, and their view. The arrays that
        are given are contiguous and of 64 bits, as those of `engine.routing` are."""
        key = tuple(sizes.values())
        plan = self._known.get(key)
        if plan is None:
            if len(self._known) >= _KEPT_MAX:
                self._known.clear()
            plan = self._known[key] = _Plan(self._fields, sizes)
        return plan.make(given)


class _Plan:
    """A layout for arrays of certain sizes."""

    def __init__(self, fields: tuple[tuple[str, str], ...], sizes: Mapping[str, int]) -> None:
        self._places: list[tuple[str, int, int, tuple[int, ...]]] = []
        self._names = [name for name, _ in fields]
        self._given = [(row, name) for row, (name, letters) in enumerate(fields) if not letters]
        self._own: list[int] = []
        self._kind: Any = None
        at = 0
        for row, (name, letters) in enumerate(fields):
            if letters:
                shape = tuple(sizes[letter] for letter in letters)
                size = int(np.prod(shape))
                self._places.append((name, at, at + size, shape))
                self._own.append(row)
                at += size
        self._words = at
        self._block = np.zeros((len(fields), 4), np.int64)
        for row, (_, start, _, shape) in zip(self._own, self._places, strict=True):
            self._block[row, 0] = start * _BYTES
            self._block[row, 1 : 1 + len(shape)] = shape

    def make(self, given: Mapping[str, Integers]) -> tuple[dict[str, Integers], View]:
        memory = np.empty(self._words, np.int64)
        made = {
            name: memory[start:stop].reshape(shape) for name, start, stop, shape in self._places
        }
        made.update(given)
        arrays = {name: made[name] for name in self._names}
        if self._kind is None:
            view = View(arrays)
            self._kind = view._numba_type_
            return arrays, view
        block = self._block.copy()
        block[self._own, 0] += memory.__array_interface__["data"][0]
        for row, name in self._given:
            array = given[name]
            block[row, 0] = array.__array_interface__["data"][0]
            block[row, 1 : 1 + array.ndim] = array.shape
        return arrays, _Packed(arrays, block, self._kind)
