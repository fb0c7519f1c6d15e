"""Reroute: what is open of a reservation moves elsewhere, what has shipped stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from engine import commands, outcomes, reads, reroute, tables
from engine.commands import CommandBatch
from tests import columns
from tests.columns import Line
from tests.interpreted import interpreted
from tests.ledger import Ledger
from tests.property.operations import Operation
from tests.property.pair import Pair


def _day(node: str, units: int) -> Line:
    return Line("monday", node, quantity=units, number=100, kind=commands.NODE_CAPACITY)


def _slot(node: str, units: int) -> Line:
    return Line("van", node, quantity=units, number=100, kind=commands.CARRIER_SLOT)


def _units(number: int, units: int) -> Line:
    return Line(number=number, quantity=units, kind=commands.BY_LINE)


def _set_capacity(line: Line) -> CommandBatch:
    return columns.command(commands.SET_CAPACITY, [line])


@pytest.fixture
def ledger() -> Ledger:
    """Pears and plums at three nodes; a confirmed order of 4 pears and 2 plums in Berlin, with the
    pick capacity of its units and one place of a carrier's slot."""
    ledger = Ledger()
    for node, units in (("berlin", 6), ("hamburg", 4), ("munich", 9)):
        ledger.stock("pear", node, units)
        ledger.stock("plum", node, units)
    for node in ("berlin", "hamburg"):
        ledger.capacity_of("monday", node, 10)
        slot = Line("van", node, quantity=3, kind=commands.CARRIER_SLOT, text="van")
        assert ledger.one(_set_capacity(slot)).ok
    wanted = [("pear", "berlin", 4), ("plum", "berlin", 2), _day("berlin", 6), _slot("berlin", 1)]
    ledger.create(wanted, reservation_id="order")
    ledger.confirm("order")
    return ledger


def _left(ledger: Ledger, name: str, node: str) -> int:
    """What is left of a capacity."""
    for row in range(int(ledger.state.meta["position_count"][0])):
        if ledger.place(row)[:3] == (tables.CAPACITY, name, node):
            return ledger.balances(row).available
    raise AssertionError(f"no capacity {name!r} at {node!r}")


def _lines(ledger: Ledger, name: str = "order") -> list[tuple[int, str, int, int, int]]:
    """(line, node, open, shipped, returned) of the units, sorted."""
    return sorted(
        (take.line, take.place[2], take.quantity, take.fulfilled, take.returned)
        for take in ledger.takes(name)
        if take.place[0] == tables.STOCK
    )


def _on_hand(ledger: Ledger) -> dict[str, int]:
    return {node: ledger.at("pear", node).on_hand for node in ("berlin", "hamburg", "munich")}


def test_all_of_an_untouched_order_moves(ledger: Ledger) -> None:
    assert ledger.reroute("order", [("pear", "hamburg", 4), ("plum", "munich", 2)]).ok
    assert _lines(ledger) == [(0, "hamburg", 4, 0, 0), (1, "munich", 2, 0, 0)]
    assert ledger.at("pear", "berlin").available == 6
    assert ledger.at("pear", "hamburg").committed == 4
    # Nothing was shipped with it: the capacity is free again.
    assert _left(ledger, "monday", "berlin") == 10
    assert _left(ledger, "van", "berlin") == 3
    assert ledger.fulfill("order").state == outcomes.FULFILLED
    assert ledger.replayed().hash() == ledger.hash()


@pytest.mark.parametrize("confirmed", [False, True])
def test_holds_keep_their_state_and_the_time_they_end(confirmed: bool) -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 2)
    ledger.stock("pear", "hamburg", 2)
    made = ledger.create([("pear", "berlin", 2)])
    if confirmed:
        ledger.confirm(made)
    moved = ledger.reroute(made, [("pear", "hamburg", 2)])
    assert moved.state == (outcomes.CONFIRMED if confirmed else outcomes.HELD)
    assert moved.row["expire_ms"] == made.row["expire_ms"]
    hamburg = ledger.at("pear", "hamburg")
    assert (hamburg.held, hamburg.committed) == ((0, 2) if confirmed else (2, 0))


