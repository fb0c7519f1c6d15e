"""Reassign: units of lines move from node to node, all moves or none."""

from __future__ import annotations

import pytest

from engine import commands, outcomes, tables
from tests.columns import Line
from tests.ledger import Ledger


@pytest.fixture
def ledger() -> Ledger:
    """Pears at three nodes; an order of six of them in Berlin."""
    ledger = Ledger()
    for node, units in (("berlin", 6), ("hamburg", 4), ("munich", 9)):
        ledger.stock("pear", node, units)
    ledger.create([("pear", "berlin", 6)], reservation_id="order")
    return ledger


def _move(source: str, target: str, units: int = 0, number: int = 0) -> Line:
    return Line(node=source, scope=target, quantity=units, number=number, kind=commands.BY_LINE)


@pytest.mark.parametrize("confirmed", [False, True])
def test_units_move_and_the_line_stays_whole(ledger: Ledger, confirmed: bool) -> None:
    if confirmed:
        ledger.confirm("order")
    assert ledger.reassign("order", [_move("berlin", "hamburg", 4)]).ok
    assert ledger.open_units("order") == {"berlin": 2, "hamburg": 4}
    held = ledger.at("pear", "hamburg")
    assert (held.held, held.committed) == ((0, 4) if confirmed else (4, 0))
    assert ledger.at("pear", "berlin").available == 4


def test_quantity_0_moves_all_of_the_line_there_is_at_the_node(ledger: Ledger) -> None:
    assert ledger.reassign("order", [_move("berlin", "munich")]).ok
    assert ledger.open_units("order") == {"munich": 6}


def test_node_without_units_of_the_line_is_refused(ledger: Ledger) -> None:
    assert ledger.reassign("order", [_move("hamburg", "munich")]).reason == "LINE_NOT_FOUND"
    assert ledger.reassign("order", [_move("berlin", "munich", 1, 7)]).reason == "LINE_NOT_FOUND"
    assert ledger.reassign("order", [_move("rome", "munich", 1)]).reason == "NODE_NOT_FOUND"
    assert ledger.reassign("order", [_move("berlin", "rome", 1)]).reason == "NODE_NOT_FOUND"


def test_all_moves_or_none(ledger: Ledger) -> None:
    moves = [_move("berlin", "munich", 2), _move("berlin", "hamburg", 5)]
    refused = ledger.reassign("order", moves)
    assert refused.reason == "QUANTITY_EXCEEDS_OPEN"
    moves = [_move("berlin", "munich", 1), _move("berlin", "hamburg", 5)]
    refused = ledger.reassign("order", moves)
    assert refused.reason == "INSUFFICIENT_STOCK"
    assert refused.shortages() == [(0, 5, 4)]
    assert ledger.open_units("order") == {"berlin": 6}


def test_moves_of_one_command_do_not_count_units_twice(ledger: Ledger) -> None:
    """All of the line, and then some of it again, is more than all of it."""
    moves = [_move("berlin", "munich"), _move("berlin", "hamburg", 1)]
    assert ledger.reassign("order", moves).reason == "QUANTITY_EXCEEDS_OPEN"


def test_units_that_arrive_by_the_same_command_do_not_count_as_there(ledger: Ledger) -> None:
    moves = [_move("berlin", "hamburg", 4), _move("hamburg", "munich")]
    assert ledger.reassign("order", moves).reason == "LINE_NOT_FOUND"
    assert ledger.reassign("order", [_move("berlin", "hamburg", 4)]).ok
    moves = [_move("berlin", "hamburg"), _move("hamburg", "munich")]
    assert ledger.reassign("order", moves).reason == "INSUFFICIENT_STOCK"
    moves = [_move("hamburg", "munich"), _move("berlin", "hamburg", 0)]
    assert ledger.reassign("order", moves).reason == "INSUFFICIENT_STOCK"
    assert ledger.open_units("order") == {"berlin": 2, "hamburg": 4}


def test_two_lines_of_one_sku_are_summed_at_the_target(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 12)
    both = ledger.create([("pear", "berlin", 3), ("pear", "berlin", 3)])
    moves = [_move("berlin", "hamburg", 3, number) for number in (0, 1)]
    refused = ledger.reassign(both, moves)
    assert refused.reason == "INSUFFICIENT_STOCK"
    assert refused.shortages() == [(1, 6, 4)]


def test_moving_again_and_again_does_not_make_the_reservation_grow(ledger: Ledger) -> None:
    ledger.fence("shop", "pear", "hamburg", 2)
    ledger.fence("shop", "pear", "berlin", 2)
    order = ledger.create([("pear", "munich", 3)], channel="shop")
    for _ in range(20):
        for source, target in (("munich", "hamburg"), ("hamburg", "munich")):
            for _ in range(3):
                assert ledger.reassign(order, [_move(source, target, 1)]).ok
    assert ledger.open_units(order) == {"munich": 3}
    assert len(ledger.takes(order)) <= 3


def test_fence_covers_no_more_than_what_the_order_has_there(ledger: Ledger) -> None:
    """Moved in two parts, then partly cancelled: the fence's share follows as one."""
    ledger.fence("shop", "pear", "hamburg", 4)
    order = ledger.create([("pear", "munich", 4)], channel="shop")
    for _ in range(2):
        assert ledger.reassign(order, [_move("munich", "hamburg", 2)]).ok
    assert ledger.cancel(order, [Line(number=0, quantity=3, kind=commands.BY_LINE)]).ok
    fences = [take for take in ledger.takes(order) if take.place[0] == tables.FENCE]
    assert sum(take.quantity for take in fences) == 1
    ledger.confirm(order)
    ledger.fulfill(order)
    row = next(
        row
        for row in range(int(ledger.state.meta["position_count"][0]))
        if ledger.state.positions["kind"][row] == tables.FENCE
    )
    assert ledger.balances(row).on_hand == 3


def test_units_that_wait_for_supply_can_be_moved_to_stock(ledger: Ledger) -> None:
    ledger.stock("plum", "hamburg", 3)
    ledger.supply("po-1", "plum", "berlin", 3, ledger.now_ms + 1000)
    order = ledger.create([("plum", "berlin", 3)], policy=commands.INCOMING)
    ledger.confirm(order)
    assert ledger.reassign(order, [_move("berlin", "hamburg", 2)]).ok
    assert ledger.supply_balances("po-1").committed == 1
    assert ledger.reassign(order, [_move("berlin", "hamburg", 1)]).ok
    assert ledger.supply_balances("po-1").committed == 0
    assert ledger.fulfill(order).state == outcomes.FULFILLED


def test_units_that_come_free_go_to_those_who_wait(ledger: Ledger) -> None:
    ledger.backorder("pear", "berlin", 5)
    waiting = ledger.create([("pear", "berlin", 2)], policy=commands.BACKORDER)
    assert ledger.reassign("order", [_move("berlin", "hamburg", 3)]).ok
    assert ledger.open_units(waiting) == {"berlin": 2}
    assert ledger.at("pear", "berlin").available == 1


def test_units_leave_a_frozen_node_but_do_not_come_to_it(ledger: Ledger) -> None:
    ledger.freeze("hamburg")
    assert ledger.reassign("order", [_move("berlin", "hamburg", 1)]).reason == "NODE_FROZEN"
    ledger.freeze("berlin")
    assert ledger.reassign("order", [_move("berlin", "munich", 1)]).ok
