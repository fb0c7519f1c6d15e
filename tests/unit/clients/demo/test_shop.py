"""What happens to an order follows from the data and the seed, in the order of time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from holdfast.demo.dataset import DAY_S, NEVER, Order, OrderLine
from holdfast.demo.shop import (
    ABANDON_SHARE,
    WAVE_S,
    Event,
    Step,
    Temper,
    events_of,
    temper_of,
    timeline,
)

STEADY = Temper(False, False, False, True)
END_S = 400 * DAY_S


def line(ship_day: int, return_day: int = NEVER, quantity: int = 5, back: int = 0) -> OrderLine:
    return OrderLine(
        "S",
        "W",
        quantity,
        ship_day * DAY_S if ship_day != NEVER else NEVER,
        back,
        return_day * DAY_S if return_day != NEVER else NEVER,
        False,
    )


def order(*lines: OrderLine, name: str = "C-1", arrival_s: int = 100) -> Order:
    return Order(name, arrival_s, lines)


def steps(events: list[Event]) -> list[tuple[Step, tuple[int, ...]]]:
    return [(event.step, event.lines) for event in events]


def test_lines_that_ship_close_together_leave_together():
    events = list(events_of(order(line(40), line(2), line(30), line(75)), STEADY, END_S))
    assert steps(events) == [
        (Step.CHECKOUT, ()),
        (Step.SHIP, (1, 2)),
        (Step.SHIP, (0,)),
        (Step.SHIP, (3,)),
    ]
    assert WAVE_S == 30 * DAY_S


def test_what_is_not_shipped_in_the_season_stays():
    events = list(events_of(order(line(10), line(90), line(NEVER)), STEADY, 60 * DAY_S))
    assert steps(events) == [(Step.CHECKOUT, ()), (Step.SHIP, (0,))]


def test_only_what_was_shipped_comes_back_and_never_before():
    bought = order(line(10, 5, back=2), line(80, 85, back=1), line(10, 20, back=0))
    events = list(events_of(bought, STEADY, 60 * DAY_S))
    assert steps(events) == [
        (Step.CHECKOUT, ()),
        (Step.SHIP, (0, 2)),
        (Step.RETURN, (0,)),
    ]
    assert events[2].at_s == events[1].at_s


def test_an_abandoned_cart_has_no_future():
    events = list(events_of(order(line(2)), Temper(True, False, False, True), END_S))
    assert steps(events) == [(Step.CHECKOUT, ())]


def test_a_cancelled_order_is_not_shipped():
    events = list(events_of(order(line(2)), Temper(False, True, False, True), END_S))
    assert steps(events) == [(Step.CHECKOUT, ()), (Step.CANCEL, ())]


def test_a_cancelled_line_is_the_last_and_never_the_only_one():
    temper = Temper(False, False, True, True)
    two = list(events_of(order(line(2), line(3)), temper, END_S))
    assert steps(two)[1] == (Step.CANCEL_LINE, (1,))
    one = list(events_of(order(line(2)), temper, END_S))
    assert steps(one) == [(Step.CHECKOUT, ()), (Step.SHIP, (0,))]


def test_the_same_seed_draws_the_same_tempers():
    orders = [order(line(2), name=f"C-{n}") for n in range(4_000)]
    first = [temper_of(each, 1) for each in orders]
    assert first == [temper_of(each, 1) for each in orders]
    assert first != [temper_of(each, 2) for each in orders]
    share = Counter(each.abandons for each in first)[True] / len(first)
    assert abs(share - ABANDON_SHARE) < 0.015
    assert not any(each.abandons and (each.cancels or each.cancels_line) for each in first)


DAYS = st.one_of(st.just(NEVER), st.integers(0, 200))


@given(
    st.lists(st.lists(st.tuples(DAYS, DAYS, st.integers(0, 5)), min_size=1, max_size=6), max_size=8)
)
def test_steps_come_in_time_and_each_orders_in_their_order(shape):
    orders = tuple(
        order(*(line(ship, back_day, 5, back) for ship, back_day, back in lines), name=f"C-{n}")
        for n, lines in enumerate(shape)
    )
    events = timeline(orders, seed=3)
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    for each in orders:
        mine = [event for event in events if event.order is each]
        assert mine[0].step is Step.CHECKOUT
        shipped: set[int] = set()
        for event in mine:
            if event.step is Step.SHIP:
                assert not shipped & set(event.lines)
                shipped |= set(event.lines)
            if event.step is Step.RETURN:
                assert set(event.lines) <= shipped
