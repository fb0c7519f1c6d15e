"""The network of one version: nodes, services, channels and rules as arrays.

Made from documents that are already parsed (`server.routing.catalog`); never changed afterwards,
but for what it caches. What can not be used is left out and told in `findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from engine import commands, reads
from engine.hashing import key_of
from engine.routing import limits
from engine.routing.tariff import Tariff
from engine.routing.view import View
from engine.state import State
from holdfast.v1 import network_service_pb2 as messages
from server.routing.calendars import DAYS_AHEAD, WorkCalendar, day_of, road_days
from server.routing.geography import locate
from server.routing.kernels.filling import UNLIMITED
from server.routing.lanes import LaneTables, ServiceLanes
from server.routing.layout import Fixed
from server.routing.rules.contradictions import refuse_contradictions
from server.routing.rules.reading import Rules, RulesRefused
from server.routing.rules.ruling import BoundRules
from server.routing.schedule import Call, NodeTimes, Schedule, ServicePickups
from server.routing.tariffs import ServiceTable, tariff_of

Integers = NDArray[np.int64]

_OF_TARIFF: Final = (
    *("step_g", "charge", "volume_divisor", "parcels_max", "transit_days"),
    *("limit_step", "limit_g"),
)
_PPM: Final = 1_000_000
_TYPES: Final = {
    messages.NODE_TYPE_UNSPECIFIED: "WAREHOUSE",
    messages.NODE_TYPE_WAREHOUSE: "WAREHOUSE",
    messages.NODE_TYPE_STORE: "STORE",
    messages.NODE_TYPE_DARK_STORE: "DARK_STORE",
    messages.NODE_TYPE_THIRD_PARTY: "THIRD_PARTY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What a network is made from, by name, in the order of the names."""

    nodes: Mapping[str, messages.Node]
    groups: Mapping[str, messages.NodeGroup]
    carriers: Mapping[str, messages.Carrier]
    services: Mapping[str, messages.CarrierService]
    channels: Mapping[str, messages.Channel]
    rules: Mapping[str, Rules]


