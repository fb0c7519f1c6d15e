"""What is simulated: one horizon of orders in the order they come, as a wave.

`replica` is the setting of Jasin and Sinha (2015): a shipment costs $8.759, an item $0.423 and
$0.000541 a mile. Ten warehouses over a map of 2,600 by 1,300 miles, thirty regions, sixty order
types of one to four items. Money is tenths of a cent.

`shop` is a week of the network of `benchmarks.wave_orders`: warehouses and stores, six carrier
services, rates like published ones. Money is cents.

Each horizon starts with its stock replenished. `stock` is what there is over what is expected to
be asked for.
"""

from __future__ import annotations

import numpy as np

from benchmarks.wave_orders import Scarcity, wave_of
from engine.routing.problem import Problem
from engine.routing.tariff import Tariff
from engine.routing.waves.wave import Wave, WaveOrder

NODES, REGIONS, ITEMS, TYPES = 10, 30, 20, 60
MILES = (2600.0, 1300.0)
SHIPMENT, UNIT, MILE = 8759, 423, 0.541
UNROUTED = 100_000
UNBOUNDED = 1 << 40


def replica(seed: int, *, orders: int, stock: float, forecast: bool = False) -> Wave:
    """One horizon. `forecast`: the same network and stock, other orders of the same kind."""
    random = np.random.default_rng([seed, 2015])
    node_at = random.uniform(0, MILES, (NODES, 2))
    region_at = random.uniform(0, MILES, (REGIONS, 2))
    miles = np.hypot(*(node_at[:, None] - region_at[None]).transpose(2, 0, 1))
    weight = random.dirichlet(np.full(REGIONS, 2.0))
    types = [random.choice(ITEMS, int(random.integers(1, 5)), replace=False) for _ in range(TYPES)]
    share = random.dirichlet(np.ones(TYPES))
    known = random.random((NODES, ITEMS)) < 0.6
    known[random.integers(0, NODES, ITEMS), np.arange(ITEMS)] = True
    demand = np.zeros(ITEMS)
    for chosen, part in zip(types, share, strict=True):
        demand[chosen] += orders * part
    # What each region is expected to ask for lies at the nearest node that knows the item.
    placed = np.zeros((NODES, ITEMS))
    for item in range(ITEMS):
        nearest = np.where(known[:, item, None], miles, np.inf).argmin(axis=0)
        np.add.at(placed[:, item], nearest, demand[item] * weight)
    there = np.ceil(placed * stock).astype(np.int64)
    tariff = Tariff.of(step_g=[1], rate=[[[0]]], transit_days=[[1]])
    coming = np.random.default_rng([seed, 1 if forecast else 0])
    made = []
    for _ in range(orders):
        chosen = types[coming.choice(TYPES, p=share)]
        region = coming.choice(REGIONS, p=weight)
        problem = Problem.of(
            tariff,
            quantity=np.ones(len(chosen), np.int64),
            unit_weight_g=np.zeros(len(chosen), np.int64),
            stock=there[:, chosen],
            zone=0,
            slots=UNBOUNDED,
            shipment_cost=SHIPMENT,
            unit_cost=np.round(UNIT + MILE * miles[:, region]),
            distance=np.round(miles[:, region]),
        )
        made.append(WaveOrder(problem, np.arange(NODES), chosen, UNROUTED))
    return Wave.of(
        made,
        stock=there,
        pick_capacity=np.full(NODES, UNBOUNDED),
        slots=np.full((NODES, 1), UNBOUNDED),
    )


def shop(seed: int, *, orders: int, stock: float, forecast: bool = False) -> Wave:
    """A week of a shop."""
    scarcity = Scarcity(stock=stock, capped_nodes=0.0, capped_pickups=0.0)
    return wave_of(orders, seed, scarcity, other_orders=forecast)
