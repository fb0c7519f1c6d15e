"""One order to its plans: the exact search, or a rule of thumb that the caller chooses.

`Solver` owns a search's memory; one caller at a time. The answer decodes its plans when asked.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.routing import greedy, limits
from engine.routing.errors import ProblemError
from engine.routing.exact import solve, solve_by_rule
from engine.routing.infeasible import Refusal, refusal_of
from engine.routing.plan import Plan, Status, plan_of
from engine.routing.problem import NO_GROUP, SHIP_COMPLETE, SHIPMENTS_MAX, Problem
from engine.routing.tariff import Integers
from engine.routing.view import View
from engine.routing.work import (
    CUT_BOUND,
    INFEASIBLE,
    LOTS,
    PLANS,
    ROOT_BOUND,
    SCALE,
    STEPS,
    Work,
    work_for,
)


class Strategy(enum.Enum):
    """How a plan is found."""

    EXACT = 0
    NEAREST = greedy.NEAREST
    PRIORITY = greedy.PRIORITY
    FEWEST_SPLITS = greedy.FEWEST


@dataclass(frozen=True)
class Answer:
    """What a solver found for one order."""

    problem: Problem
    status: Status
    costs: tuple[int, ...]
    """Costs of the plans, cheapest first."""
    bound: int
    """No plan costs less, in minor units; 0 where nothing is known."""
    amounts: tuple[dict[int, dict[int, int]], ...]
    """Units by line by node, plan by plan."""
    steps: int
    """Work done: the same problem takes the same on any machine."""
    refusal: Refusal | None = None

    @property
    def cost(self) -> int:
        """Of the best plan. Raises IndexError where there is none."""
        return self.costs[0]

    @property
    def proven_optimal(self) -> bool:
        """Whether no plan is cheaper than the first."""
        return self.status is Status.OPTIMAL

    @property
    def gap(self) -> float:
        """How far the best plan may be above the cheapest there is, at most, as a share of it."""
        return (self.cost - self.bound) / max(1, self.cost) if self.costs else 0.0

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """The plans, cheapest first. Raises RuntimeError where a total is not the solver's."""
        plans = []
        for cost, amounts in zip(self.costs, self.amounts, strict=True):
            plan = plan_of(self.problem, amounts)
            if plan is None or plan.cost != cost:
                raise RuntimeError(f"a plan said to cost {cost} is {plan}")
            plans.append(plan)
        return tuple(plans)


class Solver:
    """Plans for orders, one after another, in memory that grows with the largest one seen."""

    def __init__(self) -> None:
        self._work = work_for()
        self._view = View(self._work._asdict())

    def memory(self, nodes: int, lines: int) -> View:
        """Memory for a search of an order of that size."""
        most_nodes, most_lines = self._work.most.shape
        if nodes > most_nodes or lines > most_lines:
            self._work = work_for(max(nodes, most_nodes), max(lines, most_lines))
            self._view = View(self._work._asdict())
        return self._view

    def _room(self, problem: Problem) -> Work:
        self.memory(problem.nodes, problem.lines)
        return self._work

    def search(self, problem: Problem, plans_max: int, work_budget: int) -> None:
        """The exact search alone, its plans left as arrays in the solver's memory."""
        self._room(problem)
        solve(problem.view, self._view, plans_max, work_budget)

    def solve(
        self,
        problem: Problem,
        *,
        strategy: Strategy = Strategy.EXACT,
        plans_max: int = 1,
        work_budget: int = limits.work_budget,
    ) -> Answer:
        """The best plans, ranked; no two of them use the same nodes.

        A strategy other than EXACT gives one plan. Where its rule finds none, fewest splits is
        tried, then the exact search: there is an answer whenever there is a plan and the budget
        allows to find it. Raises ProblemError for limits that do not make sense.
        """
        if not 1 <= plans_max <= limits.plans_max:
            raise ProblemError("plans_max", f"must be from 1 to {limits.plans_max}")
        if work_budget < 1:
            raise ProblemError("work_budget", "must be at least 1")
        work = self._room(problem)
        if strategy is not Strategy.EXACT:
            for rule in (strategy.value, greedy.FEWEST):
                solve_by_rule(problem.view, self._view, rule)
                if work.state[PLANS] > 0:
                    return self._answer(problem, work, Status.HEURISTIC)
        self.search(problem, plans_max, work_budget)
        if work.state[PLANS] == 0:
            return self._none(problem, work, work_budget)
        if strategy is not Strategy.EXACT:
            return self._answer(problem, work, Status.HEURISTIC)
        proven = work.state[ROOT_BOUND] >= work.plan_cost[0]
        return self._answer(problem, work, Status.OPTIMAL if proven else Status.FEASIBLE)

    def _answer(self, problem: Problem, work: Work, status: Status) -> Answer:
        plans = int(work.state[PLANS])
        return Answer(
            problem=problem,
            status=status,
            costs=tuple(int(cost) for cost in work.plan_cost[:plans]),
            bound=0 if status is Status.HEURISTIC else int(work.state[ROOT_BOUND]),
            amounts=tuple(_amounts(problem, work, plan) for plan in range(plans)),
            steps=int(work.state[STEPS]),
        )

    def _none(self, problem: Problem, work: Work, work_budget: int) -> Answer:
        steps = int(work.state[STEPS])
        if work.state[CUT_BOUND] < INFEASIBLE * SCALE:
            bound = int(work.state[ROOT_BOUND])
            return Answer(problem, Status.UNDECIDED, (), bound, (), steps)
        terms = problem.arrays.terms.copy()
        terms[SHIPMENTS_MAX] = limits.shipments_per_plan_max
        solve(problem.with_terms(terms).view, self._view, 1, work_budget)
        refusal = refusal_of(problem, bool(work.state[PLANS] > 0))
        return Answer(problem, Status.INFEASIBLE, (), 0, (), steps, refusal)


def _amounts(problem: Problem, work: Work, plan: int) -> dict[int, dict[int, int]]:
    """Units by line by node; lots become lines again."""
    a = problem.arrays
    whole: Integers = np.where((a.group != NO_GROUP) | (a.terms[SHIP_COMPLETE] == 1), a.quantity, 1)
    lots = work.lot_of[: problem.lines]
    assert int(lots.max()) < int(work.state[LOTS])
    amounts = {}
    for place in range(int(work.plan_size[plan])):
        units = work.plan_amount[plan, place][lots] * whole
        amounts[int(work.plan_node[plan, place])] = {
            int(line): int(units[line]) for line in np.flatnonzero(units)
        }
    return amounts
