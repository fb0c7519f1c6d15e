"""Parcels and what they cost: from the weight of a shipment to the cheapest service of a node.

A parcel is charged for its weight or for its volume at the service's divisor, whichever is more. A
shipment that fits one parcel of a service goes in one. Otherwise, where the service takes several,
its units are packed heaviest first, each into the first parcel with room (first fit decreasing,
Johnson 1973), and each parcel pays for itself.

What a service costs depends on nothing but node, weight and volume, so the least over the services
is one step function of a node: the search never branches on carriers.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.work import (
    CLASSES_MAX,
    DEAR,
    DIVISORS,
    HEAVY,
    INFEASIBLE,
    REFUSED,
    SCALE,
    SERVICES,
    SLOPE,
    SLOPES,
)


@kernel
def charged_g(weight: Integer, volume: Integer, divisor: Integer) -> Integer:
    """Grams that are charged for."""
    if divisor == 0:
        return weight
    return max(weight, (volume * 1000 + divisor - 1) // divisor)


@kernel
def step_at(p: Any, weight: Integer) -> Integer:
    """First step of the grid that `weight` grams fit, or the number of steps. O(K).

    Counted, not halved: counting has no branch that depends on the weight, and goes by vectors.
    """
    step_g = p.step_g
    count = 0
    for step in range(len(step_g)):
        count += step_g[step] < weight
    return count


@kernel
def parcels_allowed(p: Any, node: Integer, service: Integer) -> Integer:
    """Parcels that one shipment by `service` from `node` may have."""
    return min(p.parcels_max[service], p.slots[node, service])


@kernel
def freight_of(
    p: Any, w: Any, node: Integer, weight: Integer, volume: Integer, mask: Integer
) -> Integer:
    """Cost of the cheapest service of `mask` for a shipment; exact for an order that is not heavy.

    For services by which the order might need several parcels it is a lower bound. It never falls
    when weight, volume or what is left out of `mask` grow, so it bounds every shipment that has
    more in it. O(S).
    """
    for d in range(w.state[DIVISORS]):
        w.step_of[d] = step_at(p, charged_g(weight, volume, w.divisor[d]))
    heavy = w.state[HEAVY]
    best = INFEASIBLE
    for s in range(w.state[SERVICES]):
        if (mask >> s) & 1 == 0:
            continue
        zone = p.zone[node, s]
        step = w.step_of[w.divisor_of[s]]
        last = p.limit_step[s, zone]
        if (heavy >> s) & 1 == 0:
            if step > last:
                continue
            cost = p.charge[s, zone, step] + w.extra[node, s]
        elif step <= last:
            # With more in it the shipment may go in two parcels, each cheaper than this one.
            cost = min(p.charge[s, zone, step], 2 * p.charge[s, zone, 0]) + w.extra[node, s]
        else:
            charged = charged_g(weight, volume, p.volume_divisor[s])
            parcels = (charged + p.step_g[last] - 1) // p.step_g[last]
            if parcels > parcels_allowed(p, node, s):
                continue
            cost = parcels * p.charge[s, zone, 0] + w.extra[node, s]
        best = min(best, cost)
    return best


@kernel
def _collapse(p: Any, w: Any, node: Integer) -> None:
    """One step function of a node for each divisor: the cheapest of its services. O(S K).

    And the least it costs beyond each of some prices of a gram, for the bounds of sets, up to the
    weight that the node can give.
    """
    steps = len(p.step_g)
    for at in range(w.state[DIVISORS] * steps):
        w.step_cost[node, at] = INFEASIBLE
    for s in range(w.state[SERVICES]):
        if (w.node_mask[node] >> s) & 1:
            zone = p.zone[node, s]
            first = w.divisor_of[s] * steps
            extra = w.extra[node, s]
            for step in range(p.limit_step[s, zone] + 1):
                cost = p.charge[s, zone, step] + extra
                if cost < w.step_cost[node, first + step]:
                    w.step_cost[node, first + step] = cost
    total = w.node_grams[node]
    last = min(step_at(p, total), steps - 1)
    step_least = w.step_least
    for step in range(steps):
        step_least[node, step] = least_cost(w, node, step, steps) * SCALE
    step_g = p.step_g
    for at in range(SLOPES):
        slope = slope_at(w, at)
        least = step_least[node, last] - slope * min(step_g[last], total)
        for step in range(last):
            least = min(least, step_least[node, step] - slope * step_g[step])
        w.at_slope[node, at] = least
    w.collapsed[node] = 1


@kernel
def least_cost(w: Any, node: Integer, step: Integer, steps: Integer) -> Integer:
    """The cheapest service of a node at a step of bound weight, held below DEAR."""
    cost = DEAR
    for d in range(w.state[DIVISORS]):
        cost = min(cost, w.step_cost[node, d * steps + step])
    return cost


@kernel
def slope_at(w: Any, at: Integer) -> Integer:
    """The prices of a gram that sets are bounded with: from half the slope to twice."""
    return w.state[SLOPE] * (at + 1) >> 1


@kernel
def collapse(p: Any, w: Any, node: Integer) -> bool:
    """Fill in a node's step functions once; False for an order they do not hold for."""
    if w.state[HEAVY] != 0 or w.state[DIVISORS] > CLASSES_MAX:
        return False
    if w.collapsed[node] == 0:
        _collapse(p, w, node)
    return True


