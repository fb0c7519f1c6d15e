"""Orders to route, as a shop with a real network has them, from a seed.

A network lies on a plane: nodes in clusters around cities, each customer in one of them. Carriers
charge by zone, which is distance, and by weight, in the shape of published parcel tables: a base
by zone, a price for the first kilogram and a falling one for the next. Most SKUs lie at a few
nodes, some at most of them. Money is cents.

The four classes are those of docs/routing.md: lines x nodes x services.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.routing.problem import Problem
from engine.routing.tariff import NO_RATE, Integers, Tariff

PLANE_KM = 3000.0
CITIES = 25
STEPS_KG = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20, 23, 25, 28, 31.5)
ZONE_KM = (75, 200, 400, 700, 1100, 1600, 2200)
GROUND_KG, EXPRESS_KG, POST_KG = 31.5, 25.0, 2.0
CO2E_PRICE_PER_TONNE = 10_000


@dataclass(frozen=True)
class OrderClass:
    """Extents of the orders of a class."""

    name: str
    lines: tuple[int, int]
    nodes: int
    services: int


CLASSES = (
    OrderClass("10", (1, 3), 10, 4),
    OrderClass("30", (2, 5), 30, 4),
    OrderClass("80", (3, 8), 80, 6),
    OrderClass("200", (5, 10), 200, 8),
)


@dataclass(frozen=True)
class Network:
    """Nodes, and what it costs to ship from them."""

    place_km: np.ndarray
    shipment_cost: Integers
    unit_cost: Integers
    is_store: np.ndarray
    priority: Integers
    tariff: Tariff


def tariff_of(random: np.random.Generator, services: int) -> Tariff:
    """Post for small things, then ground and express carriers in turn, each its own prices."""
    zones = len(ZONE_KM) + 1
    step_kg = np.array(STEPS_KG)
    zone = np.arange(zones)[:, None]
    rate = np.zeros((services, zones, len(step_kg)), np.int64)
    transit = np.zeros((services, zones), np.int64)
    divisor = np.zeros(services, np.int64)
    emitted = np.zeros_like(rate)
    for service in range(services):
        is_post, is_express = service == 0, service % 3 == 2
        level = random.uniform(0.92, 1.12) * (1.9 if is_express else 0.75 if is_post else 1.0)
        base = level * (440 + 42 * zone)
        per_kg = level * (38 + 11 * zone) * random.uniform(0.85, 1.15)
        price = base + per_kg * step_kg[None, :] ** 0.92
        limit = POST_KG if is_post else EXPRESS_KG if is_express else GROUND_KG
        rate[service] = np.where(step_kg[None, :] <= limit, np.round(price), NO_RATE)
        transit[service] = 1 + zone[:, 0] // (4 if is_express else 2) + (2 if is_post else 0)
        divisor[service] = 0 if is_post else 5000
        kg_per_km = 0.0006 if is_express else 0.00015
        km = np.array([*ZONE_KM, PLANE_KM])[:, None]
        emitted[service] = np.round(180 + step_kg[None, :] * km * kg_per_km * 1000)
    return Tariff.of(
        step_g=np.round(step_kg * 1000).astype(np.int64),
        rate=rate,
        transit_days=transit,
        co2e_g=emitted,
        co2e_price_per_tonne=CO2E_PRICE_PER_TONNE,
        volume_divisor=divisor,
    )


def network_of(random: np.random.Generator, nodes: int, services: int) -> Network:
    """Warehouses are cheap to ship from and know most SKUs; stores are neither."""
    cities = random.uniform(0, PLANE_KM, (CITIES, 2))
    place = cities[random.integers(0, CITIES, nodes)] + random.normal(0, 40, (nodes, 2))
    is_store = np.arange(nodes) >= max(2, nodes // 10)
    return Network(
        place_km=place,
        shipment_cost=np.where(
            is_store, random.integers(110, 260, nodes), random.integers(60, 120, nodes)
        ),
        unit_cost=np.where(
            is_store, random.integers(40, 90, nodes), random.integers(15, 45, nodes)
        ),
        is_store=is_store,
        priority=random.permutation(nodes).astype(np.int64),
        tariff=tariff_of(random, services),
    )


def order_of(random: np.random.Generator, network: Network, lines: int) -> Problem:
    """One order of a customer near some city."""
    nodes = len(network.place_km)
    services = network.tariff.services
    home = network.place_km[random.integers(0, nodes)] + random.normal(0, 60, 2)
    km = np.hypot(*(network.place_km - home).T)
    zone = np.searchsorted(ZONE_KM, km)[:, None].repeat(services, axis=1)
    # Carriers do not draw their zones along the same lines.
    shift = random.random((nodes, services)) < 0.15
    zone = np.clip(zone + shift, 0, len(ZONE_KM))
    quantity = 1 + random.geometric(0.7, lines) - 1
    # A SKU lies at some share of the stores, from the long tail to what everyone has.
    spread = random.beta(1.2, 2.2, lines)
    share = np.where(network.is_store[:, None], spread[None, :], np.minimum(1, spread + 0.35))
    stock = (random.random((nodes, lines)) < share) * random.geometric(0.35, (nodes, lines))
    serves = random.random((nodes, services)) < np.where(np.arange(services) == 0, 1.0, 0.85)
    serves[:, 1] = True
    return Problem.of(
        network.tariff,
        quantity=quantity,
        unit_weight_g=np.round(np.clip(random.lognormal(5.8, 0.9, lines), 20, 9000)),
        unit_volume_cm3=np.round(np.clip(random.lognormal(6.9, 0.9, lines), 50, 60000)),
        stock=stock,
        pick_capacity=np.where(random.random(nodes) < 0.1, random.integers(0, 6, nodes), 500),
        shipment_cost=network.shipment_cost,
        unit_cost=network.unit_cost,
        opportunity_cost=np.round(random.gamma(0.4, 25.0, (nodes, lines))),
        distance=np.round(km),
        priority=network.priority,
        zone=zone,
        service_open=serves,
        split_cost=100,
        shipments_max=5,
        promised_day=5,
        late_cost_per_day=150,
    )


def orders(order_class: OrderClass, count: int, seed: int = 1) -> Iterator[Problem]:
    """Orders that can be shipped as far as stock goes, over one network."""
    random = np.random.default_rng([seed, order_class.nodes])
    network = network_of(random, order_class.nodes, order_class.services)
    least, most = order_class.lines
    made = 0
    while made < count:
        problem = order_of(random, network, int(random.integers(least, most + 1)))
        a = problem.arrays
        if (np.minimum(a.stock, a.pick_capacity[:, None]).sum(axis=0) >= a.quantity).all():
            made += 1
            yield problem
