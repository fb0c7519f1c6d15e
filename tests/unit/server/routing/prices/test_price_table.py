"""Prices on their way from a solver, which may have run wild."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.routing.waves.memory import FINENESS
from server.routing.prices.price_table import NO_PRICES, PriceTable

NODES, SKUS = ["berlin", "lyon", "ghent"], ["pear", "plum"]
DUE = np.array([[0, 2.5], [0, 0], [16.4, 0]])


def numbers(**changes: Any) -> dict[str, Any]:
    return PriceTable.of(NODES, SKUS, DUE).numbers() | changes


def test_only_what_has_a_price_is_kept_and_found_by_name() -> None:
    table = PriceTable.of(NODES, SKUS, DUE)
    assert (table.nodes, table.skus, len(table)) == (["berlin", "ghent"], ["pear", "plum"], 2)
    rows, columns = table.node_places(["ghent", "lyon", "oslo"]), table.sku_places(["pear", "fig"])
    assert table.price[np.ix_(rows, columns)].tolist() == [[16, 0], [0, 0], [0, 0]]
    assert (table.over(NODES, SKUS) == DUE).all()
    assert (table.over(["lyon", "ghent"], ["fig", "pear"]) == [[0, 0], [0, 16.4]]).all()


def test_prices_go_over_the_line_unchanged() -> None:
    for table in (PriceTable.of(NODES, SKUS, DUE), NO_PRICES):
        again = PriceTable.from_numbers(table.numbers(), scale=10)
        assert (again.nodes, again.skus) == (table.nodes, table.skus)
        for field in ("node", "item", "due"):
            assert (getattr(again, field) == getattr(table, field)).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"due": np.array([2.5, -1.0])},
        {"due": np.array([2.5, np.nan])},
        {"due": np.array([2.5, 10.5 * FINENESS])},
        {"due": np.array([2.5])},
        {"due": np.array(2.5)},
        {"due": np.array([2, 3])},
        {"due_node": np.array([0, 2])},
        {"due_item": np.array([-1, 0])},
        {"due_node_sizes": np.array([6, 6])},
        {"due_node_sizes": np.array([-1, 12])},
        {"due_sku_text": np.array([255] * 8, np.uint8)},
    ],
)
def test_what_is_no_price_of_a_node_and_a_sku_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"price|announced|decode"):
        PriceTable.from_numbers(numbers(**changes), scale=10)


def test_a_missing_part_is_refused() -> None:
    with pytest.raises(KeyError):
        PriceTable.from_numbers({}, scale=10)
