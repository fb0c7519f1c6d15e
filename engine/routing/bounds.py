"""Lower bounds that add up over the nodes of a plan, from prices on the lots.

Give each unit of lot m a price. By Lagrange, a plan over the nodes of a set costs at least

    sum of quantity x price  +  sum over the set of  (opening + sum of most x min(0, dear - price))

where ``opening + dear x amount`` is below what a node really costs: the freight of a shipment of w
grams is at least ``floor + slope x w``. Two price vectors are kept: each lot's least cost, where a
node's term is its opening (tight for few nodes), and the same raised by dual ascent (Erlenkotter
1978), where it is a reduced cost (tight where many nodes are needed). A node whose term takes the
bound over the best plan is fixed out.

All of it in whole numbers, scaled by `work.SCALE`, rounded so that bounds stay bounds.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.parcels import charged_g, freight_of, step_at
from engine.routing.pool import bar
from engine.routing.tariff import NO_RATE
from engine.routing.work import (
    ALIVE,
    BASE_DUAL,
    BASE_FLAT,
    BOUND_TOTAL,
    DIVISORS,
    INFEASIBLE,
    LEAST_OPENING,
    LOTS,
    ORDER_VOLUME,
    ORDER_WEIGHT,
    SCALE,
    SERVICES,
    SLOPE,
    SPLIT,
)

_ROUNDS = 3
_BIG = 1 << 62
_SAMPLE = 8


@kernel
def _bound_weights(p: Any, w: Any) -> Integer:
    """Choose the weight that bounds count by: actual, or volume at the least strict divisor.

    Every service charges a shipment at least the sum of it. Returns that of the whole order.
    """
    loosest = w.divisor[0]
    for d in range(w.state[DIVISORS]):
        if w.divisor[d] == 0:
            loosest = 0
            break
        loosest = max(loosest, w.divisor[d])
    by_volume = 0
    for lot in range(w.state[LOTS]):
        weight = w.lot_volume[lot] * 1000 // loosest if loosest > 0 else 0
        w.bound_weight[lot] = weight
        by_volume += weight * w.lot_quantity[lot]
    if by_volume > w.state[ORDER_WEIGHT]:
        return by_volume
    for lot in range(w.state[LOTS]):
        w.bound_weight[lot] = w.lot_weight[lot]
    return w.state[ORDER_WEIGHT]


@kernel
def _slope(p: Any, w: Any, total: Integer) -> Integer:
    """Scaled money per gram: how freight grows from a quarter of the order to all of it.

    One slope for all nodes, taken from some of them: with it the bounds give every gram its price
    wherever it ships from, and only what a node costs beyond that tells nodes apart.
    """
    heaviest = 0
    for s in range(w.state[SERVICES]):
        heaviest = max(heaviest, p.limit_g[s])
    top = min(total, heaviest)
    low = top >> 2
    if top == low:
        return 0
    nodes = len(p.pick_capacity)
    rise = 0
    sampled = 0
    for node in range(0, nodes, max(1, nodes // _SAMPLE)):
        if w.node_mask[node] == 0:
            continue
        above = freight_of(p, w, node, top, 0, w.node_mask[node])
        below = freight_of(p, w, node, low, 0, w.node_mask[node])
        if above < INFEASIBLE and below < INFEASIBLE:
            rise += above - below
            sampled += 1
    if sampled == 0:
        return 0
    return max(0, rise * SCALE // (sampled * (top - low)))


@kernel
def floors(p: Any, w: Any, held: bool) -> None:
    """Per service, zone and step: the charge less the slope, at least, of parcels up to it.

    Where it is `held` the slope is first held below every charge per gram, so that no floor is
    negative: a shipment of several parcels then costs at least what this says of its whole weight.
    """
    slope = w.state[SLOPE]
    steps = len(p.step_g)
    zones = p.limit_step.shape[1]
    for s in range(w.state[SERVICES]):
        most = charged_g(w.state[ORDER_WEIGHT], w.state[ORDER_VOLUME], p.volume_divisor[s])
        w.reach[s] = most
        w.reach_step[s] = min(step_at(p, most), steps - 1)
        if not held:
            continue
        for zone in range(zones):
            for step in range(min(w.reach_step[s], p.limit_step[s, zone]) + 1):
                grams = min(p.step_g[step], most)
                if slope * grams > p.charge[s, zone, step] * SCALE:
                    slope = p.charge[s, zone, step] * SCALE // grams
    w.state[SLOPE] = slope
    for s in range(w.state[SERVICES]):
        for zone in range(zones):
            least = NO_RATE
            for step in range(min(w.reach_step[s], p.limit_step[s, zone]) + 1):
                grams = min(p.step_g[step], w.reach[s])
                least = min(least, p.charge[s, zone, step] * SCALE - slope * grams)
                w.floor[(s * zones + zone) * steps + step] = least


@kernel
def openings(p: Any, w: Any) -> None:
    """Flat reduced costs and least prices; BASE_FLAT and LEAST_OPENING. O(N (L + S + K)).

    A node's floor is that over what it can give of the order, not over all of the order: one with
    three lots of eight never ships the weight at which a slope flatters it most.
    """
    lots = w.state[LOTS]
    for lot in range(lots):
        w.least_price[lot] = _BIG
    least_opening = _BIG
    slope = w.state[SLOPE]
    services = w.state[SERVICES]
    split = w.state[SPLIT]
    # Arrays in local names are read from the view once, not at every use.
    floor_of, zones, extras, shipment_cost = w.floor, p.zone, w.extra, p.shipment_cost
    most, lot_cost, bound_weight = w.most, w.lot_cost, w.bound_weight
    node_dear, least_price, node_opening = w.node_dear, w.least_price, w.opening
    has, node_mask, node_grams = w.has, w.node_mask, w.node_grams
    charges, limit_step, reach_step = p.charge, p.limit_step, w.reach_step
    count = p.limit_step.shape[1]
    steps = len(p.step_g)
    for node in range(len(p.pick_capacity)):
        if has[node] == 0:
            continue
        floor = _BIG
        mask = node_mask[node]
        grams = 0
        for lot in range(lots):
            grams += most[node, lot] * bound_weight[lot]
        node_grams[node] = grams
        top = step_at(p, grams)
        for s in range(services):
            if (mask >> s) & 1:
                zone = zones[node, s]
                row = (s * count + zone) * steps
                last = min(reach_step[s], limit_step[s, zone])
                if top > last:
                    cost = floor_of[row + last]
                else:
                    cost = charges[s, zone, top] * SCALE - slope * grams
                    if top > 0:
                        cost = min(cost, floor_of[row + top - 1])
                floor = min(floor, cost + extras[node, s] * SCALE)
        opening = floor + (shipment_cost[node] + split) * SCALE
        node_opening[node] = opening
        least_opening = min(least_opening, opening)
        for lot in range(lots):
            if most[node, lot] > 0:
                cost = lot_cost[node, lot] * SCALE + slope * bound_weight[lot]
                node_dear[node, lot] = cost
                least_price[lot] = min(least_price[lot], cost)
    w.state[LEAST_OPENING] = least_opening
    base = -w.state[SPLIT] * SCALE
    for lot in range(lots):
        if w.least_price[lot] == _BIG:
            w.state[BASE_FLAT] = _BIG
            return
        base += w.lot_quantity[lot] * w.least_price[lot]
    w.state[BASE_FLAT] = base


@kernel
def scaled_bar(w: Any) -> Integer:
    """The bar in the bounds' unit."""
    return bar(w) * SCALE


