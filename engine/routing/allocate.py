"""The best plan over exactly the nodes of a given set: how many units of each lot from which.

Depth first over (lot, node): lots with the fewest nodes first, each lot's cheapest node first and
as much as possible, so that the first plan found is already a good one. What is left is bounded
twice: by the freight of the weight given so far, and by its tail: all of the order's weight goes
somewhere, so with a price on each gram the shipments together cost at least

    price x weight of the order
    + sum over shipments of min over reachable steps (freight - price x w)

Invariant: between two steps `weight`, `volume`, `units`, `mask`, `freight`, `grams` and `tail` are
those of the amounts given so far.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.parcels import collapse, freight, slope_at, step_at
from engine.routing.pool import bar, cost_of_trial, offer
from engine.routing.work import (
    BOUND_TOTAL,
    BUDGET,
    CUT_BOUND,
    CUTS,
    DEAR,
    HEAVY,
    INFEASIBLE,
    LOTS,
    SCALE,
    SLOPES,
    SPLIT,
    STEPS,
    TAIL_SLOPE,
)

# About 30 ns each, as all work that is counted.
_LOOK = 3
_TAILS = 4
_START = 10
_STEP = 2


@kernel
def set_bound(w: Any, size: Integer) -> Integer:
    """Scaled bound of every plan over the first `size` nodes of the set. O(K M)."""
    total = -w.state[SPLIT] * SCALE
    for place in range(size):
        total += w.opening[w.set_node[place]]
    for lot in range(w.state[LOTS]):
        least = INFEASIBLE
        for place in range(size):
            node = w.set_node[place]
            if w.most[node, lot] > 0:
                least = min(least, w.node_dear[node, lot])
        total += w.lot_quantity[lot] * least
    return total


@kernel
def _order_lots(w: Any, size: Integer) -> None:
    """Lots by how many nodes of the set have them, then heaviest first; ties by lot."""
    for lot in range(w.state[LOTS]):
        options = 0
        for place in range(size):
            if w.most[w.set_node[place], lot] > 0:
                options += 1
        grams = w.lot_quantity[lot] * w.bound_weight[lot]
        rank = (options << 50) - min(grams, (1 << 50) - 1)
        w.order[lot] = rank
        at = lot
        while at > 0 and w.order[w.choice[at - 1]] > rank:
            w.choice[at] = w.choice[at - 1]
            at -= 1
        w.choice[at] = lot


@kernel
def _tails(p: Any, w: Any, size: Integer, slope: Integer) -> Integer:
    """Fill the tails for a price per gram, over what each place may give; the bound they make.

    O(K x steps).
    """
    steps = len(p.step_g)
    top = min(step_at(p, w.state[BOUND_TOTAL]), steps - 1)
    step_g, step_least, tails = p.step_g, w.step_least, w.tails
    total = 0
    for place in range(size):
        node = w.set_node[place]
        high = w.high[place]
        last = min(step_at(p, high), steps - 1)
        first = min(step_at(p, w.low[place]), last)
        for step in range(last + 1, top + 1):
            tails[place, step] = DEAR * SCALE
        least = step_least[node, last] - slope * min(step_g[last], high)
        tails[place, last] = least
        for step in range(last - 1, first - 1, -1):
            least = min(least, step_least[node, step] - slope * step_g[step])
            tails[place, step] = least
        for step in range(first):
            tails[place, step] = least
        total += least
    return total + slope * w.state[BOUND_TOTAL]


@kernel
def choose_slope(w: Any, size: Integer) -> Integer:
    """The price of a gram that bounds the set's freight best; that bound. O(K)."""
    total = w.state[BOUND_TOTAL]
    best = -DEAR
    for at in range(SLOPES):
        slope = slope_at(w, at)
        bound = slope * total
        for place in range(size):
            bound += w.at_slope[w.set_node[place], at]
        if bound > best:
            best = bound
            w.state[TAIL_SLOPE] = slope
    return best


@kernel
def _read_range(w: Any, size: Integer) -> None:
    """Bound weight that each place gives at least, as the others have too little, and at most."""
    lots = w.state[LOTS]
    for place in range(size):
        w.low[place] = 0
    mosts, set_node, low, weights = w.most, w.set_node, w.low, w.bound_weight
    for lot in range(lots):
        spare = -w.lot_quantity[lot]
        for place in range(size):
            spare += mosts[set_node[place], lot]
        weight = weights[lot]
        for place in range(size):
            low[place] += max(0, mosts[set_node[place], lot] - spare) * weight
    total = w.state[BOUND_TOTAL]
    for place in range(size):
        total -= low[place]
    for place in range(size):
        w.high[place] = min(w.node_grams[set_node[place]], total + low[place])


