"""Open-addressing index from a 64-bit hash to a row: the one look-up structure of the ledger.

A slot is one uint64: the hash's high 32 bits and row + 1 in the low 32; 0 is an empty slot. The
home slot derives from the stored bits alone, so removal can shift neighbours back (no tombstones,
no decay). The caller compares the row itself, as 32 bits are no identity. Expected O(1).

Source: linear probing with backward-shift deletion, Knuth TAOCP 3, 6.4, algorithm R.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import Integer, kernel

_HIGH = np.uint64(0xFFFFFFFF00000000)
_LOW = np.uint64(0x00000000FFFFFFFF)
_SHIFT = np.uint64(32)
_ZERO = np.uint64(0)


@kernel
def home(slots: NDArray[np.uint64], key: np.uint64) -> Integer:
    """The slot where the probe for `key` starts."""
    return np.int64((np.uint64(key) >> _SHIFT) & np.uint64(slots.shape[0] - 1))


@kernel
def insert(slots: NDArray[np.uint64], key: np.uint64, row: int) -> None:
    """Add row under key. The caller knows it is not there and that a slot is free."""
    mask = slots.shape[0] - 1
    at = home(slots, key)
    while slots[at] != _ZERO:
        at = (at + 1) & mask
    slots[at] = (np.uint64(key) & _HIGH) | np.uint64(row + 1)


@kernel
def probe(slots: NDArray[np.uint64], key: np.uint64, at: int) -> Integer:
    """The first slot from `at` on that may be key's, or -1. Its row: `row_at`."""
    mask = slots.shape[0] - 1
    wanted = np.uint64(key) & _HIGH
    while slots[at] != _ZERO:
        if (slots[at] & _HIGH) == wanted:
            return at
        at = (at + 1) & mask
    return -1


@kernel
def row_at(slots: NDArray[np.uint64], at: int) -> Integer:
    """The row a slot stands for; -1 for an empty one."""
    return np.int64(slots[at] & _LOW) - 1


@kernel
def remove(slots: NDArray[np.uint64], key: np.uint64, row: int) -> None:
    """Take row out. The caller knows it is there."""
    mask = slots.shape[0] - 1
    wanted = (np.uint64(key) & _HIGH) | np.uint64(row + 1)
    at = home(slots, key)
    while slots[at] != wanted:
        at = (at + 1) & mask
    hole = at
    while True:
        at = (at + 1) & mask
        if slots[at] == _ZERO:
            break
        start = home(slots, slots[at])
        # The entry may move into the hole unless its home lies cyclically in (hole, at].
        if ((at - start) & mask) >= ((at - hole) & mask):
            slots[hole] = slots[at]
            hole = at
    slots[hole] = _ZERO


@kernel
def replace(slots: NDArray[np.uint64], key: np.uint64, row: int, new_row: int) -> None:
    """Let key's entry for `row` stand for `new_row`."""
    mask = slots.shape[0] - 1
    wanted = (np.uint64(key) & _HIGH) | np.uint64(row + 1)
    at = home(slots, key)
    while slots[at] != wanted:
        at = (at + 1) & mask
    slots[at] = (np.uint64(key) & _HIGH) | np.uint64(new_row + 1)