@kernel
def two_least_openings(p: Any, w: Any) -> Integer:
    """Bound of every plan of two or more shipments, or more than any cost."""
    least = _BIG // 4
    second = _BIG // 4
    for node in range(len(p.pick_capacity)):
        if w.has[node] == 0:
            continue
        if w.opening[node] < least:
            second = least
            least = w.opening[node]
        elif w.opening[node] < second:
            second = w.opening[node]
    return w.state[BASE_FLAT] + least + second


@kernel
def _select(p: Any, w: Any) -> None:
    """Candidates: nodes that may be in a plan of two or more that is cheaper than the bar."""
    count = 0
    room = scaled_bar(w) - w.state[BASE_FLAT] - w.state[LEAST_OPENING]
    for node in range(len(p.pick_capacity)):
        if w.has[node] != 0 and w.opening[node] < room:
            w.alive[count] = node
            w.slack[node] = w.opening[node]
            count += 1
    w.state[ALIVE] = count


@kernel
def _raise_price(w: Any, lot: Integer, share: Integer) -> None:
    """Raise one price by ``1 / share`` of what the slacks allow, and take it from them. O(N)."""
    price = w.price[lot]
    least = _BIG
    alive, mosts, dears, slacks = w.alive, w.most, w.node_dear, w.slack
    count = w.state[ALIVE]
    for at in range(count):
        node = alive[at]
        most = mosts[node, lot]
        if most > 0:
            slack = slacks[node]
            if most > 1:
                slack //= most
            least = min(least, max(price, dears[node, lot]) + slack)
    if least == _BIG or least <= price:
        return
    risen = price + (least - price) // share
    for at in range(count):
        node = alive[at]
        most = mosts[node, lot]
        if most > 0:
            cost = dears[node, lot]
            if risen > cost:
                slacks[node] -= most * (risen - max(price, cost))
    w.price[lot] = risen