@kernel
def _order_places(w: Any, size: Integer) -> None:
    """For each lot the places of the set, cheapest first, and what the later ones can give."""
    for lot in range(w.state[LOTS]):
        for place in range(size):
            node = w.set_node[place]
            cost = w.node_dear[node, lot] if w.most[node, lot] > 0 else INFEASIBLE
            at = place
            while at > 0 and w.dear[lot, w.turn[lot, at - 1]] > cost:
                w.turn[lot, at] = w.turn[lot, at - 1]
                at -= 1
            w.turn[lot, at] = place
            w.dear[lot, place] = cost
            w.amount[lot, place] = 0
        after = 0
        for at in range(size - 1, -1, -1):
            w.later[lot, at] = after
            after += w.most[w.set_node[w.turn[lot, at]], lot]


@kernel
def _money_of(p: Any, w: Any, size: Integer) -> Integer:
    """Split cost, shipments and each lot at its cheapest place: all but freight, at least."""
    total = w.state[SPLIT] * (size - 1)
    for place in range(size):
        total += p.shipment_cost[w.set_node[place]]
    mosts, costs, quantities, set_node = w.most, w.lot_cost, w.lot_quantity, w.set_node
    for lot in range(w.state[LOTS]):
        least = INFEASIBLE
        for place in range(size):
            node = set_node[place]
            if mosts[node, lot] > 0:
                least = min(least, costs[node, lot])
        w.least_cost[lot] = least
        total += least * quantities[lot]
    return total


@kernel
def _start(p: Any, w: Any, size: Integer, has_tails: bool) -> tuple[Integer, Integer]:
    """Empty shipments: their freight already, and the scaled sum of their tails."""
    _order_lots(w, size)
    _order_places(w, size)
    plain = w.state[SPLIT] * (size - 1)
    tail = w.state[TAIL_SLOPE] * w.state[BOUND_TOTAL]
    for place in range(size):
        node = w.set_node[place]
        w.cap[place] = w.node_free[node]
        w.weight[place] = 0
        w.volume[place] = 0
        w.units[place] = 0
        w.grams[place] = 0
        w.mask[place] = w.node_mask[node]
        w.freight[place] = freight(p, w, node, 0, 0, w.node_mask[node])
        w.tail[place] = w.tails[place, 0] if has_tails else 0
        tail += w.tail[place]
        plain += w.freight[place] + p.shipment_cost[node]
    lots = w.state[LOTS]
    w.rest[lots] = 0
    for at in range(lots - 1, -1, -1):
        lot = w.choice[at]
        w.rest[at] = w.rest[at + 1] + w.least_cost[lot] * w.lot_quantity[lot]
    return plain, tail


@kernel
def _give(
    p: Any, w: Any, lot: Integer, at: Integer, place: Integer, units: Integer, has_tails: bool
) -> None:
    """Give `units` of a lot to a place."""
    w.amount[lot, place] = units
    w.old_mask[lot, at] = w.mask[place]
    w.old_freight[lot, at] = w.freight[place]
    w.old_tail[lot, at] = w.tail[place]
    if units == 0:
        return
    node = w.set_node[place]
    w.weight[place] += units * w.lot_weight[lot]
    w.volume[place] += units * w.lot_volume[lot]
    w.units[place] += units * w.lot_units[lot]
    w.grams[place] += units * w.bound_weight[lot]
    w.mask[place] &= w.lot_mask[lot]
    w.freight[place] = freight(p, w, node, w.weight[place], w.volume[place], w.mask[place])
    if has_tails:
        step = step_at(p, w.grams[place])
        w.tail[place] = w.tails[place, step] if step < len(p.step_g) else DEAR * SCALE


@kernel
def _take_back(w: Any, lot: Integer, at: Integer, place: Integer) -> Integer:
    """Undo the last `_give` there; how many units it had given."""
    units = w.amount[lot, place]
    w.amount[lot, place] = 0
    w.weight[place] -= units * w.lot_weight[lot]
    w.volume[place] -= units * w.lot_volume[lot]
    w.units[place] -= units * w.lot_units[lot]
    w.grams[place] -= units * w.bound_weight[lot]
    w.mask[place] = w.old_mask[lot, at]
    w.freight[place] = w.old_freight[lot, at]
    w.tail[place] = w.old_tail[lot, at]
    return units


