"""Count rows, as a feed brings them: into positions that are new, and into those there are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.catalogue import Catalogue, counts, definitions, roomy
from engine.machine import apply
from engine.state import State

pytestmark = pytest.mark.benchmark(group="count", timer=time.thread_time)


def test_count_rows_of_new_positions(
    benchmark: Any, shop: Catalogue, per_command: Callable[[int], None]
) -> None:
    batches = list(counts(shop))

    def empty_ledger() -> tuple[tuple[State], dict[str, Any]]:
        state = State.create(roomy())
        for batch in definitions(shop):
            apply(state, 1, batch)
        return (state,), {}

    def all_rows(state: State) -> int:
        return sum(int(apply(state, 1, batch).rows["affected"][0]) for batch in batches)

    applied = benchmark.pedantic(all_rows, setup=empty_ledger, rounds=5, warmup_rounds=1)
    per_command(shop.positions)
    assert applied == shop.positions


def test_count_rows_of_known_positions(
    benchmark: Any, state: State, shop: Catalogue, per_command: Callable[[int], None]
) -> None:
    batches = itertools.cycle(list(counts(shop, units=123_456)))
    rows = len(next(batches).lines)
    answer = benchmark.pedantic(
        lambda batch: apply(state, 2, batch),
        setup=lambda: ((next(batches),), {}),
        rounds=20,
        warmup_rounds=1,
    )
    per_command(rows)
    assert answer.rows["affected"][0] == rows
