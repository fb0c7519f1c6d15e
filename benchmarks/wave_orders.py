"""Waves to route, as a shop on a busy day has them, from a seed.

The network of `benchmarks.routing_orders`, fifty nodes of it. A catalogue whose sales follow a
power law; each item lies at a few nodes or at most of them, and what lies there is the wave's own
demand and a little more, so that a good node is soon sold out. Some nodes can pick less than their
share of the wave, and some pickups take less than theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.routing_orders import ZONE_KM, network_of
from engine.routing.problem import Problem
from engine.routing.waves.wave import Wave, WaveOrder

NODES = 50
SERVICES = 6
PARCELS_PER_ORDER = 2
LEAST_NODES = 8
SAFETY_UNITS = 2
UNROUTED_COST = 20_000
"""Cents: what an order of some 20 units is worth to the shop, several times what any plan costs."""


@dataclass(frozen=True)
class Scarcity:
    """What there is, over what the wave wants of it."""

    stock: float = 1.5
    """Units of each item."""
    capped_nodes: float = 0.25
    """Share of nodes that can pick 0.9 of the units that are their part; others three times."""
    capped_pickups: float = 0.25
    """Share of pickups that take a fifth of the parcels of a node; others all of them."""


def wave_of(
    orders: int,
    seed: int = 1,
    scarcity: Scarcity | None = None,
    *,
    other_orders: bool = False,
) -> Wave:
    """A wave of so many orders. `other_orders`: different ones of the same kind, the same stock."""
    bounds = scarcity or Scarcity()
    random = np.random.default_rng([seed, orders])
    network = network_of(random, NODES, SERVICES)
    items = max(20, orders)
    popularity = 1.0 / (1 + np.arange(items)) ** 0.8
    popularity /= popularity.sum()
    weight = np.round(np.clip(random.lognormal(5.8, 0.9, items), 20, 9000))
    volume = np.round(np.clip(random.lognormal(6.9, 0.9, items), 50, 60000))
    baskets = _baskets(random, orders, popularity)
    demand = np.zeros(items, np.int64)
    for chosen, quantity in baskets:
        demand[chosen] += quantity
    stock = _stock(random, network.is_store, demand, bounds.stock)
    part = stock.sum(axis=1) * demand.sum() / stock.sum()
    is_capped = random.random(NODES) < bounds.capped_nodes
    picks = np.ceil(part * np.where(is_capped, 0.9, 3.0)).astype(np.int64)
    parcels = part / demand.sum() * orders * PARCELS_PER_ORDER
    is_capped = random.random((NODES, SERVICES)) < bounds.capped_pickups
    slots = np.ceil(parcels[:, None] * np.where(is_capped, 0.2, 10.0)).astype(np.int64)
    shift = random.random((NODES, SERVICES)) < 0.15
    serves = random.random((NODES, SERVICES)) < np.where(np.arange(SERVICES) == 0, 1.0, 0.85)
    serves[:, 1] = True
    made = []
    if other_orders:
        random = np.random.default_rng([seed, orders, 1])
        baskets = _baskets(random, orders, popularity)
    for chosen, quantity in baskets:
        home = network.place_km[random.integers(0, NODES)] + random.normal(0, 60, 2)
        km = np.hypot(*(network.place_km - home).T)
        zone = np.searchsorted(ZONE_KM, km)[:, None].repeat(SERVICES, axis=1)
        made.append(
            WaveOrder(
                problem=Problem.of(
                    network.tariff,
                    quantity=quantity,
                    unit_weight_g=weight[chosen],
                    unit_volume_cm3=volume[chosen],
                    stock=stock[:, chosen],
                    pick_capacity=picks,
                    shipment_cost=network.shipment_cost,
                    unit_cost=network.unit_cost,
                    distance=np.round(km),
                    priority=network.priority,
                    zone=np.clip(zone + shift, 0, len(ZONE_KM)),
                    service_open=serves,
                    slots=slots,
                    split_cost=100,
                    shipments_max=6,
                    promised_day=5,
                    late_cost_per_day=150,
                ),
                node=np.arange(NODES),
                item=chosen,
                unrouted_cost=UNROUTED_COST,
            )
        )
    return Wave.of(made, stock=stock, pick_capacity=picks, slots=slots)


def _baskets(
    random: np.random.Generator, orders: int, popularity: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Items and quantities of each order."""
    made = []
    for _ in range(orders):
        lines = int(random.integers(1, 7))
        chosen = random.choice(len(popularity), lines, replace=False, p=popularity)
        made.append((chosen, random.geometric(0.7, lines)))
    return made


def _stock(
    random: np.random.Generator, is_store: np.ndarray, demand: np.ndarray, share: float
) -> np.ndarray:
    """(N, K) units: `share` of each item's demand, rounded up, at some of the nodes."""
    nodes, items = len(is_store), len(demand)
    spread = random.beta(1.2, 2.2, items)
    known = random.random((nodes, items)) < np.where(
        is_store[:, None], spread[None, :], np.minimum(1, spread + 0.35)[None, :]
    )
    # Whatever is sold lies at some nodes at least.
    known |= random.random((nodes, items)).argsort(axis=0) < LEAST_NODES
    level = known * random.gamma(1.0, np.where(is_store, 1.0, 4.0)[:, None], (nodes, items))
    stock = np.zeros((nodes, items), np.int64)
    for item in range(items):
        units = int(np.ceil(demand[item] * share)) + SAFETY_UNITS
        stock[:, item] = random.multinomial(units, level[:, item] / level[:, item].sum())
    return stock