def test_what_has_shipped_and_come_back_stays_on_record(ledger: Ledger) -> None:
    ledger.fulfill("order", [_units(0, 3)])
    ledger.give_back("order", [_units(0, 1)])
    before = _on_hand(ledger)
    assert ledger.reroute("order", [("pear", "munich", 1), ("plum", "hamburg", 2)]).ok
    assert _lines(ledger) == [
        (0, "berlin", 0, 3, 1),
        (0, "munich", 1, 0, 0),
        (1, "hamburg", 2, 0, 0),
    ]
    assert _on_hand(ledger) == before
    assert ledger.at("pear", "berlin").committed == 0
    # The rest ships from where it is now; all three may still come back.
    ended = ledger.fulfill("order")
    assert ended.state == outcomes.FULFILLED
    assert ledger.give_back("order", [_units(0, 3)]).ok
    assert ledger.give_back("order", [_units(0, 1)]).reason == "QUANTITY_EXCEEDS_OPEN"
    assert ledger.replayed().hash() == ledger.hash()


def test_cancelled_units_are_not_open(ledger: Ledger) -> None:
    ledger.cancel("order", [_units(0, 3)])
    refused = ledger.reroute("order", [("pear", "munich", 4), ("plum", "munich", 2)])
    assert refused.reason == "OPEN_UNITS_DIFFER"
    assert ledger.reroute("order", [("pear", "munich", 1), ("plum", "munich", 2)]).ok
    cancelled = {take.line: take.cancelled for take in ledger.takes("order") if take.cancelled}
    assert cancelled == {0: 3}


@pytest.mark.parametrize("given", [3, 5, 0])
def test_a_line_gets_what_it_has_open_no_more_and_no_less(ledger: Ledger, given: int) -> None:
    before = ledger.hash(), _lines(ledger)
    refused = ledger.reroute("order", [("pear", "munich", given), ("plum", "munich", 2)])
    assert refused.reason == "OPEN_UNITS_DIFFER"
    (detail,) = refused.details
    assert (detail["kind"], detail["line"]) == (outcomes.LINE_ERROR, 0)
    assert (detail["quantity"], detail["available"]) == (given, 4)
    assert _lines(ledger) == before[1]
    assert ledger.reroute("order", [("pear", "munich", 4)]).reason == "OPEN_UNITS_DIFFER"


def test_lines_that_are_not_the_reservations_are_refused(ledger: Ledger) -> None:
    other = Line("pear", "munich", quantity=4, number=7)
    assert ledger.reroute("order", [other]).reason == "LINE_NOT_FOUND"
    swapped = [("plum", "munich", 4), ("pear", "munich", 2)]
    assert ledger.reroute("order", swapped).reason == "LINE_NOT_FOUND"


def test_an_order_that_has_shipped_whole_is_over(ledger: Ledger) -> None:
    ledger.fulfill("order")
    assert ledger.reroute("order", []).reason == "STATE_TRANSITION_NOT_ALLOWED"


def test_nothing_changes_where_anything_is_missing(ledger: Ledger) -> None:
    """The plums fit, the pears do not, nor does the capacity: all stays, shortfalls included."""
    ledger.fulfill("order", [_units(1, 1)])
    ledger.count("pear", "berlin", 2)  # two fewer than are promised
    before = _lines(ledger), _left(ledger, "monday", "berlin"), _left(ledger, "van", "berlin")
    short = ledger.at("pear", "berlin").available
    wanted = [("pear", "hamburg", 4), ("plum", "munich", 1)]
    ledger.create([("pear", "hamburg", 1)])
    refused = ledger.reroute("order", wanted)
    assert refused.reason == "INSUFFICIENT_STOCK"
    assert refused.shortages() == [(0, 4, 3)]
    wanted = [("pear", "munich", 4), ("plum", "munich", 1)]
    full = ledger.reroute("order", [*wanted, _day("hamburg", 11)])
    assert full.reason == "CAPACITY_EXHAUSTED"
    assert full.shortages() == [(100, 11, 10)]
    assert (
        _lines(ledger),
        _left(ledger, "monday", "berlin"),
        _left(ledger, "van", "berlin"),
    ) == before
    assert ledger.at("pear", "berlin").available == short == -2
    assert ledger.replayed().hash() == ledger.hash()


