"""The linear program over a wave's columns and cuts: shares of plans, and prices.

By CLP, from the basis of the time before: columns and cuts are added as they are found. A simplex
method's prices are at a corner and say little away from the columns that made them; whoever prices
orders with them goes part of the way.

Owns: `Relaxation`, `Relaxed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.routing.tariff import Integers
from engine.routing.waves.columns import Columns
from engine.routing.waves.cuts import Cuts
from engine.routing.waves.memory import FINENESS

_WORK_S_PER_COLUMN = 1.5e-5
_WORK_S_PER_PIVOT = 4e-5


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A best solution."""

    share: np.ndarray
    """(C,) of each column, 0 to 1."""
    due: np.ndarray
    """(R,) prices of resources, in 1/FINENESS of a minor unit."""
    cut_due: np.ndarray
    """(K,) and of cuts."""
    work_s: float


class Relaxation:
    """Rows: one plan an order at most, what there is of each scarce resource, cuts."""

    def __init__(
        self, columns: Columns, cuts: Cuts, unrouted: Integers, capacity: Integers
    ) -> None:
        # OR-Tools says nothing of its types here.
        from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]

        self._solver: Any = pywraplp.Solver.CreateSolver("CLP")
        self._columns, self._cuts = columns, cuts
        self._unrouted, self._capacity = unrouted, capacity
        self._shares: list[Any] = []
        self._of_order = [self._row(1) for _ in unrouted]
        self._of_resource: dict[int, Any] = {}
        self._of_cut: list[Any] = []
        self._objective: Any = self._solver.Objective()
        self._objective.SetMinimization()
        self._objective.SetOffset(float(unrouted.sum()))

    def _row(self, most: int) -> Any:
        return self._solver.Constraint(-self._solver.infinity(), float(most))

    def solve(self, seconds_left: float) -> Relaxed | None:
        """With all columns and cuts there are by now; None where that takes longer than
        `seconds_left` by the wall clock."""
        self._solver.SetTimeLimit(max(1, int(1000 * seconds_left)))
        work_s = self._add_columns() + self._add_cuts()
        if self._solver.Solve() != self._solver.OPTIMAL:
            return None
        due = np.zeros(len(self._capacity))
        for resource, row in self._of_resource.items():
            due[resource] = max(0.0, -row.dual_value()) * FINENESS
        cut_due = np.array([max(0.0, -row.dual_value()) * FINENESS for row in self._of_cut])
        return Relaxed(
            share=np.array([share.solution_value() for share in self._shares]),
            due=due,
            cut_due=cut_due,
            work_s=work_s + self._solver.iterations() * _WORK_S_PER_PIVOT,
        )

    def _add_columns(self) -> float:
        columns = self._columns
        known = len(self._shares)
        places = np.arange(known, len(columns))
        saved = columns.cost[places] - self._unrouted[columns.order[places]]
        for order, cost in zip(columns.order[places].tolist(), saved.tolist(), strict=True):
            share = self._solver.NumVar(0.0, self._solver.infinity(), "")
            self._shares.append(share)
            self._of_order[order].SetCoefficient(share, 1.0)
            self._objective.SetCoefficient(share, float(cost))
        entries = columns.scarce_entries(np.arange(len(columns)), self._capacity)
        fresh = np.setdiff1d(entries.resource, np.fromiter(self._of_resource, np.int64))
        for resource in fresh.tolist():
            self._of_resource[resource] = self._row(int(self._capacity[resource]))
        wanted = (entries.column >= known) | np.isin(entries.resource, fresh)
        for place, resource, taken in zip(
            entries.column[wanted].tolist(),
            entries.resource[wanted].tolist(),
            entries.taken[wanted].tolist(),
            strict=True,
        ):
            self._of_resource[resource].SetCoefficient(self._shares[place], float(taken))
        self._count(places, 0, len(self._of_cut))
        return len(places) * _WORK_S_PER_COLUMN

    def _add_cuts(self) -> float:
        known = len(self._of_cut)
        self._of_cut += [self._row(int(most)) for most in self._cuts.most[known:]]
        self._count(np.arange(len(self._shares)), known, len(self._of_cut))
        return (len(self._of_cut) - known) * _WORK_S_PER_COLUMN

    def _count(self, places: Integers, first: int, last: int) -> None:
        """Coefficients of columns in the cuts from `first` to `last`."""
        if not len(places) or first == last:
            return
        found = self._cuts.coefficients(self._columns, places)
        wanted = (found.cut >= first) & (found.cut < last)
        for column, cut, count in zip(
            places[found.column[wanted]].tolist(),
            found.cut[wanted].tolist(),
            found.count[wanted].tolist(),
            strict=True,
        ):
            self._of_cut[cut].SetCoefficient(self._shares[column], float(count))
