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
from engine.routing.extents import EXTENTS
from engine.routing.problem import (
    ALL_SERVICES,
    DAYS_LATE_MAX,
    LATE_COST_PER_DAY,
    NEVER_TOO_LATE,
    NO_GROUP,
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
from server.routing.items import ItemFacts
from server.routing.kernels.filling import (
    CHANNEL,
    EVERYWHERE,
    FAILURE_COST,
    NUMBERS,
    ROAD_BASE,
    UNITS,
    fill,
    find_candidates,
)
from server.routing.kernels.filling import DAY_BASE as DAY
from server.routing.lanes import Lanes
from server.routing.layout import Fixed, Layout
from server.routing.network import ChannelFacts, Network
from server.routing.orders import Held, Order
from server.routing.rules.ruling import Ruling
from server.routing.schedule import slot_name

Integers = NDArray[np.int64]

DAY_BASE: Final = date(2020, 1, 1).toordinal()


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
    slot_default: Integers
    """(K, S) parcels the pickup takes where it is not; UNLIMITED."""
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
        return slot_at(
            network.service_names[service],
            int(self.ready_ms[node, service]),
            network.times[number].zone,
        )


@lru_cache(maxsize=1 << 14)
def slot_at(service: str, moment_ms: int, zone: ZoneInfo) -> str:
    """Slot of a service's pickup at a moment."""
    return slot_name(service, datetime.fromtimestamp(moment_ms / 1000, zone))


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
    names = network.node_names
    if not names:
        raise NothingToShip("the network has no node that is in use")
    network.schedule.at(now_ms)
    lanes = network.lanes.to(order.destination)
    rules = network.rules
    ruling = rules.on(order.facts()) if rules.needs_facts else rules.always
    asked = _asked(network, order, ruling, lanes, now_ms, held, everywhere)
    tables, facts = state.tables, network.view(state)
    lines = len(order.skus)
    stock, rows = np.empty((2, len(names), lines), np.int64)
    chosen = np.empty(len(names), np.int64)
    count = find_candidates(tables, facts, asked, stock, rows, chosen)
    nodes = chosen[:count]
    most = limits.nodes_per_order_max
    if count > most:
        near = np.argsort(lanes.distance_km[nodes], kind="stable")[:most]
        nodes = np.sort(nodes[near])
    sizes = {"N": len(nodes), "L": lines, "S": network.collect + 1, "T": TERMS}
    tariff = network.tariff(order.flags)
    arrays, view = _PROBLEM.make(sizes, tariff.fixed)
    _fill_constants(arrays, network, order, ruling, now_ms)
    beside, beside_view = _BESIDE.make(sizes, {})
    fill(tables, facts, asked, view, beside_view, nodes, stock, rows)
    if order.is_pickup:
        _collect_now(network, nodes, now_ms, arrays, beside)
    if opportunity is not None:
        arrays["opportunity_cost"][:] = opportunity.per_unit(beside["positions"], arrays["stock"])
    return Assembly(
        network=network,
        order=order,
        problem=Problem(tariff.tariff, Arrays(**arrays), view),
        nodes=nodes,
        lanes=lanes,
        positions=beside["positions"],
        ruling=ruling,
        pick_day=beside["pick_day"],
        pick_left=beside["pick_left"],
        pick_known=beside["pick_known"],
        ready_ms=beside["ready_ms"],
        slot_known=beside["slot_known"],
        slot_default=beside["slot_default"],
        delivery_min=beside["delivery_min"],
        delivery_max=beside["delivery_max"],
        now_ms=now_ms,
        revision=state.revision,
    )


PROBLEM_FIELDS: Final = {name: EXTENTS.get(name, "") for name in Arrays._fields}
_PROBLEM: Final = Layout(PROBLEM_FIELDS)
BESIDE_FIELDS: Final = {
    "positions": "NL",
    "level": "N",
    "pick_day": "N",
    "pick_left": "N",
    "pick_known": "N",
    "ready_ms": "NS",
    "slot_known": "NS",
    "slot_default": "NS",
    "delivery_min": "NS",
    "delivery_max": "NS",
}
_BESIDE: Final = Layout(BESIDE_FIELDS)
ASKED_FIELDS: Final = {
    "sku_key": "L",
    "numbers": "M",
    "node_open": "",
    "service_open": "",
    "service_penalty": "",
    "node_penalty": "",
    "zone": "",
    "distance": "",
    "stock_back": "",
    "pick_back": "",
    "slot_back": "",
}
_ASKED: Final = Layout(ASKED_FIELDS)
_NONE: Final = tuple(Fixed.of(np.zeros((0,) * dimensions, np.int64)) for dimensions in (2, 2, 1))
NEVER_LATE: Final = (NEVER_TOO_LATE, 0, NEVER_TOO_LATE)
"""Promised day, cost of a day and days allowed of an order without a latest day."""


def nothing_back() -> dict[str, Fixed]:
    """What an order that holds nothing may take again, by field."""
    return dict(zip(("stock_back", "pick_back", "slot_back"), _NONE, strict=True))


def _asked(
    network: Network,
    order: Order,
    ruling: Ruling,
    lanes: Lanes,
    now_ms: int,
    held: Held | None,
    everywhere: bool,
) -> View:
    """What the kernels need of an order."""
    channel = network.channels.get(order.channel) if order.channel else None
    back = _NONE
    if held is not None:
        back = tuple(map(Fixed.of, _given_back(network, order, held)))
    node_open = _node_open(network, order, ruling, channel)
    service_open = _service_open(network, order, ruling)
    arrays, view = _ASKED.make(
        {"L": len(order.skus), "M": NUMBERS},
        {
            "node_open": (
                ruling.fixed_node_open
                if node_open is ruling.node_open
                else Fixed.of(np.ascontiguousarray(node_open))
            ),
            "service_open": (
                ruling.fixed_service_open
                if service_open is ruling.service_open
                else Fixed.of(service_open)
            ),
            "service_penalty": ruling.fixed_service_penalty,
            "node_penalty": ruling.fixed_node_penalty,
            "zone": lanes.fixed_zone,
            "distance": lanes.fixed_distance,
            "stock_back": back[0],
            "pick_back": back[1],
            "slot_back": back[2],
        },
    )
    arrays["sku_key"].view(np.uint64)[:] = [item.key for item in order.items]
    numbers = arrays["numbers"]
    numbers[UNITS] = sum(order.quantities)
    numbers[EVERYWHERE] = everywhere
    numbers.view(np.uint64)[CHANNEL] = 0 if channel is None else channel.key
    numbers[FAILURE_COST] = network.rules.objective.failed_delivery_cost
    numbers[DAY] = DAY_BASE
    numbers[ROAD_BASE] = network.road_base(now_ms)
    return view


def _node_open(
    network: Network, order: Order, ruling: Ruling, channel: ChannelFacts | None
) -> Integers:
    """(N,) 1 where channel, rules and request let a node ship."""
    is_open = ruling.node_open
    if channel is not None and channel.nodes is not None:
        is_open = is_open & channel.nodes
    if order.excluded_nodes:
        is_open = is_open.copy()
        is_open[list(order.excluded_nodes)] = 0
    if order.is_pickup:
        is_open = is_open & network.collects
        if order.pickup_node is not None:
            only = np.zeros(len(is_open), np.int64)
            only[order.pickup_node] = 1
            is_open = is_open & only
    return is_open


def _service_open(network: Network, order: Order, ruling: Ruling) -> Integers:
    """(S,) 1 where rules and request let a service bring it."""
    if order.is_pickup:
        only = np.zeros(network.collect + 1, np.int64)
        only[-1] = 1
        return only
    if order.excluded_services:
        is_open = ruling.service_open.copy()
        is_open[list(order.excluded_services)] = 0
        return is_open
    return ruling.service_open


def _fill_constants(
    arrays: dict[str, Integers], network: Network, order: Order, ruling: Ruling, now_ms: int
) -> None:
    """What of a problem does not depend on the ledger."""
    fill_terms(
        arrays["terms"],
        network,
        shipments_max=order.shipments_max,
        ship_complete=ruling.ship_complete or order.ship_complete or order.is_pickup,
        lateness=_lateness(network, order, now_ms),
    )
    items = order.items
    arrays["quantity"][:] = order.quantities
    arrays["unit_weight_g"][:] = [item.weight_g for item in items]
    arrays["unit_volume_cm3"][:] = [item.volume_cm3 for item in items]
    arrays["carried_by"][:] = [carried_by(network, item) for item in items]
    arrays["group"][:] = _groups(order, ruling)


def fill_terms(
    terms: Integers,
    network: Network,
    *,
    shipments_max: int,
    ship_complete: bool,
    lateness: tuple[int, int, int],
) -> None:
    """The scalars of a problem. `shipments_max`: 0 for any."""
    terms[SPLIT_COST] = network.rules.objective.split_cost
    terms[SHIPMENTS_MAX] = shipments_max or limits.shipments_per_plan_max
    terms[SHIP_COMPLETE] = ship_complete
    terms[PROMISED_DAY], terms[LATE_COST_PER_DAY], terms[DAYS_LATE_MAX] = lateness


def _collect_now(
    network: Network,
    nodes: Integers,
    now_ms: int,
    arrays: dict[str, Integers],
    beside: dict[str, Integers],
) -> None:
    """A customer may come once the parcel is ready: counted from now, not from the schedule."""
    for place in np.flatnonzero(beside["level"] == 0).tolist():
        number = int(nodes[place])
        earliest = now_ms + int(network.processing_ms[number])
        ready = max(int(beside["ready_ms"][place, -1]), earliest)
        day = datetime.fromtimestamp(ready / 1000, network.times[number].zone).toordinal()
        beside["ready_ms"][place, -1] = ready
        beside["delivery_min"][place, -1] = beside["delivery_max"][place, -1] = day
        arrays["ready_day"][place, -1] = day - DAY_BASE


def _given_back(network: Network, order: Order, held: Held) -> tuple[Integers, Integers, Integers]:
    """(N, L), (D, N) and (C,): what the order holds already and may take again."""
    stock = np.zeros((len(network.node_names), len(order.skus)), np.int64)
    for line, sku in enumerate(order.skus):
        for node, units in held.by_sku.get(sku, ()):
            number = network.node_number.get(node)
            if number is not None:
                stock[number, line] += units
    schedule = network.schedule
    key = (schedule, schedule.renewals)
    if key not in held.capacities_on:
        pick = np.zeros(schedule.pick_day.shape, np.int64)
        slots = np.zeros(schedule.ready_ms.shape, np.int64)
        add_capacities(network, held, pick, slots)
        held.capacities_on.clear()
        held.capacities_on[key] = pick, slots
    return (stock, *held.capacities_on[key])


def add_capacities(
    network: Network, held: Held, pick: Integers, slots: Integers, times: int = 1
) -> None:
    """Add what is held to (D, N) and (C,), on the schedule as it is."""
    schedule = network.schedule
    for (node, day), units in held.pick.items():
        number = network.node_number.get(node)
        if number is not None:
            pick[schedule.pick_day[:, number] == day, number] += times * units
    for (node, slot), parcels in held.slots.items():
        number = network.node_number.get(node)
        if number is not None:
            key = schedule.key_of_slot(number, slot)
            own = schedule.pickups_of(number)
            slots[own][schedule.slot_key[own] == key] += times * parcels


def _lateness(network: Network, order: Order, now_ms: int) -> tuple[int, int, int]:
    """(promised day, cost of a day, days allowed)."""
    deadlines = []
    if order.deliver_by_ms is not None:
        deadlines.append(order.deliver_by_ms)
    channel = network.channels.get(order.channel) if order.channel else None
    if channel is not None and channel.delivery_ms_max is not None:
        deadlines.append(now_ms + channel.delivery_ms_max)
    if not deadlines:
        return NEVER_LATE
    local = datetime.fromtimestamp(min(deadlines) / 1000, zone_of(order.time_zone))
    promised = max(0, local.toordinal() - DAY_BASE)
    if order.late_cost_per_day is None:
        return promised, 0, 0
    return promised, order.late_cost_per_day, order.days_late_max or NEVER_TOO_LATE


def carried_by(network: Network, item: ItemFacts) -> int:
    """A bit for each service that takes the item."""
    if not item.flags and not network.length_matters:
        return ALL_SERVICES
    mask = ALL_SERVICES
    for service, refused in enumerate(network.refused_flags):
        longest = network.length_mm_max[service]
        if refused & item.flags or (longest and item.longest_mm > longest):
            mask &= ~(1 << service)
    if mask != ALL_SERVICES:
        mask &= (1 << (network.collect + 1)) - 1
    return mask


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