def test_its_own_units_are_free_for_it(ledger: Ledger) -> None:
    """All pears of Hamburg are its own, and stay so when it is split anew."""
    assert ledger.reroute("order", [("pear", "hamburg", 4), ("plum", "hamburg", 2)]).ok
    again = [
        Line("pear", "hamburg", quantity=3, number=0, policy=commands.ON_HAND),
        Line("pear", "munich", quantity=1, number=0, policy=commands.ON_HAND),
        Line("plum", "hamburg", quantity=2, number=1, policy=commands.ON_HAND),
    ]
    assert ledger.reroute("order", again).ok
    assert _lines(ledger) == [
        (0, "hamburg", 3, 0, 0),
        (0, "munich", 1, 0, 0),
        (1, "hamburg", 2, 0, 0),
    ]


def test_capacity_that_left_with_a_shipment_is_used_up_and_only_once(ledger: Ledger) -> None:
    """Three of six units left Berlin: three of its day and the slot went with them."""
    ledger.fulfill("order", [_units(0, 3)])
    wanted: list[Any] = [("pear", "hamburg", 1), ("plum", "hamburg", 2)]
    assert ledger.reroute("order", [*wanted, _day("hamburg", 3), _slot("hamburg", 1)]).ok
    assert _left(ledger, "monday", "berlin") == 7
    assert _left(ledger, "van", "berlin") == 2
    assert _left(ledger, "monday", "hamburg") == 7
    # Back to Berlin, on another parcel, and away again: what left before is not counted anew.
    wanted = [("pear", "berlin", 1), ("plum", "berlin", 2)]
    assert ledger.reroute("order", [*wanted, _day("berlin", 3), _slot("berlin", 1)]).ok
    assert (_left(ledger, "monday", "berlin"), _left(ledger, "van", "berlin")) == (4, 1)
    assert (_left(ledger, "monday", "hamburg"), _left(ledger, "van", "hamburg")) == (10, 3)
    wanted = [("pear", "munich", 1), ("plum", "munich", 2)]
    assert ledger.reroute("order", wanted).ok
    assert (_left(ledger, "monday", "berlin"), _left(ledger, "van", "berlin")) == (7, 2)
    # Setting the day anew does not give away what was used.
    ledger.capacity_of("monday", "berlin", 10)
    assert _left(ledger, "monday", "berlin") == 7
    ledger.fulfill("order")
    assert _left(ledger, "monday", "berlin") == 7
    assert ledger.replayed().hash() == ledger.hash()


def test_days_of_one_node_are_used_up_in_their_order(ledger: Ledger) -> None:
    ledger.capacity_of("tuesday", "berlin", 10)
    tuesday = Line("tuesday", "berlin", quantity=2, number=100, kind=commands.NODE_CAPACITY)
    ledger.create([("pear", "hamburg", 4), _day("hamburg", 1)], reservation_id="other")
    ledger.confirm("other")
    assert ledger.reroute("other", [("pear", "munich", 4), _day("berlin", 1), tuesday]).ok
    assert ledger.reroute("order", [("pear", "hamburg", 4), ("plum", "berlin", 2)]).ok
    ledger.create([("plum", "berlin", 4), _day("berlin", 3), tuesday], reservation_id="two days")
    ledger.confirm("two days")
    ledger.fulfill("two days", [_units(0, 3)])
    assert (_left(ledger, "monday", "berlin"), _left(ledger, "tuesday", "berlin")) == (6, 6)
    assert ledger.reroute("two days", [("plum", "munich", 1)]).ok
    # Three units of Monday have left; nothing of Tuesday.
    assert (_left(ledger, "monday", "berlin"), _left(ledger, "tuesday", "berlin")) == (6, 8)


