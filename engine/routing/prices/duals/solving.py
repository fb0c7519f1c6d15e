"""Dual prices of the stock that is left, for orders like those that have come.

Owns: `Sample`. Each order of the sample stands for `weight` orders still to come. By Lagrange the
cheapest way to route all of them costs at least

    weight x sum over the sample of the cheapest plan with the prices on what it takes
    - sum over positions of price x stock

and the prices that make this most are what one more unit of each position would save (Talluri and
van Ryzin 1998). AdaGrad moves them, as it does for waves (`engine.routing.waves.ascent`): up where
the plans take more than there is, down where they leave some.

No price goes above `price_max`: as if a unit that is not there could be had elsewhere for so much.
Where an item is short at all of its nodes their prices end there, and differ by no more than the
way between them costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.routing.tariff import Integers
from engine.routing.waves.ascent import Ascent
from engine.routing.waves.budget import search_work_s
from engine.routing.waves.cuts import no_cuts
from engine.routing.waves.emit import ENTRIES, STEPS, Outlet
from engine.routing.waves.memory import FINENESS, Memory
from engine.routing.waves.pricing import price
from engine.routing.waves.wave import Wave, WaveOrder

_SEARCH_WORK = 300
"""Work budget of one search: its plan need not be proven cheapest."""
_LENGTH = 0.04
"""Of the greatest price: how far a price moves at first."""
_UNBOUNDED = 1 << 40


class Sample:
    """Orders, checked, over (N, K) positions with `stock` of each left."""

    def __init__(self, orders: Sequence[WaveOrder], stock: Integers) -> None:
        nodes = len(stock)
        services = orders[0].problem.tariff.services
        # What can be picked and called for on a day is not what a horizon runs out of.
        wave = Wave(
            services=services,
            orders=tuple(orders),
            stock=stock,
            pick_capacity=np.full(nodes, _UNBOUNDED),
            slots=np.full((nodes, services), _UNBOUNDED),
        )
        self._shape = stock.shape
        self._memory = Memory(wave)
        self._no_cuts = no_cuts(len(orders)).view
        self._out = Outlet(max(order.problem.lines for order in orders))
        self.work_s = 0.0
        """Counted work so far."""

    def ascend(self, due: np.ndarray, *, weight: float, price_max: int, rounds: int) -> np.ndarray:
        """(N, K) the best prices that `rounds` find from `due`; in 1/FINENESS minor units."""
        memory = self._memory
        size = due.size
        stock = memory.capacity[:size].astype(np.float64)
        most = float(price_max * FINENESS)
        ascent = Ascent(np.minimum(due.ravel(), most), _LENGTH * most)
        best, best_due = -np.inf, ascent.due
        for _ in range(rounds):
            here = ascent.due
            memory.due[:size] = np.rint(here)
            over = weight * self._taken()[:size] - stock
            value = weight * float(memory.bound.sum()) - float((here * stock).sum())
            if value > best:
                best, best_due = value, here
            ascent.move(np.where((here >= most) & (over > 0), 0.0, over))
            ascent.due = np.minimum(ascent.due, most)
        return best_due.reshape(self._shape)

    def _taken(self) -> np.ndarray:
        """(R,) what the cheapest plans take of each resource at the memory's prices."""
        memory, out = self._memory, self._out
        taken = np.zeros(len(memory.capacity))
        first, orders, steps = 0, len(memory.bound), 0
        while first < orders:
            out.clear()
            first = price(
                memory.whole,
                memory.source,
                memory.seen,
                memory.work,
                out.view,
                self._no_cuts,
                first,
                1,
                _SEARCH_WORK,
                0,
            )
            steps += int(out.state[STEPS])
            entries = int(out.state[ENTRIES])
            taken += np.bincount(
                out.resource[:entries], weights=out.taken[:entries], minlength=len(taken)
            )
        self.work_s += search_work_s(memory.nodes, steps)
        return taken