@dataclass(frozen=True, slots=True)
class FixedTariff:
    """A tariff, and what a problem's view needs of it."""

    tariff: Tariff
    fixed: Mapping[str, Fixed]


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What routing needs of a channel."""

    key: int
    nodes: Integers | None
    """(N,) 1 for those it sells from; None: all."""
    delivery_ms_max: int | None


class Network:
    """N nodes, and S carrier services with the customer who collects as the last."""

    def __init__(self, version: int, documents: Documents) -> None:
        self.version = version
        """Revision of the ledger at which it was compiled."""
        self.findings: list[str] = []
        nodes = [
            node
            for node in documents.nodes.values()
            if node.status != messages.NODE_STATUS_INACTIVE
        ]
        self.rules_sets = tuple(documents.rules.values())
        self._nodes(nodes)
        tables = self._usable(documents)
        self.currency = self._currency(nodes, tables)
        tables = [one for one in tables if self._in_currency(one)]
        self._costs(nodes)
        self._services(tables)
        self._channels(documents)
        groups = _groups_by_node(documents.groups)
        self._facts = (
            [_node_facts(node, groups.get(node.node, [])) for node in nodes],
            [_service_facts(table.document) for table in tables],
        )
        self.rules = BoundRules(self.rules_sets, *self._facts)
        self._pickups(nodes, tables)
        self._lanes(nodes, tables)
        self._tariffs: dict[frozenset[str], FixedTariff] = {}
        self._view: View | None = None
        self._view_of: State | None = None
        self._road_base = 0
        roads = (len(tables) + 1, DAYS_AHEAD)
        self._road_runs = np.ones(len(tables) + 1, np.int64)
        self._road_passed = np.zeros(roads, np.int64)
        self._road_working = np.zeros(roads, np.int64)

    # --- Nodes -------------------------------------------------------------------------------

    def _nodes(self, nodes: Sequence[messages.Node]) -> None:
        self.node_names = [node.node for node in nodes]
        self.node_number = {name: number for number, name in enumerate(self.node_names)}
        self.node_keys = np.array([key_of(name.encode()) for name in self.node_names], np.uint64)
        self.is_store = np.array(
            [node.type == messages.NODE_TYPE_STORE for node in nodes], np.bool_
        )
        self.collects = np.array([node.pickup for node in nodes], np.int64)
        self.priority = np.array([node.priority for node in nodes], np.int64)
        self.reliability_ppm = np.array(
            [node.reliability_ppm if node.HasField("reliability_ppm") else _PPM for node in nodes],
            np.int64,
        )
        self.pick_default = np.array(
            [
                node.pick_capacity_per_day if node.HasField("pick_capacity_per_day") else UNLIMITED
                for node in nodes
            ],
            np.int64,
        )
        self.processing_ms = np.array(
            [node.processing_time.ToMilliseconds() for node in nodes], np.int64
        )
        latitude, longitude = [], []
        for node in nodes:
            place = node.place
            if place.HasField("latitude"):
                latitude.append(place.latitude)
                longitude.append(place.longitude)
                continue
            found = locate(place.country_code, place.postal_code)
            if found is None and (place.postal_code or place.country_code):
                self.findings.append(
                    f"node {node.node!r}: postal code {place.postal_code!r} of "
                    f"{place.country_code or 'no country'} is not known, and it has no "
                    "latitude: its distance counts as 0"
                )
            latitude.append(found.latitude if found else float("nan"))
            longitude.append(found.longitude if found else float("nan"))
        self._latitude = np.array(latitude, np.float64)
        self._longitude = np.array(longitude, np.float64)

    def _costs(self, nodes: Sequence[messages.Node]) -> None:
        most = limits.cost_max // 1000
        shipment: list[int] = []
        unit: list[int] = []
        for node in nodes:
            for field, costs in (
                ("parcel_handling_cost", shipment),
                ("unit_handling_cost", unit),
            ):
                money = getattr(node, field)
                counts = money.currency_code in ("", self.currency)
                costs.append(min(money.minor_units, most) if counts else 0)
                if not counts:
                    self.findings.append(
                        f"node {node.node!r}: {field} in {money.currency_code} does not count, "
                        f"the network's currency is {self.currency}"
                    )
        self.shipment_cost = np.array(shipment, np.int64)
        self.unit_cost = np.array(unit, np.int64)

    def view(self, state: State) -> View:
        """What the kernels need of it, on this state."""
        if self._view is None or self._view_of is not state:
            self._view_of = state
            schedule = self.schedule
            schedule.forget_rows()
            self._view = View(
                {
                    "node_key": self.node_keys.view(np.int64),
                    "node_row": self._node_rows(state),
                    "shipment_cost": self.shipment_cost,
                    "unit_cost": self.unit_cost,
                    "priority": self.priority,
                    "reliability_ppm": self.reliability_ppm,
                    "pick_default": self.pick_default,
                    "pick_day": schedule.pick_day,
                    "pick_key": schedule.pick_key.view(np.int64),
                    "pick_row": schedule.pick_row,
                    "pick_seen": schedule.pick_seen,
                    "first_pickup": schedule.first_pickup,
                    "pickups_end": schedule.pickups_end,
                    "ready_ms": schedule.ready_ms,
                    "ready_day": schedule.ready_day,
                    "slot_key": schedule.slot_key.view(np.int64),
                    "slot_row": schedule.slot_row,
                    "slot_seen": schedule.slot_seen,
                    "slot_default": schedule.slot_default,
                    "has_transit": self.has_transit.astype(np.int64),
                    "days_min": self.days_min,
                    "days_max": self.days_max,
                    "service_ppm": self.service_ppm,
                    "road_runs": self._road_runs,
                    "road_passed": self._road_passed,
                    "road_working": self._road_working,
                }
            )
        return self._view

    def _node_rows(self, state: State) -> Integers:
        """(N,) rows of the nodes' names in the ledger, which has a name for every document."""
        return np.array(
            [max(0, reads.find_name(state, commands.NODE, name)) for name in self.node_names],
            np.int64,
        )

    def road_base(self, now_ms: int) -> int:
        """The day (ordinal) from which carriers' working days are counted; yesterday's, as the
        earth is not at one day. O(services) once a day."""
        base = day_of(now_ms) - 1
        if base != self._road_base:
            self._road_base = base
            for service, calendar in enumerate(self.calendars):
                road = road_days(calendar, base)
                self._road_runs[service] = road is not None
                if road is not None:
                    self._road_passed[service] = road.passed
                    self._road_working[service, : len(road.working)] = road.working
        return base

    # --- Services ----------------------------------------------------------------------------

    def _usable(self, documents: Documents) -> list[ServiceTable]:
        tables: list[ServiceTable] = []
        weights: set[int] = set()
        for document in documents.services.values():
            carrier = documents.carriers.get(document.carrier)
            if document.inactive or carrier is None or carrier.inactive:
                continue
            table = ServiceTable.of(document)
            together = weights | table.weights
            for limit, used in (
                ("services_max", len(tables) + 2),
                ("zones_max", len(table.zones)),
                ("weight_steps_max", len(together)),
            ):
                most = getattr(limits, limit)
                if used > most:
                    self.findings.append(
                        f"carrier service {document.carrier_service!r} is left out: "
                        f"{used} is beyond {limit} = {most}"
                    )
                    break
            else:
                self._check_lanes(table)
                tables.append(table)
                weights = together
        return tables

    def _check_lanes(self, table: ServiceTable) -> None:
        unpriced = {lane.zone for lane in table.document.lanes if lane.zone} - set(table.zones)
        for zone in sorted(unpriced):
            self.findings.append(
                f"carrier service {table.document.carrier_service!r}: "
                f"zone {zone!r} has lanes and no rate, so nothing goes there"
            )

    def _currency(self, nodes: Sequence[messages.Node], tables: Sequence[ServiceTable]) -> str:
        """The objective's; else the first service's; else the first node's."""
        for one in self.rules_sets:
            if one.objective is not None and one.objective.currency:
                return one.objective.currency
        for table in tables:
            return str(table.document.currency_code)
        found = (node.parcel_handling_cost.currency_code for node in nodes)
        return next((code for code in found if code), "")

    def _in_currency(self, table: ServiceTable) -> bool:
        if table.document.currency_code == self.currency:
            return True
        self.findings.append(
            f"carrier service {table.document.carrier_service!r} is left out: its prices are in "
            f"{table.document.currency_code}, the network's currency is {self.currency}"
        )
        return False

    def _services(self, tables: Sequence[ServiceTable]) -> None:
        documents = [table.document for table in tables]
        self.tables = tuple(tables)
        self.service_names = [document.carrier_service for document in documents]
        self.carrier_names = [document.carrier for document in documents]
        self.service_number = {name: number for number, name in enumerate(self.service_names)}
        self.collect = len(documents)
        """Number of the customer who collects."""
        zones = max([1, *(len(table.zones) for table in tables)])
        shape = (len(documents) + 1, zones)
        self.days_min = np.zeros(shape, np.int64)
        self.days_max = np.zeros(shape, np.int64)
        self.has_transit = np.zeros(shape, np.bool_)
        self.has_transit[-1] = True
        self.service_ppm = np.full(shape, _PPM, np.int64)
        for place, table in enumerate(tables):
            document = table.document
            if document.HasField("reliability_ppm"):
                self.service_ppm[place] = document.reliability_ppm
            for transit in document.transits:
                if transit.zone not in table.zones:
                    continue
                zone = table.zones.index(transit.zone)
                self.has_transit[place, zone] = True
                self.days_min[place, zone] = transit.days_min
                self.days_max[place, zone] = transit.days_max
                if transit.HasField("reliability_ppm"):
                    self.service_ppm[place, zone] = transit.reliability_ppm
            for name, has_transit in zip(table.zones, self.has_transit[place], strict=False):
                if not has_transit:
                    self.findings.append(
                        f"carrier service {document.carrier_service!r}: zone {name!r} "
                        "has rates and no transit, so nothing goes there"
                    )
        self.calendars = [_calendar(document.calendar) for document in documents]
        self.refused_flags = [frozenset(document.refused_flags) for document in documents]
        self.length_mm_max = [document.parcel_length_mm_max for document in documents]
        self.length_matters = any(self.length_mm_max)

    def zone_name(self, service: int, zone: int) -> str:
        """A zone as its service calls it."""
        return self.tables[service].zones[zone] if service < self.collect else ""

    @cached_property
    def surcharge_flags(self) -> frozenset[str]:
        """Flags that make an order dearer with some service."""
        return frozenset().union(*(table.surcharge_flags for table in self.tables))

    def tariff(self, flags: frozenset[str] = frozenset()) -> FixedTariff:
        """Rates for an order with items of these flags."""
        counted = flags & self.surcharge_flags if flags else flags
        found = self._tariffs.get(counted)
        if found is None:
            price = self.rules.objective.co2e_price_per_tonne
            tariff = tariff_of(self.tables, counted, price)
            fixed = {name: Fixed.of(getattr(tariff, name)) for name in _OF_TARIFF}
            found = self._tariffs[counted] = FixedTariff(tariff, fixed)
        return found

    # --- Pickups and lanes -------------------------------------------------------------------

    def _pickups(self, nodes: Sequence[messages.Node], tables: Sequence[ServiceTable]) -> None:
        times = [
            NodeTimes(
                ZoneInfo(node.place.time_zone or "UTC"),
                _calendar(node.calendar),
                node.cutoff_minute if node.HasField("cutoff_minute") else None,
                node.processing_time.ToMilliseconds(),
            )
            for node in nodes
        ]
        self.times = times
        self.served = np.zeros((len(nodes), len(tables)), np.bool_)
        pickups: list[list[ServicePickups | None]] = []
        for place, table in enumerate(tables):
            calls: dict[int, list[Call]] = {}
            for pickup in table.document.pickups:
                number = self.node_number.get(pickup.node)
                if number is None:
                    continue
                weekdays = frozenset(day - 1 for day in pickup.days)
                capacity = pickup.capacity if pickup.HasField("capacity") else UNLIMITED
                calls.setdefault(number, []).append(Call(weekdays, pickup.minute, capacity))
                self.served[number, place] = True
            by_node: list[ServicePickups | None] = [None] * len(nodes)
            for number, found in calls.items():
                by_node[number] = ServicePickups(tuple(found), self.calendars[place])
            pickups.append(by_node)
        self.schedule = Schedule(self.node_names, times, self.service_names, pickups)

    def _lanes(self, nodes: Sequence[messages.Node], tables: Sequence[ServiceTable]) -> None:
        countries = [node.place.country_code for node in nodes]
        postal_codes = [node.place.postal_code for node in nodes]
        self.lanes = LaneTables(
            [
                ServiceLanes(
                    table.document.lanes,
                    {zone: number for number, zone in enumerate(table.zones)},
                    countries,
                    postal_codes,
                    self.served[:, place],
                )
                for place, table in enumerate(tables)
            ],
            self._latitude,
            self._longitude,
        )

    # --- Channels and rules ------------------------------------------------------------------

    def _channels(self, documents: Documents) -> None:
        self.channels: dict[str, ChannelFacts] = {}
        for name, channel in documents.channels.items():
            names = set(channel.nodes)
            for group in channel.node_groups:
                if group in documents.groups:
                    names.update(documents.groups[group].nodes)
            mask = None
            if channel.nodes or channel.node_groups:
                mask = np.array([node in names for node in self.node_names], np.int64)
            longest = None
            if channel.HasField("delivery_time_max"):
                longest = channel.delivery_time_max.ToMilliseconds()
            self.channels[name] = ChannelFacts(key_of(name.encode()), mask, longest)

    def refuse_rules(self, rules: Rules) -> None:
        """Raise RulesRefused where a set of rules contradicts itself or another one here."""
        sets = [one for one in self.rules_sets if one.source != rules.source] + [rules]
        refuse_contradictions(sets, BoundRules(sets, *self._facts))
        objective = rules.objective
        if objective is not None and objective.currency and self.tables:
            known = {str(table.document.currency_code) for table in self.tables}
            if objective.currency not in known:
                raise RulesRefused(
                    1,
                    f"no carrier service has prices in the objective's currency "
                    f"{objective.currency}: they are in {', '.join(sorted(known))}",
                )


def _calendar(calendar: messages.Calendar) -> WorkCalendar:
    return WorkCalendar.of(calendar.working_days, calendar.holidays)


def _groups_by_node(groups: Mapping[str, messages.NodeGroup]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, group in groups.items():
        for node in group.nodes:
            found.setdefault(node, []).append(name)
    return found


def _node_facts(node: messages.Node, groups: Sequence[str]) -> dict[str, Any]:
    return {
        "name": node.node,
        "type": _TYPES[node.type],
        "country_code": node.place.country_code,
        "postal_code": node.place.postal_code,
        "groups": list(groups),
        "flags": list(node.flags),
        "priority": node.priority,
        "reliability_ppm": node.reliability_ppm if node.HasField("reliability_ppm") else _PPM,
        "pickup": node.pickup,
    }


def _service_facts(document: Any) -> dict[str, Any]:
    return {
        "name": document.carrier_service,
        "carrier": document.carrier,
        "reliability_ppm": (
            document.reliability_ppm if document.HasField("reliability_ppm") else _PPM
        ),
        "co2e_grams_per_parcel": document.co2e_grams_per_parcel,
        "refused_flags": list(document.refused_flags),
    }