@kernel
def _ascend(w: Any) -> None:
    """Dual ascent in rounds; all but the last leave the lots that come later a share."""
    lots = w.state[LOTS]
    for lot in range(lots):
        w.price[lot] = w.least_price[lot]
    for turn in range(_ROUNDS):
        share = 1 << (_ROUNDS - 1 - turn)
        for lot in range(lots):
            _raise_price(w, lot, share)
    base = -w.state[SPLIT] * SCALE
    for lot in range(lots):
        base += w.lot_quantity[lot] * w.price[lot]
    w.state[BASE_DUAL] = base
    for at in range(w.state[ALIVE]):
        w.reduced[w.alive[at]] = w.slack[w.alive[at]]


@kernel
def _keep_and_sort(w: Any) -> None:
    """Fix out what the dual bound excludes; the rest by reduced cost, ties by node (Shell 1959)."""
    room = scaled_bar(w) - w.state[BASE_DUAL]
    count = 0
    for at in range(w.state[ALIVE]):
        node = w.alive[at]
        if w.reduced[node] < room:
            w.alive[count] = node
            count += 1
    w.state[ALIVE] = count
    gap = 1
    while gap < count:
        gap = 3 * gap + 1
    while gap > 0:
        for at in range(gap, count):
            node = w.alive[at]
            place = at
            while place >= gap:
                other = w.alive[place - gap]
                if w.reduced[other] < w.reduced[node] or (
                    w.reduced[other] == w.reduced[node] and other < node
                ):
                    break
                w.alive[place] = other
                place -= gap
            w.alive[place] = node
        gap //= 3


@kernel
def prepare(p: Any, w: Any) -> None:
    """Slope, floors, openings and the bound with flat prices."""
    total = _bound_weights(p, w)
    w.state[BOUND_TOTAL] = total
    w.state[SLOPE] = _slope(p, w, total)
    floors(p, w, True)
    openings(p, w)


@kernel
def price(p: Any, w: Any) -> None:
    """Candidates, dual prices, reduced costs."""
    _select(p, w)
    _ascend(w)
    line_up(w)


@kernel
def line_up(w: Any) -> None:
    """Candidates in order, and what the search looks at in that order."""
    _keep_and_sort(w)
    for at in range(w.state[ALIVE]):
        node = w.alive[at]
        w.at_has[at] = w.has[node]
        w.at_opening[at] = w.opening[node]
        w.at_reduced[at] = w.reduced[node]
