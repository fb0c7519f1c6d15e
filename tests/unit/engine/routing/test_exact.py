"""The exact search finds the cheapest plan, to the cent: against every plan there is, and CP-SAT.

A failing seed is in the test's name and runs alone. ROUTING_SEEDS=20000 makes it a campaign
(`make test-routing`); the everyday number keeps to a minute.
"""

from __future__ import annotations

import os

import pytest

from benchmarks.routing_orders import CLASSES, OrderClass, orders
from engine.routing.cpsat import TooLargeError, solve_by_cpsat
from engine.routing.plan import Status
from engine.routing.solver import Solver
from tests.routing import brute
from tests.routing.instances import LINES_8, SMALL, Size, seeded

SEEDS = int(os.environ.get("ROUTING_SEEDS", "2000"))
BLOCK = 250
UNBOUNDED = 1 << 40


@pytest.fixture(scope="module")
def solver() -> Solver:
    return Solver()


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_ranked_plans_are_the_cheapest_by_node_set(solver: Solver, first: int) -> None:
    feasible = 0
    for seed in range(first, first + BLOCK):
        problem = seeded(seed, SMALL)
        best = brute.plans(problem)
        for plans_max in (1, 4):
            answer = solver.solve(problem, plans_max=plans_max, work_budget=UNBOUNDED)
            assert list(answer.costs) == sorted(best.values())[:plans_max], seed
            assert [best[frozenset(one)] for one in answer.amounts] == list(answer.costs), seed
            # Worked out anew, term by term.
            assert [plan.cost for plan in answer.plans] == list(answer.costs), seed
        feasible += bool(best)
    assert feasible > BLOCK // 4


@pytest.mark.parametrize(
    ("size", "count"), [(SMALL, SEEDS), (LINES_8, SEEDS // 10)], ids=["small", "8 lines"]
)
def test_cp_sat_finds_nothing_cheaper(solver: Solver, size: Size, count: int) -> None:
    proven = 0
    for seed in range(count):
        problem = seeded(100_000 + seed, size)
        answer = solver.solve(problem, work_budget=UNBOUNDED)
        try:
            checked = solve_by_cpsat(problem)
        except TooLargeError:
            continue
        if checked.plan is None:
            assert answer.status is Status.INFEASIBLE, seed
            assert checked.status is Status.INFEASIBLE, seed
        elif checked.status is Status.OPTIMAL:
            assert answer.cost == checked.plan.cost, seed
            proven += 1
        else:
            assert checked.bound <= answer.cost <= checked.plan.cost, seed
    assert proven > count // 4


@pytest.mark.parametrize("order_class", CLASSES, ids=lambda one: one.name)
def test_cp_sat_finds_nothing_cheaper_for_orders_of_real_size(
    solver: Solver, order_class: OrderClass
) -> None:
    count = max(2, SEEDS // (2 * order_class.nodes))
    compared = 0
    for problem in orders(order_class, count, seed=7):
        answer = solver.solve(problem)
        try:
            checked = solve_by_cpsat(problem)
        except TooLargeError:
            continue
        assert checked.plan is not None
        assert answer.bound <= checked.plan.cost
        if checked.status is Status.OPTIMAL and answer.proven_optimal:
            assert answer.cost == checked.plan.cost
            compared += 1
    assert compared >= count // 2
