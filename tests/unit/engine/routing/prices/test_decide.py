"""Off, in shadow and on: who chooses, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from engine.routing.prices.decide import Mode, Shadow, decide, plain_cost
from engine.routing.solver import Solver
from tests.routing.shapes import problem

STOCK = np.array([[5], [5]])
HANDLING = [10, 40]
"""The first node is 30 cheaper than the second."""


@pytest.mark.parametrize(
    ("mode", "due", "node", "counted"),
    [
        (Mode.OFF, 100, 0, Shadow(0, 0, 0)),
        (Mode.SHADOW, 100, 0, Shadow(1, 1, 30)),
        (Mode.ON, 100, 1, Shadow(1, 1, 30)),
        (Mode.ON, 20, 0, Shadow(1, 0, 0)),
        (Mode.ON, 0, 0, Shadow(1, 0, 0)),
        (Mode.SHADOW, 0, 0, Shadow(1, 0, 0)),
    ],
)
def test_who_chooses_and_what_is_counted(mode: Mode, due: int, node: int, counted: Shadow) -> None:
    order = problem(STOCK, shipment_cost=HANDLING)
    shadow = Shadow()
    cost = np.array([[due], [0]])
    answer = decide(Solver(), order, cost, mode, shadow)
    assert [one.node for one in answer.plans[0].shipments] == [node]
    assert shadow == counted
    paid = cost if mode is Mode.ON else np.zeros_like(cost)
    assert plain_cost(order, answer.plans[0], paid) == 500 + HANDLING[node]


def test_an_order_without_a_plan_stays_without_one() -> None:
    order = problem(np.array([[0], [0]]))
    answer = decide(Solver(), order, np.array([[5], [0]]), Mode.ON, Shadow())
    assert not answer.costs
    assert answer.refusal is not None
