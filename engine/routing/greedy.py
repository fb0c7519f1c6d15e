"""Rules of thumb: one node after another, each giving all it can.

Users may choose them, the fallback is one of them, and the exact search starts from one. A plan of
these is a HEURISTIC. Ties break by distance, then by the node's place in the problem.

- NEAREST: by distance (what Magento's distance priority algorithm does).
- PRIORITY: by priority, least first.
- FEWEST: who can give the most units of what is missing.
- CHEAPEST: by what opening the node costs for each unit it gives; only to start the search from.
"""

from __future__ import annotations

from typing import Any, Final

from engine.compiled import Integer, kernel
from engine.routing.parcels import freight
from engine.routing.pool import cost_of_trial
from engine.routing.work import INFEASIBLE, LOTS, SHIPMENTS_MAX

NEAREST: Final = 1
PRIORITY: Final = 2
FEWEST: Final = 3
CHEAPEST: Final = 4

_BIG: Final = 1 << 62


@kernel
def _gives(w: Any, node: Integer) -> Integer:
    """Units of stock that `node` could give of what is missing; its capacity may allow less."""
    units = 0
    needs, mosts, lot_units = w.need, w.most, w.lot_units
    for lot in range(w.state[LOTS]):
        units += min(needs[0, lot], mosts[node, lot]) * lot_units[lot]
    return units


@kernel
def _score(p: Any, w: Any, node: Integer, rule: Integer) -> Integer:
    """The lower the better; _BIG for a node that gives nothing."""
    units = min(_gives(w, node), w.node_free[node])
    if units == 0:
        return _BIG
    if rule == NEAREST:
        return p.distance[node]
    if rule == PRIORITY:
        return p.priority[node]
    if rule == FEWEST:
        return -units
    cost = w.opening[node]
    needs, mosts, dears, prices = w.need, w.most, w.node_dear, w.least_price
    for lot in range(w.state[LOTS]):
        given = min(needs[0, lot], mosts[node, lot])
        if given > 0:
            cost += given * (dears[node, lot] - prices[lot])
    return cost * 64 // units


@kernel
def _fill(p: Any, w: Any, node: Integer, place: Integer) -> Integer:
    """Give `node` what it can take of what is missing; units given."""
    weight = 0
    volume = 0
    given = 0
    mask = w.node_mask[node]
    for lot in range(w.state[LOTS]):
        room = (w.node_free[node] - given) // w.lot_units[lot]
        units = min(min(w.need[0, lot], w.most[node, lot]), room)
        while units > 0:
            cost = freight(
                p,
                w,
                node,
                weight + units * w.lot_weight[lot],
                volume + units * w.lot_volume[lot],
                mask & w.lot_mask[lot],
            )
            if cost < INFEASIBLE:
                break
            units >>= 1
        w.trial_amount[place, lot] = units
        if units > 0:
            weight += units * w.lot_weight[lot]
            volume += units * w.lot_volume[lot]
            given += units * w.lot_units[lot]
            mask &= w.lot_mask[lot]
            w.need[0, lot] -= units
    w.trial_node[place] = node
    return given


@kernel
def greedy(p: Any, w: Any, rule: Integer) -> tuple[Integer, Integer]:
    """A plan in the trial arrays: its size and cost; INFEASIBLE where the rule finds none.

    O(shipments x N x M).
    """
    nodes = len(p.pick_capacity)
    missing = 0
    for lot in range(w.state[LOTS]):
        w.need[0, lot] = w.lot_quantity[lot]
        missing += w.lot_quantity[lot] * w.lot_units[lot]
    for node in range(nodes):
        w.excluded[node] = 0
    size = 0
    while missing > 0 and size < w.state[SHIPMENTS_MAX]:
        chosen = -1
        best = _BIG
        for node in range(nodes):
            if w.excluded[node] != 0 or w.has[node] == 0:
                continue
            score = _score(p, w, node, rule)
            if score < best or (
                score == best and score < _BIG and p.distance[node] < p.distance[chosen]
            ):
                best = score
                chosen = node
        if chosen < 0:
            break
        w.excluded[chosen] = 1
        given = _fill(p, w, chosen, size)
        if given > 0:
            size += 1
            missing -= given
    for node in range(nodes):
        w.excluded[node] = 0
    if missing > 0:
        return size, INFEASIBLE
    return size, cost_of_trial(p, w, size)
