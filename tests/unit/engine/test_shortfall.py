"""Shortfall: a count found less than is promised. It is flagged, and only that may be below 0."""

from __future__ import annotations

import pytest

from engine import commands, outcomes, reads, tables
from tests import columns
from tests.columns import Line
from tests.ledger import Ledger

LATER = 10_000


@pytest.fixture
def short() -> Ledger:
    """Five pears promised, of which a count found two: short of three. A plum is there too."""
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    ledger.stock("plum", "berlin", 1)
    ledger.create([("pear", "berlin", 5)], reservation_id="cart", owner="ann")
    ledger.count("pear", "berlin", 2)
    assert _short_units(ledger) == 3
    return ledger


def _short_units(ledger: Ledger) -> int:
    units = int(ledger.state.meta["short_units"][0])
    row = reads.position_row(ledger.state, "pear", "berlin")
    flagged = bool(ledger.state.positions["flags"][row] & tables.SHORT)
    assert flagged == (units > 0)
    assert units == max(0, -ledger.at("pear", "berlin").available)
    return units


def test_stock_that_arrives_makes_it_good(short: Ledger) -> None:
    assert short.adjust("pear", "berlin", 2).ok
    assert _short_units(short) == 1
    assert short.adjust("pear", "berlin", 2).ok
    assert _short_units(short) == 0


def test_refused_command_that_had_made_it_good_leaves_it_flagged(short: Ledger) -> None:
    lines = [
        Line("pear", "berlin", quantity=9),
        Line("plum", "berlin", quantity=-5, number=1),
    ]
    assert not short.one(columns.command(commands.ADJUST, lines)).ok
    assert _short_units(short) == 3


def test_refused_transfer_that_had_made_it_good_leaves_it_flagged(short: Ledger) -> None:
    short.stock("pear", "hamburg", 9)
    lines = [
        Line("pear", "hamburg", "berlin", 9),
        Line("plum", "hamburg", "berlin", 1, number=1),
    ]
    assert not short.one(columns.command(commands.TRANSFER, lines)).ok
    assert _short_units(short) == 3


def test_refused_new_cart_of_its_owner_leaves_it_flagged(short: Ledger) -> None:
    assert not short.create([("pear", "berlin", 3)], owner="ann", replace=True).ok
    assert _short_units(short) == 3


def test_new_cart_of_its_owner_may_take_what_was_found(short: Ledger) -> None:
    assert short.create([("pear", "berlin", 2)], owner="ann", replace=True).ok
    assert _short_units(short) == 0


def test_refused_revision_leaves_it_flagged(short: Ledger) -> None:
    assert not short.revise("cart", [("pear", "berlin", 3)]).ok
    assert _short_units(short) == 3
    assert short.revise("cart", [("pear", "berlin", 2)]).ok
    assert _short_units(short) == 0


def test_supply_that_was_promised_already_does_not_make_it_good(short: Ledger) -> None:
    short.supply("po-1", "pear", "berlin", 4, short.now_ms + LATER)
    assert short.create([("pear", "berlin", 4)], policy=commands.INCOMING).ok
    assert short.receive("po-1", 4).ok
    assert _short_units(short) == 3


def test_returned_units_that_are_withheld_do_not_make_it_good() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 9)
    shipped = ledger.create([("pear", "berlin", 4)])
    ledger.confirm(shipped)
    ledger.fulfill(shipped)
    ledger.create([("pear", "berlin", 5)])
    ledger.count("pear", "berlin", 2)
    back = Line(number=0, quantity=4, kind=commands.BY_LINE, policy=commands.DAMAGED)
    assert ledger.give_back(shipped, [back]).ok
    assert _short_units(ledger) == 3


def test_newest_holds_are_cancelled_until_it_is_covered() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 10)
    holds = [ledger.create([("pear", "berlin", 2)]) for _ in range(5)]
    ledger.confirm(holds[4])
    counted = ledger.count("pear", "berlin", 5, policy=commands.CANCEL_NEWEST_HOLDS)
    states = [ledger.state_of(hold) for hold in holds]
    assert states == [outcomes.HELD, *[outcomes.CANCELLED] * 3, outcomes.CONFIRMED]
    told = [d for d in counted.details if d["kind"] == outcomes.SHORTFALL]
    assert [(int(d["quantity"]), int(d["shortfall"])) for d in told] == [(3, 0)]
    named = [int(d["time_ms"]) for d in counted.details if d["kind"] == outcomes.CANCELLED_HOLD]
    assert named == [hold.revision for hold in (holds[3], holds[2], holds[1])]
    assert ledger.at("pear", "berlin").available == 1


def test_what_is_confirmed_stays_and_stays_short() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 3)
    paid = ledger.create([("pear", "berlin", 3)])
    ledger.confirm(paid)
    counted = ledger.count("pear", "berlin", 1, policy=commands.CANCEL_NEWEST_HOLDS)
    assert [(int(d["quantity"]), int(d["shortfall"])) for d in counted.details] == [(0, 2)]
    assert ledger.state_of(paid) == outcomes.CONFIRMED
    assert _short_units(ledger) == 2


def test_more_holds_than_one_scan_notes_are_cancelled_newest_first() -> None:
    """The scan notes some thousand holds at once (scratch); more take several scans."""
    from engine.state import SCRATCH_MAX, Capacity

    holds = SCRATCH_MAX + 500
    ledger = Ledger(
        Capacity(
            positions=64,
            names=64,
            name_bytes=4096,
            group_members=16,
            reservations=holds + 8,
            takes=holds + 512,
            supplies=16,
            requests=16,
            reply_details=1 << 13,
            movements=16,
        ),
        checked=False,
    )
    ledger.stock("pear", "berlin", holds)
    ledger.run(*(Ledger.creating([("pear", "berlin", 1)]) for _ in range(holds)))
    kept = 7
    ledger.count("pear", "berlin", kept, policy=commands.CANCEL_NEWEST_HOLDS)
    states = ledger.state.reservations["state"][:holds]
    assert (states[:kept] == outcomes.HELD).all()
    assert (states[kept:] == outcomes.CANCELLED).all()
    assert ledger.at("pear", "berlin").available == 0
