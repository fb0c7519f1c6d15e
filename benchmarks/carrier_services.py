"""Carrier services for routing over the wire: seven zones by distance, thirty weights."""

from __future__ import annotations

from holdfast.values import network

_ZONE_KM = (240, 480, 960, 1600, 2250, 2900, 0)
WEEK = network.Calendar(tuple(network.Weekday)[1:])
"""Open on every day."""


def carrier_service(number: int, nodes: list[str]) -> network.CarrierService:
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
        calendar=WEEK,
        dimensional_divisor=5000,
        reliability_ppm=950_000 + 5_000 * number,
    )
