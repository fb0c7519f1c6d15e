"""What cannot be posed is refused by field and place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.routing import limits
from engine.routing.errors import ProblemError
from engine.routing.infeasible import Constraint
from engine.routing.problem import Problem
from engine.routing.solver import Solver
from engine.routing.tariff import Tariff
from tests.routing.shapes import FLAT, problem


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unit_weight_g": [-1]}, r"unit_weight_g is -1 at \(0,\), not from 0 to"),
        ({"unit_weight_g": [float("nan")]}, r"unit_weight_g is nan at \(0,\), not whole"),
        ({"unit_cost": [0.5]}, r"unit_cost is 0.5 at \(0,\), not whole"),
        ({"quantity": [0]}, "quantity is 0"),
        ({"quantity": ["1"]}, "quantity holds"),
        ({"zone": [[1]]}, r"zone is 1 at \(0, 0\), not from -1 to 0"),
        ({"zone": [[0, 0]]}, r"zone has the shape \(1, 2\), not \(1, 1\)"),
        ({"shipments_max": 0}, "shipments_max is 0"),
        ({"shipments_max": limits.shipments_per_plan_max + 1}, "shipments_max is 9"),
        ({"split_cost": -5}, "split_cost is -5"),
        ({"group": [1]}, "group is 1"),
    ],
)
def test_a_field_that_makes_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        problem([[1]], **values)


def test_sizes_beyond_the_limits_name_the_limit() -> None:
    with pytest.raises(ProblemError, match="lines_per_order_max allows 62"):
        problem(np.ones((1, limits.lines_per_order_max + 1), np.int64))
    with pytest.raises(ProblemError, match="nodes_per_order_max allows 4096"):
        problem(np.ones((limits.nodes_per_order_max + 1, 1), np.int64))
    with pytest.raises(ProblemError, match="row for each node"):
        Problem.of(FLAT, quantity=[1], unit_weight_g=[1], stock=[1, 2], zone=[[0]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step_g": [2000, 1000]}, "step_g must rise"),
        ({"step_g": [1000]}, "one entry for each step"),
        ({"rate": [[[500, -1]]]}, r"rate is -1 at \(0, 0, 1\)"),
        ({"rate": [[[500, 1 << 50]]]}, r"rate is above .* at \(0, 0, 1\)"),
        ({"transit_days": [[1, 2]]}, "transit_days has the shape"),
        ({"parcels_max": [0]}, "parcels_max is 0"),
        ({"co2e_price_per_tonne": -1}, "co2e_price_per_tonne must not be negative"),
    ],
)
def test_a_tariff_that_makes_no_sense(values: dict[str, Any], message: str) -> None:
    tariff = {"step_g": [1000, 2000], "rate": [[[500, 700]]], "transit_days": [[1]]}
    with pytest.raises(ProblemError, match=message):
        Tariff.of(**(tariff | values))


@pytest.mark.parametrize(
    ("values", "field"), [({"plans_max": 0}, "plans_max"), ({"work_budget": 0}, "work_budget")]
)
def test_a_call_that_makes_no_sense(values: dict[str, int], field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        Solver().solve(problem([[1]]), **values)
    assert caught.value.field == field


def test_an_order_of_too_many_units_is_refused() -> None:
    with pytest.raises(ProblemError, match="quantity adds up to more than quantity_max"):
        problem([[1, 1]], quantity=[limits.quantity_max, 1])


def test_the_largest_order_is_solved() -> None:
    """Every limit at once: extents, quantities, weights and costs add up without overflow."""
    nodes, lines = 64, limits.lines_per_order_max
    quantity = limits.quantity_max // lines
    order = problem(
        np.full((nodes, lines), quantity // 2),
        quantity=np.full(lines, quantity),
        unit_weight_g=0,
        shipment_cost=limits.cost_max,
        unit_cost=limits.cost_max // 1000,
        opportunity_cost=limits.cost_max // 1000,
        split_cost=limits.cost_max,
    )
    answer = Solver().solve(order, work_budget=2_000)
    assert answer.costs
    assert answer.plans[0].cost == answer.cost
    assert len(answer.amounts[0]) >= 2


def test_a_solver_grows_with_its_orders() -> None:
    solver = Solver()
    assert solver.solve(problem([[1]])).cost == 500
    wide = problem(np.ones((1000, 40), np.int64), unit_weight_g=1)
    assert solver.solve(wide).cost == 500
    assert solver.solve(problem([[1]])).cost == 500


def test_the_heaviest_order_is_refused_by_its_weight_not_by_an_overflow() -> None:
    answer = Solver().solve(
        problem(
            [[limits.quantity_max]],
            quantity=limits.quantity_max,
            unit_weight_g=limits.weight_g_max,
            unit_volume_cm3=limits.volume_cm3_max,
        )
    )
    assert answer.refusal is not None
    assert answer.refusal.constraint is Constraint.TOO_HEAVY
