"""A first plan over two nodes: the pair that the linear bound calls cheapest.

Most orders that do not ship from one node ship from two, and a good plan to start from is worth
more to the search than any bound. Only pairs of which each lot is whole at one of the two.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.work import LOTS

_BIG = 1 << 60


@kernel
def _scarcest_lot(p: Any, w: Any) -> Integer:
    lots = w.state[LOTS]
    has = w.has
    for lot in range(lots):
        w.givers[lot] = 0
    for node in range(len(p.pick_capacity)):
        for lot in range(lots):
            w.givers[lot] += (has[node] >> lot) & 1
    scarcest = 0
    for lot in range(lots):
        if w.givers[lot] < w.givers[scarcest]:
            scarcest = lot
    return scarcest


@kernel
def _lots_cost(w: Any, one: Integer, other: Integer, enough: Integer) -> Integer:
    """Bound cost of every lot at the cheaper of two nodes that have it whole, up to `enough`."""
    full, dears, quantities = w.full, w.node_dear, w.lot_quantity
    total = 0
    for lot in range(w.state[LOTS]):
        cost = _BIG
        if (full[one] >> lot) & 1:
            cost = dears[one, lot]
        if (full[other] >> lot) & 1:
            cost = min(cost, dears[other, lot])
        total += quantities[lot] * cost
        if total >= enough:
            break
    return total


@kernel
def best_pair(p: Any, w: Any) -> bool:
    """Put the pair into the set; False where there is none. O(givers of the scarcest lot x N)."""
    lot = _scarcest_lot(p, w)
    everything = (1 << w.state[LOTS]) - 1
    nodes = len(p.pick_capacity)
    full, has, openings = w.full, w.has, w.opening
    best = _BIG
    for one in range(nodes):
        if (full[one] >> lot) & 1 == 0:
            continue
        missing = everything & ~full[one]
        if missing == 0:
            continue
        for other in range(nodes):
            if missing & ~full[other] != 0 or has[other] == 0:
                continue
            opening = openings[one] + openings[other]
            if opening < best:
                cost = opening + _lots_cost(w, one, other, best - opening)
                if cost < best:
                    best = cost
                    w.set_node[0] = one
                    w.set_node[1] = other
    return best < _BIG
