"""A verification that runs beside traffic: it finds what is planted, and never anything else.

Walks of the traffic are made once; then ledgers apply them anew with a step of a pass after every
batch, in steps of a few rows, so that commands come between any two rows of it.
"""

from __future__ import annotations

import random
from functools import cache

import pytest

from engine import invariants, tables
from engine.commands import CommandBatch
from engine.state import Capacity, State
from engine.verification import Verification
from tests import columns
from tests.ledger import Ledger
from tests.property.pair import ROOM, SETUP, Pair
from tests.property.test_walks import Steps, walk

SEEDS = range(6)
Batches = list[tuple[int, CommandBatch]]


@cache
def batches_of(seed: int) -> Batches:
    """(ledger time, batch) of everything that one walk sent."""
    pair = Pair()
    steps: Steps = []
    walk(seed, pair, steps)
    made: Batches = [(pair.batches[0][0], batch) for batch in SETUP]
    for now_ms, operations, _ in pair.batches:
        made.append((now_ms, columns.join(*(each.batch() for each in operations))))
    return made


def beside(
    state: State, running: Verification | None, rows: int
) -> tuple[Verification | None, list[invariants.Difference] | None]:
    """Take one step of the pass, or of a new one. (the pass, its findings when it is over)"""
    running = running or Verification(state)
    if not running.step(rows):
        return running, None
    if running.is_lost:  # more movements at once than are kept: nothing is said, another begins
        return None, None
    assert running.positions_checked == state.meta["position_count"][0]
    assert running.differences_total == len(running.differences())
    return None, running.differences()


@pytest.mark.parametrize("movements", [16, 64, 2048])
@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_sound_ledger_never_differs(seed: int, rows: int, movements: int) -> None:
    room = Capacity(**{**_fields(ROOM), "movements": movements})
    ledger = Ledger(room, checked=False)
    running: Verification | None = None
    passes = 0
    for _ in range(3 if rows == 1 else 1):
        for now_ms, batch in batches_of(seed):
            ledger.now_ms = max(ledger.now_ms, now_ms)
            ledger.apply(batch)
            running, found = beside(ledger.state, running, rows)
            passes += found is not None
            assert found in (None, []), found
    assert invariants.check(ledger.state) == []
    assert passes > 0


def _fields(room: Capacity) -> dict[str, int]:
    return {name: getattr(room, name) for name in Capacity.__dataclass_fields__}


FIELDS = ("held", "committed", "on_hand", "withheld", "fenced")


@pytest.mark.parametrize("rows", [2, 1000])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_drift_is_found_beside_traffic(seed: int, field: str, rows: int) -> None:
    chance = random.Random(seed)
    ledger = Ledger(ROOM, checked=False)
    batches = batches_of(seed)
    planted_at = len(batches) // 3
    running: Verification | None = None
    row = -1
    for number, (now_ms, batch) in enumerate(batches + batches):
        ledger.now_ms = max(ledger.now_ms, now_ms)
        ledger.apply(batch)
        if number == planted_at:
            positions = ledger.state.positions[: int(ledger.state.meta["position_count"][0])]
            stock = (positions["kind"] == tables.STOCK).nonzero()[0]
            row = int(chance.choice(stock.tolist()))
            ledger.state.positions[field][row] += chance.choice([-1, 1, 2])
            running = None  # a pass that begins now must find it
        if row < 0:
            continue
        running, found = beside(ledger.state, running, rows)
        if found is not None:
            break
    else:
        # The traffic ended first: the pass goes on alone.
        found = None
        while found is None:
            running, found = beside(ledger.state, running, rows)
    assert (row, field) in {(each.position, each.field) for each in found}
    assert all(each.position == row for each in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pass_alone_finds_what_the_recomputation_in_one_go_finds(seed: int) -> None:
    chance = random.Random(seed)
    ledger = Ledger(ROOM, checked=False)
    for now_ms, batch in batches_of(seed):
        ledger.now_ms = max(ledger.now_ms, now_ms)
        ledger.apply(batch)
    positions = ledger.state.positions[: int(ledger.state.meta["position_count"][0])]
    for _ in range(20):
        row = chance.randrange(len(positions))
        field = chance.choice(FIELDS)
        positions[field][row] += chance.randint(-5, 5)
    running: Verification | None = None
    found = None
    while found is None:
        running, found = beside(ledger.state, running, 7)
    expected = invariants.differences(ledger.state)
    assert len(expected) > 5
    assert sorted(map(_key, found)) == sorted(map(_key, expected))


def _key(difference: invariants.Difference) -> tuple[int, str, int, int]:
    return (
        difference.position,
        difference.field,
        difference.stored,
        difference.recomputed,
    )
