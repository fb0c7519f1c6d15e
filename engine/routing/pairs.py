"""A first plan over two nodes, and a better one for the orders that it leaves hard.

Most orders that do not ship from one node ship from two, and a good plan to start from is worth
more to the search than any bound. First the pair that the linear bound calls cheapest, of those of
which each lot is whole at one of the two. A hard order is mostly one whose cheapest pair splits a
lot, at another freight than the bound thinks: there every such pair is priced.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.parcels import freight_of
from engine.routing.pool import bar
from engine.routing.work import INFEASIBLE, LOTS, SCALE, SPLIT, STEPS

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


@kernel
def _split(w: Any, node: Integer, other: Integer, room: Integer) -> bool:
    """Give out every lot, of two nodes the one first that bounds call cheaper for it.

    Fills `amount` of the first two places. False where the two have too little, or where the lots
    cost `room` by the bounds.
    """
    mosts, dears, quantities, amount = w.most, w.node_dear, w.lot_quantity, w.amount
    total = 0
    for lot in range(w.state[LOTS]):
        quantity = quantities[lot]
        here, there = mosts[node, lot], mosts[other, lot]
        if here + there < quantity:
            return False
        if here > 0 and (there == 0 or dears[node, lot] <= dears[other, lot]):
            there = quantity - here
        else:
            here = quantity - there
        if here > 0:
            total += here * dears[node, lot]
        if there > 0:
            total += there * dears[other, lot]
        if total >= room:
            return False
        amount[lot, 0] = here
        amount[lot, 1] = there
    return True


@kernel
def _cost_of_split(p: Any, w: Any, node: Integer, place: Integer) -> Integer:
    """What a node takes for its part of a split; INFEASIBLE where it cannot."""
    weight = 0
    volume = 0
    units = 0
    mask = w.node_mask[node]
    cost = p.shipment_cost[node]
    for lot in range(w.state[LOTS]):
        given = w.amount[lot, place]
        if given > 0:
            weight += given * w.lot_weight[lot]
            volume += given * w.lot_volume[lot]
            units += given * w.lot_units[lot]
            mask &= w.lot_mask[lot]
            cost += given * w.lot_cost[node, lot]
    if units > w.node_free[node]:
        return INFEASIBLE
    return cost + freight_of(p, w, node, weight, volume, mask)


@kernel
def better_pair(p: Any, w: Any) -> bool:
    """Put the pair into the set that is cheapest by its freight, lots split where they must be.

    False where none is below the bar. A guess: the best amounts are for `allocate` to find.
    O(givers of the scarcest lot x N (M + S)).
    """
    lot = _scarcest_lot(p, w)
    everything = (1 << w.state[LOTS]) - 1
    nodes = len(p.pick_capacity)
    full, has, openings = w.full, w.has, w.opening
    best = bar(w)
    found = False
    for one in range(nodes):
        if (has[one] >> lot) & 1 == 0 or full[one] == everything:
            continue
        missing = everything & ~has[one]
        room = (best + w.state[SPLIT]) * SCALE - openings[one]
        for other in range(nodes):
            if missing & ~has[other] != 0 or has[other] == 0 or other == one:
                continue
            if openings[other] < room and _split(w, one, other, room - openings[other]):
                w.state[STEPS] += 2
                cost = w.state[SPLIT] + _cost_of_split(p, w, one, 0)
                if cost < best:
                    cost += _cost_of_split(p, w, other, 1)
                if cost < best:
                    best = cost
                    found = True
                    w.set_node[0] = one
                    w.set_node[1] = other
    w.state[STEPS] += nodes >> 2
    return found
