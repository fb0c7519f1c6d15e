"""Many orders that share stock, pick capacity and pickups: one problem, as arrays.

Owns: `WaveOrder`, `Wave`.

A wave's answer gives each order a plan of its own problem or leaves it unrouted. The cost is that
of all plans, and `unrouted_cost` for each order without one. What the plans take together is held
by three kinds of resource, numbered in one row:

    stock of an item at a node      node x items + item
    units that a node can pick      nodes x items + node
    parcels that a pickup takes     nodes x items + nodes + node x services + service

An order's problem limits what that order alone may take (a channel's share of a node, say); the
wave limits all of them together.

Invariants (`Wave.of` refuses anything else)
1. All orders are posed with tariffs of the same services; their rates may differ, as those of
   orders that pay a surcharge do.
2. An order names an item, and a node, at most once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.routing import limits
from engine.routing.errors import ProblemError, whole
from engine.routing.problem import Problem
from engine.routing.tariff import Integers


@dataclass(frozen=True, slots=True)
class WaveOrder:
    """One order of a wave, and what its nodes and lines are called there."""

    problem: Problem
    node: Integers
    """(N,) the wave's node of each of the problem's."""
    item: Integers
    """(L,) the wave's item of each line."""
    unrouted_cost: int
    """What it costs to leave the order without a plan."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Orders over N nodes, K items and S services."""

    services: int
    orders: Sequence[WaveOrder]
    stock: Integers
    """(N, K) units."""
    pick_capacity: Integers
    """(N,) units a node can still pick."""
    slots: Integers
    """(N, S) parcels that a service's pickup still takes at a node."""

    @staticmethod
    def of(
        orders: Sequence[WaveOrder],
        *,
        stock: Any,
        pick_capacity: Any,
        slots: Any,
    ) -> Wave:
        """Check and keep. Raises ProblemError naming the field and place of what is wrong."""
        most = limits.orders_per_wave_max
        if not 1 <= len(orders) <= most:
            raise ProblemError(
                "orders", f"has {len(orders)} of what orders_per_wave_max {most} allows"
            )
        services = orders[0].problem.tariff.services
        there = whole("stock", stock, dimensions=2)
        nodes, items = there.shape
        if not 1 <= there.size <= limits.positions_per_wave_max:
            most = limits.positions_per_wave_max
            raise ProblemError(
                "stock", f"has {there.size} of what positions_per_wave_max {most} allows"
            )
        checked = []
        for place, order in enumerate(orders):
            if order.problem.tariff.services != services:
                raise ProblemError("orders", f"has an order with other services at {place}")
            checked.append(
                WaveOrder(
                    order.problem,
                    _places(f"orders[{place}].node", order.node, order.problem.nodes, nodes),
                    _places(f"orders[{place}].item", order.item, order.problem.lines, items),
                    int(
                        whole(
                            f"orders[{place}].unrouted_cost",
                            order.unrouted_cost,
                            dimensions=0,
                            most=limits.cost_max,
                        )
                    ),
                )
            )
        return Wave(
            services=services,
            orders=tuple(checked),
            stock=there,
            pick_capacity=whole("pick_capacity", pick_capacity, shape=(nodes,)),
            slots=whole("slots", slots, shape=(nodes, services)),
        )

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return int(self.stock.shape[0])

    @property
    def items(self) -> int:
        """How many items there are."""
        return int(self.stock.shape[1])

    @property
    def capacity(self) -> Integers:
        """(R,) how much there is of each resource, in the order of the module's table."""
        return np.concatenate([self.stock.ravel(), self.pick_capacity, self.slots.ravel()])


def _places(field: str, values: Any, count: int, most: int) -> Integers:
    places = whole(field, values, shape=(count,), most=most - 1)
    if len(np.unique(places)) < count:
        raise ProblemError(field, "names one place twice")
    return places
