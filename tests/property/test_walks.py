"""Long seeded walks through the engine and the model: deep where the machine is wide.

A walk that fails is cut down to the few operations that still fail; they are printed, and a list
of them is a test of its own (`Pair().apply`).
"""

from __future__ import annotations

import os
import random

import pytest

from engine import commands
from tests.columns import Line
from tests.property.operations import Operation, pieces
from tests.property.pair import Pair
from tests.property.traffic import CHANNELS, DAY, PLACES, SKUS, SLOT, Traffic

SEEDS = range(int(os.environ.get("HOLDFAST_WALKS", "30")))
OPERATIONS = 300

Steps = list[tuple[int, list[Operation]]]
"""(milliseconds that pass first, a batch)"""


def furnish(chance: random.Random) -> list[Operation]:
    """A world worth trading in."""
    counts = tuple(
        Line(*place, quantity=chance.randint(0, 15), number=number)
        for number, place in enumerate(PLACES)
    )
    found = [Operation(commands.COUNT, counts)]
    for place in PLACES:
        if chance.random() < 0.5:
            line = Line(*place, quantity=chance.randint(1, 6))
            found.append(Operation(commands.SET_BACKORDER_LIMIT, (line,)))
        if chance.random() < 0.4:
            line = Line(*place, chance.choice(CHANNELS), chance.randint(1, 5))
            found.append(Operation(commands.SET_CHANNEL_FENCE, (line,)))
    if chance.random() < 0.3:
        line = Line(chance.choice(SKUS), quantity=chance.randint(3, 20))
        found.append(Operation(commands.SET_PURCHASE_LIMIT, (line,)))
    for name, kind in ((DAY, commands.NODE_CAPACITY), (SLOT, commands.CARRIER_SLOT)):
        line = Line(name, "berlin", quantity=chance.randint(2, 40), kind=kind, text=name)
        found.append(Operation(commands.SET_CAPACITY, (line,)))
    return found


def walk(seed: int, pair: Pair, steps: Steps) -> None:
    """One walk; `steps` tells what was done so far, also after a failure."""
    chance = random.Random(seed)
    traffic = Traffic(chance, pair.model)
    sent = 0
    size = chance.choice([1, 3, 8, 20])
    batch, waited_ms = furnish(chance), 0
    while True:
        steps.append((waited_ms, batch))
        pair.ledger.now_ms += waited_ms
        pair.apply(batch)
        sent += len(batch)
        if chance.random() < 0.03:
            pair.restore()
        if sent >= OPERATIONS:
            break
        waited_ms = traffic.wait_ms(pair.ledger.now_ms)
        batch = traffic.batch(pair.ledger.now_ms + waited_ms, chance.randint(1, size))
    pair.verify_replay()


def fails(steps: Steps) -> bool:
    """Whether these steps alone still show a difference."""
    pair = Pair()
    try:
        for waited_ms, batch in steps:
            pair.ledger.now_ms += waited_ms
            if batch:
                pair.apply(batch)
        pair.verify_replay()
    except AssertionError:
        return True
    return False


def cut_down(steps: Steps) -> Steps:
    """The failing steps without those that do not matter."""
    alone = [
        (0 if number else waited_ms, piece)
        for waited_ms, batch in steps
        for number, piece in enumerate(pieces(batch))
    ]
    if fails(alone):
        steps = alone
    size = len(steps)
    while size:
        at = 0
        while at < len(steps):
            later_ms = sum(waited_ms for waited_ms, _ in steps[at : at + size])
            fewer = [*steps[:at], (later_ms, []), *steps[at + size :]]
            if fails(fewer):
                steps = fewer
                at += 1
            else:
                at += size
        size //= 2
    return [step for step in steps if step[0] or step[1]]


@pytest.mark.parametrize("seed", SEEDS)
def test_walk(seed: int) -> None:
    steps: Steps = []
    try:
        walk(seed, Pair(), steps)
    except AssertionError:
        for waited_ms, batch in cut_down(steps):
            print(f"+{waited_ms} ms:", *(each.told() for each in batch), sep="\n    ")
        raise
