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
    everywhere, is_open, backs = o.numbers[EVERYWHERE] != 0, o.node_open, o.stock_back
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
            if backs.shape[0] > 0:
                # What the order gives back covers a shortfall first.
                if row >= 0:
                    there += min(np.int64(0), np.int64(available(st, row)))
                there = max(np.int64(0), there + backs[node, line])
            stock[node, line] = there
            units += there
        if everywhere or (units > 0 and is_open[node] != 0):
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
def _after(
    passed: NDArray[np.int64], working: NDArray[np.int64], day: int, steps: int, base: int
) -> Integer:
    """The day so many working days of a carrier after another (ordinals)."""
    if steps == 0:
        return np.int64(day)
    at = min(max(np.int64(0), np.int64(day) - base), passed.shape[0] - 1)
    place = passed[at] + steps - 1
    last = passed[passed.shape[0] - 1] - 1
    return np.int64(working[min(max(place, np.int64(0)), last)])


@kernel
def _fill_services(st: Any, n: Any, o: Any, p: Any, x: Any, place: int, node: int) -> None:
    """Every service at one node: its zone, pickup, slots and days of delivery.

    What is in the views is named before the loop: the compiler reads a view's addresses anew after
    each number that is written.
    """
    level = x.level[place]
    lanes, firsts, ends = o.zone[node], n.first_pickup[level, node], n.pickups_end[node]
    is_open, backs, base = o.service_open, o.slot_back, o.numbers[ROAD_BASE]
    day_base = o.numbers[DAY_BASE]
    zones, slots, ready_days = p.zone[place], p.slots[place], p.ready_day[place]
    ready_ms, known_slots = x.ready_ms[place], x.slot_known[place]
    default_slots = x.slot_default[place]
    first_days, last_days = x.delivery_min[place], x.delivery_max[place]
    has_transit, road_runs = n.has_transit, n.road_runs
    days_min, days_max = n.days_min, n.days_max
    passed, working = n.road_passed, n.road_working
    pickup_ms, pickup_day, defaults = n.ready_ms, n.ready_day, n.slot_default
    services = zones.shape[0]
    for service in range(services):
        zone = lanes[service]
        pickup = firsts[service]
        if (
            zone < 0
            or pickup == NEVER
            or has_transit[service, zone] == 0
            or road_runs[service] == 0
            # Whoever wants it brought does not collect it.
            or (service == services - 1 and is_open[service] == 0)
        ):
            zones[service] = NO_LANE
            slots[service] = 0
            ready_days[service] = 0
            ready_ms[service] = NEVER
            known_slots[service] = 0
            default_slots[service] = 0
            first_days[service] = 0
            last_days[service] = 0
            continue
        left, known = _left(st, _slot_row(st, n, pickup), defaults[pickup])
        if backs.shape[0] > 0:
            left += backs[pickup]
        while left <= 0 and pickup + 1 < ends[service]:
            # Where a pickup is full the parcels wait for the next one.
            pickup += 1
            left, known = _left(st, _slot_row(st, n, pickup), defaults[pickup])
            if backs.shape[0] > 0:
                left += backs[pickup]
        day = pickup_day[pickup]
        most, least = days_max[service, zone], days_min[service, zone]
        last = _after(passed[service], working[service], day, most, base)
        zones[service] = zone
        slots[service] = max(np.int64(0), left)
        ready_days[service] = last - day_base
        ready_ms[service] = pickup_ms[pickup]
        known_slots[service] = known
        default_slots[service] = defaults[pickup]
        first_days[service] = _after(passed[service], working[service], day, least, base)
        last_days[service] = last


@kernel
def _price_services(n: Any, o: Any, p: Any, place: int, node: int, works: bool) -> None:
    """Which services are open at one node, and what each costs beside its rate."""
    failure, reliability = o.numbers[FAILURE_COST], n.reliability_ppm[node]
    is_open, zones, in_time = o.service_open, p.zone[place], n.service_ppm
    opens, costs, penalties = p.service_open[place], p.service_cost[place], o.service_penalty
    of_node = o.node_penalty[node] if o.node_penalty.shape[0] > 0 else np.int64(0)
    for service in range(zones.shape[0]):
        opens[service] = is_open[service] if works else 0
        cost = of_node
        if penalties.shape[0] > 0:
            cost += penalties[service]
        zone = zones[service]
        if failure > 0 and zone >= 0:
            late = _PPM * _PPM - reliability * in_time[service, zone]
            cost += (failure * (late // _PPM) + _PPM // 2) // _PPM
        costs[service] = cost


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
    for place in range(chosen.shape[0]):
        node = chosen[place]
        frozen = st.names[n.node_row[node]].flags & NODE_IS_FROZEN
        p.node_open[place] = 1 if o.node_open[node] != 0 and frozen == 0 else 0
        p.shipment_cost[place] = n.shipment_cost[node]
        p.unit_cost[place] = n.unit_cost[node]
        p.priority[place] = n.priority[node]
        p.distance[place] = o.distance[node]
        there, positions, opportunity = (
            p.stock[place],
            x.positions[place],
            p.opportunity_cost[place],
        )
        for line in range(lines):
            there[line] = stock[node, line]
            positions[line] = rows[node, line]
            opportunity[line] = 0
        level = _pick_level(st, n, o, x, place, node)
        x.level[place] = level
        p.pick_capacity[place] = x.pick_left[place]
        _fill_services(st, n, o, p, x, place, node)
        _price_services(n, o, p, place, node, n.pick_day[level, node] > 0)
