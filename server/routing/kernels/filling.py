"""From the ledger's positions and a network's tables to a problem's arrays, in two compiled passes.

``st`` are the ledger's tables, ``n`` a network's (`server.routing.network`), ``o`` what one order
says, ``p`` the problem's arrays (`engine.routing.problem`), ``x`` what a reply needs besides; all
but the first are `engine.routing.view.View`s. N nodes of the network, K of the problem, S services
with the customer who collects as the last, L lines, D days a node may pick on, C pickups of all
services at all nodes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.compiled import Integer, kernel
from engine.positions import available, find_fence, find_position, find_stock, sellable
from engine.routing.problem import NO_LANE
from engine.tables import NODE_IS_FROZEN

NEVER: Final = -1
UNLIMITED: Final = 1 << 40
"""Capacity of a node's day or of a pickup whose document says none."""
_PPM: Final = 1_000_000
_NO_KEY: Final = np.uint64(0)
_NO_CHANNEL: Final = np.uint64(0)

# Where the numbers of an order lie in o.numbers.
UNITS: Final = 0
EVERYWHERE: Final = 1
CHANNEL: Final = 2
FAILURE_COST: Final = 3
DAY_BASE: Final = 4
ROAD_BASE: Final = 5
NUMBERS: Final = 6


@kernel
def find_candidates(
    st: Any,
    n: Any,
    o: Any,
    stock: NDArray[np.int64],
    rows: NDArray[np.int64],
    chosen: NDArray[np.int64],
) -> Integer:
    """(N, L) units of every line at every node and the rows of their positions; into `chosen` the
    nodes that have something and are open, or all of them where there are none. Their count."""
    nodes, lines = rows.shape
    for node in range(nodes):
        node_key = np.uint64(n.node_key[node])
        for line in range(lines):
            rows[node, line] = find_stock(st, np.uint64(o.sku_key[line]), node_key)
    return weigh(st, o, stock, rows, chosen)


@kernel
def weigh(
    st: Any,
    o: Any,
    stock: NDArray[np.int64],
    rows: NDArray[np.int64],
    chosen: NDArray[np.int64],
) -> Integer:
    """The same where the rows of the positions are known."""
    nodes, lines = stock.shape
    channel_key = np.uint64(o.numbers[CHANNEL])
    count = 0
    for node in range(nodes):
        units = np.int64(0)
        for line in range(lines):
            row = rows[node, line]
            there = np.int64(0)
            if row >= 0:
                fence = np.int64(-1)
                if channel_key != _NO_CHANNEL:
                    fence = np.int64(find_fence(st, row, channel_key))
                there = np.int64(sellable(st, row, channel_key, fence))
            if o.stock_back.shape[0] > 0:
                # What the order gives back covers a shortfall first.
                if row >= 0:
                    there += min(np.int64(0), np.int64(available(st, row)))
                there = max(np.int64(0), there + o.stock_back[node, line])
            stock[node, line] = there
            units += there
        if o.numbers[EVERYWHERE] != 0 or (units > 0 and o.node_open[node] != 0):
            chosen[count] = node
            count += 1
    if count == 0:
        for node in range(nodes):
            chosen[node] = node
        count = nodes
    return count


@kernel
def _pick_row(st: Any, n: Any, day: int, node: int) -> Integer:
    """The ledger's row of a node's pick capacity, or -1. What is there stays there, and what is
    not is looked for again once the ledger has more positions."""
    row = n.pick_row[day, node]
    count = st.meta[0].position_count
    if row < 0 and n.pick_seen[day, node] != count:
        row = np.int64(find_position(st, np.uint64(n.pick_key[day, node])))
        n.pick_row[day, node] = row
        n.pick_seen[day, node] = count
    return row


@kernel
def _slot_row(st: Any, n: Any, pickup: int) -> Integer:
    """The same for the slot of a pickup."""
    row = n.slot_row[pickup]
    count = st.meta[0].position_count
    if row < 0 and n.slot_seen[pickup] != count:
        key = np.uint64(n.slot_key[pickup])
        row = np.int64(-1) if key == _NO_KEY else np.int64(find_position(st, key))
        n.slot_row[pickup] = row
        n.slot_seen[pickup] = count
    return row


@kernel
def _left(st: Any, row: int, default: int) -> tuple[Integer, Integer]:
    """(what a capacity has left, below 0 where it was cut; whether the ledger has it)."""
    if row >= 0:
        return np.int64(available(st, row)), np.int64(1)
    return np.int64(default), np.int64(0)


@kernel
def _pick_level(st: Any, n: Any, o: Any, x: Any, place: int, node: int) -> Integer:
    """The first day on which a node can pick the whole order; else that with the most left."""
    units = o.numbers[UNITS]
    best: Integer = np.int64(-1)
    level: Integer = np.int64(0)
    x.pick_left[place] = 0
    x.pick_known[place] = 0
    for day in range(n.pick_day.shape[0]):
        if n.pick_day[day, node] == 0:
            continue
        left, known = _left(st, _pick_row(st, n, day, node), n.pick_default[node])
        if o.pick_back.shape[0] > 0:
            left += o.pick_back[day, node]
        left = max(np.int64(0), left)
        if min(left, units) > best:
            best = min(left, units)
            level = day
            x.pick_left[place] = left
            x.pick_known[place] = known
        if left >= units:
            break
    x.pick_day[place] = n.pick_day[level, node]
    return level


