"""The expiry heap against a sorted list."""

from __future__ import annotations

import random

import pytest

from engine import heap
from engine.recompute import check_heap
from engine.state import Capacity, State

HELD = 1


@pytest.mark.parametrize("seed", range(4))
def test_the_earliest_is_always_on_top(seed: int) -> None:
    chance = random.Random(seed)
    state = State.create(Capacity.small())
    meta = state.meta[0]
    entries = state.arrays["heap"]
    open_holds: dict[int, int] = {}
    for row in range(400):
        expire_ms = chance.choice([1_000, 1_000, chance.randrange(5_000)])
        state.reservations[row]["state"] = HELD
        state.reservations[row]["expire_ms"] = expire_ms
        heap.push(state.tables, row, expire_ms)
        open_holds[row] = expire_ms
        if len(open_holds) > 5 and chance.random() < 0.4:
            gone = chance.choice(sorted(open_holds))
            heap.discard(state.tables, gone)
            state.reservations[gone]["state"] = 0
            del open_holds[gone]
        meta["held_count"] = len(open_holds)
        top = (int(entries[0]["expire_ms"]), int(entries[0]["reservation"]))
        assert top == min((when, row) for row, when in open_holds.items())
        assert check_heap(state.tables) == 0
    drained = []
    while meta["heap_count"]:
        row = int(entries[0]["reservation"])
        drained.append((int(entries[0]["expire_ms"]), row))
        heap.discard(state.tables, row)
    assert drained == sorted((when, row) for row, when in open_holds.items())
