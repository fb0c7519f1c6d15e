"""A pass in steps: what it follows, what it gives up on, what it leaves alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from engine import commands, invariants
from engine.invariants import Difference
from engine.resize import resize_command
from engine.verification import Verification
from tests import columns
from tests.columns import Line
from tests.ledger import SMALL, Ledger

RING = replace(SMALL, movements=16)
NODES = [f"n-{number}" for number in range(40)]


def finished(verification: Verification, rows: int = 1000) -> list[Difference]:
    """The differences, once it is over."""
    while not verification.step(rows):
        pass
    assert not verification.is_lost
    return verification.differences()


@pytest.mark.parametrize("seed", range(4))
def test_movements_that_are_overwritten_meanwhile_are_counted_once(seed: int) -> None:
    """The ring goes round several times during each pass, before, while and after it is read."""
    chance = random.Random(seed)
    ledger = Ledger(RING, checked=False)
    for node in NODES:
        ledger.stock("pear", node, 100)
    passes, overwritten = 0, 0
    running, began_at = Verification(ledger.state), int(ledger.state.meta["movement_next"][0])
    for _ in range(1500):
        for _ in range(chance.choice([0, 1, 1, 5])):
            ledger.adjust("pear", chance.choice(NODES[: chance.choice([2, 40])]), 1)
        if not running.step(1):
            continue
        assert not running.is_lost
        assert running.differences() == []
        passes += 1
        overwritten = max(overwritten, int(ledger.state.meta["movement_next"][0]) - began_at)
        running, began_at = Verification(ledger.state), int(ledger.state.meta["movement_next"][0])
    assert passes > 5
    assert overwritten > 3 * RING.movements


def test_more_movements_in_one_step_than_are_kept_are_no_difference() -> None:
    ledger = Ledger(RING)
    for node in NODES:
        ledger.stock("pear", node, 100)
    verification = Verification(ledger.state)
    assert not verification.step(1)
    for _ in range(17):
        ledger.adjust("pear", "n-1", 1)
    assert verification.step(1)
    assert verification.is_lost
    assert verification.differences() == []
    assert finished(Verification(ledger.state)) == []


def test_more_changed_reservations_than_are_logged_are_no_difference() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 100)
    hold = ledger.create([("pear", "berlin", 2)])
    verification = Verification(ledger.state)
    assert not verification.step(1)
    assert ledger.confirm(hold).ok
    assert verification.behind == 1
    # As if so many changes had come that the log has gone round.
    ledger.state.arrays["stamped_count"][0] += len(ledger.state.arrays["stamped"])
    assert verification.step(1)
    assert verification.is_lost
    assert finished(Verification(ledger.state)) == []


def test_a_reservation_that_ends_and_is_forgotten_between_two_steps() -> None:
    """Its row and its takes serve others when the pass hears of it."""
    ledger = Ledger(replace(SMALL, reservations=1 << 4, takes=1 << 10))
    ledger.stock("pear", "berlin", 1000)
    ledger.stock("plum", "berlin", 1000)
    held = [ledger.create([("pear", "berlin", 1)]) for _ in range(16)]
    verification = Verification(ledger.state)
    for _ in range(2):
        assert not verification.step(8)
    for hold in held:
        assert ledger.cancel(hold).ok
    again = [ledger.create([("plum", "berlin", 3)]) for _ in range(7)]
    for hold in again[:3]:
        assert ledger.confirm(hold).ok
    assert finished(verification, 16) == []
    assert ledger.at("plum", "berlin").held == 12


def test_a_fence_made_during_the_pass_is_counted() -> None:
    ledger = Ledger()
    ledger.channel("web")
    for node in NODES[:5]:
        ledger.stock("pear", node, 10)
    verification = Verification(ledger.state)
    assert not verification.step(1)
    for node in NODES[:5]:
        assert ledger.fence("web", "pear", node, 4).ok
        verification.step(1)
    assert ledger.create([("pear", "n-1", 2)], channel="web").ok
    assert finished(verification, 2) == []
    ledger.state.positions["fenced"][0] += 1
    found = finished(Verification(ledger.state))
    assert found == [Difference(0, "fenced", 5, 4)]
    ledger.state.positions["fenced"][0] -= 1


def test_an_oversold_position_is_a_difference_and_a_reported_shortfall_is_none() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    assert ledger.create([("pear", "berlin", 4)]).ok
    assert ledger.count("pear", "berlin", 1).ok
    assert finished(Verification(ledger.state)) == []
    ledger.state.positions["flags"][0] = 0
    assert finished(Verification(ledger.state)) == [Difference(0, "available", -3, 0)]
    ledger.state.positions["flags"][0] = 8


@pytest.mark.parametrize("movements", [32, 256])
def test_a_ring_of_another_size_is_begun_anew(movements: int) -> None:
    """After a resize the ring holds fewer movements than it has room for, not from slot 0 on."""
    ledger = Ledger(replace(SMALL, movements=64), checked=False)
    for node in NODES:
        ledger.stock("pear", node, 100)
    for number in range(100):
        ledger.adjust("pear", NODES[number % 7], 1)
    verification = Verification(ledger.state)
    assert not verification.step(3)
    ledger.apply(resize_command(replace(SMALL, movements=movements)))
    assert verification.step(3)
    assert verification.is_lost
    verification = Verification(ledger.state)
    for number in range(400):
        ledger.adjust("pear", NODES[number % 11], 1)
        if verification.step(1):
            break
    else:
        assert finished(verification) == []
    assert not verification.is_lost
    assert verification.differences() == []
    ledger.state.positions["on_hand"][3] += 1
    (found,) = finished(Verification(ledger.state))
    assert (found.position, found.field) == (3, "on_hand")


def test_a_pass_changes_nothing() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    ledger.create([("pear", "berlin", 4)])
    before = ledger.hash()
    finished(Verification(ledger.state))
    assert ledger.hash() == before


def test_more_differences_than_are_kept_are_counted() -> None:
    ledger = Ledger(replace(SMALL, positions=1 << 12, movements=1 << 12), checked=False)
    ledger.know(commands.SKU, "pear")
    nodes = [f"m-{number}" for number in range(1001)]
    for first in range(0, len(nodes), 250):
        ledger.know(commands.NODE, *nodes[first : first + 250])
        lines = [Line("pear", node, quantity=5) for node in nodes[first : first + 250]]
        assert ledger.one(columns.command(commands.COUNT, lines)).ok
    ledger.state.positions["held"][:1001] += 1
    verification = Verification(ledger.state)
    assert len(finished(verification)) == 1000
    assert verification.differences_total == len(invariants.differences(ledger.state)) == 1001
    assert verification.positions_checked == 1001
    assert np.all(ledger.state.positions["held"][:1001] == 1)
