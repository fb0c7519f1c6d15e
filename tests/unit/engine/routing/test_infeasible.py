"""No plan: which constraint, which line."""

from __future__ import annotations

from typing import Any

import pytest

from engine.routing.infeasible import Constraint, Refusal
from engine.routing.plan import Status
from engine.routing.problem import NO_LANE
from engine.routing.solver import Solver
from tests.routing.shapes import FLAT, TWO_CARRIERS, problem

CASES: list[tuple[Refusal, Any, dict[str, Any]]] = [
    (Refusal(Constraint.STOCK, 1, 2, 1), [[1, 1], [1, 0]], {"quantity": [1, 2]}),
    (Refusal(Constraint.NODE_CLOSED, 0, 2, 1), [[1], [1]], {"quantity": 2, "node_open": [1, 0]}),
    (Refusal(Constraint.PICK_CAPACITY, 0, 3, 2), [[3]], {"quantity": 3, "pick_capacity": 2}),
    (Refusal(Constraint.PICK_CAPACITY, 0, 2, 1), [[1, 1]], {"pick_capacity": 1}),
    (Refusal(Constraint.NO_LANE, 0, 1, 0), [[1]], {"zone": [[NO_LANE]]}),
    (Refusal(Constraint.SERVICE_CLOSED, 0, 1, 0), [[1]], {"service_open": 0}),
    (Refusal(Constraint.NO_SLOT, 0, 1, 0), [[1]], {"slots": 0}),
    (Refusal(Constraint.TOO_LATE, 0, 1, 0), [[1]], {"promised_day": 1, "days_late_max": 0}),
    (Refusal(Constraint.NOT_CARRIED, 1, 1, 0), [[1, 1]], {"carried_by": [1, 2]}),
    (Refusal(Constraint.TOO_HEAVY, 1, 1, 0), [[1, 1]], {"unit_weight_g": [600, 5001]}),
    (Refusal(Constraint.KEPT_TOGETHER, 0, 2, 1), [[1, 0], [0, 1]], {"group": [0, 0]}),
    (Refusal(Constraint.SHIP_COMPLETE, 0, 2, 1), [[1, 0], [0, 1]], {"ship_complete": True}),
    (Refusal(Constraint.SHIPMENTS_MAX, 0, 0, 1), [[1, 0], [0, 1]], {"shipments_max": 1}),
    # 6 kg: no parcel takes it, and one node has all of it.
    (Refusal(Constraint.COMBINATION, 0, 10, 1), [[10]], {"quantity": 10}),
]


@pytest.mark.parametrize(
    ("refusal", "stock", "values"), CASES, ids=[case[0].constraint.value for case in CASES]
)
def test_the_constraint_and_the_line_are_named(
    refusal: Refusal, stock: Any, values: dict[str, Any]
) -> None:
    answer = Solver().solve(problem(stock, FLAT, **values))
    assert (answer.status, answer.costs, answer.refusal) == (Status.INFEASIBLE, (), refusal)


def test_no_common_service_for_what_must_ship_together() -> None:
    answer = Solver().solve(problem([[1, 1]], TWO_CARRIERS, carried_by=[1, 2], group=[0, 0]))
    assert answer.refusal is not None
    assert answer.refusal.constraint is Constraint.COMBINATION
