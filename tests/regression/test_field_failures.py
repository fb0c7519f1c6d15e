"""Where the field fails today, a test each, at the level of the engine.

Each failure was met in systems people sell with; the name of its test says what must not happen.
"""

from __future__ import annotations

import pytest

from engine import commands, invariants, machine, outcomes, reads, tables
from tests import columns
from tests.columns import Line
from tests.ledger import MINUTE_MS, Ledger

BY_LINE = commands.BY_LINE


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def _by_line(number: int, quantity: int, node: str = "") -> Line:
    return Line(node=node, number=number, quantity=quantity, kind=BY_LINE)


# --- The last unit, and every other one -------------------------------------------------------


def test_last_unit_is_not_sold_twice(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 1)
    race = [Ledger.creating([("pear", "berlin", 1)]) for _ in range(64)]
    answers = ledger.run(*race)
    assert [answer.ok for answer in answers].count(True) == 1
    refused = [answer for answer in answers if not answer.ok]
    assert {answer.reason for answer in refused} == {"INSUFFICIENT_STOCK"}
    assert all(answer.shortages() == [(0, 1, 0)] for answer in refused)
    assert ledger.at("pear", "berlin").available == 0


def test_no_update_of_a_counter_is_lost(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 0)
    steps = [3, -2, 5, -1, 7, -4] * 20
    for step in steps:
        line = Line("pear", "berlin", quantity=step)
        assert ledger.one(columns.command(commands.ADJUST, [line])).ok
    together = Ledger()
    together.stock("pear", "berlin", 0)
    answers = together.run(
        *(
            columns.command(commands.ADJUST, [Line("pear", "berlin", quantity=step)])
            for step in steps
        )
    )
    assert all(answer.ok for answer in answers)
    assert ledger.at("pear", "berlin").on_hand == sum(steps)
    assert together.at("pear", "berlin").on_hand == sum(steps)


def test_what_was_paid_is_there(ledger: Ledger) -> None:
    """A confirmed reservation can ship, whatever others try in between."""
    ledger.stock("pear", "berlin", 3)
    order = ledger.create([("pear", "berlin", 3)])
    assert ledger.confirm(order).ok
    assert not ledger.create([("pear", "berlin", 1)]).ok
    assert ledger.adjust("pear", "berlin", -1).reason == "INSUFFICIENT_STOCK"
    assert ledger.transfer("pear", "berlin", "hamburg", 1).reason == "INSUFFICIENT_STOCK"
    assert ledger.withhold("pear", "berlin", commands.DAMAGED, 1).reason == "INSUFFICIENT_STOCK"
    ledger.wait(365 * 24 * 60 * MINUTE_MS)
    assert ledger.at("pear", "berlin").committed == 3
    assert ledger.fulfill(order).state == outcomes.FULFILLED
    assert ledger.at("pear", "berlin").on_hand == 0


def test_payment_of_an_expired_hold_is_refused_before_its_units_are_gone(ledger: Ledger) -> None:
    """Confirming in the very millisecond of expiry is refused, with or without the release."""
    ledger.stock("pear", "berlin", 1)
    order = ledger.create([("pear", "berlin", 1)], ttl_ms=1000)
    ledger.now_ms += 1000
    assert ledger.confirm(order).reason == "RESERVATION_EXPIRED"
    assert ledger.wait(0) == 1
    assert ledger.confirm(order).reason == "RESERVATION_EXPIRED"


def test_same_sku_on_two_lines_is_summed(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 5)
    refused = ledger.create([("pear", "berlin", 3), ("pear", "berlin", 3)])
    assert refused.reason == "INSUFFICIENT_STOCK"
    assert refused.shortages() == [(1, 3, 2)]
    assert ledger.at("pear", "berlin").held == 0
    assert ledger.create([("pear", "berlin", 3), ("pear", "berlin", 2)]).ok
    assert ledger.at("pear", "berlin").available == 0


