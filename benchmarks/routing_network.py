"""The network of the benchmarks that route over the wire: nodes at random places, and services of
seven zones by distance and thirty weights."""

from __future__ import annotations

import numpy as np

from holdfast import Client
from holdfast.values import network

_ZONE_KM = (240, 480, 960, 1600, 2250, 2900, 0)
_WEEK = network.Calendar(tuple(network.Weekday)[1:])


def define(
    client: Client, random: np.random.Generator, codes: list[str], nodes: list[str], services: int
) -> None:
    """Nodes of these names at some of these ZIP codes, a carrier and its services."""
    client.nodes.upsert_all(
        network.Node(
            name,
            type=network.NodeType.STORE if number % 4 else network.NodeType.WAREHOUSE,
            place=network.Place("US", codes[int(random.integers(len(codes)))], time_zone="UTC"),
            calendar=_WEEK,
            parcel_handling_cost=network.Money(int(random.integers(30, 200)), "USD"),
            unit_handling_cost=network.Money(int(random.integers(5, 40)), "USD"),
            pick_capacity_per_day=1_000_000,
        )
        for number, name in enumerate(nodes)
    )
    client.carriers.upsert(network.Carrier("carrier"))
    for service in range(services):
        client.carrier_services.upsert(_service(service, nodes))


def _service(number: int, nodes: list[str]) -> network.CarrierService:
    """The service of this number: the higher, the dearer and faster; it calls at all nodes."""
    zones = [f"z{zone}" for zone in range(len(_ZONE_KM))]
    return network.CarrierService(
        f"service-{number}",
        "carrier",
        "USD",
        lanes=tuple(
            network.Lane(zone, distance_km_max=km) for zone, km in zip(zones, _ZONE_KM, strict=True)
        ),
        rates=tuple(
            network.Rate(name, kg * 1000, 400 + 250 * number + 80 * zone + kg * (20 + 8 * zone))
            for zone, name in enumerate(zones)
            for kg in range(1, 31)
        ),
        transits=tuple(
            network.Transit(name, 1, max(1, 1 + zone - number)) for zone, name in enumerate(zones)
        ),
        pickups=tuple(
            network.Pickup(node, 1020, capacity=1_000_000 if number < 2 else None) for node in nodes
        ),
        calendar=_WEEK,
        dimensional_divisor=5000,
        reliability_ppm=950_000 + 5_000 * number,
    )
