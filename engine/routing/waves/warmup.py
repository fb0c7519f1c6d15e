"""Compile, or load from the cache, what waves need: ``python -m engine.routing.waves.warmup``."""

from __future__ import annotations

import numpy as np

from engine.routing.problem import Problem
from engine.routing.tariff import Tariff
from engine.routing.waves.budget import WorkBudget
from engine.routing.waves.separation import Rows
from engine.routing.waves.solver import solve_wave
from engine.routing.waves.wave import Wave, WaveOrder

WORK_S = 0.05
BEST = 1100


def warm_up(*, kernels_only: bool = True) -> None:
    """Route two orders that want the same unit. Raises RuntimeError where the answer is wrong.

    `kernels_only`: without loading OR-Tools.

    The first is as cheap from either node, but comes first to the one that the second needs.
    """
    tariff = Tariff.of(step_g=[1000], rate=[[[500], [600]]], transit_days=[[1, 1]])
    orders = [
        WaveOrder(
            Problem.of(
                tariff,
                quantity=[1],
                unit_weight_g=[600],
                stock=[[1], [1]],
                zone=zone,
            ),
            node=np.arange(2),
            item=np.zeros(1, np.int64),
            unrouted_cost=10_000,
        )
        for zone in ([[0], [1]], [[0], [-1]])
    ]
    wave = Wave.of(orders, stock=[[1], [1]], pick_capacity=[9, 9], slots=[[9], [9]])
    answer = solve_wave(wave, WorkBudget(WORK_S), kernels_only=kernels_only)
    halves = np.full(len(answer.columns), 0.5)
    Rows(answer.columns, halves, len(orders), wave.capacity, len(wave.capacity)).broken(1)
    if answer.cost != BEST or not all(answer.plans):
        raise RuntimeError(f"routing waves is not sound after its warm-up: {answer.cost}")


if __name__ == "__main__":
    warm_up()
