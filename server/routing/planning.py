"""Plans of an order: the ranked ones, and the Pareto set of cost, speed, splits, CO2e and risk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.routing import limits
from engine.routing.plan import Plan, Status, shipment
from engine.routing.prices.decide import Mode, with_opportunity_cost
from engine.routing.problem import (
    DAYS_LATE_MAX,
    PROMISED_DAY,
    SHIPMENTS_MAX,
    Problem,
)
from engine.routing.solver import Answer, Solver, Strategy
from engine.routing.view import View
from engine.routing.work import PLANS
from server.routing.assembly import Assembly
from server.routing.prices.comparison import Opportunity, compared
from server.routing.prices.source import OpportunityPrices

PARETO_MAX: Final = 64
_DAYS_TRIED_MAX: Final = 10
_WEIGHTS: Final = (4, 20, 100, 1000)
"""How many times as much CO2e and risk weigh in the searches for greener and surer plans."""


@dataclass(frozen=True, slots=True)
class Solved:
    """An order's answer, and how long it took."""

    assembly: Assembly
    answer: Answer
    nanoseconds: int
    opportunity: Opportunity | None = None
    """What opportunity prices said; None where they are off."""


class Planner:
    """One solver's memory; one caller at a time."""

    def __init__(self) -> None:
        self.solver = Solver()

    def solve(
        self,
        assembly: Assembly,
        *,
        strategy: Strategy = Strategy.EXACT,
        plans_max: int = 1,
        work_budget: int = limits.work_budget,
    ) -> Solved:
        """The best plans, ranked."""
        began = time.perf_counter_ns()
        answer = self.solver.solve(
            assembly.problem,
            strategy=strategy,
            plans_max=plans_max if strategy is Strategy.EXACT else 1,
            work_budget=work_budget,
        )
        return Solved(assembly, answer, time.perf_counter_ns() - began)

    def cost(self, assembly: Assembly, work_budget: int = limits.work_budget) -> int | None:
        """What the best plan costs, None without one: a third of the time that `solve` takes."""
        problem = assembly.problem
        found = self.solver.memory(problem.nodes, problem.lines).arrays
        self.solver.search(problem, 1, work_budget)
        return int(found["plan_cost"][0]) if found["state"][PLANS] else None

    def priced(
        self,
        prices: OpportunityPrices,
        solved: Solved,
        *,
        plans_max: int = 1,
        work_budget: int = limits.work_budget,
    ) -> Solved:
        """The same order with opportunity prices: another answer where they are on, and in any
        case what they change."""
        assembly, plain = solved.assembly, solved.answer
        cost = prices.costs(assembly)
        mode = prices.mode
        if not cost.any():
            return replace(solved, opportunity=Opportunity(mode, False, 0, ()))
        began = time.perf_counter_ns()
        problem = with_opportunity_cost(assembly.problem, cost)
        priced = self.solver.solve(problem, plans_max=plans_max, work_budget=work_budget)
        nanoseconds = solved.nanoseconds + time.perf_counter_ns() - began
        if not priced.costs:
            nothing = Opportunity(mode, False, 0, ())
            return replace(solved, nanoseconds=nanoseconds, opportunity=nothing)
        opportunity = compared(mode, assembly, plain, priced, cost)
        if mode is not Mode.ON:
            return replace(solved, nanoseconds=nanoseconds, opportunity=opportunity)
        return Solved(replace(assembly, problem=problem), priced, nanoseconds, opportunity)

    def answer(
        self,
        problem: Problem,
        work_budget: int = limits.work_budget,
        strategy: Strategy = Strategy.EXACT,
    ) -> Answer:
        """The best plan of another problem: one that was kept, or has a node forced in."""
        return self.solver.solve(problem, strategy=strategy, work_budget=work_budget)

    def pareto(self, solved: Solved) -> list[Plan]:
        """Plans none of which is beaten in everything by another, cheapest first.

        Found by searches that each lean to one side: fewer shipments, every earlier day, dearer
        CO2e, dearer risk. What lies between two of them may be missed. Empty without a plan.
        """
        found: dict[tuple[int, ...], Plan] = {}
        assembly = solved.assembly
        for problem in _leanings(assembly, solved.answer):
            answer = self.solver.solve(problem, plans_max=limits.plans_max)
            for plan in answer.plans:
                priced = _priced_as(assembly.problem, plan)
                if priced is not None:
                    found.setdefault(measures(assembly, priced), priced)
        kept = [
            (key, plan)
            for key, plan in found.items()
            if not any(_beats(other, key) for other in found)
        ]
        kept.sort(key=lambda one: one[0])
        return [plan for _, plan in kept[:PARETO_MAX]]


