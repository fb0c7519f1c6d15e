"""The best answer that a pool's columns allow, by CP-SAT: exact where the wave is small.

One worker, a fixed seed and a limit in deterministic time: the same pool, the same answer. In a
server it belongs in a process of its own, which may die.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.routing.tariff import Integers
from engine.routing.waves.budget import Stopping, nobody_stops
from engine.routing.waves.pool import NONE, Pool


@dataclass(frozen=True, slots=True)
class Restricted:
    """CP-SAT's answer over a pool."""

    cost: int
    chosen: Integers
    """(O,) columns of the pool."""
    is_best: bool
    """Whether the pool has nothing cheaper."""
    work_s: float


def solve_restricted(
    pool: Pool,
    chosen: Integers,
    *,
    deterministic_s: float,
    seconds_left: Callable[[], float],
    seed: int,
    stopping: Stopping = nobody_stops,
) -> Restricted | None:
    """The best answer found from `chosen` on; None where none was in the time.

    `seconds_left`: by the wall clock. `stopping`: who may stop it by another one.
    """
    from ortools.sat.python import cp_model

    a = pool.view.arrays
    orders, columns = len(a["unrouted"]), len(pool.place)
    model: Any = cp_model.CpModel()
    taken = [model.new_bool_var("") for _ in range(columns)]
    left = [model.new_bool_var("") for _ in range(orders)]
    for order in range(orders):
        own = range(int(a["first"][order]), int(a["first"][order + 1]))
        model.add_exactly_one([*(taken[column] for column in own), left[order]])
        model.add_hint(left[order], bool(chosen[order] == NONE))
        for column in own:
            model.add_hint(taken[column], bool(chosen[order] == column))
    weights = a["taken"][np.argsort(a["resource"], kind="stable")]
    for resource in np.unique(a["resource"]):
        part = slice(int(a["users_start"][resource]), int(a["users_start"][resource + 1]))
        model.add(
            cp_model.LinearExpr.weighted_sum(
                [taken[column] for column in a["users"][part]], weights[part].tolist()
            )
            <= int(a["capacity"][resource])
        )
    model.minimize(
        cp_model.LinearExpr.weighted_sum(taken + left, a["cost"].tolist() + a["unrouted"].tolist())
    )
    solver: Any = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.num_workers = 1
    parameters.random_seed = seed & 0x7FFFFFFF
    parameters.linearization_level = 2
    # Presolving that costs a second where there is only one.
    parameters.cp_model_probing_level = 0
    parameters.symmetry_level = 0
    parameters.max_deterministic_time = deterministic_s
    parameters.catch_sigint_signal = False
    # Making the model takes time of its own.
    parameters.max_time_in_seconds = max(0.001, seconds_left())
    with stopping(solver.stop_search):
        status = solver.solve(model)
    work_s = float(solver.response_proto.deterministic_time)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    found = np.full(orders, NONE)
    for column in range(columns):
        if solver.boolean_value(taken[column]):
            found[a["order"][column]] = column
    return Restricted(round(solver.objective_value), found, status == cp_model.OPTIMAL, work_s)
