"""The open-addressing index against a plain dictionary."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import index
from engine.hashing import mix


def _find(slots: NDArray[np.uint64], key: int, keys: dict[int, int]) -> int:
    """Row of `key`, comparing rows as every caller of the index must."""
    mask = len(slots) - 1
    at = index.probe(slots, np.uint64(key), index.home(slots, np.uint64(key)))
    while at >= 0:
        row = int(index.row_at(slots, at))
        if keys[row] == key:
            return row
        at = index.probe(slots, np.uint64(key), (at + 1) & mask)
    return -1


@pytest.mark.parametrize("seed", range(5))
def test_it_holds_what_a_dictionary_holds_through_inserts_and_removals(seed: int) -> None:
    chance = random.Random(seed)
    slots = np.zeros(64, np.uint64)
    # Few distinct homes, so that probes run into each other and removals shift neighbours back.
    pool = [int(mix(np.uint64(value))) & ~(0x3C << 32) for value in range(1, 200)]
    key_of_row: dict[int, int] = {}
    row_of_key: dict[int, int] = {}
    next_row = 0
    for _ in range(600):
        if row_of_key and (len(row_of_key) > 40 or chance.random() < 0.45):
            key = chance.choice(sorted(row_of_key))
            index.remove(slots, np.uint64(key), row_of_key.pop(key))
        else:
            key = chance.choice(pool)
            if key in row_of_key:
                continue
            index.insert(slots, np.uint64(key), next_row)
            row_of_key[key] = next_row
            key_of_row[next_row] = key
            next_row += 1
        assert {k: _find(slots, k, key_of_row) for k in row_of_key} == row_of_key
        assert int((slots != 0).sum()) == len(row_of_key)
    for key in pool:
        assert _find(slots, key, key_of_row) == row_of_key.get(key, -1)


def test_replace_lets_a_key_stand_for_another_row() -> None:
    slots = np.zeros(16, np.uint64)
    key = int(mix(np.uint64(7)))
    index.insert(slots, np.uint64(key), 3)
    index.replace(slots, np.uint64(key), 3, 9)
    assert _find(slots, key, {9: key}) == 9
