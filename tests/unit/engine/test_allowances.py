"""What may be promised besides stock: capacity, channels' fences, purchase limits."""

from __future__ import annotations

import pytest

from engine import commands, reads, tables
from engine.balances import read_balance
from tests.columns import Line
from tests.ledger import Balances, Ledger

DAY = "2026-03-02"


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 20)
    return ledger


def _only(ledger: Ledger, kind: int) -> int:
    positions = ledger.state.positions[: int(ledger.state.meta["position_count"][0])]
    (row,) = (positions["kind"] == kind).nonzero()[0]
    return int(row)


def _with_picks(picks: int) -> list[Line]:
    return [
        Line("pear", "berlin", quantity=1, policy=commands.ON_HAND),
        Line(DAY, "berlin", quantity=picks, number=1, kind=commands.NODE_CAPACITY),
    ]


# --- capacity -------------------------------------------------------------------------------


def test_capacity_is_taken_in_the_same_step_as_stock(ledger: Ledger) -> None:
    assert ledger.create(_with_picks(1)).reason == "CAPACITY_NOT_FOUND"
    ledger.capacity_of(DAY, "berlin", 5)
    order = ledger.create(_with_picks(4))
    refused = ledger.create(_with_picks(2))
    assert refused.reason == "CAPACITY_EXHAUSTED"
    assert refused.shortages() == [(1, 2, 1)]
    assert ledger.at("pear", "berlin").held == 1
    ledger.cancel(order)
    assert ledger.create(_with_picks(5)).ok


def test_capacity_that_was_used_stays_used(ledger: Ledger) -> None:
    """Setting a day's capacity a second time must not give away what was picked already."""
    ledger.capacity_of(DAY, "berlin", 5)
    order = ledger.create(_with_picks(4))
    ledger.confirm(order)
    ledger.fulfill(order)
    row = _only(ledger, tables.CAPACITY)
    assert ledger.balances(row).available == 1
    ledger.capacity_of(DAY, "berlin", 5)
    assert ledger.balances(row).available == 1
    told = read_balance(ledger.state, row)
    assert told["on_hand"] + told["used_up"] == 5
    assert ledger.create(_with_picks(2)).reason == "CAPACITY_EXHAUSTED"
    ledger.capacity_of(DAY, "berlin", 7)
    assert ledger.create(_with_picks(3)).ok


def test_capacity_set_below_its_use_stops_further_takes_only(ledger: Ledger) -> None:
    ledger.capacity_of(DAY, "berlin", 5)
    order = ledger.create(_with_picks(4))
    ledger.capacity_of(DAY, "berlin", 2)
    assert ledger.balances(_only(ledger, tables.CAPACITY)).available == -2
    refused = ledger.create(_with_picks(1))
    assert refused.shortages() == [(1, 1, 0)]
    assert ledger.confirm(order).ok


# --- fences ---------------------------------------------------------------------------------


def test_channel_takes_from_its_fence_first(ledger: Ledger) -> None:
    ledger.fence("shop", "pear", "berlin", 6)
    order = ledger.create([("pear", "berlin", 8)], channel="shop")
    row = _only(ledger, tables.FENCE)
    assert ledger.balances(row) == Balances(6, 6, 0, 0, 0)
    ledger.cancel(order)
    assert ledger.balances(row) == Balances(6, 0, 0, 0, 6)


def test_supply_named_like_a_channel_does_not_meet_its_fence(ledger: Ledger) -> None:
    """Both are kept under the stock's key and a name's: the kinds must be told apart."""
    ledger.supply("shop", "pear", "berlin", 50, ledger.now_ms + 1000)
    ledger.fence("shop", "pear", "berlin", 6)
    assert ledger.supply_balances("shop").on_hand == 50
    assert ledger.balances(_only(ledger, tables.FENCE)).on_hand == 6
    ledger.channel("market")
    assert not ledger.create([("pear", "berlin", 15)], channel="market").ok


def test_fence_that_shrinks_serves_those_who_wait(ledger: Ledger) -> None:
    ledger.fence("shop", "pear", "berlin", 20)
    ledger.backorder("pear", "berlin", 5)
    waiting = ledger.create([("pear", "berlin", 3)], policy=commands.BACKORDER)
    assert ledger.open_units(waiting) == {}
    ledger.fence("shop", "pear", "berlin", 18)
    assert ledger.open_units(waiting) == {"berlin": 2}
    ledger.fence("shop", "pear", "berlin", 0)
    assert ledger.open_units(waiting) == {"berlin": 3}


# --- purchase limits ---------------------------------------------------------------------------


def test_limit_counts_held_committed_and_received(ledger: Ledger) -> None:
    ledger.limit("pear", 5)
    assert ledger.create([("pear", "berlin", 1)]).reason == "OWNER_REQUIRED"
    shipped = ledger.create([("pear", "berlin", 2)], owner="ann")
    ledger.confirm(shipped)
    ledger.fulfill(shipped)
    ledger.create([("pear", "berlin", 2)], owner="ann")
    refused = ledger.create([("pear", "berlin", 2)], owner="ann")
    assert refused.reason == "PURCHASE_LIMIT_REACHED"
    assert refused.shortages() == [(0, 2, 1)]
    assert ledger.create([("pear", "berlin", 5)], owner="ben").ok
    back = Line(number=0, quantity=2, kind=commands.BY_LINE)
    ledger.give_back(shipped, [back])
    assert ledger.create([("pear", "berlin", 3)], owner="ann").ok


def test_limit_of_0_units_is_not_no_limit(ledger: Ledger) -> None:
    ledger.limit("pear", 0)
    refused = ledger.create([("pear", "berlin", 1)], owner="ann")
    assert refused.reason == "PURCHASE_LIMIT_REACHED"
    sku = reads.find_name(ledger.state, commands.SKU, "pear")
    assert reads.purchase_limit(ledger.state, sku) == 0
    ledger.limit("pear", None)
    assert reads.purchase_limit(ledger.state, sku) is None
    assert ledger.create([("pear", "berlin", 1)], owner="ann").ok


def test_limit_holds_for_lines_and_nodes_together(ledger: Ledger) -> None:
    ledger.stock("pear", "hamburg", 20)
    ledger.limit("pear", 3)
    both = [("pear", "berlin", 2), ("pear", "hamburg", 2)]
    assert ledger.create(both, owner="ann").reason == "PURCHASE_LIMIT_REACHED"
    assert ledger.at("pear", "berlin").held == 0


def test_limit_that_changes_counts_what_was_bought_under_it(ledger: Ledger) -> None:
    ledger.limit("pear", 5)
    ledger.create([("pear", "berlin", 4)], owner="ann")
    ledger.limit("pear", 2)
    assert not ledger.create([("pear", "berlin", 1)], owner="ann").ok
    ledger.limit("pear", None)
    ledger.limit("pear", 6)
    assert ledger.create([("pear", "berlin", 2)], owner="ann").ok
    assert not ledger.create([("pear", "berlin", 1)], owner="ann").ok
