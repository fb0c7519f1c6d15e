"""Compile (or load from the cache) every kernel of routing: ``python -m engine.routing.warmup``."""

from __future__ import annotations

from engine.routing.plan import Status
from engine.routing.problem import Problem
from engine.routing.solver import Solver, Strategy
from engine.routing.tariff import Tariff


def warm_up() -> None:
    """Route one small order by every strategy. Raises RuntimeError where the answer is wrong."""
    tariff = Tariff.of(step_g=[1000, 2000], rate=[[[500, 700]]], transit_days=[[1]])
    order = Problem.of(
        tariff,
        quantity=[1, 1],
        unit_weight_g=[600, 600],
        stock=[[1, 0], [0, 1]],
        zone=[[0], [0]],
    )
    solver = Solver()
    for strategy in Strategy:
        answer = solver.solve(order, strategy=strategy)
        if answer.costs != (1000,) or answer.status not in (Status.OPTIMAL, Status.HEURISTIC):
            raise RuntimeError(f"routing is not sound after its warm-up: {answer.costs}")


if __name__ == "__main__":
    warm_up()
