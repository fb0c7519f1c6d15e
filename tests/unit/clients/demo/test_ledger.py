"""The demo's own ledger: right when all is well, and not to be fooled when it is not."""

from __future__ import annotations

from holdfast.demo.book import Entry, Fact
from holdfast.demo.ledger import Ledger
from holdfast.values.reservations import ReservationState

BALL, BAT = ("BALL", "WH"), ("BAT", "WH")


def opened() -> Ledger:
    return Ledger.opening({BALL: 10, BAT: 5})


def held(revision: int, name: str, units: int, expire_ms: int = 1_000_000) -> Entry:
    return Entry(revision, revision, Fact.HELD, name, takes=((BALL, units),), expire_ms=expire_ms)


def step(revision: int, fact: Fact, name: str, units: int = 0, damaged: bool = False) -> Entry:
    lines = ((0, units),) if units else ()
    return Entry(revision, revision, fact, name, lines=lines, damaged=damaged)


def test_a_whole_life_balances():
    ledger = opened()
    ledger.replay(
        [
            held(1, "a", 6),
            step(2, Fact.CONFIRMED, "a"),
            step(3, Fact.CANCELLED, "a", 1),
            step(4, Fact.SHIPPED, "a", 2),
            step(5, Fact.SHIPPED, "a", 3),
            step(6, Fact.RETURNED, "a", 1),
            step(7, Fact.RETURNED, "a", 2, damaged=True),
        ]
    )
    balance = ledger.balances[BALL]
    assert (balance.on_hand, balance.held, balance.committed, balance.damaged) == (8, 0, 0, 2)
    assert balance.available == 6
    assert ledger.promises["a"].state is ReservationState.FULFILLED
    assert (ledger.impossible, ledger.oversold) == ([], {})


def test_the_order_of_revisions_counts_not_that_of_the_answers():
    entries = [held(1, "a", 6), step(2, Fact.CONFIRMED, "a"), held(3, "b", 4)]
    ledger = opened()
    ledger.replay(entries[::-1])
    assert (ledger.impossible, ledger.oversold) == ([], {})


def test_one_unit_too_many_is_oversold():
    ledger = opened()
    ledger.replay([held(1, "a", 6), held(2, "b", 5)])
    assert ledger.oversold == {BALL: 1}


def test_a_unit_sold_before_it_came_back_is_oversold():
    ledger = opened()
    ledger.replay([held(1, "a", 10, expire_ms=500), held(2, "b", 1)])
    assert ledger.oversold == {BALL: 1}
    ledger = opened()
    ledger.replay([held(1, "a", 10, expire_ms=2), held(2, "b", 1)])
    assert ledger.oversold == {}
    assert ledger.promises["a"].state is ReservationState.EXPIRED


def test_a_confirmed_hold_does_not_expire():
    ledger = opened()
    ledger.replay([held(1, "a", 10, expire_ms=5), step(2, Fact.CONFIRMED, "a")])
    ledger.expire(1_000)
    assert ledger.balances[BALL].committed == 10


def test_steps_that_nothing_led_to_are_impossible():
    cases = [
        [step(1, Fact.CONFIRMED, "a")],
        [held(1, "a", 1), held(2, "a", 1)],
        [held(1, "a", 1), step(2, Fact.SHIPPED, "a", 1)],
        [held(1, "a", 1), step(2, Fact.CONFIRMED, "a"), step(3, Fact.CONFIRMED, "a")],
        [held(1, "a", 1), step(2, Fact.CONFIRMED, "a"), step(3, Fact.SHIPPED, "a", 2)],
        [held(1, "a", 1), step(2, Fact.CONFIRMED, "a"), step(3, Fact.CANCELLED, "a", 2)],
        [held(1, "a", 1), step(2, Fact.CONFIRMED, "a"), step(3, Fact.RETURNED, "a", 1)],
        [held(1, "a", 1, expire_ms=3), step(4, Fact.CONFIRMED, "a")],
    ]
    for entries in cases:
        ledger = opened()
        ledger.replay(entries)
        assert len(ledger.impossible) == 1, entries


def test_a_count_nets_what_moved_after_it():
    ledger = opened()
    ledger.replay(
        [
            held(1, "a", 6),
            step(2, Fact.CONFIRMED, "a"),
            step(3, Fact.SHIPPED, "a", 2),
            step(10, Fact.SHIPPED, "a", 1),
            Entry(12, 12, Fact.COUNTED, takes=((BALL, 7),), as_of_ms=5),
        ]
    )
    # Seven were found when eight should have been there, and one left since.
    assert ledger.balances[BALL].on_hand == 6
    assert ledger.netted == {12: -1}
    assert ledger.shortfall_found == 0
    assert ledger.on_hand_at(BALL, 9) == 7


def test_a_count_that_finds_less_than_is_promised_is_a_shortfall_not_an_oversale():
    ledger = opened()
    count = Entry(2, 2, Fact.COUNTED, takes=((BALL, 6),), as_of_ms=2)
    ledger.replay([held(1, "a", 9), count, held(3, "b", 1)])
    assert ledger.shortfall_found == 3
    # But promising more after it is one.
    assert ledger.oversold == {BALL: 1}
