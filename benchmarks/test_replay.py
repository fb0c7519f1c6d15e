"""Replaying records, and the hashes that say the result is the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.catalogue import Catalogue, counts, definitions, roomy
from benchmarks.names import numbered
from benchmarks.orders import Orders
from engine.commands import CommandBatch
from engine.invariants import state_hash
from engine.machine import apply
from engine.state import State

pytestmark = pytest.mark.benchmark(group="replay", timer=time.thread_time)

COLUMNS = 20
ROWS = 1_000


def _replayed(records: list[bytes]) -> State:
    state = State.create(roomy())
    for record in records:
        apply(state, 2, CommandBatch.from_bytes(record))
    return state


def test_replay_gives_the_same_state(
    benchmark: Any, shop: Catalogue, per_command: Callable[[int], None]
) -> None:
    live = State.create(roomy())
    records = []
    orders = Orders(shop)
    for batch in (*definitions(shop), *counts(shop), *orders.columns(COLUMNS, ROWS)):
        apply(live, 2, batch)
        records.append(batch.to_bytes())
    again = benchmark.pedantic(_replayed, args=(records,), rounds=5, warmup_rounds=1)
    per_command(shop.positions + COLUMNS * ROWS)
    assert state_hash(again) == state_hash(live)


def test_state_hash(benchmark: Any, state: State) -> None:
    first = benchmark.pedantic(state_hash, args=(state,), rounds=5)
    benchmark.extra_info["MiB"] = sum(rows.nbytes for _, rows in state.sections()) / 1024**2
    assert first == state_hash(state)


def test_restore(benchmark: Any, state: State) -> None:
    sections = state.sections()
    again = benchmark.pedantic(lambda: State.restore(sections), rounds=5, warmup_rounds=1)
    assert state_hash(again) == state_hash(state)


def test_keys_of_names(benchmark: Any, per_command: Callable[[int], None]) -> None:
    count = 100_000
    names = benchmark(numbered, "SKU-", count)
    per_command(count)
    assert len(set(names.keys.tolist())) == count
