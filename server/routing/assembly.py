"""From an order, a network and the ledger's state to a problem of `engine.routing`.

`assemble` is what a checkout and a wave call alike: it reads what the state has, picks each node's
day and pickups, and makes arrays over the nodes that have something of the order. `everywhere`
keeps all nodes, which only an explanation needs.

Units of the arrays are those of `engine.routing.problem`; days are ordinals (`date.toordinal`)
less `DAY_BASE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from engine.routing import limits
from engine.routing.problem import (
    ALL_SERVICES,
    DAYS_LATE_MAX,
    LATE_COST_PER_DAY,
    NEVER_TOO_LATE,
    NO_GROUP,
    NO_LANE,
    PROMISED_DAY,
    SHIP_COMPLETE,
    SHIPMENTS_MAX,
    SPLIT_COST,
    TERMS,
    Arrays,
    Problem,
)
from engine.routing.view import View
from engine.state import State
from engine.tables import NODE_IS_FROZEN
from server.routing.calendars import road_days
from server.routing.lanes import Lanes
from server.routing.network import Network
from server.routing.orders import Held, Order
from server.routing.positions.reading import read_left, read_stock
from server.routing.rules.ruling import NO_RULE, Ruling
from server.routing.schedule import NEVER, PICK_DAYS, slot_name

Integers = NDArray[np.int64]

DAY_BASE: Final = date(2020, 1, 1).toordinal()
_PPM: Final = 1_000_000
_NO_CHANNEL: Final = np.uint64(0)


class OpportunityCosts(Protocol):
    """What a unit of stock is worth to later orders."""

    def per_unit(self, positions: Integers, units: Integers) -> Integers:
        """(K, L) minor units. `positions`: (K, L) rows of the ledger's stock positions, -1 for
        none. `units`: (K, L) what is available there."""
        ...


class NothingToShip(Exception):
    """The network has no node that could ship, or collect, this order at all."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A problem over K nodes of the network, and what its numbers stand for."""

    network: Network
    order: Order
    problem: Problem
    nodes: Integers
    """(K,) numbers of the network's nodes."""
    lanes: Lanes
    positions: Integers
    """(K, L) rows of the stock positions, -1 for none."""
    ruling: Ruling
    pick_day: Integers
    """(K,) ordinal of the day each node would pick on."""
    pick_left: Integers
    """(K,) units it can still pick that day; UNLIMITED."""
    pick_known: Integers
    """(K,) whether that capacity is in the ledger."""
    ready_ms: Integers
    """(K, S) when each service calls, NEVER where it does not."""
    slot_known: Integers
    """(K, S) whether the pickup's slot is in the ledger."""
    delivery_min: Integers
    """(K, S) ordinal of the first day it may arrive."""
    delivery_max: Integers
    """(K, S) ordinal of the day it is promised for."""
    now_ms: int
    revision: int

    def slot_name(self, node: int, service: int) -> str:
        """Slot of a pickup; `node` is the problem's."""
        network = self.network
        number = int(self.nodes[node])
        moment = datetime.fromtimestamp(
            int(self.ready_ms[node, service]) / 1000, network.times[number].zone
        )
        return slot_name(network.service_names[service], moment)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """A destination's time zone; UTC where it is not known."""
    return ZoneInfo(name or "UTC")


