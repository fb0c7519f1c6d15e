"""Policies that route a horizon, and what came of it.

A policy sees an order when it comes, and what is left of the stock. `windows` hold orders back and
route them together as waves. The clairvoyant knows all orders in advance: its bound is that of the
horizon routed as one wave, below which no policy can be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from engine.routing.plan import Plan
from engine.routing.prices.decide import plain_cost, with_opportunity_cost
from engine.routing.prices.duals.prices import DualPrices
from engine.routing.prices.pacing import PacedPrices
from engine.routing.solver import Solver, Strategy
from engine.routing.tariff import Integers
from engine.routing.waves.answer import WaveAnswer, problem_beside
from engine.routing.waves.budget import WorkBudget
from engine.routing.waves.memory import FINENESS
from engine.routing.waves.solver import solve_wave
from engine.routing.waves.wave import Wave

ORDER_MS = 1000


@dataclass
class Outcome:
    """Of one policy over one horizon."""

    cost: int = 0
    shipments: int = 0
    split: int = 0
    late: int = 0
    unrouted: int = 0
    co2e_g: int = 0
    orders: int = 0

    def add(self, plan: Plan | None, cost: int) -> None:
        """One order's plan, or none, and what it costs."""
        self.orders += 1
        self.cost += cost
        if plan is None:
            self.unrouted += 1
            return
        self.shipments += len(plan.shipments)
        self.split += len(plan.shipments) > 1
        self.late += any(sent.days_late > 0 for sent in plan.shipments)
        self.co2e_g += plan.co2e_g


@dataclass
class Stock:
    """What is left of a wave's resources while a horizon passes."""

    wave: Wave
    free: Integers = field(init=False)

    def __post_init__(self) -> None:
        self.free = self.wave.capacity.copy()

    @property
    def units(self) -> Integers:
        """(N, K) stock."""
        return self.free[: self.wave.stock.size].reshape(self.wave.stock.shape)

    def take(self, order: int, plan: Plan) -> None:
        """A plan's units, picks and parcels. Raises RuntimeError where they are not there."""
        one, (nodes, items) = self.wave.orders[order], self.wave.stock.shape
        for sent in plan.shipments:
            node = int(one.node[sent.node])
            slot = nodes * items + nodes + node * self.wave.services + sent.service
            taken = {slot: len(sent.parcels), nodes * items + node: sum(sent.units.values())}
            for line, units in sent.units.items():
                taken[node * items + int(one.item[line])] = units
            for resource, units in taken.items():
                self.free[resource] -= units
                if self.free[resource] < 0:
                    raise RuntimeError(f"order {order} took what was not there")


Costs = Callable[[int, Stock], Integers | None]
"""(N, L) opportunity cost of an order, from what is left."""
Took = Callable[[int, Plan, Stock], None]
"""Told of each plan before it is taken."""


def one_by_one(
    wave: Wave,
    *,
    strategy: Strategy = Strategy.EXACT,
    costs: Costs = lambda order, stock: None,
    took: Took = lambda order, plan, stock: None,
) -> Outcome:
    """Each order when it comes."""
    outcome, stock, solver = Outcome(), Stock(wave), Solver()
    for order, one in enumerate(wave.orders):
        plain = problem_beside(wave, order, stock.free)
        due = costs(order, stock)
        asked = plain if due is None else with_opportunity_cost(plain, due)
        answer = solver.solve(asked, strategy=strategy)
        if not answer.costs:
            outcome.add(None, one.unrouted_cost)
            continue
        plan = answer.plans[0]
        outcome.add(plan, plan.cost if due is None else plain_cost(asked, plan, due))
        took(order, plan, stock)
        stock.take(order, plan)
    return outcome


