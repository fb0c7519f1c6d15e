"""Whether opportunity costs choose: off, in shadow, or on.

Owns: `Mode`, `Shadow`, `decide`. In shadow the plan is the one without prices, and what the prices
would have chosen is counted: how often another plan, and what it would have cost more that day.
What they would have saved later only a season shows (`benchmarks.season`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from engine.routing import limits
from engine.routing.plan import Plan
from engine.routing.problem import Problem
from engine.routing.solver import Answer, Solver
from engine.routing.tariff import Integers
from engine.routing.view import View


class Mode(enum.StrEnum):
    """What opportunity costs do."""

    OFF = "OFF"
    SHADOW = "SHADOW"
    ON = "ON"


@dataclass(slots=True)
class Shadow:
    """What prices changed, or would have changed, order by order."""

    decisions: int = 0
    changed: int = 0
    """Orders for which the plan is another with the prices."""
    dearer_by: int = 0
    """What those plans cost more without the prices, minor units."""


def with_opportunity_cost(problem: Problem, cost: Integers) -> Problem:
    """The same order with `cost`, (N, L), added to its own opportunity cost."""
    arrays = problem.arrays._replace(opportunity_cost=problem.arrays.opportunity_cost + cost)
    return Problem(problem.tariff, arrays, View(arrays._asdict()))


def plain_cost(problem: Problem, plan: Plan, cost: Integers) -> int:
    """What a plan made with `cost` costs without it."""
    return plan.cost - sum(
        units * int(cost[sent.node, line])
        for sent in plan.shipments
        for line, units in sent.units.items()
    )


def decide(
    solver: Solver,
    problem: Problem,
    cost: Integers,
    mode: Mode,
    shadow: Shadow,
    *,
    work_budget: int = limits.work_budget,
) -> Answer:
    """The answer by `mode`; whatever it is, `shadow` counts what prices change.

    With ON the answer's costs have the prices in them (`plain_cost` takes them out). OFF looks at
    no price and counts nothing.
    """
    if mode is Mode.OFF:
        return solver.solve(problem, work_budget=work_budget)
    plain = solver.solve(problem, work_budget=work_budget)
    if not plain.costs or not cost.any():
        shadow.decisions += 1
        return plain
    priced = solver.solve(with_opportunity_cost(problem, cost), work_budget=work_budget)
    shadow.decisions += 1
    if priced.costs and priced.amounts[0] != plain.amounts[0]:
        shadow.changed += 1
        shadow.dearer_by += plain_cost(problem, priced.plans[0], cost) - plain.cost
    return priced if mode is Mode.ON and priced.costs else plain
