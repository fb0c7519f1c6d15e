"""What one three-line create costs through the Python call: `engine.machine.apply` of a batch of 1.

The batch is ready, as the decoder hands it over; making the outcome's arrays is part of the call.
"""

from __future__ import annotations

import numpy as np

from benchmarks.catalogue import catalogue, roomy, stocked
from benchmarks.engine_columns import POSITIONS, touched
from benchmarks.measure import Say, Spread, core_s, cores, no_collector, pin
from benchmarks.orders import LINES, Orders
from engine.commands import CommandBatch
from engine.machine import apply
from engine.state import State

# A round is shorter than the slices in which a core is shared out.
CALLS_PER_ROUND = 200
ROUNDS = 200


def run(say: Say) -> dict[str, float]:
    """Measure; the figure is the best round's mean call."""
    pin(cores()[-1] if cores() else None)
    shop = catalogue(POSITIONS)
    state = stocked(State.create(roomy()), shop)
    touched(state, 1 << 18)
    orders = Orders(shop)
    spread = Spread.of([_round_us(state, orders) for _ in range(ROUNDS + 5)][5:])
    say(f"{ROUNDS} rounds of {CALLS_PER_ROUND:,} calls over {POSITIONS:,} positions")
    say(f"one three-line create: {spread.show()} us of one core")
    return {"engine_single_us": spread.least}


def singles(batch: CommandBatch) -> list[CommandBatch]:
    """Each command of `batch` as a batch of its own, in memory of its own."""
    text_bytes = np.cumsum(batch.headers["text_bytes"]).tolist()
    starts = [0, *text_bytes[:-1]]
    return [
        CommandBatch(
            batch.headers[row : row + 1].copy(),
            batch.lines[row * LINES : (row + 1) * LINES].copy(),
            batch.text[start:stop].copy(),
        )
        for row, (start, stop) in enumerate(zip(starts, text_bytes, strict=True))
    ]


def _round_us(state: State, orders: Orders) -> float:
    batches = singles(orders.creates(CALLS_PER_ROUND))
    held = int(state.meta["held_count"][0])
    with no_collector():
        started = core_s()
        for batch in batches:
            apply(state, 2, batch)
        seconds = core_s() - started
    if state.meta["held_count"][0] != held + CALLS_PER_ROUND:
        raise RuntimeError("a create was refused")
    return seconds / CALLS_PER_ROUND * 1e6