def test_a_purchase_limit_is_neither_counted_twice_nor_asked_again() -> None:
    ledger = Ledger()
    ledger.limit("pear", 5)
    for node in ("berlin", "hamburg"):
        ledger.stock("pear", node, 9)
    order = ledger.create([("pear", "berlin", 4)], owner="ann")
    ledger.confirm(order)
    ledger.fulfill(order, [_units(0, 1)])
    ledger.limit("pear", 4)  # she may buy no more now, and buys no more
    split = [
        Line("pear", "hamburg", quantity=2, number=0, policy=commands.ON_HAND),
        Line("pear", "berlin", quantity=1, number=0, policy=commands.ON_HAND),
    ]
    assert ledger.reroute(order, split).ok
    limits = [take for take in ledger.takes(order) if take.place[0] == tables.LIMIT]
    assert [(take.quantity, take.fulfilled) for take in limits] == [(3, 1)]
    assert ledger.create([("pear", "berlin", 1)], owner="ann").reason == "PURCHASE_LIMIT_REACHED"
    ledger.fulfill(order)
    ledger.give_back(order, [_units(0, 2)])
    assert ledger.create([("pear", "berlin", 2)], owner="ann").ok
    assert ledger.create([("pear", "berlin", 1)], owner="ann").reason == "PURCHASE_LIMIT_REACHED"


def test_shares_of_fences_follow_the_units() -> None:
    ledger = Ledger()
    for node in ("berlin", "hamburg"):
        ledger.stock("pear", node, 6)
        ledger.fence("shop", "pear", node, 4)
    order = ledger.create([("pear", "berlin", 3)], channel="shop")
    ledger.confirm(order)
    ledger.fulfill(order, [_units(0, 1)])
    assert ledger.reroute(order, [("pear", "hamburg", 2)]).ok
    fences = {
        take.place[2]: (take.quantity, take.fulfilled)
        for take in ledger.takes(order)
        if take.place[0] == tables.FENCE
    }
    assert fences == {"berlin": (0, 1), "hamburg": (2, 0)}
    # Others may sell what no fence sets apart: 5 on hand less 3 of the fence; 6 less 2 less 2.
    assert ledger.create([("pear", "berlin", 3)]).reason == "INSUFFICIENT_STOCK"
    assert ledger.create([("pear", "berlin", 2)]).ok
    assert ledger.create([("pear", "hamburg", 3)]).reason == "INSUFFICIENT_STOCK"
    assert ledger.create([("pear", "hamburg", 2)]).ok


def test_units_that_wait_for_supply_leave_its_list(ledger: Ledger) -> None:
    ledger.supply("po-1", "fig", "berlin", 3, ledger.now_ms + 1000)
    ledger.stock("fig", "munich", 3)
    order = ledger.create([("fig", "berlin", 3)], policy=commands.INCOMING)
    other = ledger.create([("fig", "berlin", 1)], policy=commands.INCOMING)
    assert not other.ok
    assert ledger.reroute(order, [("fig", "munich", 3)]).ok
    assert ledger.supply_balances("po-1").held == 0
    late = ledger.create([("fig", "berlin", 2)], policy=commands.INCOMING)
    # And back into the list, behind who came meanwhile.
    back = [
        Line("fig", "munich", quantity=2, number=0, policy=commands.ON_HAND),
        Line("fig", "berlin", quantity=1, number=0, policy=commands.INCOMING),
    ]
    assert ledger.reroute(order, back).ok
    ledger.receive("po-1", 2)
    assert ledger.open_units(late) == {"berlin": 2}
    assert ledger.open_units(order) == {"munich": 2}


