"""Tables of other sizes: everything that finds room stays, and goes on the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine import commands, invariants, machine, outcomes
from engine.resize import resize, resize_command, too_small
from engine.state import Capacity, State
from tests.columns import Line
from tests.ledger import SMALL, Ledger

TIGHT = replace(SMALL, movements=16, requests=16, reply_details=64)


@pytest.fixture
def ledger() -> Ledger:
    """A bit of everything, with rings that have wrapped."""
    ledger = Ledger(TIGHT)
    ledger.stock("plum", "berlin", 3)
    ledger.stock("pear", "berlin", 9)
    ledger.supply("po-1", "pear", "berlin", 5, ledger.now_ms + 1000)
    ledger.create([("pear", "berlin", 2)], owner="ann", reservation_id="cart")
    ledger.create(
        [Line("pear", "berlin", quantity=9, policy=commands.INCOMING)],
        owner="ben",
        reservation_id="waits",
    )
    for number in range(40):
        ledger.now_ms += 10
        ledger.adjust("pear" if number % 3 else "plum", "berlin", 1, request_id=f"q-{number}")
    return ledger


def _sound(ledger: Ledger) -> None:
    assert invariants.check(ledger.state) == []
    assert invariants.state_hash(State.restore(ledger.state.sections())) == ledger.hash()


@pytest.mark.parametrize("rows", [32, 64])
def test_rings_grow_and_remember_what_they_did(ledger: Ledger, rows: int) -> None:
    resize(ledger.state, replace(SMALL, movements=rows, requests=rows, reply_details=4 * rows))
    _sound(ledger)
    assert ledger.adjust("pear", "berlin", 1, request_id="q-38").replayed
    assert not ledger.adjust("pear", "berlin", 1, request_id="q-1").replayed
    for number in range(2 * rows):
        ledger.adjust("plum", "berlin", 1, request_id=f"r-{number}")
        _sound(ledger)


def test_rings_shrink_to_the_newest(ledger: Ledger) -> None:
    resize(ledger.state, SMALL)
    for number in range(100, 160):
        ledger.adjust("pear", "berlin", 1, request_id=f"q-{number}")
    resize(ledger.state, TIGHT)
    _sound(ledger)
    assert ledger.adjust("pear", "berlin", 1, request_id="q-159").replayed
    assert not ledger.adjust("pear", "berlin", 1, request_id="q-120").replayed
    _sound(ledger)


def test_count_before_what_is_kept_stays_refused_after_growing(ledger: Ledger) -> None:
    """The movements forgotten before are not known again because there is room for them now."""
    long_ago_ms = ledger.now_ms - 395
    out_of_date = outcomes.COUNT_OUT_OF_DATE
    assert ledger.count("pear", "berlin", 3, as_of_ms=long_ago_ms).code == out_of_date
    resize(ledger.state, SMALL)
    assert ledger.count("pear", "berlin", 3, as_of_ms=long_ago_ms).code == out_of_date
    assert ledger.count("pear", "berlin", 3, as_of_ms=ledger.now_ms - 35).ok
    assert ledger.at("pear", "berlin").on_hand == 3 + sum(1 for n in range(36, 40) if n % 3)


def test_everything_goes_on_the_same(ledger: Ledger) -> None:
    other = ledger.restored()
    resize(other.state, replace(TIGHT, positions=64, names=64, takes=128, reservations=64))
    for each in (ledger, other):
        each.now_ms += 1000
        each.receive("po-1", 5)
        each.create([("pear", "berlin", 3)], owner="ann", replace=True)
        each.wait(3_600_000)
    assert other.at("pear", "berlin") == ledger.at("pear", "berlin")
    _sound(other)


@pytest.mark.parametrize("field", ["positions", "names", "name_bytes", "takes", "reservations"])
def test_less_room_than_is_in_use_is_named_and_changes_nothing(ledger: Ledger, field: str) -> None:
    before = ledger.hash()
    wanted = replace(TIGHT, **{field: 1})
    (problem,) = too_small(ledger.state, wanted)
    assert problem.startswith(f"{field} is 1, ")
    with pytest.raises(ValueError, match=f"{field} is 1, "):
        resize(ledger.state, wanted)
    assert ledger.hash() == before


def test_resize_is_a_command_that_uses_no_revision(ledger: Ledger) -> None:
    before = ledger.state.revision
    batch = commands.CommandBatch.join(
        [ledger.creating([("pear", "berlin", 1)]), resize_command(SMALL)]
    )
    answered = machine.apply(ledger.state, ledger.now_ms, batch)
    assert answered.rows["code"].tolist() == [0, 0]
    assert (ledger.state.capacity, ledger.state.revision) == (SMALL, before + 1)
    _sound(ledger)


def test_every_ledger_begins_with_the_same_sizes() -> None:
    assert Capacity.first() == Capacity(
        positions=1 << 14,
        names=1 << 14,
        name_bytes=1 << 18,
        group_members=1 << 10,
        reservations=1 << 12,
        takes=1 << 14,
        supplies=1 << 10,
        requests=1 << 13,
        reply_details=1 << 15,
        movements=1 << 14,
    )