def test_same_sku_in_two_requests_of_one_batch_is_summed(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 5)
    answers = ledger.create_all(
        Ledger.creating([("pear", "berlin", 3)]), Ledger.creating([("pear", "berlin", 3)])
    )
    assert [answer.reason for answer in answers] == ["BATCH_ABORTED", "INSUFFICIENT_STOCK"]
    assert ledger.at("pear", "berlin").held == 0


def test_aggregate_check_and_single_node_take_agree(ledger: Ledger) -> None:
    """5 units over two nodes do not make 5 at one; a group takes them, or says why not."""
    ledger.stock("pear", "berlin", 3)
    ledger.stock("pear", "hamburg", 2)
    ledger.group("germany", "berlin", "hamburg")
    assert not ledger.create([("pear", "berlin", 5)]).ok
    in_group = Line("pear", scope="germany", quantity=6, kind=commands.IN_GROUP, policy=1)
    assert ledger.create([in_group]).shortages() == [(0, 6, 5)]
    in_group = Line("pear", scope="germany", quantity=5, kind=commands.IN_GROUP, policy=1)
    hold = ledger.create([in_group])
    assert ledger.open_units(hold) == {"berlin": 3, "hamburg": 2}


# --- Twice the same -----------------------------------------------------------------------------


def test_repeated_cancel_gives_stock_back_once(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 5)
    hold = ledger.create([("pear", "berlin", 2)])
    first = ledger.cancel(hold, request_id="cancel-1")
    again = ledger.cancel(hold, request_id="cancel-1")
    assert again.replayed
    assert again.revision == first.revision
    assert ledger.cancel(hold).reason == "STATE_TRANSITION_NOT_ALLOWED"
    assert ledger.at("pear", "berlin").available == 5


def test_repeated_shipment_takes_stock_once(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 5)
    hold = ledger.create([("pear", "berlin", 4)])
    ledger.confirm(hold)
    shipment = [_by_line(0, 2)]
    ledger.fulfill(hold, shipment, request_id="parcel-1")
    assert ledger.fulfill(hold, shipment, request_id="parcel-1").replayed
    assert ledger.at("pear", "berlin").on_hand == 3
    assert ledger.fulfill(hold, shipment, request_id="parcel-2").state == outcomes.FULFILLED
    assert ledger.fulfill(hold, shipment).reason == "STATE_TRANSITION_NOT_ALLOWED"
    assert ledger.at("pear", "berlin").on_hand == 1


def test_repeated_return_gives_stock_back_once(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 2)
    hold = ledger.create([("pear", "berlin", 2)])
    ledger.confirm(hold)
    ledger.fulfill(hold)
    back = [_by_line(0, 2)]
    assert ledger.give_back(hold, back, request_id="return-1").ok
    assert ledger.give_back(hold, back, request_id="return-1").replayed
    assert ledger.give_back(hold, back).reason == "QUANTITY_EXCEEDS_OPEN"
    assert ledger.at("pear", "berlin").on_hand == 2


def test_retry_of_a_refused_hold_cannot_succeed_behind_the_callers_back(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 0)
    refused = ledger.create([("pear", "berlin", 1)], request_id="buy-1")
    ledger.stock("pear", "berlin", 9)
    late = ledger.create([("pear", "berlin", 1)], request_id="buy-1")
    assert late.reason == refused.reason == "INSUFFICIENT_STOCK"
    assert ledger.at("pear", "berlin").held == 0


# --- Counters, locks, time ------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["on_hand", "held", "committed", "withheld"])
def test_drifted_counter_is_found_and_replay_repairs_it(field: str) -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 9)
    ledger.create([("pear", "berlin", 2)])
    ledger.confirm(ledger.create([("pear", "berlin", 3)]))
    sound = ledger.hash()
    row = reads.position_row(ledger.state, "pear", "berlin")
    ledger.state.positions[field][row] += 1
    found = invariants.differences(ledger.state)
    assert [(d.position, d.field, d.stored - d.recomputed) for d in found] == [(row, field, 1)]
    assert ledger.replayed().hash() == sound


