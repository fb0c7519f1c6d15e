"""Carrier services' rate tables as one tariff of `engine.routing`.

Surcharges that only items of a flag pay make a tariff of their own for orders with such items:
every parcel of such an order pays them. The distance behind a zone's CO2e is that of its lanes:
the middle between a lane's greatest distance and the next smaller one of the service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.routing import limits
from engine.routing.tariff import NO_RATE, Tariff

Integers = NDArray[np.int64]

DISTANCE_KM_DEFAULT: Final = 800
"""Of a zone whose lanes say no distance."""
_PPM: Final = 1_000_000


@dataclass(frozen=True)
class ServiceTable:
    """What routing needs of one carrier service besides its lanes and pickups."""

    document: Any
    zones: tuple[str, ...]

    @staticmethod
    def of(document: Any) -> ServiceTable:
        """Its zones are those with a rate, in the order of their first one."""
        return ServiceTable(document, tuple(dict.fromkeys(rate.zone for rate in document.rates)))

    @cached_property
    def weights(self) -> frozenset[int]:
        """Ends of its weight steps in grams; what routing can not carry at all is left out."""
        most = self.document.parcel_weight_grams_max or limits.weight_g_max
        steps = {min(rate.weight_grams_max, most) for rate in self.document.rates}
        return frozenset(step for step in steps if step <= limits.weight_g_max)

    @cached_property
    def surcharge_flags(self) -> frozenset[str]:
        """Item flags that cost extra."""
        return frozenset(one.flag for one in self.document.surcharges if one.flag)

    def distance_km(self, zone: str) -> int:
        """What is taken as a zone's distance."""
        ends = sorted({lane.distance_km_max for lane in self.document.lanes} - {0})
        middles = []
        for lane in self.document.lanes:
            if lane.zone == zone and lane.distance_km_max:
                place = ends.index(lane.distance_km_max)
                middles.append((lane.distance_km_max + (ends[place - 1] if place else 0)) // 2)
        return sum(middles) // len(middles) if middles else DISTANCE_KM_DEFAULT

    def rates(self, zone: str, steps: Integers, flags: frozenset[str]) -> Integers:
        """(K,) price of a parcel of each weight step, surcharges included, or NO_RATE."""
        most = self.document.parcel_weight_grams_max or limits.weight_g_max
        table = sorted(
            (min(rate.weight_grams_max, most), rate.price_minor_units)
            for rate in self.document.rates
            if rate.zone == zone
        )
        ends = np.array([weight for weight, _ in table], np.int64)
        prices = np.array([price for _, price in table] + [NO_RATE], np.int64)
        found = prices[np.searchsorted(ends, steps)]
        added, share = 0, 0
        for one in self.document.surcharges:
            if one.zone in ("", zone) and (not one.flag or one.flag in flags):
                added += one.amount_minor_units
                share += one.share_ppm
        dearer = found + added + (found * share + _PPM // 2) // _PPM
        return np.where(found < NO_RATE, np.minimum(dearer, limits.cost_max), NO_RATE)

    def co2e_g(self, zone: str, steps: Integers) -> Integers:
        """(K,) grams of CO2 equivalent of a parcel of each weight step."""
        document = self.document
        # Milligrams a kilogram and kilometre, times grams: divided by a million, grams again.
        road = document.co2e_milligrams_per_kg_km * self.distance_km(zone) * steps
        return document.co2e_grams_per_parcel + (road + _PPM // 2) // _PPM


def steps_of(tables: Sequence[ServiceTable]) -> Integers:
    """The weight steps of all services together, at least one."""
    weights = sorted(frozenset().union(*(table.weights for table in tables)))
    return np.array(weights or [limits.weight_g_max], np.int64)


def tariff_of(
    tables: Sequence[ServiceTable], flags: frozenset[str], co2e_price_per_tonne: int
) -> Tariff:
    """All services, and last the customer who collects: any weight, for nothing.

    Deliveries' days depend on calendars, so transit is in a problem's ready days instead.
    """
    steps = steps_of(tables)
    heaviest = limits.weight_g_max
    if len(steps) < limits.weight_steps_max and steps[-1] < heaviest:
        steps = np.append(steps, heaviest)
    zones = max([1, *(len(table.zones) for table in tables)])
    shape = (len(tables) + 1, zones, len(steps))
    rate = np.full(shape, NO_RATE, np.int64)
    co2e = np.zeros(shape, np.int64)
    for place, table in enumerate(tables):
        for number, zone in enumerate(table.zones):
            rate[place, number] = table.rates(zone, steps, flags)
            co2e[place, number] = table.co2e_g(zone, steps)
    co2e[rate == NO_RATE] = 0
    rate[-1, 0] = 0
    parcels = np.full(len(tables) + 1, limits.parcels_per_shipment_max, np.int64)
    divisors = [table.document.dimensional_divisor for table in tables]
    return Tariff.of(
        step_g=steps,
        rate=rate,
        transit_days=np.zeros(shape[:2], np.int64),
        co2e_g=co2e,
        co2e_price_per_tonne=co2e_price_per_tonne,
        volume_divisor=np.array([*divisors, 0], np.int64),
        parcels_max=parcels,
    )
