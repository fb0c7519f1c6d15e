"""Orders of RoutingService: every field held against its limit and resolved to the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from engine import limits as ledger
from engine.routing import limits as solver
from engine.routing.solver import Strategy
from engine.state import State
from holdfast.v1 import routing_service_pb2 as messages
from holdfast.v1 import types_pb2
from server.routing import limits
from server.routing.geography import Location, locate
from server.routing.items import ItemFacts, Items
from server.routing.lanes import Destination
from server.routing.network import Network
from server.routing.orders import Order
from server.transport.codec.network import place as check_place
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.validation import Checker

STRATEGIES: Final = {
    messages.ROUTING_STRATEGY_EXACT: Strategy.EXACT.value,
    messages.ROUTING_STRATEGY_NEAREST: Strategy.NEAREST.value,
    messages.ROUTING_STRATEGY_PRIORITY: Strategy.PRIORITY.value,
    messages.ROUTING_STRATEGY_FEWEST_SPLITS: Strategy.FEWEST_SPLITS.value,
}
_TYPES: Final = {value: value for value in messages.FulfillmentType.values() if value}
_NOWHERE: Final = Destination("", "", None)


def strategy_of(check: Checker, value: int) -> Strategy:
    """How a plan is to be found."""
    if not value:
        return Strategy.EXACT
    return Strategy(check.enumerated("strategy", value, STRATEGIES, default=0))


def work_budget_of(check: Checker, value: int) -> int:
    """Steps of the search."""
    check.whole("work_budget", value, "work_budget_max", maximum=limits.work_budget_max)
    return value or solver.work_budget


def check_order(check: Checker, path: str, order: messages.RoutingOrder) -> None:
    """What can be said of an order without the network."""
    check.identifier(f"{path}reservation_id", order.reservation_id, "reservation_id_bytes_max")
    check.identifier(f"{path}owner", order.owner, "owner_bytes_max")
    check.identifier(f"{path}channel", order.channel, "channel_bytes_max")
    _check_lines(check, path, order.lines)
    if order.HasField("destination"):
        check_place(check, f"{path}destination.", order.destination)
    elif order.fulfillment_type != messages.FULFILLMENT_TYPE_PICKUP:
        check.required(f"{path}destination")
    if order.HasField("deliver_by_time"):
        field = f"{path}deliver_by_time"
        check.not_past(field, check.time_ms(field, order.deliver_by_time))
    if order.HasField("late_cost_per_day_minor_units"):
        check.whole(
            f"{path}late_cost_per_day_minor_units",
            order.late_cost_per_day_minor_units,
            "late_cost_per_day_max",
            maximum=limits.late_cost_per_day_max,
        )
    if order.days_late_max:
        check.whole(f"{path}days_late_max", order.days_late_max, "transit_days_max")
    if order.fulfillment_type:
        check.enumerated(f"{path}fulfillment_type", order.fulfillment_type, _TYPES, default=0)
    if order.pickup_node:
        check.identifier(f"{path}pickup_node", order.pickup_node, "node_bytes_max")
    if order.shipments_max:
        check.whole(
            f"{path}shipments_max",
            order.shipments_max,
            "shipments_per_plan_max",
            maximum=solver.shipments_per_plan_max,
        )
    if order.attributes:
        _check_attributes(check, path, order)
    check_exclusions(check, path, order.excluded_nodes, order.excluded_carrier_services)


def _check_lines(check: Checker, path: str, lines: Sequence[messages.RoutingLine]) -> None:
    most = solver.lines_per_order_max
    if not lines:
        check.required(f"{path}lines", "needs at least one entry")
    elif len(lines) > most:
        check.beyond(f"{path}lines", f"{len(lines)} entries", "lines_per_order_max", most)
    seen: set[str] = set()
    units = 0
    for number, line in enumerate(lines[:most]):
        here = f"{path}lines[{number}]."
        check.identifier(f"{here}sku", line.sku, "sku_bytes_max", required=True)
        check.whole(
            f"{here}quantity",
            line.quantity,
            "order_quantity_max",
            low=1,
            maximum=limits.order_quantity_max,
        )
        units += max(0, line.quantity)
        if line.keep_together_group:
            check.identifier(
                f"{here}keep_together_group", line.keep_together_group, "flag_bytes_max"
            )
        if line.sku in seen:
            check.invalid(f"{here}sku", line.sku, "is on two lines: put its units on one")
        seen.add(line.sku)
    if units > limits.order_quantity_max:
        check.beyond(f"{path}lines", units, "order_quantity_max", limits.order_quantity_max)


def _check_attributes(check: Checker, path: str, order: messages.RoutingOrder) -> None:
    field = f"{path}attributes"
    if len(order.attributes) > limits.attributes_per_order_max:
        check.beyond(
            field,
            f"{len(order.attributes)} entries",
            "attributes_per_order_max",
            limits.attributes_per_order_max,
        )
    for name, value in sorted(order.attributes.items()):
        for text in (name, value):
            if len(text.encode()) > limits.attribute_bytes_max:
                check.beyond(field, text, "attribute_bytes_max", limits.attribute_bytes_max)


def check_exclusions(
    check: Checker, path: str, nodes: Sequence[str], services: Sequence[str]
) -> None:
    """Names of nodes and services to be left out."""
    if not nodes and not services:
        return
    check.count(f"{path}excluded_nodes", len(nodes), "node_group_nodes_max", required=False)
    if len(services) > limits.excluded_services_max:
        check.beyond(
            f"{path}excluded_carrier_services",
            f"{len(services)} entries",
            "excluded_services_max",
            limits.excluded_services_max,
        )
    for field, names, limit in (
        ("excluded_nodes", nodes, "node_bytes_max"),
        ("excluded_carrier_services", services, "carrier_bytes_max"),
    ):
        for index, name in enumerate(names):
            check.identifier(f"{path}{field}[{index}]", name, limit, required=True)


def order_of(
    order: messages.RoutingOrder,
    network: Network,
    items: Items,
    state: State,
    path: str = "order.",
) -> Order:
    """A checked order on a network. Raises Refused for names that are not known."""
    skus, quantities, groups = [], [], []
    facts: list[ItemFacts] = []
    for number, line in enumerate(order.lines):
        sku = line.sku
        found = items.get(state, sku)
        if found is None:
            raise missing(Fault.SKU_NOT_FOUND, "sku", sku, f"{path}lines[{number}].sku")
        skus.append(sku)
        facts.append(found)
        quantities.append(line.quantity)
        groups.append(line.keep_together_group)
    if order.channel and order.channel not in network.channels:
        raise missing(Fault.CHANNEL_NOT_FOUND, "channel", order.channel, f"{path}channel")
    is_pickup = order.fulfillment_type == messages.FULFILLMENT_TYPE_PICKUP
    pickup_node = None
    if order.pickup_node:
        pickup_node = _pickup_node(order, network, path, is_pickup)
    destination, time_zone = located(order.destination, path, is_pickup=is_pickup)
    return Order(
        skus=skus,
        items=facts,
        quantities=quantities,
        groups=groups if any(groups) else (),
        channel=order.channel,
        destination=destination,
        time_zone=time_zone,
        deliver_by_ms=(
            order.deliver_by_time.ToMilliseconds() if order.HasField("deliver_by_time") else None
        ),
        late_cost_per_day=(
            order.late_cost_per_day_minor_units
            if order.HasField("late_cost_per_day_minor_units")
            else None
        ),
        days_late_max=order.days_late_max,
        is_pickup=is_pickup,
        pickup_node=pickup_node,
        ship_complete=order.ship_complete,
        shipments_max=order.shipments_max,
        attributes=order.attributes,
        excluded_nodes=_numbers(
            order.excluded_nodes,
            network.node_number,
            Fault.NODE_NOT_FOUND,
            "node",
            f"{path}excluded_nodes",
        ),
        excluded_services=_numbers(
            order.excluded_carrier_services,
            network.service_number,
            Fault.CARRIER_SERVICE_NOT_FOUND,
            "carrier_service",
            f"{path}excluded_carrier_services",
        ),
    )


def _numbers(
    names: Sequence[str], known: Mapping[str, int], fault: Fault, key: str, path: str
) -> list[int]:
    """Raises Refused for a name that is not known."""
    found = []
    for index, name in enumerate(names):
        number = known.get(name)
        if number is None:
            raise missing(fault, key, name, f"{path}[{index}]")
        found.append(number)
    return found


def _pickup_node(order: messages.RoutingOrder, network: Network, path: str, is_pickup: bool) -> int:
    field = f"{path}pickup_node"
    number = network.node_number.get(order.pickup_node)
    if number is None:
        raise missing(Fault.NODE_NOT_FOUND, "node", order.pickup_node, field)
    check = Checker(0)
    if not is_pickup:
        check.invalid(field, order.pickup_node, "is only for fulfillment_type PICKUP")
    elif not network.collects[number]:
        check.invalid(field, order.pickup_node, "is no node where customers collect")
    check.refuse()
    return number


def located(
    place: types_pb2.Place, path: str, *, is_pickup: bool = False
) -> tuple[Destination, str]:
    """A destination and its time zone. `path`: of the order. Raises Refused."""
    if place.HasField("latitude"):
        location = Location(place.latitude, place.longitude, place.time_zone)
    else:
        found = locate(place.country_code, place.postal_code)
        if found is None:
            if is_pickup and not place.postal_code:
                return _NOWHERE, place.time_zone
            check = Checker(0)
            check.invalid(
                f"{path}destination.postal_code",
                place.postal_code,
                f"is no postal code that is known in {place.country_code or 'US'}: "
                "give latitude and longitude",
            )
            check.refuse()
            raise AssertionError("a violation refuses")
        location = found
    time_zone = place.time_zone or location.time_zone
    country = place.country_code or "US"
    return Destination(country, place.postal_code, location), time_zone


def missing(fault: Fault, key: str, name: str, field: str) -> Refused:
    """A name that is not known."""
    return Refused(
        refusal(
            fault,
            Case(
                message=f"{field}: no such {key.replace('_', ' ')}: {name!r}",
                metadata={key: name, "field": field},
            ),
        )
    )


assert solver.lines_per_order_max <= ledger.lines_per_reservation_max
