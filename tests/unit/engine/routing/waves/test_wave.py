"""A wave that cannot be posed says which field is wrong, and where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.routing.errors import ProblemError
from engine.routing.problem import Problem
from engine.routing.waves.wave import Wave, WaveOrder
from tests.routing.shapes import FLAT, TWO_CARRIERS

ORDER = WaveOrder(
    Problem.of(FLAT, quantity=[1], unit_weight_g=[600], stock=[[1], [1]], zone=[[0], [0]]),
    node=np.arange(2),
    item=np.zeros(1, np.int64),
    unrouted_cost=1000,
)
OTHER_SERVICES = WaveOrder(
    Problem.of(
        TWO_CARRIERS, quantity=[1], unit_weight_g=[600], stock=[[1], [1]], zone=[[0, 0]] * 2
    ),
    node=np.arange(2),
    item=np.zeros(1, np.int64),
    unrouted_cost=1000,
)


def wave(orders: list[WaveOrder], **values: Any) -> Wave:
    shared = {"stock": [[1], [1]], "pick_capacity": [1, 1], "slots": [[1], [1]]}
    return Wave.of(orders, **(shared | values))


def test_the_resources_lie_in_one_row() -> None:
    asked = wave([ORDER], stock=[[1], [2]], pick_capacity=[3, 4], slots=[[5], [6]])
    assert asked.capacity.tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("orders", "values", "message"),
    [
        ([], {}, "orders has 0 of what orders_per_wave_max 5000 allows"),
        ([ORDER] * 5001, {}, "orders has 5001 of what orders_per_wave_max 5000 allows"),
        ([ORDER, OTHER_SERVICES], {}, "orders has an order with other services at 1"),
        ([replace(ORDER, node=np.array([0, 2]))], {}, r"orders\[0\].node is 2 at \(1,\)"),
        ([replace(ORDER, node=np.array([1, 1]))], {}, r"orders\[0\].node names one place twice"),
        ([replace(ORDER, item=np.array([1]))], {}, r"orders\[0\].item is 1 at \(0,\)"),
        ([replace(ORDER, item=np.array([0, 0]))], {}, r"orders\[0\].item has the shape"),
        ([replace(ORDER, unrouted_cost=-1)], {}, r"orders\[0\].unrouted_cost is -1"),
        ([ORDER], {"stock": [[1], [-1]]}, r"stock is -1 at \(1, 0\)"),
        ([ORDER], {"stock": [1]}, "stock has 1 dimensions, not 2"),
        ([ORDER], {"pick_capacity": [1]}, r"pick_capacity has the shape \(1,\)"),
        ([ORDER], {"slots": [[1], [float("nan")]]}, r"slots is nan at \(1, 0\), not whole"),
    ],
)
def test_what_is_wrong_is_named(
    orders: list[WaveOrder], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProblemError, match=message):
        wave(orders, **values)
