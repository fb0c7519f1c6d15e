"""The best plans found so far, ranked by cost; no two of them use the same nodes.

Invariants
1. Plans lie in order of cost, equal ones in the order found.
2. A set of nodes is in the pool once, with the cheapest plan offered for it.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.cuts import cuts_of_trial
from engine.routing.parcels import cheapest
from engine.routing.problem import NO_GROUP, SHIP_COMPLETE
from engine.routing.work import INFEASIBLE, LOTS, PLANS, PLANS_MAX, SPLIT


@kernel
def bar(w: Any) -> Integer:
    """What a plan must cost less than to be kept."""
    if w.state[PLANS] < w.state[PLANS_MAX]:
        return INFEASIBLE
    return w.plan_cost[w.state[PLANS] - 1]


@kernel
def settle(p: Any, w: Any, node: Integer, place: Integer) -> Integer:
    """Exact cost of what `trial_amount` gives to one node; notes its service. O(L + S)."""
    weight = 0
    volume = 0
    mask = w.node_mask[node]
    cost = p.shipment_cost[node]
    for lot in range(w.state[LOTS]):
        units = w.trial_amount[place, lot]
        if units == 0:
            continue
        weight += units * w.lot_weight[lot]
        volume += units * w.lot_volume[lot]
        mask &= w.lot_mask[lot]
        cost += units * w.lot_cost[node, lot]
    for line in range(len(p.quantity)):
        units = w.trial_amount[place, w.lot_of[line]]
        if p.terms[SHIP_COMPLETE] == 1 or p.group[line] != NO_GROUP:
            units *= p.quantity[line]
        w.pack_count[line] = units
    by_service, service = cheapest(p, w, node, weight, volume, mask)
    w.trial_service[place] = service
    return min(INFEASIBLE, cost + by_service)


@kernel
def cost_of_trial(p: Any, w: Any, size: Integer) -> Integer:
    """Cost of the plan in the trial arrays, cuts included; INFEASIBLE where a shipment has no
    service."""
    total = w.state[SPLIT] * (size - 1)
    for place in range(size):
        cost = settle(p, w, w.trial_node[place], place)
        if cost >= INFEASIBLE:
            return INFEASIBLE
        total += cost
    return total + cuts_of_trial(p, w, size)


@kernel
def _find(w: Any, size: Integer) -> Integer:
    """Where a plan over the trial's nodes lies in the pool, or -1. O(P K^2)."""
    for at in range(w.state[PLANS]):
        if w.plan_size[at] != size:
            continue
        same = 0
        for place in range(size):
            for other in range(size):
                if w.plan_node[at, place] == w.trial_node[other]:
                    same += 1
        if same == size:
            return at
    return -1


@kernel
def offer(w: Any, cost: Integer, size: Integer) -> None:
    """Keep the plan in the trial arrays where its cost earns it a place. O(P (K^2 + K M))."""
    if cost >= bar(w):
        return
    at = _find(w, size)
    if at >= 0:
        if w.plan_cost[at] <= cost:
            return
    else:
        plans = w.state[PLANS]
        at = plans if plans < w.state[PLANS_MAX] else plans - 1
        w.state[PLANS] = at + 1
    lots = w.state[LOTS]
    while at > 0 and w.plan_cost[at - 1] > cost:
        w.plan_cost[at] = w.plan_cost[at - 1]
        w.plan_size[at] = w.plan_size[at - 1]
        for place in range(w.plan_size[at - 1]):
            w.plan_node[at, place] = w.plan_node[at - 1, place]
            w.plan_service[at, place] = w.plan_service[at - 1, place]
            for lot in range(lots):
                w.plan_amount[at, place, lot] = w.plan_amount[at - 1, place, lot]
        at -= 1
    w.plan_cost[at] = cost
    w.plan_size[at] = size
    for place in range(size):
        w.plan_node[at, place] = w.trial_node[place]
        w.plan_service[at, place] = w.trial_service[place]
        for lot in range(lots):
            w.plan_amount[at, place, lot] = w.trial_amount[place, lot]
