"""Reading a problem into the search's memory: lots, what each node can give, what it costs.

A line is a lot of its quantity. Lines that are kept together are one lot of one unit, so that the
search cannot part them; an order that ships complete is one such lot.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.parcels import charged_g
from engine.routing.problem import (
    DAYS_LATE_MAX,
    LATE_COST_PER_DAY,
    NO_GROUP,
    PROMISED_DAY,
    SHIP_COMPLETE,
    SPLIT_COST,
)
from engine.routing.problem import (
    SHIPMENTS_MAX as TERM_SHIPMENTS_MAX,
)
from engine.routing.work import (
    DIVISORS,
    GROUPED,
    HEAVY,
    LOTS,
    ORDER_MASK,
    ORDER_VOLUME,
    ORDER_WEIGHT,
    REFUSED,
    SERVICES,
    SHIPMENTS_MAX,
    SPLIT,
    STEPS,
    UNITS,
)


@kernel
def _read_divisors(p: Any, w: Any) -> None:
    count = 0
    for s in range(len(p.volume_divisor)):
        at = 0
        while at < count and w.divisor[at] != p.volume_divisor[s]:
            at += 1
        if at == count:
            w.divisor[at] = p.volume_divisor[s]
            count += 1
        w.divisor_of[s] = at
    w.state[DIVISORS] = count
    w.state[SERVICES] = len(p.volume_divisor)


@kernel
def _services_of(p: Any, line: Integer) -> Integer:
    """Services that carry a unit of `line`, as bits."""
    mask = 0
    for s in range(len(p.volume_divisor)):
        charged = charged_g(p.unit_weight_g[line], p.unit_volume_cm3[line], p.volume_divisor[s])
        if (p.carried_by[line] >> s) & 1 and charged <= p.limit_g[s]:
            mask |= 1 << s
    return mask


@kernel
def _read_lots(p: Any, w: Any) -> None:
    together = p.terms[SHIP_COMPLETE] == 1
    lots = 0
    w.state[GROUPED] = 0
    w.state[REFUSED] = 0
    for line in range(len(p.quantity)):
        lot = -1
        if together:
            lot = 0 if line > 0 else -1
        elif p.group[line] != NO_GROUP:
            for other in range(line):
                if p.group[other] == p.group[line]:
                    lot = w.lot_of[other]
                    break
        grouped = together or p.group[line] != NO_GROUP
        if grouped:
            w.state[GROUPED] = 1
        if lot == -1:
            lot = lots
            lots += 1
            w.lot_quantity[lot] = 1 if grouped else p.quantity[line]
            w.lot_weight[lot] = 0
            w.lot_volume[lot] = 0
            w.lot_units[lot] = 0
            w.lot_mask[lot] = -1
        w.lot_of[line] = lot
        units = p.quantity[line] if grouped else 1
        w.lot_weight[lot] += units * p.unit_weight_g[line]
        w.lot_volume[lot] += units * p.unit_volume_cm3[line]
        w.lot_units[lot] += units
        w.lot_mask[lot] &= _services_of(p, line)
        w.state[REFUSED] |= ~p.carried_by[line]
    w.state[LOTS] = lots


@kernel
def _read_order(p: Any, w: Any) -> None:
    weight = 0
    volume = 0
    units = 0
    mask = -1
    for lot in range(w.state[LOTS]):
        weight += w.lot_quantity[lot] * w.lot_weight[lot]
        volume += w.lot_quantity[lot] * w.lot_volume[lot]
        units += w.lot_quantity[lot] * w.lot_units[lot]
        mask &= w.lot_mask[lot]
    heavy = 0
    for s in range(w.state[SERVICES]):
        if p.parcels_max[s] == 1:
            continue
        charged = charged_g(weight, volume, p.volume_divisor[s])
        for zone in range(p.limit_step.shape[1]):
            last = p.limit_step[s, zone]
            if last >= 0 and charged > p.step_g[last]:
                heavy |= 1 << s
    w.state[ORDER_WEIGHT] = weight
    w.state[ORDER_VOLUME] = volume
    w.state[UNITS] = units
    w.state[ORDER_MASK] = mask
    w.state[HEAVY] = heavy


@kernel
def _read_services(p: Any, w: Any, node: Integer) -> Integer:
    """Services that run from `node`, as bits; notes what each costs a shipment."""
    mask = 0
    promised = p.terms[PROMISED_DAY]
    most_late = p.terms[DAYS_LATE_MAX]
    late_cost = p.terms[LATE_COST_PER_DAY]
    # Arrays in local names are read from the view once, not at every use.
    zones, opens, slots, limits = p.zone, p.service_open, p.slots, p.limit_step
    ready_days, transit_days, costs, extras = p.ready_day, p.transit_days, p.service_cost, w.extra
    for s in range(len(p.volume_divisor)):
        zone = zones[node, s]
        if zone < 0 or opens[node, s] == 0 or slots[node, s] == 0 or limits[s, zone] < 0:
            continue
        late = ready_days[node, s] + transit_days[s, zone] - promised
        if late > most_late:
            continue
        extras[node, s] = costs[node, s] + max(0, late) * late_cost
        mask |= 1 << s
    return mask


@kernel
def _read_lines(p: Any, w: Any, node: Integer, free: Integer, mask: Integer) -> None:
    """What `node` can give where every line is a lot of its own. No divisions: they cost most."""
    has = 0
    full = 0
    unit_cost = p.unit_cost[node]
    quantities, stocks, dues = p.quantity, p.stock, p.opportunity_cost
    masks, mosts, costs = w.lot_mask, w.most, w.lot_cost
    for line in range(len(quantities)):
        wanted = quantities[line]
        units = min(stocks[node, line], wanted)
        if units > free:
            units = free
        if masks[line] & mask == 0:
            units = 0
        mosts[node, line] = units
        costs[node, line] = unit_cost + dues[node, line]
        if units > 0:
            has |= 1 << line
            if units == wanted:
                full |= 1 << line
    w.has[node] = has
    w.full[node] = full


@kernel
def _read_groups(p: Any, w: Any, node: Integer, free: Integer, mask: Integer) -> None:
    """What `node` can give where lots may be several lines."""
    lots = w.state[LOTS]
    w.has[node] = 0
    w.full[node] = 0
    for lot in range(lots):
        fits = min(w.lot_quantity[lot], free // w.lot_units[lot])
        w.most[node, lot] = fits if w.lot_mask[lot] & mask else 0
        w.lot_cost[node, lot] = 0
    for line in range(len(p.quantity)):
        lot = w.lot_of[line]
        # A line of its own is a lot of its units; a line of a group is all in the group's one.
        units = 1
        if p.terms[SHIP_COMPLETE] == 1 or p.group[line] != NO_GROUP:
            units = p.quantity[line]
        w.most[node, lot] = min(w.most[node, lot], p.stock[node, line] // units)
        w.lot_cost[node, lot] += units * (p.unit_cost[node] + p.opportunity_cost[node, line])
    for lot in range(lots):
        if w.most[node, lot] > 0:
            w.has[node] |= 1 << lot
            if w.most[node, lot] == w.lot_quantity[lot]:
                w.full[node] |= 1 << lot


@kernel
def _read_node(p: Any, w: Any, node: Integer) -> None:
    free = p.pick_capacity[node] if p.node_open[node] == 1 else 0
    mask = _read_services(p, w, node) if free > 0 else 0
    w.node_free[node] = free
    w.node_mask[node] = mask
    w.excluded[node] = 0
    w.collapsed[node] = 0
    if w.state[GROUPED] == 1:
        _read_groups(p, w, node, free, mask)
    else:
        _read_lines(p, w, node, free, mask)


@kernel
def read(p: Any, w: Any) -> None:
    """Fill lots, nodes and services. O(N (L + S))."""
    w.state[STEPS] = 0
    w.state[SPLIT] = p.terms[SPLIT_COST]
    w.state[SHIPMENTS_MAX] = min(p.terms[TERM_SHIPMENTS_MAX], len(p.pick_capacity))
    _read_divisors(p, w)
    _read_lots(p, w)
    _read_order(p, w)
    for node in range(len(p.pick_capacity)):
        _read_node(p, w, node)