def test_what_comes_free_goes_to_those_who_wait(ledger: Ledger) -> None:
    ledger.backorder("pear", "hamburg", 5)
    order = ledger.create([("pear", "hamburg", 4)], reservation_id="all")
    waiting = ledger.create([("pear", "hamburg", 2)], policy=commands.BACKORDER)
    assert ledger.open_units(waiting) == {}
    assert ledger.reroute(order, [("pear", "munich", 4)]).ok
    assert ledger.open_units(waiting) == {"hamburg": 2}


def test_a_frozen_node_takes_nothing_new(ledger: Ledger) -> None:
    ledger.freeze("munich")
    wanted = [("pear", "munich", 4), ("plum", "hamburg", 2)]
    assert ledger.reroute("order", wanted).reason == "NODE_FROZEN"
    ledger.freeze("munich", frozen=False)
    ledger.freeze("berlin")
    assert ledger.reroute("order", wanted).ok


def test_a_retry_gets_the_first_answer_and_another_body_is_refused(ledger: Ledger) -> None:
    wanted = [("pear", "munich", 4), ("plum", "hamburg", 2)]
    first = ledger.reroute("order", wanted, request_id="r")
    again = ledger.reroute("order", wanted, request_id="r")
    assert again.replayed
    assert again.details.tobytes() == first.details.tobytes()
    other = ledger.reroute("order", wanted[::-1], request_id="r")
    assert other.reason == "REQUEST_ID_REUSED"
    stale = ledger.reroute("order", wanted, etag=first.etag - 1)
    assert stale.reason == "ETAG_MISMATCH"


def test_moving_again_and_again_does_not_make_the_reservation_grow(ledger: Ledger) -> None:
    ledger.fulfill("order", [_units(0, 1)])
    for _ in range(20):
        for node in ("hamburg", "berlin"):
            wanted: list[Any] = [("pear", node, 3), ("plum", node, 2), _day(node, 5)]
            assert ledger.reroute("order", [*wanted, _slot(node, 1)]).ok
    # Two takes that shipped or were used up at Berlin, and what is open there.
    assert len(ledger.takes("order")) <= 8


def test_partial_fills_are_not_for_reroutes(ledger: Ledger) -> None:
    refused = ledger.reroute(
        "order",
        [("pear", "hamburg", 4), ("plum", "rome", 2)],
        fill_policy=commands.PARTIAL_QUANTITY,
    )
    assert refused.reason == "NODE_NOT_FOUND"
    ledger.create([("pear", "hamburg", 2)])
    short = ledger.reroute(
        "order",
        [("pear", "hamburg", 4), ("plum", "munich", 2)],
        fill_policy=commands.PARTIAL_QUANTITY,
    )
    assert short.reason == "INSUFFICIENT_STOCK"


def test_what_may_be_used_again_is_what_a_reroute_gives_back(ledger: Ledger) -> None:
    """The planner's view (`reads`) and the ledger's step have one source."""
    ledger.fulfill("order", [_units(0, 3)])
    found = {}
    for take, units in reads.rerouted_units(ledger.state, ledger.row_of("order")):
        kind, name, node, _ = ledger.place(int(ledger.state.takes["position"][take]))
        found[kind, name, node] = units
    assert found == {
        (tables.STOCK, "pear", "berlin"): 1,
        (tables.STOCK, "plum", "berlin"): 2,
        (tables.CAPACITY, "monday", "berlin"): 3,
        (tables.CAPACITY, "van", "berlin"): 0,
    }


def test_a_snapshot_goes_on_like_the_ledger(ledger: Ledger) -> None:
    ledger.fulfill("order", [_units(0, 3)])
    wanted: list[Any] = [("pear", "berlin", 1), ("plum", "hamburg", 2)]
    ledger.reroute("order", [*wanted, _day("berlin", 1), _slot("berlin", 1)])
    copy = ledger.restored()
    for each in (ledger, copy):
        assert each.reroute("order", [("pear", "munich", 1), ("plum", "munich", 2)]).ok
        assert _left(each, "monday", "berlin") == 7
        assert _left(each, "van", "berlin") == 2
    assert copy.hash() == ledger.hash()