def assemble(
    network: Network,
    state: State,
    order: Order,
    now_ms: int,
    *,
    opportunity: OpportunityCosts | None = None,
    held: Held | None = None,
    everywhere: bool = False,
) -> Assembly:
    """The problem of `order` on the state as it stands. O(nodes x (lines + services)).

    Raises NothingToShip for a network without nodes.
    """
    if not network.node_names:
        raise NothingToShip("the network has no node that is in use")
    network.schedule.at(now_ms)
    tables = state.tables
    channel = network.channels.get(order.channel) if order.channel else None
    stock, rows = _stock(
        network, state, order, held, _NO_CHANNEL if channel is None else channel.key
    )
    ruling = _ruling(network, order)
    node_open = ruling.node_rule == NO_RULE
    if channel is not None and channel.nodes is not None:
        node_open &= channel.nodes
    if order.excluded_nodes:
        node_open[list(order.excluded_nodes)] = False
    if order.is_pickup:
        node_open &= network.collects
        if order.pickup_node is not None:
            only = np.zeros(len(node_open), np.bool_)
            only[order.pickup_node] = True
            node_open &= only
    lanes = network.lanes.to(order.destination)
    nodes = _candidates(stock, node_open, lanes, everywhere)
    frozen = state.names["flags"][network.node_rows(state)[nodes]] & NODE_IS_FROZEN
    is_open = node_open[nodes] & (frozen == 0)

    schedule = network.schedule
    units = sum(order.quantities)
    pick_key = schedule.pick_key[:, nodes]
    pick_default = np.broadcast_to(network.pick_default[nodes], pick_key.shape)
    pick_left = np.empty(pick_key.shape, np.int64)
    pick_known = np.empty(pick_key.shape, np.int64)
    read_left(tables, pick_key.ravel(), pick_default.ravel(), pick_left.ravel(), pick_known.ravel())
    if held is not None:
        _give_back_picks(network, held, nodes, schedule.pick_day[:, nodes], pick_left)
    level = _level(pick_left, schedule.pick_day[:, nodes], units)
    each = np.arange(len(nodes))
    works = schedule.pick_day[level, nodes] > 0

    ready_ms = schedule.ready_ms[level, nodes]
    ready_day = schedule.ready_day[level, nodes]
    slot_key = schedule.slot_key[level, nodes]
    slots = np.empty(slot_key.shape, np.int64)
    slot_known = np.empty(slot_key.shape, np.int64)
    slot_default = network.slot_default[nodes]
    read_left(tables, slot_key.ravel(), slot_default.ravel(), slots.ravel(), slot_known.ravel())
    if held is not None and held.slots:
        _give_back_slots(network, held, nodes, ready_ms, slots)
    for later in range(1, PICK_DAYS):
        full = (slots == 0) & (ready_ms != NEVER) & (level < later)[:, None]
        if not full.any():
            continue
        _take_later_pickup(
            network, state, nodes, later, full, ready_ms, ready_day, slots, slot_known
        )

    zone = lanes.zone[nodes]
    service_open = np.broadcast_to(
        (ruling.service_rule == NO_RULE)[None, :], (len(nodes), network.collect)
    )
    can = np.zeros(zone.shape, np.bool_)
    if order.is_pickup:
        can[:, -1] = True
        _collect_now(network, nodes, level, now_ms, ready_ms, ready_day)
    else:
        can[:, :-1] = service_open
        if order.excluded_services:
            can[:, list(order.excluded_services)] = False
    can &= works[:, None]
    column = np.arange(zone.shape[1])[None, :]
    has_lane = (zone >= 0) & (ready_ms != NEVER)
    at = np.maximum(zone, 0)
    has_lane &= network.has_transit[column, at]
    zone = np.where(has_lane, zone, NO_LANE)
    delivery_min, delivery_max = _delivery(network, now_ms, ready_day, at, has_lane)

    promised, late_cost, late_max = _lateness(network, order, now_ms)
    failure = network.rules.objective.failed_delivery_cost
    service_cost = np.zeros(zone.shape, np.int64)
    if failure:
        in_time = network.reliability_ppm[nodes][:, None] * network.service_ppm[column, at]
        service_cost += (failure * (_PPM * _PPM - in_time) // _PPM + _PPM // 2) // _PPM
    if ruling.service_penalty is not None:
        service_cost[:, :-1] += ruling.service_penalty
    if ruling.node_penalty is not None:
        service_cost += ruling.node_penalty[nodes][:, None]

    lines = len(order.quantities)
    stock = np.ascontiguousarray(stock[nodes])
    rows = rows[nodes]
    opportunity_cost = np.zeros((len(nodes), lines), np.int64)
    if opportunity is not None:
        opportunity_cost = np.ascontiguousarray(opportunity.per_unit(rows, stock), np.int64)
    terms = np.zeros(TERMS, np.int64)
    terms[SPLIT_COST] = network.rules.objective.split_cost
    terms[SHIPMENTS_MAX] = order.shipments_max or limits.shipments_per_plan_max
    terms[SHIP_COMPLETE] = ruling.ship_complete or order.ship_complete or order.is_pickup
    terms[PROMISED_DAY] = promised
    terms[LATE_COST_PER_DAY] = late_cost
    terms[DAYS_LATE_MAX] = late_max
    tariff = network.tariff(order.flags)
    chosen_left = pick_left[level, each]
    arrays = Arrays(
        quantity=np.array(order.quantities, np.int64),
        unit_weight_g=np.array([item.weight_g for item in order.items], np.int64),
        unit_volume_cm3=np.array([item.volume_cm3 for item in order.items], np.int64),
        carried_by=_carried_by(network, order),
        group=_groups(order, ruling),
        stock=stock,
        node_open=is_open.astype(np.int64),
        pick_capacity=chosen_left,
        shipment_cost=network.shipment_cost[nodes],
        unit_cost=network.unit_cost[nodes],
        opportunity_cost=opportunity_cost,
        distance=lanes.distance_km[nodes],
        priority=network.priority[nodes],
        zone=zone,
        service_open=can.astype(np.int64),
        service_cost=service_cost,
        slots=slots,
        ready_day=np.where(has_lane, delivery_max - DAY_BASE, 0),
        step_g=tariff.step_g,
        charge=tariff.charge,
        volume_divisor=tariff.volume_divisor,
        parcels_max=tariff.parcels_max,
        transit_days=tariff.transit_days,
        limit_step=tariff.limit_step,
        limit_g=tariff.limit_g,
        terms=terms,
    )
    return Assembly(
        network=network,
        order=order,
        problem=Problem(tariff, arrays, View(arrays._asdict())),
        nodes=nodes,
        lanes=lanes,
        positions=rows,
        ruling=ruling,
        pick_day=schedule.pick_day[level, nodes],
        pick_left=chosen_left,
        pick_known=pick_known[level, each],
        ready_ms=ready_ms,
        slot_known=slot_known,
        delivery_min=delivery_min,
        delivery_max=delivery_max,
        now_ms=now_ms,
        revision=state.revision,
    )


def _stock(
    network: Network, state: State, order: Order, held: Held | None, channel_key: np.uint64 | int
) -> tuple[Integers, Integers]:
    shape = (len(network.node_names), len(order.skus))
    stock, rows = np.empty(shape, np.int64), np.empty(shape, np.int64)
    sku_keys = np.array([item.key for item in order.items], np.uint64)
    read_stock(state.tables, sku_keys, network.node_keys, np.uint64(channel_key), stock, rows)
    if held is not None:
        for (node, sku), units in held.stock.items():
            number = network.node_number.get(node)
            if number is not None and sku in order.skus:
                stock[number, order.skus.index(sku)] += units
    return stock, rows


def _ruling(network: Network, order: Order) -> Ruling:
    rules = network.rules
    return rules.on(order.facts() if rules.needs_facts else None)


def _candidates(
    stock: Integers, node_open: NDArray[np.bool_], lanes: Lanes, everywhere: bool
) -> Integers:
    """Nodes with something of the order, the nearest where there are too many; never none."""
    nodes = np.arange(len(stock))
    if not everywhere:
        useful = np.flatnonzero(stock.any(axis=1) & node_open)
        if len(useful):
            nodes = useful
    most = limits.nodes_per_order_max
    if len(nodes) > most:
        near = np.argsort(lanes.distance_km[nodes], kind="stable")[:most]
        nodes = np.sort(nodes[near])
    return nodes


def _level(pick_left: Integers, pick_day: Integers, units: int) -> Integers:
    """(K,) the first day on which a node can pick the whole order; else that with the most left."""
    level: Integers = np.zeros(pick_left.shape[1], np.int64)
    if (pick_left[0] >= units).all():
        return level
    left = np.where(pick_day > 0, np.minimum(pick_left, units), -1)
    level = np.argmax(left, axis=0)  # the first of equals
    return level


def _take_later_pickup(
    network: Network,
    state: State,
    nodes: Integers,
    later: int,
    full: NDArray[np.bool_],
    ready_ms: Integers,
    ready_day: Integers,
    slots: Integers,
    slot_known: Integers,
) -> None:
    """Where a pickup is full the parcels wait for one of a later day."""
    schedule = network.schedule
    keys = schedule.slot_key[later, nodes]
    left, known = np.empty(keys.shape, np.int64), np.empty(keys.shape, np.int64)
    defaults = network.slot_default[nodes]
    read_left(state.tables, keys.ravel(), defaults.ravel(), left.ravel(), known.ravel())
    moment = schedule.ready_ms[later, nodes]
    full = full & (moment > ready_ms)
    for target, source in (
        (ready_ms, moment),
        (ready_day, schedule.ready_day[later, nodes]),
        (slots, left),
        (slot_known, known),
    ):
        target[full] = source[full]


def _collect_now(
    network: Network,
    nodes: Integers,
    level: Integers,
    now_ms: int,
    ready_ms: Integers,
    ready_day: Integers,
) -> None:
    """A customer may come once the parcel is ready: counted from now, not from the schedule."""
    for place in np.flatnonzero(level == 0).tolist():
        number = int(nodes[place])
        ready = max(int(ready_ms[place, -1]), now_ms + int(network.processing_ms[number]))
        ready_ms[place, -1] = ready
        local = datetime.fromtimestamp(ready / 1000, network.times[number].zone)
        ready_day[place, -1] = local.toordinal()


def _delivery(
    network: Network,
    now_ms: int,
    ready_day: Integers,
    zone: Integers,
    has_lane: NDArray[np.bool_],
) -> tuple[Integers, Integers]:
    """(K, S) ordinals of the first and the promised day of delivery."""
    base = now_ms // 86_400_000 + date(1970, 1, 1).toordinal() - 1
    first, last = ready_day.copy(), ready_day.copy()
    for service, calendar in enumerate(network.calendars):
        road = road_days(calendar, base)
        if road is None:
            has_lane[:, service] = False
            continue
        zones = zone[:, service]
        first[:, service] = road.after(ready_day[:, service], network.days_min[service][zones])
        last[:, service] = road.after(ready_day[:, service], network.days_max[service][zones])
    return first, last


def _lateness(network: Network, order: Order, now_ms: int) -> tuple[int, int, int]:
    """(promised day, cost of a day, days allowed)."""
    deadlines = []
    if order.deliver_by_ms is not None:
        deadlines.append(order.deliver_by_ms)
    channel = network.channels.get(order.channel) if order.channel else None
    if channel is not None and channel.delivery_ms_max is not None:
        deadlines.append(now_ms + channel.delivery_ms_max)
    if not deadlines:
        return NEVER_TOO_LATE, 0, NEVER_TOO_LATE
    local = datetime.fromtimestamp(min(deadlines) / 1000, zone_of(order.time_zone))
    promised = max(0, local.toordinal() - DAY_BASE)
    if order.late_cost_per_day is None:
        return promised, 0, 0
    return promised, order.late_cost_per_day, order.days_late_max or NEVER_TOO_LATE


def _carried_by(network: Network, order: Order) -> Integers:
    """(L,) a bit for each service that takes the line."""
    carried = np.full(len(order.items), ALL_SERVICES, np.int64)
    for line, item in enumerate(order.items):
        if not item.flags and not any(network.length_mm_max):
            continue
        mask = ALL_SERVICES
        for service, refused in enumerate(network.refused_flags):
            longest = network.length_mm_max[service]
            if refused & item.flags or (longest and item.longest_mm > longest):
                mask &= ~(1 << service)
        if mask != ALL_SERVICES:
            mask &= (1 << (network.collect + 1)) - 1
        carried[line] = mask
    return carried


def _groups(order: Order, ruling: Ruling) -> Integers:
    """(L,) number of the group that each line is kept together in."""
    group = np.full(len(order.quantities), NO_GROUP, np.int64)
    if not order.groups and not ruling.keep_together:
        return group
    joined: dict[str, int] = {}
    for line, name in enumerate(order.groups):
        if name:
            group[line] = joined.setdefault(name, line)
    for rule in ruling.keep_together:
        lines = [
            line
            for line, item in enumerate(order.items)
            if rule.lines is None
            or rule.lines.holds(
                {
                    "sku": order.skus[line],
                    "flags": sorted(item.flags),
                    "weight_grams": item.weight_g,
                    "value": item.value,
                    "quantity": order.quantities[line],
                }
            )
        ]
        # Groups that share a line become one.
        taken = {int(group[line]) for line in lines} - {NO_GROUP}
        for line in lines:
            group[line] = lines[0]
        group[np.isin(group, list(taken))] = lines[0] if lines else NO_GROUP
    return group


def _give_back_picks(
    network: Network, held: Held, nodes: Integers, pick_day: Integers, pick_left: Integers
) -> None:
    places = {network.node_names[int(number)]: place for place, number in enumerate(nodes)}
    for (node, day), units in held.pick.items():
        place = places.get(node)
        if place is not None:
            pick_left[pick_day[:, place] == day, place] += units


def _give_back_slots(
    network: Network, held: Held, nodes: Integers, ready_ms: Integers, slots: Integers
) -> None:
    for place, number in enumerate(nodes.tolist()):
        for service in range(network.collect):
            if ready_ms[place, service] == NEVER:
                continue
            slot = network.schedule.slot_of(number, service, int(ready_ms[place, service]))
            slots[place, service] += held.slots.get((network.node_names[number], slot), 0)
