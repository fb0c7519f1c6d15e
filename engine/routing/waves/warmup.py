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
NEAR, FAR = 500, 600
BEST = NEAR + 2 * FAR


def warm_up(*, kernels_only: bool = True) -> None:
    """Route three orders of two lines, of which each two want the same unit nearby. Raises
    RuntimeError where the answer is wrong.

    `kernels_only`: without loading OR-Tools.

    Only one of them can have both its units from near: the bound, which gives each a half, stays
    below, so that no stage finds its work done.
    """
    tariff = Tariff.of(step_g=[1000], rate=[[[NEAR], [FAR]]], transit_days=[[1, 1]])
    orders = [
        WaveOrder(
            Problem.of(
                tariff,
                quantity=[1, 1],
                unit_weight_g=[400, 400],
                stock=[[1, 1], [1, 1]],
                zone=[[0], [1]],
            ),
            node=np.arange(2),
            item=np.array(items, np.int64),
            unrouted_cost=10_000,
        )
        for items in ([0, 1], [1, 2], [2, 0])
    ]
    stock = [[1, 1, 1], [9, 9, 9]]
    wave = Wave.of(orders, stock=stock, pick_capacity=[9, 9], slots=[[9], [9]])
    answer = solve_wave(wave, WorkBudget(WORK_S), kernels_only=kernels_only)
    halves = np.where(np.isin(answer.columns.cost, (NEAR, FAR)), 0.5, 0.0)
    Rows(answer.columns, halves, len(orders), wave.capacity, len(wave.capacity)).broken(1)
    if answer.cost != BEST or not all(answer.plans):
        raise RuntimeError(f"routing waves is not sound after its warm-up: {answer.cost}")


if __name__ == "__main__":
    warm_up()