@kernel
def _after(n: Any, service: int, day: int, steps: int, base: int) -> Integer:
    """The day so many working days of a carrier after another (ordinals)."""
    if steps == 0:
        return np.int64(day)
    at = min(max(np.int64(0), np.int64(day) - base), n.road_passed.shape[1] - 1)
    place = n.road_passed[service, at] + steps - 1
    last = n.road_passed[service, n.road_passed.shape[1] - 1] - 1
    return np.int64(n.road_working[service, min(max(place, np.int64(0)), last)])


@kernel
def _fill_service(
    st: Any, n: Any, o: Any, p: Any, x: Any, place: int, node: int, service: int, level: int
) -> None:
    """One service at one node: its zone, pickup, slots and days of delivery."""
    n_zone = o.zone[node, service]
    zone = n_zone
    pickup = n.first_pickup[level, node, service]
    if (
        zone < 0
        or pickup == NEVER
        or n.has_transit[service, zone] == 0
        or n.road_runs[service] == 0
    ):
        zone = np.int64(NO_LANE)
    if service == p.zone.shape[1] - 1 and o.service_open[service] == 0:
        zone = np.int64(NO_LANE)  # whoever wants it brought does not collect it
    p.zone[place, service] = zone
    p.slots[place, service] = 0
    p.ready_day[place, service] = 0
    x.ready_ms[place, service] = NEVER
    x.slot_known[place, service] = 0
    x.slot_default[place, service] = 0
    x.delivery_min[place, service] = 0
    x.delivery_max[place, service] = 0
    if zone < 0:
        return
    left, known = _left(st, _slot_row(st, n, pickup), n.slot_default[pickup])
    if o.slot_back.shape[0] > 0:
        left += o.slot_back[pickup]
    while left <= 0 and pickup + 1 < n.pickups_end[node, service]:
        # Where a pickup is full the parcels wait for the next one.
        pickup += 1
        left, known = _left(st, _slot_row(st, n, pickup), n.slot_default[pickup])
        if o.slot_back.shape[0] > 0:
            left += o.slot_back[pickup]
    left = max(np.int64(0), left)
    day = n.ready_day[pickup]
    base = o.numbers[ROAD_BASE]
    last = _after(n, service, day, n.days_max[service, n_zone], base)
    p.slots[place, service] = left
    p.ready_day[place, service] = last - o.numbers[DAY_BASE]
    x.ready_ms[place, service] = n.ready_ms[pickup]
    x.slot_known[place, service] = known
    x.slot_default[place, service] = n.slot_default[pickup]
    x.delivery_min[place, service] = _after(n, service, day, n.days_min[service, n_zone], base)
    x.delivery_max[place, service] = last


@kernel
def fill(
    st: Any,
    n: Any,
    o: Any,
    p: Any,
    x: Any,
    chosen: NDArray[np.int64],
    stock: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> None:
    """The problem's arrays over the chosen nodes. O(K (L + S))."""
    lines = stock.shape[1]
    services = p.zone.shape[1]
    failure = o.numbers[FAILURE_COST]
    for place in range(chosen.shape[0]):
        node = chosen[place]
        frozen = st.names[n.node_row[node]].flags & NODE_IS_FROZEN
        p.node_open[place] = 1 if o.node_open[node] != 0 and frozen == 0 else 0
        p.shipment_cost[place] = n.shipment_cost[node]
        p.unit_cost[place] = n.unit_cost[node]
        p.priority[place] = n.priority[node]
        p.distance[place] = o.distance[node]
        for line in range(lines):
            p.stock[place, line] = stock[node, line]
            x.positions[place, line] = rows[node, line]
            p.opportunity_cost[place, line] = 0
        level = _pick_level(st, n, o, x, place, node)
        x.level[place] = level
        p.pick_capacity[place] = x.pick_left[place]
        works = n.pick_day[level, node] > 0
        for service in range(services):
            _fill_service(st, n, o, p, x, place, node, service, level)
            p.service_open[place, service] = o.service_open[service] if works else 0
            cost = np.int64(0)
            if o.service_penalty.shape[0] > 0:
                cost += o.service_penalty[service]
            if o.node_penalty.shape[0] > 0:
                cost += o.node_penalty[node]
            zone = p.zone[place, service]
            if failure > 0 and zone >= 0:
                in_time = n.reliability_ppm[node] * n.service_ppm[service, zone]
                late = _PPM * _PPM - in_time
                cost += (failure * (late // _PPM) + _PPM // 2) // _PPM
            p.service_cost[place, service] = cost
