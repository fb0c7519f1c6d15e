"""Small waves with every feature on, and the least that any answer to one can cost.

The reference lists every plan of every order, with every choice of services, as
`tests.routing.brute` does, and tries all combinations of them: nothing of it is shared with the
solver of waves.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from engine.routing.plan import shipment
from engine.routing.problem import (
    ALL_SERVICES,
    NEVER_TOO_LATE,
    NO_GROUP,
    NO_LANE,
    SPLIT_COST,
    Problem,
)
from engine.routing.tariff import NO_RATE
from engine.routing.waves.wave import Wave, WaveOrder
from tests.routing.brute import Amounts, is_allowed, splits
from tests.routing.instances import Size, tariff

TINY = Size(lines=2, nodes=3, services=2, quantity=2)
Taken = Counter[int]
"""How much of each resource, numbered as `engine.routing.waves.wave` says."""


def wave(seed: int, size: Size = TINY, orders_most: int = 4) -> Wave:
    """A few orders over two or three nodes, with too little of most things."""
    random = np.random.default_rng(seed)
    usual = tariff(random, size)
    # Orders with an item that pays a surcharge have rates of their own.
    dearer = replace(usual, rate=_raised(usual.rate), charge=_raised(usual.charge))
    is_dear = np.random.default_rng([seed, 1])
    dates = np.random.default_rng([seed, 2])
    services, zones = usual.transit_days.shape
    nodes, items = int(random.integers(2, size.nodes + 1)), int(random.integers(1, 4))
    stock = random.integers(0, 4, (nodes, items))
    made = []
    for _ in range(int(random.integers(2, orders_most + 1))):
        table = dearer if is_dear.random() < 0.3 else usual
        lines = int(random.integers(1, min(size.lines, items) + 1))
        chosen = random.permutation(items)[:lines]
        known = random.permutation(nodes)[: int(random.integers(1, nodes + 1))]
        there = (len(known), services)
        made.append(
            WaveOrder(
                Problem.of(
                    table,
                    quantity=random.integers(1, size.quantity + 1, lines),
                    unit_weight_g=random.integers(0, 900, lines),
                    unit_volume_cm3=random.integers(0, 3000, lines),
                    carried_by=np.where(random.random(lines) < 0.2, 1, ALL_SERVICES),
                    group=np.where(random.random(lines) < 0.2, 0, NO_GROUP),
                    stock=stock[np.ix_(known, chosen)] + random.integers(-1, 2),
                    pick_capacity=random.integers(1, 5, len(known)),
                    shipment_cost=random.integers(0, 200, len(known)),
                    unit_cost=random.integers(0, 40, len(known)),
                    opportunity_cost=random.integers(0, 30, (len(known), lines)),
                    zone=np.where(
                        random.random(there) < 0.95, random.integers(0, zones, there), NO_LANE
                    ),
                    slots=random.integers(0, 4, there),
                    service_cost=random.integers(0, 60, there),
                    split_cost=int(random.integers(0, 150)),
                    shipments_max=int(random.integers(1, 4)),
                    ship_complete=bool(random.random() < 0.1),
                    **_dated(dates, there),
                )
                if (stock[np.ix_(known, chosen)] > 0).all()
                else _plain(table, random, stock, known, chosen, size),
                node=known,
                item=chosen,
                unrouted_cost=int(random.integers(500, 5000)),
            )
        )
    return Wave.of(
        made,
        stock=stock,
        pick_capacity=random.integers(0, 8, nodes),
        slots=random.integers(0, 5, (nodes, services)),
    )


def _dated(random: np.random.Generator, there: tuple[int, int]) -> dict[str, Any]:
    """When things would arrive, and in half of the orders how late they may."""
    return {
        "ready_day": random.integers(0, 3, there),
        "promised_day": int(random.integers(3, 8)),
        "late_cost_per_day": int(random.integers(0, 60)),
        "days_late_max": int(random.choice([0, 1, NEVER_TOO_LATE, NEVER_TOO_LATE])),
    }


def _raised(money: np.ndarray) -> np.ndarray:
    return np.where(money < NO_RATE, money + 70, money)


def _plain(
    table: object,
    random: np.random.Generator,
    stock: np.ndarray,
    known: np.ndarray,
    chosen: np.ndarray,
    size: Size,
) -> Problem:
    return Problem.of(
        table,  # type: ignore[arg-type]
        quantity=random.integers(1, size.quantity + 1, len(chosen)),
        unit_weight_g=random.integers(0, 900, len(chosen)),
        stock=stock[np.ix_(known, chosen)],
        zone=0,
        split_cost=50,
    )


def plans(wave: Wave, order: int) -> list[tuple[int, Taken]]:
    """Every plan of an order: its cost, and what it takes. Of equal takings the cheapest."""
    one = wave.orders[order]
    problem, nodes, items = one.problem, wave.nodes, wave.items
    best: dict[frozenset[tuple[int, int]], int] = {}
    choices = [list(splits(problem, line)) for line in range(problem.lines)]
    for choice in itertools.product(*choices):
        amounts: Amounts = {}
        for line, units in enumerate(choice):
            for node, many in units.items():
                amounts.setdefault(node, {})[line] = many
        if not is_allowed(problem, amounts):
            continue
        sent = [
            [
                found
                for service in range(wave.services)
                if (found := shipment(problem, node, service, units)) is not None
            ]
            for node, units in amounts.items()
        ]
        for shipments in itertools.product(*sent):
            taken: Taken = Counter()
            for each in shipments:
                node = int(one.node[each.node])
                for line, many in each.units.items():
                    taken[node * items + int(one.item[line])] += many
                    taken[nodes * items + node] += many
                slot = nodes * (items + 1) + node * wave.services + each.service
                taken[slot] += len(each.parcels)
            split = int(problem.arrays.terms[SPLIT_COST]) * (len(shipments) - 1)
            cost = split + sum(each.cost for each in shipments)
            key = frozenset(taken.items())
            best[key] = min(cost, best.get(key, cost))
    return sorted(((cost, Counter(dict(key))) for key, cost in best.items()), key=lambda x: x[0])


def least_cost(wave: Wave) -> int:
    """Of all answers, by trying them."""
    listed = [plans(wave, order) for order in range(len(wave.orders))]
    capacity = wave.capacity
    unrouted = [order.unrouted_cost for order in wave.orders]
    alone = [min([cost for cost, _ in found] + [unrouted[at]]) for at, found in enumerate(listed)]
    best = sum(unrouted)

    def go(order: int, cost: int, taken: Taken) -> None:
        nonlocal best
        if cost + sum(alone[order:]) >= best:
            return
        if order == len(listed):
            best = cost
            return
        for more, takes in listed[order]:
            if all(taken[at] + many <= capacity[at] for at, many in takes.items()):
                go(order + 1, cost + more, taken + takes)
        go(order + 1, cost + unrouted[order], taken)

    go(0, 0, Counter())
    return best
