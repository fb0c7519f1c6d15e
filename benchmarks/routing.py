"""How long one order takes to route, how often the plan is proven best, what simpler rules cost.

A call takes a problem's arrays and leaves the plan's: read, bounds, search, services. Its time is
the thread's processor time, the least of a few calls, because the work is the same each time and
what differs is the machine's. Checking a problem's fields and making objects of a plan are not in
it. CP-SAT is timed without building its model, on the first orders of the two larger classes.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from benchmarks.measure import Say, cores, no_collector, pin
from benchmarks.routing_orders import CLASSES, OrderClass, orders
from engine.routing import limits
from engine.routing.cpsat import solve_by_cpsat
from engine.routing.plan import Status
from engine.routing.problem import Problem
from engine.routing.solver import Solver, Strategy

ORDERS = 2_000
CALLS = 4
CPSAT_ORDERS = {"80": 20, "200": 8}
CPSAT_DETERMINISTIC_S = 20.0
RULES = (Strategy.NEAREST, Strategy.PRIORITY, Strategy.FEWEST_SPLITS)


@dataclass
class Measured:
    """Of one class, order by order."""

    us: list[float] = field(default_factory=list)
    first_us: list[float] = field(default_factory=list)
    proven: int = 0
    gaps: list[float] = field(default_factory=list)
    shipments: Counter[int] = field(default_factory=Counter)
    speedups: list[float] = field(default_factory=list)
    over: dict[Strategy, list[float]] = field(default_factory=dict)


def run(say: Say) -> dict[str, float]:
    """Measure every class; the figures are those of the two larger ones."""
    pin(cores()[-1] if cores() else None)
    solver = Solver()
    result: dict[str, float] = {}
    speedups: list[float] = []
    over: list[float] = []
    for order_class in CLASSES:
        measured = _measure(order_class, solver)
        _tell(say, order_class, measured)
        if order_class.name in CPSAT_ORDERS:
            for share in (50, 99):
                key = f"plan_us_p{share}_{order_class.name}"
                result[key] = float(np.percentile(measured.us, share))
            result[f"proven_share_{order_class.name}"] = measured.proven / ORDERS
            speedups += measured.speedups
            over += measured.over[Strategy.NEAREST]
    result["speedup_vs_cpsat"] = float(np.median(speedups))
    result["greedy_over_optimal_percent"] = float(np.mean(over))
    return result


def _measure(order_class: OrderClass, solver: Solver) -> Measured:
    measured = Measured(over={rule: [] for rule in RULES})
    compared = CPSAT_ORDERS.get(order_class.name, 0)
    with no_collector():
        for place, problem in enumerate(orders(order_class, ORDERS)):
            times = [_call_us(solver, problem) for _ in range(CALLS)]
            answer = solver.solve(problem)
            measured.first_us.append(times[0])
            measured.us.append(min(times))
            measured.proven += answer.status in (Status.OPTIMAL, Status.INFEASIBLE)
            if not answer.costs:
                continue
            measured.shipments[len(answer.amounts[0])] += 1
            if not answer.proven_optimal:
                measured.gaps.append(100 * answer.gap)
            for rule in RULES:
                found = solver.solve(problem, strategy=rule)
                measured.over[rule].append(100 * (found.cost / answer.cost - 1))
            if place < compared:
                checked = solve_by_cpsat(problem, deterministic_time_max=CPSAT_DETERMINISTIC_S)
                _agree(checked.status, checked.plan.cost if checked.plan else None, answer.cost)
                measured.speedups.append(checked.seconds * 1e6 / min(times))
    return measured


def _call_us(solver: Solver, problem: Problem) -> float:
    started = time.thread_time_ns()
    solver.search(problem, 1, limits.work_budget)
    return (time.thread_time_ns() - started) / 1000


def _agree(status: Status, cost: int | None, ours: int) -> None:
    """A benchmark of wrong answers would be none."""
    if status is Status.OPTIMAL and cost != ours:
        raise RuntimeError(f"CP-SAT's optimum is {cost}, ours {ours}")


def _tell(say: Say, order_class: OrderClass, measured: Measured) -> None:
    lines, most = order_class.lines
    p50, p90, p99 = np.percentile(measured.us, [50, 90, 99])
    first = np.percentile(measured.first_us, [50, 99])
    say(
        f"{lines}-{most} lines x {order_class.nodes} nodes x {order_class.services} services: "
        f"p50 {p50:.0f} us, p90 {p90:.0f}, p99 {p99:.0f}, max {max(measured.us):,.0f} "
        f"(the first call: p50 {first[0]:.0f}, p99 {first[1]:.0f})"
    )
    worst = max(measured.gaps, default=0.0)
    share = ", ".join(
        f"{count / ORDERS:.0%} in {size}" for size, count in sorted(measured.shipments.items())
    )
    say(
        f"  proven {measured.proven / ORDERS:.2%}, else a gap of at most {worst:.0f} %; "
        f"shipments: {share}"
    )
    say(
        "  over the optimum: "
        + ", ".join(
            f"{rule.name.lower()} {np.mean(values):.1f} %" for rule, values in measured.over.items()
        )
    )
    if measured.speedups:
        say(f"  CP-SAT takes {np.median(measured.speedups):,.0f} times as long (median)")