def measures(assembly: Assembly, plan: Plan) -> tuple[int, ...]:
    """(cost, last day, shipments, grams of CO2e, risk in ppm), the less the better."""
    last = max(int(assembly.delivery_max[one.node, one.service]) for one in plan.shipments)
    risk = 1_000_000 - probability_ppm(assembly, plan)
    return plan.cost, last, len(plan.shipments), plan.co2e_g, risk


def shipment_ppm(assembly: Assembly, node: int, service: int) -> int:
    """How probably a shipment is in time, of node and carrier together."""
    network = assembly.network
    zone = int(assembly.problem.arrays.zone[node, service])
    of_node = int(network.reliability_ppm[assembly.nodes[node]])
    return of_node * int(network.service_ppm[service, zone]) // 1_000_000


def probability_ppm(assembly: Assembly, plan: Plan) -> int:
    """How probably all shipments are in time."""
    share = 1_000_000
    for one in plan.shipments:
        share = share * shipment_ppm(assembly, one.node, one.service) // 1_000_000
    return share


def _beats(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _with_terms(problem: Problem, changes: Mapping[int, int]) -> Problem:
    terms = problem.arrays.terms.copy()
    for place, value in changes.items():
        terms[place] = value
    return problem.with_terms(terms)


def _leanings(assembly: Assembly, answer: Answer) -> Iterator[Problem]:
    problem = assembly.problem
    yield problem
    if answer.status in (Status.INFEASIBLE, Status.UNDECIDED):
        return
    best = answer.plans[0]
    for most in range(1, len(best.shipments)):
        yield _with_terms(problem, {SHIPMENTS_MAX: most})
    a = problem.arrays
    open_ = (a.zone >= 0) & (a.service_open == 1) & (a.node_open == 1)[:, None]
    last = max(int(a.ready_day[one.node, one.service]) for one in best.shipments)
    days = np.unique(a.ready_day[open_])
    for day in days[days < last][-_DAYS_TRIED_MAX:].tolist():
        for most in (int(a.terms[SHIPMENTS_MAX]), 1):
            yield _with_terms(problem, {PROMISED_DAY: day, DAYS_LATE_MAX: 0, SHIPMENTS_MAX: most})
    zone = np.maximum(a.zone, 0)
    column = np.arange(a.zone.shape[1])[None, :]
    network = assembly.network
    in_time = network.reliability_ppm[assembly.nodes][:, None] * network.service_ppm[column, zone]
    risk = 1_000_000 - in_time // 1_000_000
    for weight in _WEIGHTS:
        surer = a._replace(service_cost=a.service_cost + risk * weight // 100)
        yield Problem(problem.tariff, surer, View(surer._asdict()))
        greener = a._replace(charge=a.charge + problem.tariff.co2e_g * weight // 100)
        yield Problem(problem.tariff, greener, View(greener._asdict()))


def _priced_as(problem: Problem, plan: Plan) -> Plan | None:
    """The same shipments by the same services at this problem's prices."""
    shipments = []
    for one in plan.shipments:
        priced = shipment(problem, one.node, one.service, one.units)
        if priced is None:
            return None
        shipments.append(priced)
    return Plan(tuple(shipments), plan.split_cost)