# --- Planted bugs: the model of tests/property finds them -------------------------------------


def _story() -> list[Operation]:
    """An order that ships in part and is then rerouted, with all that it can have."""
    stock = tuple(
        Line(sku, node, quantity=8, number=number)
        for number, (sku, node) in enumerate(
            (sku, node) for sku in ("pear", "plum") for node in ("berlin", "hamburg")
        )
    )
    capacities = [
        Line(name, "berlin", quantity=9, kind=kind, text=name)
        for name, kind in (("monday", commands.NODE_CAPACITY), ("pickup", commands.CARRIER_SLOT))
    ]
    taken = [
        Line("monday", "berlin", quantity=4, number=2, kind=commands.NODE_CAPACITY),
        Line("pickup", "berlin", quantity=2, number=3, kind=commands.CARRIER_SLOT),
    ]
    wanted = (
        Line("pear", "berlin", quantity=3, policy=commands.ON_HAND),
        Line("plum", "berlin", quantity=2, number=1, policy=commands.ON_HAND),
        *taken,
    )
    moved = (
        Line("pear", "hamburg", quantity=2, policy=commands.ON_HAND),
        Line("plum", "hamburg", quantity=2, number=1, policy=commands.ON_HAND),
    )
    fence = Line("pear", "berlin", "shop", 4)
    limit = Line("pear", quantity=4)
    return [
        Operation(commands.COUNT, stock),
        *(Operation(commands.SET_CAPACITY, (line,)) for line in capacities),
        Operation(commands.SET_CHANNEL_FENCE, (fence,)),
        Operation(commands.SET_PURCHASE_LIMIT, (limit,)),
        Operation(commands.CREATE, wanted, "", "r", "ann", "shop", ttl_ms=60_000),
        Operation(commands.CONFIRM, (), "", "r"),
        Operation(commands.FULFILL, (_units(0, 1),), "", "r"),
        Operation(commands.REROUTE, moved, "", "r"),
        Operation(commands.FULFILL, (), "", "r"),
    ]


def _told(planted: Any = None) -> str:
    """What the model says of the story; empty when it finds nothing wrong."""
    pair = Pair()
    with interpreted(), pytest.MonkeyPatch.context() as patch:
        if planted is not None:
            planted(patch)
        try:
            for operation in _story():
                pair.apply([operation])
        except AssertionError as error:
            return str(error)
    return ""


def _release_without(kind: int) -> Any:
    """A reroute that forgets to lift takes of a kind."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = reroute.plan_release

        def forgetful(st: Any, row: int, released: Any) -> Any:
            count = real(st, row, released)
            take_row, at = int(st.reservations[row].first_take), 0
            while take_row >= 0:
                take = st.takes[take_row]
                if st.positions[int(take.position)].kind == kind:
                    released[at] = 0
                take_row, at = int(take.next), at + 1
            return count

        patch.setattr(reroute, "plan_release", forgetful)

    return plant


def _all_capacity_given_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reroute, "_shipped_from", lambda st, row, node: 0)


def _unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reroute, "refill", lambda st, row, *rest: (outcomes.OK, 0, rest[-1]))


def test_the_model_has_nothing_to_say_of_the_real_reroute() -> None:
    assert _told() == ""


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(_release_without(tables.STOCK), id="stock is not lifted"),
        pytest.param(_release_without(tables.FENCE), id="a fence's share is not lifted"),
        pytest.param(_release_without(tables.CAPACITY), id="capacity is not lifted"),
        pytest.param(_all_capacity_given_back, id="used capacity is given back"),
        pytest.param(_unchecked, id="nothing is taken in its place"),
    ],
)
def test_the_model_finds_a_planted_bug(planted: Any) -> None:
    assert _told(planted) != ""
