"""Room that runs out in the middle of things: the ledger stays sound and says what is full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine import commands, outcomes
from engine.state import Capacity
from tests import columns
from tests.columns import Line
from tests.ledger import Ledger

TIGHT = Capacity(
    positions=64,
    names=64,
    name_bytes=1 << 10,
    group_members=8,
    reservations=512,
    takes=1 << 10,
    supplies=4,
    requests=64,
    reply_details=1 << 10,
    movements=1 << 10,
)


def test_supplies_full() -> None:
    ledger = Ledger(TIGHT)
    for number in range(4):
        assert ledger.supply(f"po-{number}", "pear", "berlin", 1, ledger.now_ms).ok
    assert ledger.supply("po-4", "pear", "berlin", 1, ledger.now_ms).reason == "SUPPLIES_FULL"
    assert ledger.backorder("pear", "berlin", 1).reason == "SUPPLIES_FULL"
    ledger.stock("pear", "hamburg", 3)
    travelling = ledger.transfer(
        "pear", "hamburg", "berlin", 1, arrives_ms=ledger.now_ms + 1, name="t-1"
    )
    assert travelling.reason == "SUPPLIES_FULL"
    assert ledger.at("pear", "hamburg").on_hand == 3


def test_group_members_full() -> None:
    ledger = Ledger(TIGHT)
    assert ledger.group("first", "a", "b", "c", "d", "e").ok
    assert ledger.group("second", "a", "b", "c", "d").reason == "NAMES_FULL"
    assert ledger.group("first", "e", "d").ok, "a smaller group keeps its place"
    assert ledger.group("second", "a", "b", "c").ok


def test_name_bytes_full() -> None:
    ledger = Ledger(replace(TIGHT, name_bytes=20))
    assert ledger.one(columns.define(commands.SKU, "a" * 12)).ok
    assert ledger.one(columns.define(commands.SKU, "b" * 12)).reason == "NAMES_FULL"
    assert ledger.one(columns.define(commands.SKU, "b" * 8)).ok


@pytest.mark.parametrize("what", ["fence", "capacity", "supply", "limit", "partial"])
def test_positions_full_is_said_by_whatever_needs_one(what: str) -> None:
    ledger = Ledger(replace(TIGHT, positions=2))
    ledger.stock("pear", "berlin", 5)
    ledger.stock("plum", "berlin", 5)
    ledger.know(commands.NODE, "hamburg")
    ledger.limit("pear", 3)
    answers = {
        "fence": lambda: ledger.fence("shop", "pear", "berlin", 1),
        "capacity": lambda: ledger.capacity_of("monday", "berlin", 1),
        "supply": lambda: ledger.supply("po-1", "pear", "berlin", 1, ledger.now_ms),
        "limit": lambda: ledger.create([("pear", "berlin", 1)], owner="ann"),
        "partial": lambda: ledger.create(
            [("plum", "hamburg", 1)], fill_policy=commands.PARTIAL_QUANTITY
        ),
    }
    assert answers[what]().reason == "POSITIONS_FULL"
    assert ledger.at("pear", "berlin").held == 0


# --- no take is left to split another -----------------------------------------------------------

SKUS = [f"sku-{number}" for number in range(254)]


def _with_no_take_left() -> Ledger:
    """Every take is in use. "order" has the last pear, "waits" wants three; "shipped" is ended."""
    room = Capacity(
        positions=1 << 10,
        names=1 << 9,
        name_bytes=1 << 12,
        group_members=16,
        reservations=16,
        takes=511,
        supplies=1 << 9,
        requests=16,
        reply_details=1 << 12,
        movements=1 << 11,
    )
    ledger = Ledger(room, checked=False)
    ledger.stock("pear", "berlin", 2)
    shipped = ledger.create([("pear", "berlin", 1)], reservation_id="shipped")
    ledger.confirm(shipped)
    ledger.fulfill(shipped)
    ledger.know(commands.SKU, *SKUS)
    ledger.run(
        *(
            columns.command(commands.SET_BACKORDER_LIMIT, [Line(sku, "berlin", quantity=9)])
            for sku in ("pear", *SKUS)
        )
    )
    ledger.create([("pear", "berlin", 1)], reservation_id="order")
    for first, last in ((0, 100), (100, 200), (200, None)):
        if last is None:
            waits = [("pear", "berlin", 3)]
            ledger.create(waits, reservation_id="waits", policy=commands.BACKORDER)
        wanted = [(sku, "berlin", 2) for sku in SKUS[first:last]]
        assert ledger.create(wanted, policy=commands.BACKORDER).ok
    ledger.run(
        *(columns.command(commands.ADJUST, [Line(sku, "berlin", quantity=1)]) for sku in SKUS)
    )
    ledger.checked = True
    assert int(ledger.state.meta["take_count"][0]) == ledger.capacity.takes
    return ledger


def test_order_that_ends_is_not_evicted_for_those_it_serves() -> None:
    ledger = _with_no_take_left()
    evicted = int(ledger.state.meta["evicted_count"][0])
    answer = ledger.cancel("order")
    assert answer.state == outcomes.CANCELLED
    assert [int(detail["cancelled"]) for detail in answer.details] == [1]
    assert ledger.state_of("order") == outcomes.CANCELLED
    # The one ended before made room.
    assert ledger.state_of("shipped") == 0
    assert int(ledger.state.meta["evicted_count"][0]) == evicted + 1
    assert ledger.open_units("waits") == {"berlin": 1}


def test_where_nothing_can_be_evicted_those_who_wait_wait_on() -> None:
    """Units stay free, and go to them as soon as there is room."""
    ledger = _with_no_take_left()
    back = Line(number=0, quantity=1, kind=commands.BY_LINE)
    answer = ledger.give_back("shipped", [back])
    assert [int(detail["returned"]) for detail in answer.details] == [1]
    assert ledger.state_of("shipped") == outcomes.FULFILLED
    assert ledger.open_units("waits") == {}
    assert ledger.at("pear", "berlin").available == 1
    ledger.cancel("order")
    assert ledger.open_units("waits") == {"berlin": 2}
