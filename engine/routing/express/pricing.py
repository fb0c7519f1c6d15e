"""The cheapest plan of one order, priced again term by term, from arrays to arrays.

`engine.routing.plan` prices a plan in plain Python, which takes ten times as long as the search.
This does the same for plans whose shipments are one parcel each, which are nearly all. Like that
one it works from the problem's definition and the amounts alone and shares no code with the
search: a total that differs from the search's own is a fault, and is said to be.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.compiled import Integer, kernel
from engine.routing.exact import solve
from engine.routing.problem import (
    DAYS_LATE_MAX,
    LATE_COST_PER_DAY,
    NO_GROUP,
    PROMISED_DAY,
    SHIP_COMPLETE,
    SPLIT_COST,
)
from engine.routing.work import PLANS, ROOT_BOUND, STEPS

# What `plan` says.
NO_PLAN: Final = 0
PRICED: Final = 1
SEVERAL_PARCELS: Final = 2
"""Some shipment is, or might have been, of several parcels: `engine.routing.plan` prices it."""
WRONG_TOTAL: Final = 3

# Where the numbers of a plan lie in t.head.
COST: Final = 0
BOUND: Final = 1
WORK: Final = 2
SHIPMENTS: Final = 3
PARCELS: Final = 4
CO2E: Final = 5
HANDLING: Final = 6
OPPORTUNITY: Final = 7
SERVICE: Final = 8
LATENESS: Final = 9
SPLIT: Final = 10
CO2E_GRAMS: Final = 11
HEAD: Final = 12

# Where those of a shipment lie in its row of t.shipments.
NODE: Final = 0
CARRIED_BY: Final = 1
ZONE: Final = 2
CHARGED: Final = 3
RATE: Final = 4
PARCEL_CO2E_GRAMS: Final = 5
DAYS_LATE: Final = 6
SHIPMENT_COST: Final = 7
UNITS: Final = 8
SHIPMENT: Final = 9

_DEAR: Final = 1 << 60


@kernel
def plan(p: Any, w: Any, t: Any, budget: Integer) -> Integer:
    """Search, then price the best plan. What came of it; only with PRICED is ``t`` filled in.

    ``t`` is a view of ``rate`` and ``co2e_g`` of the tariff (S, Z, K), ``head`` (HEAD), and of
    ``shipments`` (8, SHIPMENT) and ``amounts`` (8, L), one row a shipment, by their nodes.
    """
    solve(p, w, 1, budget)
    t.head[BOUND] = w.state[ROOT_BOUND]
    t.head[WORK] = w.state[STEPS]
    if w.state[PLANS] == 0:
        return NO_PLAN
    size = w.plan_size[0]
    _read_amounts(p, w, t, size)
    for term in range(PARCELS, HEAD):
        t.head[term] = 0
    t.head[SHIPMENTS] = size
    t.head[SPLIT] = p.terms[SPLIT_COST] * (size - 1)
    total = t.head[SPLIT]
    for place in range(size):
        found = _price(p, t, place)
        if found != PRICED:
            return found
        total += t.shipments[place, SHIPMENT_COST]
    t.head[COST] = total
    return PRICED if total == w.plan_cost[0] else WRONG_TOTAL


@kernel
def _read_amounts(p: Any, w: Any, t: Any, size: Integer) -> None:
    """The search's plan as units by line, its nodes in their order."""
    lines = len(p.quantity)
    last: Integer = np.int64(-1)
    for place in range(size):
        best: Integer = np.int64(-1)
        for other in range(size):
            node = w.plan_node[0, other]
            if node > last and (best < 0 or node < w.plan_node[0, best]):
                best = np.int64(other)
        last = np.int64(w.plan_node[0, best])
        t.shipments[place, NODE] = last
        for line in range(lines):
            units = w.plan_amount[0, best, w.lot_of[line]]
            if p.terms[SHIP_COMPLETE] == 1 or p.group[line] != NO_GROUP:
                units *= p.quantity[line]
            t.amounts[place, line] = units


@kernel
def _price(p: Any, t: Any, place: Integer) -> Integer:
    """One shipment by its cheapest service, the first of equals."""
    node = t.shipments[place, NODE]
    lines = len(p.quantity)
    steps = len(p.step_g)
    weight = np.int64(0)
    volume = np.int64(0)
    units = np.int64(0)
    opportunity = np.int64(0)
    for line in range(lines):
        many = t.amounts[place, line]
        weight += many * p.unit_weight_g[line]
        volume += many * p.unit_volume_cm3[line]
        opportunity += many * p.opportunity_cost[node, line]
        units += many
    best = np.int64(_DEAR)
    chosen: Integer = np.int64(-1)
    for service in range(len(p.volume_divisor)):
        zone = p.zone[node, service]
        if p.node_open[node] == 0 or p.service_open[node, service] == 0 or zone < 0:
            continue
        if p.slots[node, service] < 1:
            continue
        carried = True
        for line in range(lines):
            if t.amounts[place, line] > 0 and (p.carried_by[line] >> service) & 1 == 0:
                carried = False
        late = p.ready_day[node, service] + p.transit_days[service, zone] - p.terms[PROMISED_DAY]
        late = max(np.int64(0), late)
        last = p.limit_step[service, zone]
        if not carried or late > p.terms[DAYS_LATE_MAX] or last < 0:
            continue
        charged = _charged(weight, volume, p.volume_divisor[service])
        if charged > p.step_g[last]:
            if min(p.parcels_max[service], p.slots[node, service]) > 1:
                return SEVERAL_PARCELS
            continue
        step = 0
        while p.step_g[step] < charged:
            step += 1
        cost = p.charge[service, zone, step] + p.service_cost[node, service]
        cost += late * p.terms[LATE_COST_PER_DAY]
        if cost < best:
            best = cost
            chosen = np.int64(service)
            # A heavier step may be the cheaper one: the last with this charge is declared.
            charge = p.charge[service, zone, step]
            while step + 1 < steps and p.charge[service, zone, step + 1] == charge:
                step += 1
            t.shipments[place, CHARGED] = charged
            t.shipments[place, RATE] = t.rate[service, zone, step]
            t.shipments[place, PARCEL_CO2E_GRAMS] = t.co2e_g[service, zone, step]
            t.shipments[place, DAYS_LATE] = late
            t.shipments[place, ZONE] = zone
    if chosen < 0:
        return WRONG_TOTAL
    handling = p.shipment_cost[node] + units * p.unit_cost[node]
    rate = t.shipments[place, RATE]
    lateness = t.shipments[place, DAYS_LATE] * p.terms[LATE_COST_PER_DAY]
    t.shipments[place, CARRIED_BY] = chosen
    t.shipments[place, UNITS] = units
    t.shipments[place, SHIPMENT_COST] = handling + opportunity + best
    t.head[PARCELS] += rate
    t.head[CO2E] += best - p.service_cost[node, chosen] - lateness - rate
    t.head[HANDLING] += handling
    t.head[OPPORTUNITY] += opportunity
    t.head[SERVICE] += p.service_cost[node, chosen]
    t.head[LATENESS] += lateness
    t.head[CO2E_GRAMS] += t.shipments[place, PARCEL_CO2E_GRAMS]
    return PRICED


@kernel
def _charged(weight: Integer, volume: Integer, divisor: Integer) -> Integer:
    """The weight or the volume at the divisor, whichever is more, in grams."""
    if divisor == 0:
        return weight
    return max(weight, -(-volume * 1000 // divisor))
