"""What follows a hold: confirm, cancel, expire. Columns of one command a reservation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.orders import Orders, on_reservations
from engine import commands
from engine.commands import CommandBatch
from engine.machine import apply, expire_command
from engine.outcomes import CANCELLED, CONFIRMED
from engine.state import State

pytestmark = pytest.mark.benchmark(group="steps", timer=time.thread_time)

ROWS = 10_000
ROUNDS = 20


@pytest.mark.parametrize(
    ("kind", "after"), [(commands.CONFIRM, CONFIRMED), (commands.CANCEL, CANCELLED)]
)
def test_confirm_and_cancel(
    benchmark: Any,
    state: State,
    orders: Orders,
    per_command: Callable[[int], None],
    kind: int,
    after: int,
) -> None:
    def column() -> CommandBatch:
        made = apply(state, 2, orders.creates(ROWS))
        return on_reservations(kind, made.rows, orders.keys(ROWS))

    answer = benchmark.pedantic(
        lambda batch: apply(state, 2, batch),
        setup=lambda: ((column(),), {}),
        rounds=ROUNDS,
        warmup_rounds=1,
    )
    per_command(ROWS)
    assert np.all(answer.rows["state"] == after)


def test_expire(
    benchmark: Any, state: State, orders: Orders, per_command: Callable[[int], None]
) -> None:
    now_ms = 1_000_000

    def due() -> None:
        nonlocal now_ms
        apply(state, now_ms, expire_command(1 << 20))
        apply(state, now_ms, orders.creates(ROWS, ttl_ms=1000))
        now_ms += 1000

    answer = benchmark.pedantic(
        lambda: apply(state, now_ms, expire_command(ROWS)),
        setup=lambda: due(),
        rounds=ROUNDS,
        warmup_rounds=1,
    )
    per_command(ROWS)
    assert answer.rows["affected"][0] == ROWS
