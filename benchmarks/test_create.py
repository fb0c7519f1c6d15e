"""Creates of three lines: as columns, on one hot SKU, one at a time, refused, replayed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.catalogue import Catalogue
from benchmarks.engine_single import singles
from benchmarks.orders import Orders
from engine import outcomes
from engine.commands import CommandBatch
from engine.machine import apply
from engine.outcomes import Outcomes
from engine.state import State

pytestmark = pytest.mark.benchmark(group="create", timer=time.thread_time)

ROWS = 10_000
ROUNDS = 20


def _columns(
    benchmark: Any, state: State, make: Callable[[], CommandBatch], rounds: int = ROUNDS
) -> Outcomes:
    """Time `apply` of a new column in each round; the last answer."""
    made: Outcomes = benchmark.pedantic(
        lambda column: apply(state, 2, column),
        setup=lambda: ((make(),), {}),
        rounds=rounds,
        warmup_rounds=2,
    )
    return made


def test_create_columns(
    benchmark: Any, state: State, orders: Orders, per_command: Callable[[int], None]
) -> None:
    answer = _columns(benchmark, state, lambda: orders.creates(ROWS))
    per_command(ROWS)
    assert not answer.rows["code"].any()


def test_create_columns_on_one_hot_sku(
    benchmark: Any, state: State, shop: Catalogue, per_command: Callable[[int], None]
) -> None:
    hot = Orders(shop, seed=2, hot=1)
    answer = _columns(benchmark, state, lambda: hot.creates(ROWS))
    per_command(ROWS)
    assert not answer.rows["code"].any()


def test_create_refused_for_lack_of_stock(
    benchmark: Any, state: State, orders: Orders, per_command: Callable[[int], None]
) -> None:
    def too_much() -> CommandBatch:
        column = orders.creates(ROWS)
        column.lines["quantity"][2::3] = 1_000_000_000
        return column

    answer = _columns(benchmark, state, too_much)
    per_command(ROWS)
    assert np.all(answer.rows["code"] == outcomes.INSUFFICIENT_STOCK)


def test_create_replayed_by_its_request_id(
    benchmark: Any, state: State, orders: Orders, per_command: Callable[[int], None]
) -> None:
    column = orders.creates(ROWS)
    first = apply(state, 2, column)
    answer = benchmark(apply, state, 2, column)
    per_command(ROWS)
    assert np.all(answer.rows["flags"] & outcomes.REPLAYED)
    assert np.array_equal(answer.rows["revision"], first.rows["revision"])


def test_create_one_at_a_time(
    benchmark: Any, state: State, orders: Orders, per_command: Callable[[int], None]
) -> None:
    calls = 200

    def each(batches: list[CommandBatch]) -> Outcomes:
        for batch in batches:
            answer = apply(state, 2, batch)
        return answer

    answer = benchmark.pedantic(
        each,
        setup=lambda: ((singles(orders.creates(calls)),), {}),
        rounds=100,
        warmup_rounds=2,
    )
    per_command(calls)
    assert not answer.rows["code"].any()