def test_opposite_orders_of_lines_do_not_deadlock(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 1)
    ledger.stock("plum", "berlin", 1)
    one = [("pear", "berlin", 1), ("plum", "berlin", 1)]
    answers = ledger.run(*(Ledger.creating(wanted) for wanted in (one, one[::-1]) for _ in "abc"))
    assert [answer.ok for answer in answers].count(True) == 1
    assert ledger.at("pear", "berlin").held == ledger.at("plum", "berlin").held == 1


def test_expired_hold_is_sold_on_in_its_very_millisecond(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 1)
    ledger.create([("pear", "berlin", 1)], ttl_ms=5000)
    due_ms = machine.next_expiry_ms(ledger.state)
    assert due_ms == ledger.now_ms + 5000
    ledger.now_ms = due_ms - 1
    early, refused = ledger.run(columns.expire(), Ledger.creating([("pear", "berlin", 1)]))
    assert early.row["affected"] == 0
    assert refused.reason == "INSUFFICIENT_STOCK"
    ledger.now_ms = due_ms
    released, sold = ledger.run(columns.expire(), Ledger.creating([("pear", "berlin", 1)]))
    assert released.row["affected"] == 1
    assert sold.ok


def test_clock_that_jumps_back_expires_nothing_early_and_loses_nothing(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 1)
    ledger.create([("pear", "berlin", 1)], ttl_ms=5000)
    started_ms = ledger.now_ms
    ledger.now_ms -= 60 * MINUTE_MS
    assert ledger.one(columns.expire()).row["now_ms"] == started_ms
    assert machine.next_expiry_ms(ledger.state) == started_ms + 5000
    ledger.now_ms = started_ms + 5000
    assert ledger.wait(0) == 1


# --- Whose units --------------------------------------------------------------------------------


def test_shopper_is_not_blocked_by_their_own_hold(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 2)
    first = ledger.create([("pear", "berlin", 2)], owner="ann")
    assert not ledger.create([("pear", "berlin", 2)], owner="ben", replace=True).ok
    second = ledger.create([("pear", "berlin", 2)], owner="ann", replace=True)
    assert second.ok
    assert ledger.state_of(first) == outcomes.CANCELLED
    assert ledger.at("pear", "berlin").held == 2


def test_refused_new_cart_leaves_the_old_one_as_it_was(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 2)
    first = ledger.create([("pear", "berlin", 2)], owner="ann")
    assert not ledger.create([("pear", "berlin", 3)], owner="ann", replace=True).ok
    assert ledger.state_of(first) == outcomes.HELD
    assert ledger.at("pear", "berlin").held == 2


def test_stock_sync_does_not_wipe_holds(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 5)
    hold = ledger.create([("pear", "berlin", 2)])
    paid = ledger.create([("pear", "berlin", 1)])
    ledger.confirm(paid)
    ledger.count("pear", "berlin", 5)
    stock = ledger.at("pear", "berlin")
    assert (stock.on_hand, stock.held, stock.committed, stock.available) == (5, 2, 1, 2)
    short = ledger.count("pear", "berlin", 2)
    assert [int(detail["shortfall"]) for detail in short.details] == [1]
    assert ledger.state_of(hold) == outcomes.HELD
    assert ledger.at("pear", "berlin").available == -1


def test_stock_sync_of_an_older_count_does_not_bring_back_what_was_shipped(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 5)
    ledger.now_ms += 1000
    counted_ms = ledger.now_ms
    order = ledger.create([("pear", "berlin", 2)])
    ledger.confirm(order)
    ledger.now_ms += 1000
    ledger.fulfill(order)
    ledger.now_ms += 1000
    assert ledger.count("pear", "berlin", 5, as_of_ms=counted_ms).ok
    assert ledger.at("pear", "berlin").on_hand == 3


def test_warehouse_shared_by_two_channels_does_not_oversell(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 10)
    ledger.fence("shop", "pear", "berlin", 4)
    ledger.fence("market", "pear", "berlin", 3)
    answers = ledger.run(
        *(
            Ledger.creating([("pear", "berlin", 1)], channel=channel)
            for _ in range(12)
            for channel in ("shop", "market")
        )
    )
    sold = [answer.ok for answer in answers].count(True)
    assert sold == 10
    assert ledger.at("pear", "berlin").available == 0