@kernel
def _note(p: Any, w: Any, size: Integer, plain: Integer, best: Integer) -> Integer:
    """A full allocation: keep it where it is the best of the set yet. Returns the best cost."""
    for place in range(size):
        if w.units[place] == 0:
            return best
    if plain >= best:
        return best
    if w.state[HEAVY] == 0 and w.state[CUTS] == 0:
        _copy(w, size)
        return plain
    # What the parcels really cost shows only when they are packed, and so do cuts.
    for place in range(size):
        for lot in range(w.state[LOTS]):
            w.spare_amount[place, lot] = w.trial_amount[place, lot]
    _copy(w, size)
    cost = cost_of_trial(p, w, size)
    if cost < best:
        return cost
    for place in range(size):
        for lot in range(w.state[LOTS]):
            w.trial_amount[place, lot] = w.spare_amount[place, lot]
    return best


@kernel
def _copy(w: Any, size: Integer) -> None:
    for place in range(size):
        w.trial_node[place] = w.set_node[place]
        for lot in range(w.state[LOTS]):
            w.trial_amount[place, lot] = w.amount[lot, place]


@kernel
def allocate(p: Any, w: Any, size: Integer, bound: Integer) -> None:
    """Offer the best plan that uses every node of the set, if it is below the bar.

    `bound` is the set's, for the case that the budget ends first.
    """
    limit = bar(w)
    w.state[STEPS] += _LOOK
    money = _money_of(p, w, size)
    has_tails = True
    for place in range(size):
        has_tails = collapse(p, w, w.set_node[place]) and has_tails
    w.state[TAIL_SLOPE] = 0
    if has_tails:
        bound = max(bound, choose_slope(w, size) + money * SCALE)
        if bound >= limit * SCALE:
            return
        w.state[STEPS] += _TAILS
        _read_range(w, size)
        bound = max(bound, _tails(p, w, size, w.state[TAIL_SLOPE]) + money * SCALE)
        if bound >= limit * SCALE:
            return
    w.state[STEPS] += _START
    plain, tail = _start(p, w, size, has_tails)
    # What the tails leave out: split, shipments, and each lot's cost as it is given.
    paid = money * SCALE
    lots = w.state[LOTS]
    best = limit
    j = 0
    at = 0
    entering = True
    w.value[w.choice[0], 0] = w.lot_quantity[w.choice[0]]
    while True:
        units = -1
        least = 0
        lot = 0
        place = 0
        node = 0
        if j == lots:
            best = _note(p, w, size, plain, best)
        else:
            lot = w.choice[j]
            place = w.turn[lot, at]
            node = w.set_node[place]
            least = w.value[lot, at] - w.later[lot, at]
            if entering:
                room = w.cap[place] - w.units[place]
                if w.lot_units[lot] > 1:
                    room //= w.lot_units[lot]
                units = min(w.value[lot, at], min(w.most[node, lot], room))
            else:
                plain -= w.freight[place]
                tail -= w.tail[place]
                given = _take_back(w, lot, at, place)
                plain += w.freight[place] - given * w.lot_cost[node, lot]
                tail += w.tail[place]
                paid -= given * (w.lot_cost[node, lot] - w.least_cost[lot]) * SCALE
                units = given - 1
        entering = False
        if units < 0 or units < least:
            # Nothing more to try here: back to whoever was given something before.
            if j < lots and at > 0:
                at -= 1
                continue
            j -= 1
            if j < 0:
                break
            at = w.last[w.choice[j]]
            continue
        w.state[STEPS] += _STEP
        if w.state[STEPS] > w.state[BUDGET]:
            w.state[CUT_BOUND] = min(w.state[CUT_BOUND], bound)
            break
        plain -= w.freight[place]
        tail -= w.tail[place]
        _give(p, w, lot, at, place, units, has_tails)
        plain += w.freight[place] + units * w.lot_cost[node, lot]
        tail += w.tail[place]
        paid += units * (w.lot_cost[node, lot] - w.least_cost[lot]) * SCALE
        rest = w.value[lot, at] - units
        ahead = w.rest[j + 1] + rest * w.least_cost[lot]
        if plain + ahead >= best or tail + paid >= best * SCALE:
            continue
        entering = True
        if rest > 0:
            at += 1
            w.value[lot, at] = rest
            continue
        w.last[lot] = at
        j += 1
        at = 0
        if j < lots:
            w.value[w.choice[j], 0] = w.lot_quantity[w.choice[j]]
    if best < limit:
        offer(w, cost_of_trial(p, w, size), size)
