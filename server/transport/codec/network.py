"""Resources of NetworkService: every field held against its limit.

One function a resource. They return nothing: what is stored is the message as it came, without the
fields that the server sets (`stored_form`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zoneinfo import available_timezones

from engine import limits
from engine.routing import limits as routing
from holdfast.v1 import network_service_pb2 as messages
from holdfast.v1 import types_pb2
from server.transport.validation import Checker

_ZONES = frozenset(available_timezones())
_WEEKDAYS = {value: value for value in messages.Weekday.values() if value}
_NODE_TYPES = {value: value for value in messages.NodeType.values() if value}
_NODE_STATUSES = {value: value for value in messages.NodeStatus.values() if value}
_MINUTES = 24 * 60 - 1

# What the server sets, in every resource that has it.
_SERVER_FIELDS = ("etag", "version", "create_time")


def stored_form(resource: Any) -> bytes:
    """A resource as the ledger keeps it: only what the caller said."""
    kept = type(resource)()
    kept.CopyFrom(resource)
    for name in _SERVER_FIELDS:
        if name in kept.DESCRIPTOR.fields_by_name:
            kept.ClearField(name)
    body: bytes = kept.SerializeToString(deterministic=True)
    return body


def _name(check: Checker, path: str, text: str, limit: str) -> None:
    check.identifier(path, text, limit, required=True)


def _display_name(check: Checker, path: str, text: str) -> None:
    check.text(f"{path}display_name", text, "display_name_bytes_max")


def _flags(check: Checker, path: str, flags: Iterable[str]) -> None:
    items = list(flags)
    check.count(path, len(items), "flags_per_item_max", required=False)
    seen = set()
    for index, flag in enumerate(items[: limits.flags_per_item_max]):
        here = f"{path}[{index}]"
        check.identifier(here, flag, "flag_bytes_max", required=True)
        if flag != flag.lower():
            check.invalid(here, flag, "is not in lower case")
        if flag in seen:
            check.invalid(here, flag, "is there twice")
        seen.add(flag)


def _country(check: Checker, path: str, code: str) -> None:
    if code:
        check.pattern(path, code, 2, "ISO 3166-1 alpha-2 country code")


def _currency(check: Checker, path: str, code: str) -> None:
    if code:
        check.pattern(path, code, 3, "ISO 4217 currency code")
    else:
        check.required(path)


def _money(check: Checker, path: str, money: types_pb2.Money) -> None:
    check.whole(f"{path}minor_units", money.minor_units, "money_minor_max")
    _currency(check, f"{path}currency_code", money.currency_code)


def place(check: Checker, path: str, place: types_pb2.Place) -> None:
    """A place on earth."""
    _country(check, f"{path}country_code", place.country_code)
    check.identifier(f"{path}postal_code", place.postal_code, "postal_code_bytes_max")
    if place.HasField("latitude"):
        check.degrees(f"{path}latitude", place.latitude, 90)
    if place.HasField("longitude"):
        check.degrees(f"{path}longitude", place.longitude, 180)
    if place.HasField("latitude") != place.HasField("longitude"):
        check.required(f"{path}latitude", "latitude and longitude belong together")
    if place.time_zone and place.time_zone not in _ZONES:
        check.invalid(f"{path}time_zone", place.time_zone, "is no IANA time zone")


def _weekdays(check: Checker, path: str, days: Iterable[int]) -> None:
    items = list(days)
    if len(items) > 7:
        check.beyond(path, f"{len(items)} entries", "days of a week", 7)
    for index, day in enumerate(items[:7]):
        check.enumerated(f"{path}[{index}]", day, _WEEKDAYS, default=None)


def _calendar(check: Checker, path: str, calendar: messages.Calendar) -> None:
    _weekdays(check, f"{path}working_days", calendar.working_days)
    check.count(
        f"{path}holidays", len(calendar.holidays), "holidays_per_calendar_max", required=False
    )
    for index, day in enumerate(calendar.holidays[: limits.holidays_per_calendar_max]):
        check.day(f"{path}holidays[{index}]", day)


def node(check: Checker, path: str, resource: messages.Node) -> None:
    """A node."""
    _name(check, f"{path}node", resource.node, "node_bytes_max")
    _display_name(check, path, resource.display_name)
    check.enumerated(
        f"{path}type", resource.type, _NODE_TYPES, default=messages.NODE_TYPE_WAREHOUSE
    )
    check.enumerated(f"{path}status", resource.status, _NODE_STATUSES, default=0)
    place(check, f"{path}place.", resource.place)
    check.whole(f"{path}priority", resource.priority, "priority_max")
    _calendar(check, f"{path}calendar.", resource.calendar)
    if resource.HasField("cutoff_minute"):
        check.whole(
            f"{path}cutoff_minute", resource.cutoff_minute, "minutes of a day", maximum=_MINUTES
        )
    if resource.HasField("processing_time"):
        check.milliseconds(
            f"{path}processing_time", resource.processing_time, "processing_time_ms_max"
        )
    for field in ("parcel_handling_cost", "unit_handling_cost"):
        if resource.HasField(field):
            _money(check, f"{path}{field}.", getattr(resource, field))
    if resource.HasField("parcel_handling_cost") and resource.HasField("unit_handling_cost"):
        currency = resource.unit_handling_cost.currency_code
        if currency != resource.parcel_handling_cost.currency_code:
            check.invalid(
                f"{path}unit_handling_cost.currency_code",
                currency,
                "differs from parcel_handling_cost's",
            )
    if resource.HasField("pick_capacity_per_day"):
        check.quantity(f"{path}pick_capacity_per_day", resource.pick_capacity_per_day, low=0)
    if resource.HasField("reliability_ppm"):
        check.whole(f"{path}reliability_ppm", resource.reliability_ppm, "ppm_max")
    _flags(check, f"{path}flags", resource.flags)


def node_group(check: Checker, path: str, resource: messages.NodeGroup) -> None:
    """A node group."""
    _name(check, f"{path}node_group", resource.node_group, "node_bytes_max")
    _display_name(check, path, resource.display_name)
    check.count(f"{path}nodes", len(resource.nodes), "node_group_nodes_max")
    seen = set()
    for index, name in enumerate(resource.nodes[: limits.node_group_nodes_max]):
        _name(check, f"{path}nodes[{index}]", name, "node_bytes_max")
        if name in seen:
            check.invalid(f"{path}nodes[{index}]", name, "is there twice")
        seen.add(name)


def item(check: Checker, path: str, resource: messages.Item) -> None:
    """An item."""
    _name(check, f"{path}sku", resource.sku, "sku_bytes_max")
    _display_name(check, path, resource.display_name)
    check.whole(f"{path}weight_grams", resource.weight_grams, "weight_grams_max")
    for field in ("length_mm", "width_mm", "height_mm"):
        check.whole(f"{path}{field}", getattr(resource, field), "dimension_mm_max")
    if resource.HasField("value"):
        _money(check, f"{path}value.", resource.value)
    _flags(check, f"{path}flags", resource.flags)
    if resource.HasField("purchase_limit"):
        check.quantity(f"{path}purchase_limit", resource.purchase_limit, low=0)


def carrier(check: Checker, path: str, resource: messages.Carrier) -> None:
    """A carrier."""
    _name(check, f"{path}carrier", resource.carrier, "carrier_bytes_max")
    _display_name(check, path, resource.display_name)


def carrier_service(check: Checker, path: str, resource: messages.CarrierService) -> None:
    """A carrier service with its tables."""
    _name(check, f"{path}carrier_service", resource.carrier_service, "carrier_bytes_max")
    _name(check, f"{path}carrier", resource.carrier, "carrier_bytes_max")
    _display_name(check, path, resource.display_name)
    _currency(check, f"{path}currency_code", resource.currency_code)
    most = limits.rows_per_carrier_table_max
    for field in ("lanes", "rates", "transits", "pickups"):
        check.count(
            f"{path}{field}",
            len(getattr(resource, field)),
            "rows_per_carrier_table_max",
            required=False,
        )
    for index, lane in enumerate(resource.lanes[:most]):
        _lane(check, f"{path}lanes[{index}].", lane)
    _rates(check, path, resource)
    _transits(check, path, resource)
    check.count(
        f"{path}surcharges", len(resource.surcharges), "surcharges_per_service_max", required=False
    )
    for index, surcharge in enumerate(resource.surcharges[: limits.surcharges_per_service_max]):
        _surcharge(check, f"{path}surcharges[{index}].", surcharge)
    for index, pickup in enumerate(resource.pickups[:most]):
        _pickup(check, f"{path}pickups[{index}].", pickup)
    check.whole(
        f"{path}dimensional_divisor", resource.dimensional_divisor, "dimensional_divisor_max"
    )
    check.whole(
        f"{path}parcel_weight_grams_max", resource.parcel_weight_grams_max, "weight_grams_max"
    )
    check.whole(f"{path}parcel_length_mm_max", resource.parcel_length_mm_max, "dimension_mm_max")
    _flags(check, f"{path}refused_flags", resource.refused_flags)
    _calendar(check, f"{path}calendar.", resource.calendar)
    if resource.HasField("reliability_ppm"):
        check.whole(f"{path}reliability_ppm", resource.reliability_ppm, "ppm_max")
    for field in ("co2e_grams_per_parcel", "co2e_milligrams_per_kg_km"):
        check.whole(f"{path}{field}", getattr(resource, field), "co2e_grams_max")


def _lane(check: Checker, path: str, lane: messages.Lane) -> None:
    for end in ("origin", "destination"):
        _country(check, f"{path}{end}_country_code", getattr(lane, f"{end}_country_code"))
        prefix = getattr(lane, f"{end}_postal_prefix")
        check.identifier(f"{path}{end}_postal_prefix", prefix, "postal_code_bytes_max")
    check.whole(f"{path}distance_km_max", lane.distance_km_max, "distance_km_max")
    check.identifier(f"{path}zone", lane.zone, "zone_bytes_max")


def _rates(check: Checker, path: str, resource: messages.CarrierService) -> None:
    seen = set()
    for index, rate in enumerate(resource.rates[: limits.rows_per_carrier_table_max]):
        here = f"{path}rates[{index}]."
        check.identifier(f"{here}zone", rate.zone, "zone_bytes_max", required=True)
        check.whole(f"{here}weight_grams_max", rate.weight_grams_max, "weight_grams_max", low=1)
        check.whole(f"{here}price_minor_units", rate.price_minor_units, "money_minor_max")
        key = (rate.zone, rate.weight_grams_max)
        if key in seen:
            check.invalid(f"{here}zone", rate.zone, "has two rates for this weight")
        seen.add(key)
    for what, most, limit in (
        ("zones", routing.zones_max, "zones_max"),
        ("weights", routing.weight_steps_max, "weight_steps_max"),
    ):
        used = len({key[what == "weights"] for key in seen})
        if used > most and not resource.inactive:
            check.beyond(f"{path}rates", f"{used} {what}", limit, most)


def _transits(check: Checker, path: str, resource: messages.CarrierService) -> None:
    seen = set()
    for index, transit in enumerate(resource.transits[: limits.rows_per_carrier_table_max]):
        here = f"{path}transits[{index}]."
        check.identifier(f"{here}zone", transit.zone, "zone_bytes_max", required=True)
        check.whole(f"{here}days_min", transit.days_min, "transit_days_max")
        check.whole(f"{here}days_max", transit.days_max, "transit_days_max")
        if transit.days_max < transit.days_min:
            check.invalid(f"{here}days_max", transit.days_max, "is below days_min")
        if transit.HasField("reliability_ppm"):
            check.whole(f"{here}reliability_ppm", transit.reliability_ppm, "ppm_max")
        if transit.zone in seen:
            check.invalid(f"{here}zone", transit.zone, "has two transits")
        seen.add(transit.zone)


def _surcharge(check: Checker, path: str, surcharge: messages.Surcharge) -> None:
    _display_name(check, path, surcharge.display_name)
    check.identifier(f"{path}flag", surcharge.flag, "flag_bytes_max")
    check.identifier(f"{path}zone", surcharge.zone, "zone_bytes_max")
    check.whole(f"{path}amount_minor_units", surcharge.amount_minor_units, "money_minor_max")
    check.whole(f"{path}share_ppm", surcharge.share_ppm, "surcharge_share_ppm_max")


def _pickup(check: Checker, path: str, pickup: messages.Pickup) -> None:
    _name(check, f"{path}node", pickup.node, "node_bytes_max")
    _weekdays(check, f"{path}days", pickup.days)
    check.whole(f"{path}minute", pickup.minute, "minutes of a day", maximum=_MINUTES)
    if pickup.HasField("capacity"):
        check.quantity(f"{path}capacity", pickup.capacity, low=0)


def channel(check: Checker, path: str, resource: messages.Channel) -> None:
    """A channel."""
    _name(check, f"{path}channel", resource.channel, "channel_bytes_max")
    _display_name(check, path, resource.display_name)
    check.count(f"{path}nodes", len(resource.nodes), "nodes_max", required=False)
    check.count(
        f"{path}node_groups",
        len(resource.node_groups),
        "node_groups_per_query_max",
        required=False,
    )
    for field in ("nodes", "node_groups"):
        for index, name in enumerate(getattr(resource, field)[: limits.nodes_max]):
            _name(check, f"{path}{field}[{index}]", name, "node_bytes_max")
    if resource.HasField("delivery_time_max"):
        check.milliseconds(
            f"{path}delivery_time_max", resource.delivery_time_max, "delivery_time_ms_max"
        )


def routing_rules(check: Checker, path: str, resource: messages.RoutingRules) -> None:
    """A set of routing rules; what they say is routing's to check."""
    _name(check, f"{path}routing_rules", resource.routing_rules, "routing_rules_id_bytes_max")
    check.text(f"{path}yaml", resource.yaml, "routing_rules_bytes_max")
