"""Which zone of each service leads from each node to a destination: lane tables, cached.

Lanes are looked up by the start of the destination's postal code, so that a service with ten
thousand of them costs as much as one with ten. What was found for a destination is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.routing.problem import NO_LANE
from server.routing.geography import Location, distances_km
from server.routing.layout import Fixed

Integers = NDArray[np.int64]

CACHE_BYTES_MAX: Final = 128 * 1024 * 1024


class Destination(NamedTuple):
    """Where an order goes. `location` is None for one that is collected by an unknown customer."""

    country_code: str
    postal_code: str
    location: Location | None


class Lanes:
    """From every node to one destination."""

    def __init__(self, zone: Integers, distance_km: Integers) -> None:
        """`zone`: (N, S) zone numbers of each service, or NO_LANE. `distance_km`: (N,)"""
        self.zone = zone
        self.distance_km = distance_km
        self.fixed_zone = Fixed.of(zone)
        self.fixed_distance = Fixed.of(distance_km)


class _Lane(NamedTuple):
    place: int
    origins: NDArray[np.bool_]
    distance_km_max: int
    zone: int


class ServiceLanes:
    """The lanes of one service over the nodes of a network version."""

    def __init__(
        self,
        lanes: Sequence[Any],
        zones: dict[str, int],
        countries: Sequence[str],
        postal_codes: Sequence[str],
        served: NDArray[np.bool_],
    ) -> None:
        """`served`: (N,) nodes where the service calls. `zones`: its zones' numbers."""
        self._served = served
        self._by_destination: dict[tuple[str, str], list[_Lane]] = {}
        self._longest = 0
        masks: dict[tuple[str, str], NDArray[np.bool_]] = {}
        for place, lane in enumerate(lanes):
            origin = (lane.origin_country_code, lane.origin_postal_prefix)
            if origin not in masks:
                masks[origin] = np.array(
                    [
                        (not origin[0] or country == origin[0]) and postal.startswith(origin[1])
                        for country, postal in zip(countries, postal_codes, strict=True)
                    ],
                    np.bool_,
                )
            zone = zones.get(lane.zone, NO_LANE)
            key = (lane.destination_country_code, lane.destination_postal_prefix)
            self._longest = max(self._longest, len(key[1]))
            found = _Lane(place, masks[origin], lane.distance_km_max, zone)
            self._by_destination.setdefault(key, []).append(found)

    def zones_to(self, to: Destination, distance_km: Integers) -> Integers:
        """(N,) the zone of the first lane that matches each node, or NO_LANE."""
        matching: list[_Lane] = []
        for length in range(min(self._longest, len(to.postal_code)) + 1):
            prefix = to.postal_code[:length]
            for country in {to.country_code, ""}:
                matching += self._by_destination.get((country, prefix), ())
        matching.sort()
        zone = np.full(len(distance_km), NO_LANE, np.int64)
        missing = self._served.copy()
        for lane in matching:
            here = missing & lane.origins
            if lane.distance_km_max:
                here &= distance_km <= lane.distance_km_max
            zone[here] = lane.zone
            missing &= ~here
            if not missing.any():
                break
        return zone


class LaneTables:
    """All services' lanes, and what was found for destinations so far."""

    def __init__(
        self,
        services: Sequence[ServiceLanes],
        latitude: NDArray[np.float64],
        longitude: NDArray[np.float64],
    ) -> None:
        self._services = services
        self._latitude = latitude
        self._longitude = longitude
        self._found: OrderedDict[Destination, Lanes] = OrderedDict()
        size = max(1, len(latitude) * (len(services) + 2) * 8)
        self._kept = max(16, CACHE_BYTES_MAX // size)

    def to(self, destination: Destination) -> Lanes:
        """The lanes to a destination. O(nodes x services) once, then a look-up."""
        found = self._found.get(destination)
        if found is not None:
            self._found.move_to_end(destination)
            return found
        nodes = len(self._latitude)
        if destination.location is None:
            distance = np.zeros(nodes, np.int64)
        else:
            distance = distances_km(self._latitude, self._longitude, destination.location)
        # The last service is the customer who collects: every node is in its one zone.
        zone = np.zeros((nodes, len(self._services) + 1), np.int64)
        for place, service in enumerate(self._services):
            zone[:, place] = service.zones_to(destination, distance)
        found = self._found[destination] = Lanes(zone, distance)
        if len(self._found) > self._kept:
            self._found.popitem(last=False)
        return found
