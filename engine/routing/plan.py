"""What the solvers answer: plans, what they cost term by term, and how sure it is.

A `Plan` is made from amounts alone: services, parcels and every term are worked out anew here, in
plain Python, from the problem's definition. A solver whose own total differs is wrong, and
`engine.routing.solver` says so rather than pass it on.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.routing.problem import (
    DAYS_LATE_MAX,
    LATE_COST_PER_DAY,
    PROMISED_DAY,
    SPLIT_COST,
    Problem,
)

_DEAR: Final = 1 << 60
"""Above any price."""


class Status(enum.StrEnum):
    """How much an answer says."""

    OPTIMAL = "OPTIMAL"
    """No plan is cheaper."""
    FEASIBLE = "FEASIBLE"
    """The work budget ended first: no plan is cheaper than `Answer.bound`."""
    HEURISTIC = "HEURISTIC"
    """A rule of thumb."""
    INFEASIBLE = "INFEASIBLE"
    """There is no plan; `Answer.refusal` says why."""
    UNDECIDED = "UNDECIDED"
    """The work budget ended before any plan was found."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One parcel: units by line, and the weight that is charged."""

    units: Mapping[int, int]
    charged_g: int
    rate: int
    co2e_g: int
    co2e_cost: int


@dataclass(frozen=True, slots=True)
class Shipment:
    """What one node sends by one service."""

    node: int
    service: int
    units: Mapping[int, int]
    parcels: tuple[Parcel, ...]
    days_late: int
    handling_cost: int
    opportunity_cost: int
    service_cost: int
    lateness_cost: int

    @property
    def cost(self) -> int:
        """All of it, in minor units."""
        return (
            self.handling_cost
            + self.opportunity_cost
            + self.service_cost
            + self.lateness_cost
            + sum(parcel.rate + parcel.co2e_cost for parcel in self.parcels)
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Shipments by node, and their cost together."""

    shipments: tuple[Shipment, ...]
    split_cost: int

    @property
    def cost(self) -> int:
        """All of it, in minor units."""
        return self.split_cost + sum(shipment.cost for shipment in self.shipments)

    @property
    def co2e_g(self) -> int:
        """Grams of CO2 equivalent."""
        return sum(parcel.co2e_g for one in self.shipments for parcel in one.parcels)

    def terms(self) -> dict[str, int]:
        """The cost by term; the values add up to it."""
        parcels = [parcel for shipment in self.shipments for parcel in shipment.parcels]
        return {
            "parcels": sum(parcel.rate for parcel in parcels),
            "co2e": sum(parcel.co2e_cost for parcel in parcels),
            "handling": sum(one.handling_cost for one in self.shipments),
            "opportunity": sum(one.opportunity_cost for one in self.shipments),
            "service": sum(one.service_cost for one in self.shipments),
            "lateness": sum(one.lateness_cost for one in self.shipments),
            "split": self.split_cost,
        }


def charged_weight_g(weight_g: int, volume_cm3: int, divisor: int) -> int:
    """The weight or the volume at the divisor, whichever is more, in grams."""
    return max(weight_g, -(-volume_cm3 * 1000 // divisor)) if divisor else weight_g


def pack(
    problem: Problem, node: int, service: int, units: Mapping[int, int]
) -> list[dict[int, int]]:
    """The parcels of a shipment, as `engine.routing.parcels` says; none where it cannot go."""
    a = problem.arrays
    zone = int(a.zone[node, service])
    divisor = int(a.volume_divisor[service])
    weights = {line: int(a.unit_weight_g[line]) for line in units}
    volumes = {line: int(a.unit_volume_cm3[line]) for line in units}

    def charged(content: Mapping[int, int]) -> int:
        return charged_weight_g(
            sum(count * weights[line] for line, count in content.items()),
            sum(count * volumes[line] for line, count in content.items()),
            divisor,
        )

    last = int(a.limit_step[service, zone])
    if last < 0:
        return []
    limit_g = int(a.step_g[last])
    if charged(units) <= limit_g:
        return [dict(units)]
    most = int(min(a.parcels_max[service], a.slots[node, service]))
    parcels: list[dict[int, int]] = []
    for line in sorted(units, key=lambda one: (-charged({one: 1}), one)):
        left = units[line]
        for content in parcels:
            while left and charged(content | {line: content.get(line, 0) + 1}) <= limit_g:
                content[line] = content.get(line, 0) + 1
                left -= 1
        while left:
            if len(parcels) == most or charged({line: 1}) > limit_g:
                return []
            content = {line: 1}
            left -= 1
            while left and charged({line: content[line] + 1}) <= limit_g:
                content[line] += 1
                left -= 1
            parcels.append(content)
    return parcels


def _parcel(problem: Problem, service: int, zone: int, content: Mapping[int, int]) -> Parcel:
    a, tariff = problem.arrays, problem.tariff
    charged_g = charged_weight_g(
        sum(count * int(a.unit_weight_g[line]) for line, count in content.items()),
        sum(count * int(a.unit_volume_cm3[line]) for line, count in content.items()),
        int(a.volume_divisor[service]),
    )
    step = int(np.searchsorted(a.step_g, charged_g))
    charge = int(a.charge[service, zone, step])
    # A heavier step may be the cheaper one: the last one with this charge is what is declared.
    while step + 1 < len(a.step_g) and a.charge[service, zone, step + 1] == charge:
        step += 1
    rate = int(tariff.rate[service, zone, step])
    return Parcel(content, charged_g, rate, int(tariff.co2e_g[service, zone, step]), charge - rate)


def shipment(
    problem: Problem, node: int, service: int, units: Mapping[int, int]
) -> Shipment | None:
    """One shipment with every term; None where the service cannot take it."""
    a = problem.arrays
    zone = int(a.zone[node, service])
    closed = not a.node_open[node] or not a.service_open[node, service] or zone < 0
    if closed or a.slots[node, service] < 1:
        return None
    if any(not int(a.carried_by[line]) >> service & 1 for line in units):
        return None
    late = max(
        0,
        int(a.ready_day[node, service] + a.transit_days[service, zone] - a.terms[PROMISED_DAY]),
    )
    if late > a.terms[DAYS_LATE_MAX]:
        return None
    contents = pack(problem, node, service, units)
    if not contents:
        return None
    count = sum(units.values())
    return Shipment(
        node=node,
        service=service,
        units=dict(units),
        parcels=tuple(_parcel(problem, service, zone, content) for content in contents),
        days_late=late,
        handling_cost=int(a.shipment_cost[node] + count * a.unit_cost[node]),
        opportunity_cost=sum(
            many * int(a.opportunity_cost[node, line]) for line, many in units.items()
        ),
        service_cost=int(a.service_cost[node, service]),
        lateness_cost=late * int(a.terms[LATE_COST_PER_DAY]),
    )


def _worth_pricing(problem: Problem, node: int, units: Mapping[int, int]) -> list[int]:
    """Services of which one is the cheapest for these units: the first of the cheapest that take
    them as one parcel, and those that would need several."""
    a = problem.arrays
    weight = sum(count * int(a.unit_weight_g[line]) for line, count in units.items())
    volume = sum(count * int(a.unit_volume_cm3[line]) for line, count in units.items())
    services = np.arange(problem.tariff.services)
    zone = a.zone[node]
    at = np.maximum(zone, 0)
    divisor = a.volume_divisor
    by_volume = -(-volume * 1000 // np.maximum(divisor, 1))
    charged = np.where(divisor > 0, np.maximum(weight, by_volume), weight)
    step = np.minimum(np.searchsorted(a.step_g, charged), len(a.step_g) - 1)
    late = a.ready_day[node] + a.transit_days[services, at] - a.terms[PROMISED_DAY]
    late = np.maximum(late, 0)
    is_open = (zone >= 0) & (a.service_open[node] == 1) & (a.slots[node] >= 1)
    is_open &= late <= a.terms[DAYS_LATE_MAX]
    whole = is_open & (charged <= a.step_g[np.maximum(a.limit_step[services, at], 0)])
    whole &= a.limit_step[services, at] >= 0
    price = a.charge[services, at, step] + a.service_cost[node]
    price = np.where(whole, price + late * a.terms[LATE_COST_PER_DAY], _DEAR)
    for line in units:
        price[(a.carried_by[line] >> services) & 1 == 0] = _DEAR
    found = np.flatnonzero(is_open & ~whole).tolist()
    best = int(np.argmin(price))
    if price[best] < _DEAR:
        found.append(best)
    return sorted(found)


def plan_of(problem: Problem, amounts: Mapping[int, Mapping[int, int]]) -> Plan | None:
    """The plan that ships `amounts` (units by line by node), each by its cheapest service.

    None where some shipment has no service. Ties go to the service that comes first.
    """
    shipments = []
    for node, units in sorted(amounts.items()):
        choices = [
            one
            for service in _worth_pricing(problem, node, units)
            if (one := shipment(problem, node, service, units)) is not None
        ]
        if not choices:
            return None
        shipments.append(min(choices, key=lambda one: one.cost))
    split = int(problem.arrays.terms[SPLIT_COST]) * (len(shipments) - 1)
    return Plan(tuple(shipments), split)
