"""What is true of every plan, and of the search itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.routing_orders import CLASSES, orders
from engine.routing.plan import Plan, Status
from engine.routing.problem import (
    DAYS_LATE_MAX,
    NEVER_TOO_LATE,
    NO_GROUP,
    PROMISED_DAY,
    SHIPMENTS_MAX,
    Problem,
)
from engine.routing.solver import Solver, Strategy
from tests.routing.instances import LINES_8, SMALL, seeded

UNBOUNDED = 1 << 40
BY_NODE = (
    "stock",
    "node_open",
    "pick_capacity",
    "shipment_cost",
    "unit_cost",
    "opportunity_cost",
    "distance",
    "priority",
    "zone",
    "service_open",
    "service_cost",
    "slots",
    "ready_day",
)
PLENTY = 300_000
"""Work that proves nearly every order; the few it does not are passed over."""


@pytest.fixture(scope="module")
def solver() -> Solver:
    return Solver()


def changed(problem: Problem, **arrays: Any) -> Problem:
    """The same order with other arrays or scalars."""
    names = set(problem.arrays._fields) - {"terms"}
    tariff = {"step_g", "charge", "volume_divisor", "parcels_max", "transit_days"}
    tariff |= {"limit_step", "limit_g"}
    values = {name: getattr(problem.arrays, name) for name in names - tariff} | arrays
    terms = problem.arrays.terms
    scalars = {
        "split_cost": int(terms[0]),
        "shipments_max": int(terms[1]),
        "ship_complete": bool(terms[2]),
        "promised_day": int(terms[3]),
        "late_cost_per_day": int(terms[4]),
        "days_late_max": int(terms[5]),
    }
    return Problem.of(problem.tariff, **scalars | values)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_plan_ships_every_unit_once_and_takes_no_more_than_there_is(
    solver: Solver, strategy: Strategy
) -> None:
    checked = 0
    for seed in range(400):
        problem = seeded(seed, LINES_8)
        a = problem.arrays
        answer = solver.solve(problem, strategy=strategy, plans_max=3)
        for plan in answer.plans:
            checked += 1
            taken = np.zeros_like(a.stock)
            for shipment in plan.shipments:
                for line, units in shipment.units.items():
                    taken[shipment.node, line] = units
                packed = [parcel.units for parcel in shipment.parcels]
                for line, units in shipment.units.items():
                    assert sum(parcel.get(line, 0) for parcel in packed) == units, seed
                zone = a.zone[shipment.node, shipment.service]
                limit = a.step_g[a.limit_step[shipment.service, zone]]
                assert all(parcel.charged_g <= limit for parcel in shipment.parcels), seed
                assert len(shipment.parcels) <= a.slots[shipment.node, shipment.service], seed
            assert (taken.sum(axis=0) == a.quantity).all(), seed
            assert (taken <= a.stock).all(), seed
            assert (taken.sum(axis=1) <= a.pick_capacity).all(), seed
            assert len(plan.shipments) <= a.terms[SHIPMENTS_MAX], seed
            for group in {int(one) for one in a.group if one != NO_GROUP}:
                assert (taken[:, a.group == group].any(axis=1)).sum() == 1, seed
    assert checked > 100


def latest(problem: Problem, plan: Plan) -> int:
    """By how many days the latest shipment is late."""
    a = problem.arrays
    late = []
    for one in plan.shipments:
        zone = a.zone[one.node, one.service]
        arrival = a.ready_day[one.node, one.service] + a.transit_days[one.service, zone]
        late.append(max(0, int(arrival - a.terms[PROMISED_DAY])))
    assert late == [one.days_late for one in plan.shipments]
    return max(late)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_no_shipment_is_later_than_the_order_allows(solver: Solver, strategy: Strategy) -> None:
    """Of any plan in the ranking. Some of the same orders would be later if they were allowed."""
    would_be_later = 0
    for seed in range(400):
        problem = seeded(seed, LINES_8)
        most = int(problem.arrays.terms[DAYS_LATE_MAX])
        if most == NEVER_TOO_LATE:
            continue
        answer = solver.solve(problem, strategy=strategy, plans_max=3)
        assert all(latest(problem, plan) <= most for plan in answer.plans), seed
        free = changed(problem, days_late_max=NEVER_TOO_LATE)
        freely = solver.solve(free, strategy=strategy, plans_max=3)
        would_be_later += any(latest(free, plan) > most for plan in freely.plans)
    assert would_be_later > 10


def test_more_stock_never_raises_the_cost(solver: Solver) -> None:
    random = np.random.default_rng(11)
    compared = 0
    for seed in range(300):
        problem = seeded(seed, LINES_8)
        before = solver.solve(problem, work_budget=PLENTY)
        more = random.integers(0, 3, problem.arrays.stock.shape)
        after = solver.solve(
            changed(problem, stock=problem.arrays.stock + more), work_budget=PLENTY
        )
        if before.proven_optimal and after.proven_optimal:
            assert after.cost <= before.cost, seed
            compared += 1
        elif before.costs:
            assert after.bound <= before.cost, seed
    assert compared > 100


def test_the_order_of_nodes_changes_no_cost(solver: Solver) -> None:
    random = np.random.default_rng(12)
    compared = 0
    for seed in range(200):
        problem = seeded(seed, LINES_8)
        order = random.permutation(problem.nodes)
        moved = changed(problem, **{name: getattr(problem.arrays, name)[order] for name in BY_NODE})
        first = solver.solve(problem, work_budget=PLENTY)
        second = solver.solve(moved, work_budget=PLENTY)
        if first.proven_optimal and second.proven_optimal:
            assert first.costs == second.costs, seed
            compared += 1
        assert bool(first.costs) == bool(second.costs), seed
    assert compared > 80


def test_the_same_problem_has_the_same_answer() -> None:
    """Whatever was solved before in the same memory."""
    used = Solver()
    for problem in orders(CLASSES[2], 40, seed=3):
        fresh = Solver().solve(problem, plans_max=3)
        again = used.solve(problem, plans_max=3)
        assert (again.costs, again.amounts, again.bound, again.steps) == (
            fresh.costs,
            fresh.amounts,
            fresh.bound,
            fresh.steps,
        )


def test_a_search_that_is_cut_short_says_how_far_it_may_be_off(solver: Solver) -> None:
    cut = 0
    for seed in range(400):
        problem = seeded(seed, LINES_8)
        best = solver.solve(problem, work_budget=PLENTY)
        if best.status not in (Status.OPTIMAL, Status.INFEASIBLE):
            continue
        for work_budget in (1, 20, 60):
            answer = solver.solve(problem, work_budget=work_budget)
            if answer.status is Status.OPTIMAL:
                assert answer.costs == best.costs, seed
            elif answer.status is Status.FEASIBLE:
                cut += 1
                assert answer.bound <= best.cost <= answer.cost, seed
                assert answer.gap == (answer.cost - answer.bound) / answer.cost, seed
            elif answer.status is Status.UNDECIDED:
                cut += 1
                assert not best.costs or answer.bound <= best.cost, seed
            else:
                assert best.status is Status.INFEASIBLE, seed
    assert cut > 50


def test_rules_of_thumb_are_never_cheaper_than_the_best(solver: Solver) -> None:
    for seed in range(300):
        problem = seeded(seed, SMALL)
        best = solver.solve(problem, work_budget=UNBOUNDED)
        for strategy in (Strategy.NEAREST, Strategy.PRIORITY, Strategy.FEWEST_SPLITS):
            answer = solver.solve(problem, strategy=strategy)
            assert bool(answer.costs) == bool(best.costs), seed
            if best.costs:
                assert answer.status is Status.HEURISTIC
                assert answer.cost >= best.cost, seed