class Pacer:
    """Prices that pace, over a horizon."""

    def __init__(self, wave: Wave, *, scale: int, evenness: int, horizon: float = 1.0) -> None:
        """`horizon`: what the prices are told, over the true one."""
        self._wave = wave
        self._prices = PacedPrices(wave.stock.size, scale=scale, evenness_percent=evenness)
        until = int(len(wave.orders) * ORDER_MS * horizon)
        self._prices.begin(np.arange(wave.stock.size), 0, until)

    def costs(self, order: int, stock: Stock) -> Integers:
        """(N, L) for an order that comes now."""
        one = self._wave.orders[order]
        rows = one.node[:, None] * self._wave.items + one.item[None, :]
        return self._prices.opportunity_cost(rows, stock.free[rows], order * ORDER_MS)

    def took(self, order: int, plan: Plan, stock: Stock) -> None:
        """A plan is about to be taken."""
        one = self._wave.orders[order]
        for sent in plan.shipments:
            for line, units in sent.units.items():
                row = int(one.node[sent.node]) * self._wave.items + int(one.item[line])
                self._prices.reserved(row, units, int(stock.free[row]), order * ORDER_MS)


class Resolver:
    """Dual prices solved anew from the orders that have come, over a horizon."""

    def __init__(
        self, wave: Wave, *, scale: int, horizon: float = 1.0, before: Wave | None = None
    ) -> None:
        """`horizon`: what the prices are told, over the true one. `before`: the orders of the
        horizon before, where they are known; else nothing is."""
        self._wave = wave
        self._prices = DualPrices(*wave.stock.shape, scale=scale)
        begin = 0
        if before is not None:
            self._prices.begin(0, len(before.orders) * ORDER_MS)
            for at, one in enumerate(before.orders):
                self._prices.ordered(one, (at + 1) * ORDER_MS)
            begin = len(before.orders) * ORDER_MS
        self._begin_ms = begin
        self._prices.begin(begin, begin + int(len(wave.orders) * ORDER_MS * horizon))

    def costs(self, order: int, stock: Stock) -> Integers:
        """(N, L) for an order that comes now; it is part of the sample from the next solve on."""
        one, now_ms = self._wave.orders[order], self._begin_ms + order * ORDER_MS
        if self._prices.is_due:
            self._prices.solve(stock.units, now_ms)
        there = stock.units[np.ix_(one.node, one.item)]
        due = self._prices.opportunity_cost(one.node, one.item, there, now_ms)
        self._prices.ordered(one, now_ms)
        return due


def with_duals(wave: Wave, forecast: WaveAnswer) -> Outcome:
    """Exact, with the fixed prices of a wave of orders as they were expected."""
    due = forecast.due[: wave.stock.size].reshape(wave.stock.shape) // FINENESS

    def costs(order: int, stock: Stock) -> Integers:
        one = wave.orders[order]
        return due[np.ix_(one.node, one.item)]

    return one_by_one(wave, costs=costs)


def windows(
    wave: Wave, size: int, work_s: float, prices: Pacer | Resolver | None = None
) -> Outcome:
    """Orders held until `size` have come, then routed as a wave, at prices if there are any."""
    outcome, stock = Outcome(), Stock(wave)
    nodes, items = wave.stock.shape
    for first in range(0, len(wave.orders), size):
        held = list(wave.orders[first : first + size])
        dues = [prices.costs(first + at, stock) if prices else None for at in range(len(held))]
        part = Wave.of(
            [
                one
                if due is None
                else replace(one, problem=with_opportunity_cost(one.problem, due))
                for one, due in zip(held, dues, strict=True)
            ],
            stock=stock.units,
            pick_capacity=stock.free[nodes * items : nodes * items + nodes],
            slots=stock.free[nodes * items + nodes :].reshape(nodes, -1),
        )
        answer = solve_wave(part, WorkBudget(work_s))
        for at, plan in enumerate(answer.plans):
            due = dues[at]
            if plan is None:
                outcome.add(None, held[at].unrouted_cost)
                continue
            asked = part.orders[at].problem
            outcome.add(plan, plan.cost if due is None else plain_cost(asked, plan, due))
            if isinstance(prices, Pacer):
                prices.took(first + at, plan, stock)
            stock.take(first + at, plan)
    return outcome


def clairvoyant(wave: Wave, work_s: float) -> WaveAnswer:
    """All orders at once."""
    return solve_wave(wave, WorkBudget(work_s))