def test_channel_cannot_take_what_is_set_apart_for_another(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 10)
    ledger.fence("shop", "pear", "berlin", 4)
    ledger.channel("market")
    assert not ledger.create([("pear", "berlin", 7)], channel="market").ok
    assert not ledger.create([("pear", "berlin", 7)]).ok
    assert ledger.create([("pear", "berlin", 6)], channel="market").ok
    assert ledger.create([("pear", "berlin", 4)], channel="shop").ok


def test_resourcing_does_not_come_back_to_the_rejecting_node(ledger: Ledger) -> None:
    """A node that rejects is frozen: neither a group's pick nor a move ends there again."""
    for node in ("berlin", "hamburg", "munich"):
        ledger.stock("pear", node, 5)
    ledger.group("germany", "berlin", "hamburg", "munich")
    wanted = Line("pear", scope="germany", quantity=3, kind=commands.IN_GROUP, policy=1)
    order = ledger.create([wanted])
    assert ledger.open_units(order) == {"berlin": 3}
    ledger.freeze("berlin")
    assert ledger.reassign(order, [Line(node="berlin", scope="hamburg")]).ok
    assert ledger.open_units(order) == {"hamburg": 3}
    back = ledger.reassign(order, [Line(node="hamburg", scope="berlin", quantity=3)])
    assert back.reason == "NODE_FROZEN"
    assert ledger.open_units(ledger.create([wanted])) == {"hamburg": 2, "munich": 1}
    assert ledger.at("pear", "berlin").held == 0


# --- Units that are stuck -----------------------------------------------------------------------


def test_every_unit_can_be_shipped_or_released(ledger: Ledger) -> None:
    """Through partial shipments, short receipts and counts, nothing stays promised for ever."""
    ledger.stock("pear", "berlin", 4)
    ledger.capacity_of("2026-03-02", "berlin", 10)
    ledger.supply("po-1", "pear", "berlin", 6, ledger.now_ms + 1000)
    ledger.fence("shop", "pear", "berlin", 2)
    ledger.limit("pear", 20)
    order = ledger.create(
        [
            Line("pear", "berlin", quantity=8, policy=commands.INCOMING),
            Line("2026-03-02", "berlin", quantity=1, number=1, kind=commands.NODE_CAPACITY),
        ],
        owner="ann",
        channel="shop",
    )
    assert order.ok
    ledger.confirm(order)
    assert ledger.fulfill(order).reason == "SUPPLY_NOT_RECEIVED"
    assert ledger.fulfill(order, [_by_line(0, 3)]).ok
    short = ledger.receive("po-1", 1, final=True)
    told = [each for each in short.details if each["kind"] == outcomes.SHORTFALL]
    assert [int(each["shortfall"]) for each in told] == [3]
    assert ledger.fulfill(order, [_by_line(0, 2)]).ok
    ended = ledger.cancel(order)
    assert ended.state == outcomes.FULFILLED
    positions = ledger.state.positions[: int(ledger.state.meta["position_count"][0])]
    assert not positions["held"].any()
    assert not positions["committed"].any()
    assert ledger.at("pear", "berlin").on_hand == 0
    (limit,) = positions[positions["kind"] == tables.LIMIT]
    assert limit["on_hand"] == 20 - 5


@pytest.mark.parametrize("confirmed", [False, True])
def test_units_promised_from_a_supply_that_never_comes_are_released(confirmed: bool) -> None:
    ledger = Ledger()
    ledger.supply("po-1", "pear", "berlin", 5, ledger.now_ms + 1000)
    order = ledger.create([("pear", "berlin", 5)], policy=commands.INCOMING)
    if confirmed:
        ledger.confirm(order)
    ledger.cancel_supply("po-1")
    assert ledger.supply_balances("po-1").available == -5
    assert ledger.cancel(order).state == outcomes.CANCELLED
    assert ledger.supply_balances("po-1").available == 0
