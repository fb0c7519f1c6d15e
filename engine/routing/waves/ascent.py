"""Prices on resources: AdaGrad with momentum (Duchi, Hazan and Singer 2011) on the dual.

Each round takes every order's cheapest plan at the prices, and raises the price of what is taken
too much of. A resource's step is scaled by the moves it has seen: pick capacities are counted in
hundreds of units and stock in ones, and one step for both fits neither. In thirty rounds this
comes within half a percent of the linear program's optimum, in a thousand within a hundredth of
one, in a fraction of the time the simplex method takes.

Two ways to look at an order: at all of its plans by the exact search (`Pricer`), which gives a
bound and new columns, and at its columns in a pool alone (`ascend_pool`), which takes a thousandth
of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.compiled import kernel
from engine.routing.tariff import Integers
from engine.routing.waves.budget import search_work_s
from engine.routing.waves.columns import Columns
from engine.routing.waves.cuts import Charged, no_cuts
from engine.routing.waves.emit import STEPS, Outlet
from engine.routing.waves.memory import FINENESS, Memory
from engine.routing.waves.pool import Pool
from engine.routing.waves.pricing import price

_MOMENTUM = 0.85

_WORK_S_PER_ENTRY = 5e-9
_MORE_STEPS = 1_000_000
"""For the hard orders of a wave together where cuts are charged: the search's own bounds know
nothing of cuts, and the few orders that it does not finish spoil the bound of all."""


class Ascent:
    """Prices that move. `length`: how far one price moves at first, 1/FINENESS minor units."""

    def __init__(self, due: np.ndarray, length: float) -> None:
        self.due = due.astype(np.float64)
        self._length = length
        self._way = np.zeros(len(due))
        self._squares = np.full(len(due), 1e-9)

    def move(self, over: np.ndarray) -> None:
        """Raise prices where `over`, what is taken less what there is, is positive."""
        over = np.where((self.due <= 0) & (over < 0), 0.0, over)
        self._way = _MOMENTUM * self._way + (1 - _MOMENTUM) * over
        self._squares += over * over
        self.due = np.maximum(0.0, self.due + self._length * self._way / np.sqrt(self._squares))


@dataclass(frozen=True, slots=True)
class Priced:
    """Every order by itself at some prices."""

    bound: int
    """No answer costs less, in minor units."""
    over: np.ndarray
    """(R,) what the cheapest plans take of a resource, less what there is."""


class Pricer:
    """Prices a wave, and keeps the best bound and the prices that gave it."""

    def __init__(self, memory: Memory, columns: Columns, out: Outlet, work_budget: int) -> None:
        self._memory, self._columns, self._out = memory, columns, out
        self._work_budget = work_budget
        self._unrouted: Integers = memory.whole.arrays["unrouted"]
        self._nodes = memory.nodes
        self.work_s = 0.0
        """Work done so far."""
        self.bound = 0
        self.plain_bound = 0
        """The same without cuts."""
        self.due: Integers = memory.due.copy()
        """(R,) the prices of the best bound without cuts, in 1/FINENESS of a minor unit."""
        self._no_cuts = no_cuts(len(self._unrouted))

    def price(self, due: np.ndarray, plans_max: int, charged: Charged | None = None) -> Priced:
        """The best plans of every order at `due`, and at the prices of cuts, kept as columns."""
        cuts = charged or self._no_cuts
        memory, out, columns = self._memory, self._out, self._columns
        memory.due[:] = np.rint(due)
        orders = len(self._unrouted)
        found: list[Integers] = []
        out.clear()
        first = steps = 0
        while first < orders:
            first = price(
                memory.whole,
                memory.source,
                memory.seen,
                memory.work,
                out.view,
                cuts.view,
                first,
                plans_max,
                self._work_budget,
                0 if charged is None else _MORE_STEPS,
            )
            steps += int(out.state[STEPS])
            found.append(columns.add(out))
        best = np.concatenate(found)
        owner = columns.order[best]
        cheapest = best[np.concatenate([[True], owner[1:] != owner[:-1]])[: len(best)]]
        # An order whose plans all cost more than leaving it takes nothing.
        paid = columns.with_dues(cheapest, memory.due, FINENESS)
        cheapest = cheapest[paid < self._unrouted[columns.order[cheapest]] * FINENESS]
        total = int(memory.bound.sum()) - int(memory.due @ memory.capacity) - cuts.allowed
        bound = max(0, -(-total // FINENESS))
        if charged is None and bound > self.plain_bound:
            self.plain_bound = bound
            self.due = memory.due.copy()
        self.bound = max(self.bound, bound)
        self.work_s += search_work_s(self._nodes, steps)
        taken = columns.taken_by(cheapest, len(memory.capacity))
        return Priced(bound, taken - memory.capacity)


@kernel
def _look_at_pool(pool: Any, due: Any, over: Any) -> Any:
    """What the cheapest columns cost at `due`, and, in `over`, what they take beyond what is."""
    for resource in range(len(over)):
        over[resource] = -pool.capacity[resource]
    first, start, resource, taken = pool.first, pool.start, pool.resource, pool.taken
    cost, unrouted = pool.cost, pool.unrouted
    total = 0.0
    for order in range(len(unrouted)):
        least = float(unrouted[order] * FINENESS)
        cheapest = -1
        for column in range(first[order], first[order + 1]):
            paid = float(cost[column] * FINENESS)
            for at in range(start[column], start[column + 1]):
                paid += due[resource[at]] * taken[at]
            if paid < least:
                least = paid
                cheapest = column
        total += least
        if cheapest >= 0:
            for at in range(start[cheapest], start[cheapest + 1]):
                over[resource[at]] += taken[at]
    return total


def ascend_pool(
    pool: Pool, due: np.ndarray, length: float, rounds: int
) -> tuple[np.ndarray, float]:
    """The best prices that `rounds` over the pool's columns find from `due`; the work it was.

    A resource that cannot run short has no price.
    """
    arrays = pool.view.arrays
    scarce = np.unique(arrays["resource"])
    capacity = arrays["capacity"][scarce].astype(np.float64)
    ascent = Ascent(due[scarce], length)
    prices = np.zeros(len(due))
    over = np.zeros(len(due))
    best, best_due = -np.inf, ascent.due
    for _ in range(rounds):
        prices[scarce] = ascent.due
        value = float(_look_at_pool(pool.view, prices, over)) - float(ascent.due @ capacity)
        if value > best:
            best, best_due = value, ascent.due
        ascent.move(over[scarce])
    prices[scarce] = best_due
    entries = len(arrays["resource"]) + len(due) + 8 * len(scarce)
    return prices, rounds * entries * _WORK_S_PER_ENTRY
