"""Returns: shipped units come back, for sale or withheld, here or at another node."""

from __future__ import annotations

import pytest

from engine import commands, limits, outcomes
from tests.columns import Line
from tests.ledger import Ledger

MOST = limits.units_per_position_max


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    order = ledger.create([("pear", "berlin", 5)], reservation_id="order")
    ledger.confirm(order)
    ledger.fulfill(order, [Line(number=0, quantity=4, kind=commands.BY_LINE)])
    return ledger


def _back(units: int, *, node: str = "", bucket: int = 0) -> list[Line]:
    return [Line(number=0, quantity=units, scope=node, policy=bucket, kind=commands.BY_LINE)]


def test_units_are_for_sale_again(ledger: Ledger) -> None:
    answer = ledger.give_back("order", _back(3))
    assert answer.state == outcomes.CONFIRMED
    assert ledger.at("pear", "berlin").available == 3
    assert ledger.give_back("order", _back(2)).reason == "QUANTITY_EXCEEDS_OPEN"


def test_damaged_units_are_withheld(ledger: Ledger) -> None:
    ledger.give_back("order", _back(3, bucket=commands.DAMAGED))
    stock = ledger.at("pear", "berlin")
    assert (stock.on_hand, stock.withheld, stock.available) == (4, 3, 0)


def test_units_come_back_to_another_node(ledger: Ledger) -> None:
    ledger.know(commands.NODE, "hamburg")
    assert ledger.give_back("order", _back(3, node="hamburg")).ok
    assert ledger.at("pear", "hamburg").on_hand == 3
    assert ledger.give_back("order", _back(1, node="rome")).reason == "NODE_NOT_FOUND"


def test_more_than_a_position_can_count_is_refused() -> None:
    """Units replaced while they were away: coming back, they may not fit any more."""
    ledger = Ledger()
    ledger.stock("pear", "berlin", MOST)
    orders = []
    for _ in range(3):
        order = ledger.create([("pear", "berlin", MOST)])
        ledger.confirm(order)
        ledger.fulfill(order)
        orders.append(order)
        ledger.adjust("pear", "berlin", MOST)
    for order in orders:
        assert ledger.give_back(order, _back(1)).reason == "QUANTITY_OUT_OF_RANGE"
    ledger.adjust("pear", "berlin", -3)
    assert ledger.give_back(orders[0], _back(4)).reason == "QUANTITY_OUT_OF_RANGE"
    assert ledger.give_back(orders[0], _back(3)).ok
    assert ledger.at("pear", "berlin").on_hand == MOST


def test_returned_units_go_to_those_who_wait(ledger: Ledger) -> None:
    ledger.backorder("pear", "berlin", 9)
    waiting = ledger.create([("pear", "berlin", 6)], policy=commands.BACKORDER)
    for units in (1, 1, 2):
        ledger.give_back("order", _back(units))
    assert ledger.open_units(waiting) == {"berlin": 4}
    assert len(ledger.takes(waiting)) == 2
