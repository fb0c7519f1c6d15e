"""Dual prices of what came: what they are worth on orders a human can add up, and never do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.routing.errors import ProblemError
from engine.routing.prices.decide import with_opportunity_cost
from engine.routing.prices.duals.prices import DualPrices
from engine.routing.solver import Solver
from engine.routing.waves.memory import FINENESS
from engine.routing.waves.wave import WaveOrder
from tests.routing.shapes import TWO_CARRIERS, problem

HORIZON_MS = 1000
FAR = 30
"""What an order that has the choice pays more at the second node."""

MANY = 1 << 20
EITHER, FIRST_ONLY = [[0], [0]], [[0], [-1]]


def order(zone: Any = EITHER, far: int = FAR, **values: Any) -> WaveOrder:
    """One unit of item 0, from either of two nodes or the first alone."""
    asked = problem([[MANY], [MANY]], zone=zone, shipment_cost=[0, far], **values)
    return WaveOrder(asked, np.arange(2), np.zeros(1, np.int64), 10_000)


def prices(**settings: int) -> DualPrices:
    made = DualPrices(
        2, 1, **({"scale": 100, "every": 10, "rounds": 60, "caution_percent": 100} | settings)
    )
    made.begin(0, HORIZON_MS)
    return made


def half_seen(asked: DualPrices) -> DualPrices:
    """Half of a horizon: of twenty orders every second one can only have the first node."""
    for at in range(20):
        asked.ordered(order(FIRST_ONLY if at % 2 else EITHER), at * HORIZON_MS // 40)
    return asked


def cost(asked: DualPrices, available: list[int], now_ms: int) -> list[int]:
    there = np.array(available)[:, None]
    return [int(one) for one in asked.opportunity_cost([0, 1], [0], there, now_ms)[:, 0]]


def test_a_unit_is_worth_what_an_order_with_a_choice_pays_elsewhere() -> None:
    asked = half_seen(prices())
    # Twenty more are to come. Fifteen units are enough for the ten that have no choice, and one
    # unit more saves one of the others its way.
    asked.solve([[15], [40]], HORIZON_MS // 2)
    assert cost(asked, [15, 40], HORIZON_MS // 2)[0] == pytest.approx(FAR, abs=1)
    assert cost(asked, [15, 40], HORIZON_MS // 2)[1] == 0


def test_where_there_is_plenty_there_is_no_price() -> None:
    asked = half_seen(prices())
    asked.solve([[21], [21]], HORIZON_MS // 2)
    assert not asked.price.any()


def test_prices_keep_the_last_units_for_those_without_a_choice() -> None:
    asked = half_seen(prices())
    asked.solve([[5], [40]], HORIZON_MS // 2)
    one = order()
    due = asked.opportunity_cost(one.node, one.item, [[5], [40]], HORIZON_MS // 2)
    answer = Solver().solve(with_opportunity_cost(one.problem, due))
    assert [sent.node for sent in answer.plans[0].shipments] == [1]


def test_an_order_with_one_choice_is_never_refused_for_a_price() -> None:
    asked = half_seen(prices(scale=10_000_000))
    asked.solve([[0], [1]], HORIZON_MS // 2)
    # Nothing is left at the other node, whatever a unit here is worth.
    assert cost(asked, [0, 1], HORIZON_MS // 2) == [0, 0]
    asked.solve([[1], [0]], HORIZON_MS // 2)
    assert asked.price.max() > 0
    assert cost(asked, [1, 0], HORIZON_MS // 2) == [0, 0]


def test_a_price_has_its_limit_and_an_item_short_everywhere_sends_nobody_far() -> None:
    asked = half_seen(prices(rounds=400))
    asked.solve([[2], [2]], HORIZON_MS // 2)
    assert asked.price.max() == 100 * FINENESS
    # Both units will be sold: what differs is the way alone.
    assert FAR - 1 <= cost(asked, [2, 2], HORIZON_MS // 2)[0] <= FAR


def test_a_price_counts_less_the_farther_the_horizon() -> None:
    asked = half_seen(prices(caution_percent=60))
    asked.solve([[15], [40]], HORIZON_MS // 2)
    full = int(asked.price[0, 0] - asked.price[1, 0]) / FINENESS
    assert cost(asked, [15, 40], HORIZON_MS // 2)[0] == pytest.approx(0.8 * full, abs=1)
    assert cost(asked, [15, 40], HORIZON_MS - 1)[0] == pytest.approx(full, abs=1)
    assert cost(asked, [15, 40], HORIZON_MS) == [0, 0]
    asked.solve([[15], [40]], HORIZON_MS)
    assert not asked.price.any()


def test_the_next_horizon_begins_without_prices_and_with_what_is_known() -> None:
    asked = half_seen(prices())
    asked.solve([[15], [40]], HORIZON_MS // 2)
    asked.begin(HORIZON_MS // 2, HORIZON_MS)
    assert not asked.price.any()
    assert asked.is_due
    asked.solve([[15], [40]], HORIZON_MS // 2)
    assert cost(asked, [15, 40], HORIZON_MS // 2)[0] > 0


def test_between_two_solves_an_order_does_no_work_and_the_sample_has_an_end() -> None:
    asked = prices(sample=10)
    spent = []
    for at in range(100):
        before = asked.work_s
        asked.ordered(order(), at)
        cost(asked, [15, 40], at)
        assert asked.work_s == before
        if asked.is_due:
            asked.solve([[15], [40]], at)
            spent.append(asked.work_s - before)
    # Ten solves, none dearer than the first although ten times as many orders have come.
    assert len(spent) == 10
    assert max(spent) <= 1.5 * spent[0]


def test_the_last_orders_stand_for_those_to_come() -> None:
    asked = prices(sample=10)
    for at in range(20):
        # The first ten came at once, the others in ten times as long: these are what counts.
        asked.ordered(order(), 10 if at < 10 else 10 + (at - 9) * 10)
    # Ten in 100 ms: eighty more, at 110 of 910 ms to go.
    asked.begin(110, 910)
    asked.solve([[81], [200]], 110)
    assert not asked.price.any()
    asked.solve([[79], [200]], 110)
    assert asked.price[0, 0] > 0


@pytest.mark.parametrize("seed", range(12))
def test_prices_of_random_seasons_are_never_negative_nor_beyond_the_scale(seed: int) -> None:
    def season() -> tuple[DualPrices, list[list[int]]]:
        random = np.random.default_rng(seed)
        scale = int(random.integers(1, 1000))
        asked = DualPrices(4, 3, scale=scale, every=5, rounds=15)
        asked.begin(0, HORIZON_MS)
        stock = random.integers(0, 12, (4, 3))
        plenty = random.integers(0, 2)
        stock += plenty * MANY
        seen = []
        for at in range(30):
            lines = int(random.integers(1, 4))
            nodes = int(random.integers(1, 5))
            node = random.permutation(4)[:nodes]
            item = random.permutation(3)[:lines]
            there = stock[np.ix_(node, item)]
            asked_for = problem(there, shipment_cost=random.integers(0, 500, nodes))
            asked.ordered(WaveOrder(asked_for, node, item, 5_000), at * 20)
            if asked.is_due:
                asked.solve(stock, at * 20)
                assert (asked.price >= 0).all()
                assert (asked.price <= scale * FINENESS).all()
                if plenty:
                    assert not asked.price.any()
            due = asked.opportunity_cost(node, item, there, at * 20)
            assert (due >= 0).all()
            assert (due <= scale).all()
            # Of the nodes that have the item, one is always without a price.
            for line in range(lines):
                at_hand = due[there[:, line] > 0, line]
                assert not len(at_hand) or at_hand.min() == 0
            assert not due[there == 0].any()
            seen.append(due.ravel().tolist())
            # Somebody buys.
            stock[tuple(random.integers(0, (4, 3)))] //= 2 if not plenty else 1
        return asked, seen

    first, costs = season()
    again, same = season()
    assert costs == same
    assert (first.price == again.price).all()
    assert first.work_s == again.work_s


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 0}, "scale is 0"),
        ({"sample": 5_001}, "sample is 5001"),
        ({"every": 0}, "every is 0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"caution_percent": 101}, "caution_percent is 101"),
    ],
)
def test_settings_without_sense_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        prices(**settings)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ProblemError, match="nodes must be at least 1"):
        DualPrices(0, 1, scale=1)
    with pytest.raises(ProblemError, match="items must be at least 1"):
        DualPrices(1, 0, scale=1)
    asked = prices()
    asked.ordered(order(), 5)
    with pytest.raises(ProblemError, match="now_ms is 4, before 5"):
        asked.ordered(order(), 4)
    with pytest.raises(ProblemError, match="horizon_ms is 5, not after 5"):
        asked.begin(5, 5)
    other = problem([[1], [1]], tariff=TWO_CARRIERS)
    with pytest.raises(ProblemError, match="order has other services than the 1 before it"):
        asked.ordered(WaveOrder(other, np.arange(2), np.zeros(1, np.int64), 10_000), 5)
    far = WaveOrder(order().problem, np.array([0, 2]), np.zeros(1, np.int64), 10_000)
    with pytest.raises(ProblemError, match="node"):
        asked.ordered(far, 5)
    with pytest.raises(ProblemError, match="stock"):
        asked.solve([[1]], 5)
    with pytest.raises(ProblemError, match=r"stock.* is -1"):
        asked.solve([[1], [-1]], 5)
