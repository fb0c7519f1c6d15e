"""Keys seen before are found, each with the row that had it first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holdfast.feeds.duplicates import SeenKeys


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_it_finds_what_a_dictionary_finds(blocks: list[list[int]]):
    seen, known, number = SeenKeys(), {}, 0
    for block in blocks:
        numbers = np.arange(number, number + len(block), dtype=np.int64)
        number += len(block)
        expected = []
        for index, (key, row) in enumerate(zip(block, numbers.tolist(), strict=True)):
            if key in known:
                expected.append((index, known[key]))
            else:
                known[key] = row
        again, first_at = seen.add([(key,) for key in block], numbers)
        assert list(zip(again.tolist(), first_at.tolist(), strict=True)) == expected


def test_runs_stay_few():
    seen = SeenKeys()
    for block in range(200):
        numbers = np.arange(block * 100, block * 100 + 100, dtype=np.int64)
        seen.add(numbers.tolist(), numbers)
    assert len(seen._runs) <= 10