@kernel
def freight(
    p: Any, w: Any, node: Integer, weight: Integer, volume: Integer, mask: Integer
) -> Integer:
    """What `freight_of` says, from the node's step functions where all of its services may carry.

    What a lot is too heavy for needs no look at `mask`: there the step functions hold no price.
    O(K) for each divisor.
    """
    if w.collapsed[node] == 0 or (w.node_mask[node] & ~mask) & w.state[REFUSED] != 0:
        return freight_of(p, w, node, weight, volume, mask)
    steps = len(p.step_g)
    best = INFEASIBLE
    for d in range(w.state[DIVISORS]):
        step = step_at(p, charged_g(weight, volume, w.divisor[d]))
        if step < steps:
            best = min(best, w.step_cost[node, d * steps + step])
    return best


@kernel
def _heaviest_first(p: Any, w: Any, divisor: Integer) -> Integer:
    """Order the lines that have units in hand; how many there are."""
    count = 0
    for line in range(len(p.quantity)):
        if w.pack_count[line] == 0:
            continue
        mine = charged_g(p.unit_weight_g[line], p.unit_volume_cm3[line], divisor)
        at = count
        while at > 0:
            other = w.pack_order[at - 1]
            theirs = charged_g(p.unit_weight_g[other], p.unit_volume_cm3[other], divisor)
            if theirs >= mine:
                break
            w.pack_order[at] = other
            at -= 1
        w.pack_order[at] = line
        count += 1
    return count


@kernel
def room_for(
    p: Any, w: Any, parcel: Integer, line: Integer, limit_g: Integer, divisor: Integer
) -> Integer:
    """Units of `line` that still go into a parcel."""
    fits = w.pack_count[line]
    if p.unit_weight_g[line] > 0:
        fits = min(fits, (limit_g - w.parcel_weight[parcel]) // p.unit_weight_g[line])
    if divisor > 0 and p.unit_volume_cm3[line] > 0:
        most = limit_g * divisor // 1000
        fits = min(fits, (most - w.parcel_volume[parcel]) // p.unit_volume_cm3[line])
    return fits


@kernel
def packed(p: Any, w: Any, node: Integer, service: Integer) -> tuple[Integer, Integer]:
    """Charge of all parcels of the units in `pack_count`, which it leaves as they were; how many.

    INFEASIBLE where they are too many or a unit is too heavy. O(lines x parcels).
    """
    zone = p.zone[node, service]
    divisor = p.volume_divisor[service]
    limit_g = p.step_g[p.limit_step[service, zone]]
    most = parcels_allowed(p, node, service)
    parcels = 0
    total = 0
    for at in range(_heaviest_first(p, w, divisor)):
        line = w.pack_order[at]
        units = w.pack_count[line]
        parcel = 0
        while w.pack_count[line] > 0:
            if parcel == parcels:
                if parcels == most:
                    break
                w.parcel_weight[parcel] = 0
                w.parcel_volume[parcel] = 0
                parcels += 1
            fits = room_for(p, w, parcel, line, limit_g, divisor)
            w.parcel_weight[parcel] += fits * p.unit_weight_g[line]
            w.parcel_volume[parcel] += fits * p.unit_volume_cm3[line]
            w.pack_count[line] -= fits
            parcel += 1
        unpacked = w.pack_count[line]
        w.pack_count[line] = units
        if unpacked > 0:
            return INFEASIBLE, 0
    for parcel in range(parcels):
        charged = charged_g(w.parcel_weight[parcel], w.parcel_volume[parcel], divisor)
        total += p.charge[service, zone, step_at(p, charged)]
    return total, parcels


@kernel
def cheapest(
    p: Any, w: Any, node: Integer, weight: Integer, volume: Integer, mask: Integer
) -> tuple[Integer, Integer]:
    """Exact cost and service of a shipment whose units are in `pack_count`; the first of equals."""
    best = INFEASIBLE
    chosen = -1
    for s in range(w.state[SERVICES]):
        if (mask >> s) & 1 == 0:
            continue
        zone = p.zone[node, s]
        step = step_at(p, charged_g(weight, volume, p.volume_divisor[s]))
        if step <= p.limit_step[s, zone]:
            cost = p.charge[s, zone, step]
        elif parcels_allowed(p, node, s) > 1:
            cost, _ = packed(p, w, node, s)
        else:
            continue
        cost += w.extra[node, s]
        if cost < best:
            best = cost
            chosen = s
    return best, chosen
