"""Prices that pace: what raises and lowers them, and what they never do."""

from __future__ import annotations

import numpy as np
import pytest

from engine.routing.errors import ProblemError
from engine.routing.prices.pacing import FINENESS, PacedPrices

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


def prices(positions: int = 2, **settings: int) -> PacedPrices:
    made = PacedPrices(positions, **({"scale": 1000, "evenness_percent": 100} | settings))
    made.begin(np.arange(positions), 0, WEEK_MS)
    return made


def cost(asked: PacedPrices, available: list[int], now_ms: int) -> list[int]:
    rows = np.arange(len(available))[:, None]
    there = np.array(available)[:, None]
    return [int(one) for one in asked.opportunity_cost(rows, there, now_ms)[:, 0]]


def test_a_unit_sold_raises_its_price_by_the_scale_over_the_root_of_the_stock() -> None:
    asked = prices()
    asked.reserved(0, 1, 24, 0)
    assert cost(asked, [23, 25], 0) == [1000 // 5, 0]


def test_a_price_that_sells_as_stock_lasts_comes_back_to_where_it_was() -> None:
    asked = prices(caution_percent=100)
    asked.reserved(0, 1, 101, 0)
    raised = int(asked.price[0])
    # One hundredth of the time with 100 left is one unit's worth of falling.
    now = WEEK_MS // 100
    assert cost(asked, [100, 100], now) == [0, 0]
    assert cost(asked, [100, 100], now // 2)[0] == pytest.approx(raised / FINENESS / 2, abs=1)


def test_what_sells_faster_than_it_lasts_becomes_dear_and_no_dearer_than_the_scale() -> None:
    asked = prices()
    last = 0
    for sold in range(50):
        asked.reserved(0, 1, 50 - sold, sold * 1000)
        now = cost(asked, [50 - sold, 50], sold * 1000)[0]
        assert last <= now <= 1000
        last = now
    assert last == 1000


def test_what_sells_slower_than_it_lasts_costs_nothing() -> None:
    asked = prices()
    for day in range(6):
        asked.reserved(0, 1, 50 - day, day * DAY_MS)
    assert cost(asked, [44, 50], 6 * DAY_MS) == [0, 0]


def test_after_the_cautious_horizon_prices_are_nothing() -> None:
    asked = prices(caution_percent=50)
    asked.reserved(0, 5, 5, 0)
    assert cost(asked, [1, 9], WEEK_MS // 2 - 1)[0] > 0
    assert cost(asked, [1, 9], WEEK_MS // 2) == [0, 0]


def test_only_differences_between_nodes_count() -> None:
    asked = prices(3)
    for position in range(3):
        asked.reserved(position, 2, 10, 0)
    assert cost(asked, [8, 8, 8], 0) == [0, 0, 0]
    asked.reserved(1, 1, 8, 0)
    raised = cost(asked, [8, 7, 8], 0)
    assert raised[0] == raised[2] == 0 < raised[1]
    # A node that has nothing left is no choice: the others are compared among themselves.
    asked.reserved(2, 8, 8, 0)
    assert cost(asked, [0, 7, 0], 0) == [0, 0, 0]


def test_new_stock_starts_from_nothing() -> None:
    asked = prices()
    asked.reserved(0, 9, 9, 0)
    asked.begin(np.array([0]), DAY_MS, DAY_MS + WEEK_MS)
    assert cost(asked, [9, 9], DAY_MS) == [0, 0]


def test_a_node_that_does_not_know_the_item_has_no_price() -> None:
    asked = prices()
    asked.reserved(1, 1, 9, 0)
    known = asked.opportunity_cost(np.array([[0], [-1], [1]]), np.array([[9], [9], [8]]), 0)
    assert known[1] == 0 < known[2]


def test_the_largest_stock_and_scale_stay_within_their_bounds() -> None:
    asked = prices(scale=10_000_000)
    asked.reserved(0, 1 << 40, 1 << 50, 0)
    for now in (0, 1, WEEK_MS // 3, WEEK_MS - 1):
        assert 0 <= cost(asked, [1 << 50, 1], now)[0] <= 10_000_000
    asked.reserved(1, 1, 0, 5)
    assert 0 < int(asked.price[1]) <= 10_000_000 * FINENESS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 0}, "scale is 0"),
        ({"scale": 10, "caution_percent": 101}, "caution_percent is 101"),
        ({"scale": 10, "evenness_percent": 0}, "evenness_percent is 0"),
    ],
)
def test_settings_without_sense_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        PacedPrices(1, **settings)
    with pytest.raises(ProblemError, match="positions must be at least 1"):
        PacedPrices(0, scale=1)
    with pytest.raises(ProblemError, match="horizon_ms is 5, not after 5"):
        PacedPrices(1, scale=1).begin(np.array([0]), 5, 5)
