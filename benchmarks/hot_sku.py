"""Whether 100,000 open holds on one SKU make the next operation on it slower: the ratio.

Creates and cancels whose first line is on the crowded position alternate with such on a position
that nobody holds; their other lines are the same.
"""

from __future__ import annotations

import numpy as np

from benchmarks.catalogue import Catalogue, catalogue, roomy, stocked
from benchmarks.measure import Say, Spread, core_s, cores, no_collector, pin
from benchmarks.orders import LINES, Orders, on_reservations
from engine import commands
from engine.commands import CommandBatch
from engine.machine import apply
from engine.state import State

POSITIONS = 100_000
HOLDS = 100_000
ROWS = 1_000
ROUNDS = 60
CROWDED, EMPTY = 0, 1


def run(say: Say) -> dict[str, float]:
    """Measure."""
    pin(cores()[-1] if cores() else None)
    shop = catalogue(POSITIONS)
    state = stocked(State.create(roomy()), shop)
    crowd = Orders(shop, hot=1)
    for _ in range(HOLDS // 10_000):
        apply(state, 2, crowd.creates(10_000))
    orders = Orders(shop, seed=2)
    ratios, crowded_us, empty_us = [], [], []
    for round_ in range(ROUNDS + 2):
        batch = orders.creates(ROWS)
        pair = [CROWDED, EMPTY] if round_ % 2 else [EMPTY, CROWDED]
        taken = {at: _round_us(state, orders, _moved(shop, batch, at, orders)) for at in pair}
        if round_ >= 2:
            ratios.append(taken[CROWDED] / taken[EMPTY])
            crowded_us.append(taken[CROWDED])
            empty_us.append(taken[EMPTY])
    held = int(state.positions["held"][CROWDED])
    say(f"{ROUNDS} rounds of {ROWS:,} creates and cancels, alternating; {held:,} units held")
    say(f"on the crowded SKU: {Spread.of(crowded_us).show()} us of one core for both")
    say(f"on one nobody holds: {Spread.of(empty_us).show()} us")
    ratio = Spread.of(ratios)
    say(f"ratio, round by round: {ratio.show()}")
    return {"hot_sku_ratio": ratio.median}


def _moved(shop: Catalogue, batch: CommandBatch, position: int, orders: Orders) -> CommandBatch:
    """The same creates under new request ids, their first line at `position`."""
    headers, lines = batch.headers.copy(), batch.lines.copy()
    headers["request_hi"] = orders.keys(len(headers))
    lines["sku_key"][::LINES] = shop.skus.keys[position // len(shop.nodes)]
    lines["node_key"][::LINES] = shop.nodes.keys[position % len(shop.nodes)]
    return CommandBatch(headers, lines, batch.text)


def _round_us(state: State, orders: Orders, batch: CommandBatch) -> float:
    """Core-microseconds of a create and its cancel."""
    with no_collector():
        started = core_s()
        made = apply(state, 2, batch)
        seconds = core_s() - started
        cancels = on_reservations(commands.CANCEL, made.rows, orders.keys(len(batch)))
        started = core_s()
        ended = apply(state, 2, cancels)
        seconds += core_s() - started
    if np.any(made.rows["code"]) or np.any(ended.rows["code"]):
        raise RuntimeError("a create or cancel was refused")
    return seconds / len(batch) * 1e6
