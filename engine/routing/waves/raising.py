"""A higher bound by cuts: what a solution in shares breaks, and what prices on that make of it.

1. The linear program over the columns, and the cuts that its solution breaks; a few times.
2. Every order priced by itself at the prices of the linear program, and half of the way to them
   from the best ones so far: a bound, whatever the prices, and new columns.
3. Again, until nothing is new.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.routing.tariff import Integers
from engine.routing.waves.columns import Columns
from engine.routing.waves.cuts import Charged, Cuts
from engine.routing.waves.memory import Memory
from engine.routing.waves.relaxation import Relaxation
from engine.routing.waves.separation import WORK_S, Rows
from engine.routing.waves.wave import Wave

_LOOKS = 4
_CUTS_PER_LOOK = 60
_WAYS = (0.5, 1.0)


Price = Callable[[np.ndarray, Charged], int]
"""Prices every order at prices of resources and of cuts, and keeps the columns it meets: the bound,
in minor units."""


def raise_bound(
    wave: Wave,
    memory: Memory,
    columns: Columns,
    *,
    due: Integers,
    price: Price,
    spend: Callable[[float], None],
    seconds_left: Callable[[], float],
    goes_on: Callable[[], bool],
) -> None:
    """Price with more and more cuts, from the prices `due`, for as long as it `goes_on`.

    `seconds_left`: by the wall clock.
    """
    unrouted: Integers = memory.whole.arrays["unrouted"]
    orders = len(wave.orders)
    pickups = wave.nodes * (wave.items + 1)
    cuts = Cuts(wave, memory)
    relaxation = Relaxation(columns, cuts, unrouted, memory.capacity)
    best = 0
    best_due, best_cut_due = due.astype(np.float64), np.zeros(0)
    looks = 0
    while goes_on():
        relaxed = relaxation.solve(seconds_left())
        if relaxed is None:
            return
        spend(relaxed.work_s)
        if looks < _LOOKS:
            looks += 1
            known = len(cuts)
            rows = Rows(columns, relaxed.share, orders, memory.capacity, pickups)
            spend(WORK_S)
            for broken in rows.broken(_CUTS_PER_LOOK):
                cuts.add(broken)
            if len(cuts) > known:
                continue
        if not len(cuts):
            return
        looks = 0
        met = len(columns)
        from_due = best_due
        from_cut_due = np.append(best_cut_due, np.zeros(len(cuts) - len(best_cut_due)))
        to_due = np.minimum(relaxed.due, cuts.dearest)
        to_cut_due = np.minimum(relaxed.cut_due, cuts.dearest)
        for way in _WAYS:
            if not goes_on():
                return
            at = from_due + way * (to_due - from_due)
            at_cuts = np.rint(from_cut_due + way * (to_cut_due - from_cut_due))
            bound = price(at, cuts.charged(at_cuts.astype(np.int64)))
            if bound > best:
                best, best_due, best_cut_due = bound, at, at_cuts
        if len(columns) == met:
            return
