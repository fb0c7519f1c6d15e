"""A small network that a human can price: three nodes, two carrier services, two items.

Zones by distance: near (up to 300 km), middle (up to 1,500 km), far. One minor unit is a cent.

| service | near | middle | far | days |
|---|---|---|---|---|
| ground | 500 | 800 | 1200 | 1, 3, 5 |
| air    | 1500 | 1800 | 2200 | 1, 1, 2 |

Each step of 1 kg (up to 10) adds 100. Handling: 50 a shipment and 10 a unit in the warehouses,
200 and 20 in the store.
"""

from __future__ import annotations

from typing import Any

from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.v1 import types_pb2
from tests.wire.conftest import Wire

RATES = {"ground": (500, 800, 1200), "air": (1500, 1800, 2200)}
DAYS = {"ground": (1, 3, 5), "air": (1, 1, 2)}
ZONES = ("near", "middle", "far")
STEPS_KG = 10
# Newark, Chicago, and a store in Manhattan.
NODES = {
    "newark": ("07102", network.NODE_TYPE_WAREHOUSE, 50, 10),
    "chicago": ("60601", network.NODE_TYPE_WAREHOUSE, 50, 10),
    "manhattan": ("10001", network.NODE_TYPE_STORE, 200, 20),
}
ITEMS = {"mug": 900, "rug": 2500}


def money(minor_units: int) -> types_pb2.Money:
    return types_pb2.Money(minor_units=minor_units, currency_code="USD")


def node(name: str, **changes: Any) -> network.Node:
    zip_code, kind, parcel, unit = NODES[name]
    made = network.Node(
        node=name,
        type=kind,
        place=types_pb2.Place(
            country_code="US", postal_code=zip_code, time_zone="America/New_York"
        ),
        calendar=network.Calendar(working_days=list(range(1, 8))),
        parcel_handling_cost=money(parcel),
        unit_handling_cost=money(unit),
        pickup=name == "manhattan",
    )
    for field, value in changes.items():
        if isinstance(value, (list, int, str)):
            setattr(made, field, value)
        else:
            getattr(made, field).CopyFrom(value)
    return made


def service(name: str, **changes: Any) -> network.CarrierService:
    made = network.CarrierService(
        carrier_service=name,
        carrier="post",
        currency_code="USD",
        lanes=[
            network.Lane(zone="near", distance_km_max=300),
            network.Lane(zone="middle", distance_km_max=1500),
            network.Lane(zone="far"),
        ],
        rates=[
            network.Rate(zone=zone, weight_grams_max=kg * 1000, price_minor_units=base + 100 * kg)
            for zone, base in zip(ZONES, RATES[name], strict=True)
            for kg in range(1, STEPS_KG + 1)
        ],
        transits=[
            network.Transit(zone=zone, days_min=days, days_max=days)
            for zone, days in zip(ZONES, DAYS[name], strict=True)
        ],
        pickups=[network.Pickup(node=place, minute=17 * 60) for place in NODES],
        calendar=network.Calendar(working_days=list(range(1, 8))),
        co2e_grams_per_parcel=200 if name == "ground" else 2000,
    )
    for field, value in changes.items():
        if isinstance(value, list):
            del getattr(made, field)[:]
            getattr(made, field).extend(value)
        else:
            setattr(made, field, value)
    return made


async def build(wire: Wire) -> None:
    """The network, with 5 of each item everywhere."""
    for name in NODES:
        await wire.network.UpsertNode(network.UpsertNodeRequest(node=node(name)))
    await wire.network.UpsertCarrier(
        network.UpsertCarrierRequest(carrier=network.Carrier(carrier="post"))
    )
    for name in RATES:
        await upsert(wire, service(name))
    for sku, grams in ITEMS.items():
        await wire.items(sku, weight_grams=grams, value=money(2000))
        for place in NODES:
            await wire.stock(sku, place, 5)


async def upsert(wire: Wire, made: network.CarrierService) -> None:
    await wire.network.UpsertCarrierService(
        network.UpsertCarrierServiceRequest(carrier_service=made)
    )


async def rules(wire: Wire, yaml: str, name: str = "rules") -> Any:
    return await wire.network.UpsertRoutingRules(
        network.UpsertRoutingRulesRequest(
            routing_rules=network.RoutingRules(routing_rules=name, yaml=yaml)
        )
    )


def order(*lines: tuple[str, int], zip_code: str = "10002", **fields: Any) -> routing.RoutingOrder:
    """To the lower east side of Manhattan unless told otherwise."""
    made = routing.RoutingOrder(**fields)
    made.destination.country_code = "US"
    made.destination.postal_code = zip_code
    for sku, quantity in lines:
        made.lines.add(sku=sku, quantity=quantity)
    return made


async def plan(wire: Wire, asked: routing.RoutingOrder, **fields: Any) -> Any:
    return await wire.routing.PlanFulfillment(routing.PlanFulfillmentRequest(order=asked, **fields))
