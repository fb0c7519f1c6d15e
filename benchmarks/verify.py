"""How long a verification keeps the writer from its work, at 1,000,000 positions and open holds.

Slices as the server takes them, and between two of them a batch of creates, so that there is always
something to catch up with. The alternative, the recomputation in one go that confirms a difference,
is measured beside it.
"""

from __future__ import annotations

import numpy as np

from benchmarks.catalogue import catalogue, roomy, stocked
from benchmarks.measure import Say, core_s, cores, no_collector, pin
from benchmarks.orders import Orders
from engine import invariants
from engine.commands import CommandBatch
from engine.machine import apply
from engine.state import State
from engine.verification import Verification
from server.application.verifier import ROWS_OF_STEP, SLICE_S

POSITIONS = 1_000_000
HOLDS = 1_000_000
CREATES_BETWEEN = 64
ROUNDS = 5


def run(say: Say) -> dict[str, float]:
    """Measure."""
    pin(cores()[-1] if cores() else None)
    shop = catalogue(POSITIONS)
    state = stocked(State.create(roomy()), shop)
    orders = Orders(shop)
    for _ in range(HOLDS // 10_000):
        apply(state, 2, orders.creates(10_000))
    _pass(state, [])  # warm
    slices: list[float] = []
    passes: list[float] = []
    for _ in range(ROUNDS):
        batches = orders.columns(600, CREATES_BETWEEN)
        with no_collector():
            taken = _pass(state, batches)
        slices += taken
        passes.append(sum(taken))
    with no_collector():
        started = core_s()
        found = invariants.differences(state)
        in_one_go_s = core_s() - started
    if found:
        raise RuntimeError(f"the ledger is not sound: {found[:3]}")
    p50_ms, p99_ms, most_ms = np.percentile(np.array(slices) * 1e3, [50, 99, 100]).tolist()
    held = int(state.meta["held_count"][0])
    say(f"{POSITIONS:,} positions, {held:,} open holds, {ROUNDS} passes, each beside traffic")
    say(f"{len(slices):,} slices: {p50_ms:.2f} ms p50, {p99_ms:.2f} p99, {most_ms:.2f} longest")
    say(f"a pass takes {np.median(passes):.2f} s of one core; in one go it would stop all for")
    say(f"{in_one_go_s:.2f} s")
    return {"verify_slice_ms_max": most_ms, "verify_core_seconds": float(np.median(passes))}


def _pass(state: State, batches: list[CommandBatch]) -> list[float]:
    """One pass, with a batch after each slice while there are any; core-seconds of each slice."""
    taken = []
    started = core_s()
    verification = Verification(state)
    for step in (lambda: verification.step(ROWS_OF_STEP), verification.release):
        is_over = False
        while not is_over:
            while not is_over and core_s() - started < SLICE_S:
                is_over = step()
            taken.append(core_s() - started)
            if batches:
                apply(state, 2, batches.pop())
            started = core_s()
    if verification.is_lost or verification.differences_total:
        raise RuntimeError("the pass was overtaken, or found what is not there")
    return taken
