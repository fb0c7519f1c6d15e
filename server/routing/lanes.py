"""Which zone of each service leads from each node to a destination: lane tables, cached.

Lanes are looked up by the start of the destination's postal code, so that a service with ten
thousand of them costs as much as one with ten. What was found for a destination is kept; so is,
for destinations that the same lanes lead to, which zone a node is in by its distance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.routing.problem import NO_LANE
from server.routing.geography import Location, distances_km
from server.routing.layout import Fixed

Integers = NDArray[np.int64]

CACHE_BYTES_MAX: Final = 128 * 1024 * 1024
MATCHING_MAX: Final = 8192
RINGS_MAX: Final = 256
RING_CELLS_MAX: Final = 65_536
"""Of one of them: half a megabyte."""
_BEYOND: Final = 1 << 40
_Matching = tuple[tuple[tuple[str, str], ...], ...]
"""Of every service, the keys of the lanes that lead to a destination."""


class Destination(NamedTuple):
    """Where an order goes. `location` is None for one that is collected by an unknown customer."""

    country_code: str
    postal_code: str
    location: Location | None


class Lanes:
    """From every node to one destination."""

    def __init__(self, zone: Fixed, distance_km: Fixed) -> None:
        """`zone`: (N, S) zone numbers of each service, or NO_LANE. `distance_km`: (N,)"""
        self.zone = zone.array
        self.distance_km = distance_km.array
        self.fixed_zone = zone
        self.fixed_distance = distance_km


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
        self.longest = 0
        """Digits of a destination's postal code that its lanes look at."""
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
            self.longest = max(self.longest, len(key[1]))
            found = _Lane(place, masks[origin], lane.distance_km_max, zone)
            self._by_destination.setdefault(key, []).append(found)

    def matching(self, to: Destination) -> tuple[tuple[str, str], ...]:
        """Keys of the lanes that lead to a destination, as `zones_at` takes them."""
        return tuple(
            key
            for length in range(min(self.longest, len(to.postal_code)) + 1)
            for country in {to.country_code, ""}
            if (key := (country, to.postal_code[:length])) in self._by_destination
        )

    def farthest(self, matching: Sequence[tuple[str, str]]) -> set[int]:
        """Distances at which one of these lanes ends."""
        lanes = (lane for key in matching for lane in self._by_destination[key])
        return {lane.distance_km_max for lane in lanes if lane.distance_km_max}

    def zones_at(self, matching: Sequence[tuple[str, str]], distance_km: Integers) -> Integers:
        """(N,) the zone of the first of these lanes that matches each node, or NO_LANE."""
        lanes = sorted(lane for key in matching for lane in self._by_destination[key])
        zone = np.full(len(distance_km), NO_LANE, np.int64)
        missing = self._served.copy()
        for lane in lanes:
            here = missing & lane.origins
            if lane.distance_km_max:
                here &= distance_km <= lane.distance_km_max
            zone[here] = lane.zone
            missing &= ~here
            if not missing.any():
                break
        return zone


class _Rings(NamedTuple):
    """Zones by distance, for all destinations that the same lanes lead to."""

    ends: Integers
    """(E,) kilometres at which some lane ends, in order."""
    zone: Integers
    """(E + 1, N, S) by the ring that a node is in: up to each end, and beyond the last."""


_TOO_MANY: Final = _Rings(np.zeros(0, np.int64), np.zeros((0, 0, 0), np.int64))


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
        self._longest = max((service.longest for service in services), default=0)
        self._matching: dict[tuple[str, str], _Matching] = {}
        self._rings: OrderedDict[_Matching, _Rings | None] = OrderedDict()
        size = max(1, len(latitude) * (len(services) + 2) * 8)
        self._kept = max(16, CACHE_BYTES_MAX // size)

    def to(self, destination: Destination) -> Lanes:
        """The lanes to a destination. O(nodes x services) once, then a look-up."""
        found = self._found.get(destination)
        if found is not None:
            self._found.move_to_end(destination)
            return found
        self._find([destination])
        return self._found[destination]

    def learn(self, destinations: Iterable[Destination]) -> None:
        """Find the lanes to many destinations at once: a fraction of what each alone takes."""
        self._find([one for one in dict.fromkeys(destinations) if one not in self._found])

    def _find(self, destinations: Sequence[Destination]) -> None:
        alike: dict[_Matching, list[Destination]] = {}
        for one in destinations:
            alike.setdefault(self._lanes_to(one), []).append(one)
        for matching, some in alike.items():
            distance = self._distances(some)
            zone = self._zones(matching, distance)
            rows = zip(some, Fixed.rows_of(zone), Fixed.rows_of(distance), strict=True)
            for one, zones, kilometres in rows:
                self._found[one] = Lanes(zones, kilometres)
        while len(self._found) > max(self._kept, len(destinations)):
            self._found.popitem(last=False)

    def _lanes_to(self, destination: Destination) -> _Matching:
        start = (destination.country_code, destination.postal_code[: self._longest])
        matching = self._matching.get(start)
        if matching is None:
            if len(self._matching) >= MATCHING_MAX:
                self._matching.clear()
            matching = tuple(service.matching(destination) for service in self._services)
            self._matching[start] = matching
        return matching

    def _distances(self, destinations: Sequence[Destination]) -> Integers:
        """(D, N) kilometres; 0 to nowhere."""
        known = [one.location is not None for one in destinations]
        distance = np.zeros((len(destinations), len(self._latitude)), np.int64)
        here = np.array([one.location[:2] for one in destinations if one.location], np.float64)
        if len(here):
            north, east = here[:, :1], here[:, 1:]
            distance[known] = distances_km(self._latitude, self._longitude, north, east)
        return distance

    def _zones(self, matching: _Matching, distance_km: Integers) -> Integers:
        """(D, N, S) zones, `distance_km` (D, N). O(nodes x services x lanes) for the first
        destination that these lanes lead to; from the second on O(nodes x services)."""
        if matching not in self._rings:
            self._rings[matching] = None
            if len(self._rings) > RINGS_MAX:
                self._rings.popitem(last=False)
            if len(distance_km) == 1:
                return self._zones_at(matching, distance_km[0])[None]
        rings = self._rings[matching]
        if rings is None:
            rings = self._rings[matching] = self._made(matching)
        self._rings.move_to_end(matching)
        if rings is _TOO_MANY:
            return np.stack([self._zones_at(matching, one) for one in distance_km])
        ring = np.searchsorted(rings.ends, distance_km)
        return rings.zone[ring, np.arange(distance_km.shape[1])]

    def _made(self, matching: _Matching) -> _Rings:
        ends: set[int] = set()
        for service, keys in zip(self._services, matching, strict=True):
            ends |= service.farthest(keys)
        nodes = len(self._latitude)
        if (len(ends) + 1) * nodes * (len(self._services) + 1) > RING_CELLS_MAX:
            return _TOO_MANY
        inside = sorted(ends)
        return _Rings(
            np.array(inside, np.int64),
            np.stack([self._zones_at(matching, np.full(nodes, end)) for end in [*inside, _BEYOND]]),
        )

    def _zones_at(self, matching: _Matching, distance_km: Integers) -> Integers:
        # The last service is the customer who collects: every node is in its one zone.
        zone = np.zeros((len(distance_km), len(self._services) + 1), np.int64)
        for place, (service, keys) in enumerate(zip(self._services, matching, strict=True)):
            zone[:, place] = service.zones_at(keys, distance_km)
        return zone
