"""Random orders with every feature of a problem switched on now and then, from a seed.

`small` makes orders a brute force can enumerate; numbers are small too, so that equal costs, exact
limits and full capacities happen all the time rather than never.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.routing.problem import ALL_SERVICES, NO_GROUP, NO_LANE, Problem
from engine.routing.tariff import NO_RATE, Tariff


@dataclass(frozen=True)
class Size:
    """Greatest extents of an order."""

    lines: int
    nodes: int
    services: int
    quantity: int
    steps: int = 5
    zones: int = 3
    is_heavy: bool = True
    """Whether services may need several parcels."""


SMALL = Size(lines=3, nodes=4, services=3, quantity=3)
LINES_8 = Size(lines=8, nodes=12, services=4, quantity=3, is_heavy=False)


def tariff(random: np.random.Generator, size: Size) -> Tariff:
    services = int(random.integers(1, size.services + 1))
    zones = int(random.integers(1, size.zones + 1))
    steps = int(random.integers(1, size.steps + 1))
    step_g = np.sort(random.choice(np.arange(1, 16), steps, replace=False)) * 100
    rate = random.integers(100, 400, (services, zones, 1)) + np.cumsum(
        random.integers(0, 200, (services, zones, steps)), axis=2
    )
    if random.random() < 0.2:
        rate = random.integers(0, 500, rate.shape)  # a table that nobody checked
    for service in range(services):
        if random.random() < 0.4:
            rate[service, :, random.integers(0, steps + 1) :] = NO_RATE
        if random.random() < 0.2:
            rate[service, random.integers(0, zones), random.integers(0, steps + 1) :] = NO_RATE
    # The heaviest step of one service takes most orders whole.
    if random.random() < 0.7:
        step_g[-1] = 6000
        rate[0, :, -1] = np.minimum(rate[0, :, -1], 900)
    many = size.is_heavy and random.random() < 0.5
    return Tariff.of(
        step_g=step_g,
        rate=rate,
        transit_days=random.integers(1, 6, (services, zones)),
        co2e_g=random.integers(0, 900, rate.shape),
        co2e_price_per_tonne=int(random.choice([0, 0, 100_000])),
        volume_divisor=random.choice([0, 0, 4000, 5000], services),
        parcels_max=random.integers(1, 5, services) if many else np.ones(services, np.int64),
    )


def order(random: np.random.Generator, size: Size) -> Problem:
    table = tariff(random, size)
    services, zones = table.transit_days.shape
    lines = int(random.integers(1, size.lines + 1))
    nodes = int(random.integers(1, size.nodes + 1))
    stock = random.integers(1, size.quantity + 2, (nodes, lines))
    stock *= random.random((nodes, lines)) < random.choice([0.6, 0.8, 1.0])

    def sometimes(share: float, value: Any, otherwise: Any) -> Any:
        return value if random.random() < share else otherwise

    return Problem.of(
        table,
        quantity=random.integers(1, size.quantity + 1, lines),
        unit_weight_g=random.integers(0, 600, lines),
        unit_volume_cm3=random.integers(0, 3000, lines),
        carried_by=np.where(
            random.random(lines) < sometimes(0.3, 0.4, 0.0),
            random.integers(0, 1 << services, lines),
            ALL_SERVICES,
        ),
        group=np.where(
            random.random(lines) < sometimes(0.25, 0.7, 0.0),
            random.integers(0, lines, lines),
            NO_GROUP,
        ),
        stock=stock,
        node_open=random.random(nodes) < 0.95,
        pick_capacity=sometimes(
            0.4, random.integers(0, size.lines * size.quantity, nodes), 1_000_000
        ),
        shipment_cost=random.integers(0, 200, nodes),
        unit_cost=random.integers(0, 40, nodes),
        opportunity_cost=sometimes(0.3, random.integers(0, 150, (nodes, lines)), 0),
        distance=random.integers(1, 50, nodes),
        priority=random.integers(1, 4, nodes),
        zone=np.where(
            random.random((nodes, services)) < 0.95,
            random.integers(0, zones, (nodes, services)),
            NO_LANE,
        ),
        service_open=random.random((nodes, services)) < 0.95,
        service_cost=sometimes(0.3, random.integers(0, 100, (nodes, services)), 0),
        slots=sometimes(0.3, random.integers(0, 4, (nodes, services)), 64),
        ready_day=random.integers(0, 3, (nodes, services)),
        split_cost=int(random.integers(0, 150)),
        shipments_max=int(random.integers(1, 6)),
        ship_complete=bool(random.random() < 0.05),
        promised_day=int(random.integers(2, 9)),
        late_cost_per_day=int(random.integers(0, 120)),
        days_late_max=sometimes(0.5, int(random.integers(0, 4)), 1 << 30),
    )


def seeded(seed: int, size: Size) -> Problem:
    return order(np.random.default_rng(seed), size)
