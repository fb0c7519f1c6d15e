"""What a wave's solver answers: a plan or a reason for each order, what it costs, how sure it is.

Owns: `WaveAnswer`, `Left`. Plans are made of what the columns take, and priced anew in plain Python
as `engine.routing.plan` does; a difference is an error and not an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.routing.infeasible import Refusal
from engine.routing.plan import Plan, Shipment, Status, shipment
from engine.routing.problem import SPLIT_COST, Problem
from engine.routing.solver import Solver
from engine.routing.tariff import Integers
from engine.routing.view import View
from engine.routing.waves.columns import Columns
from engine.routing.waves.pool import NONE
from engine.routing.waves.wave import Wave


@dataclass(frozen=True, slots=True)
class Left:
    """An order without a plan."""

    order: int
    is_impossible: bool
    """Whether it has no plan even with all of the wave's stock and capacity."""
    refusal: Refusal | None
    """What stops it; None where it has plans that fit, all of them dearer than none or not found
    within the work budget."""


@dataclass(frozen=True)
class WaveAnswer:
    """Of one wave."""

    wave: Wave
    status: Status
    """OPTIMAL, FEASIBLE with a bound, or HEURISTIC where no bound was looked for."""
    cost: int
    """Of all plans, and of the orders left unrouted."""
    bound: int
    """No answer costs less."""
    sequential_cost: int
    """What routing one order after another, each at its cheapest, costs."""
    columns: Columns
    chosen: Integers
    """(O,) the column of each order, `pool.NONE` for none."""
    impossible: frozenset[int]
    due: Integers
    """(R,) the prices of the bound, in 1/`memory.FINENESS` of a minor unit: what one more of each
    resource would have saved, about. Orders still to come may be priced with them."""
    work_s: float
    """Counted work; the same for the same wave, seed and work budget."""

    @property
    def gap(self) -> float:
        """How far the cost may be above the least there is, at most, as a share of the bound."""
        return (self.cost - self.bound) / max(1, self.bound)

    @property
    def taken(self) -> Integers:
        """(R,) what all plans take of each resource."""
        return self.columns.taken_by(self.chosen[self.chosen != NONE], len(self.wave.capacity))

    @cached_property
    def plans(self) -> tuple[Plan | None, ...]:
        """The plan of each order. Raises RuntimeError where a total is not the solver's."""
        return tuple(
            None if column == NONE else plan_of_column(self.wave, self.columns, int(column))
            for column in self.chosen
        )

    @cached_property
    def left(self) -> tuple[Left, ...]:
        """Orders without a plan, each with its reason beside the plans of the others."""
        free = self.wave.capacity - self.taken
        solver = Solver()
        found = []
        for order in np.flatnonzero(self.chosen == NONE):
            impossible = int(order) in self.impossible
            capacity = self.wave.capacity if impossible else free
            answer = solver.solve(problem_beside(self.wave, int(order), capacity))
            found.append(Left(int(order), impossible, answer.refusal))
        return tuple(found)


def problem_beside(wave: Wave, order: int, free: Integers) -> Problem:
    """One order's problem where no more than `free` of each resource is left."""
    one = wave.orders[order]
    a = one.problem.arrays
    nodes, items = wave.stock.shape
    stock = free[: nodes * items].reshape(nodes, items)
    pick = free[nodes * items : nodes * items + nodes]
    slots = free[nodes * items + nodes :].reshape(nodes, -1)
    arrays = a._replace(
        stock=np.minimum(a.stock, stock[np.ix_(one.node, one.item)]),
        pick_capacity=np.minimum(a.pick_capacity, pick[one.node]),
        slots=np.minimum(a.slots, slots[one.node]),
    )
    return Problem(one.problem.tariff, arrays, View(arrays._asdict()))


def plan_of_column(wave: Wave, columns: Columns, column: int) -> Plan:
    """A column as a plan of its order's problem, every term worked out anew."""
    order = wave.orders[int(columns.order[column])]
    nodes, items = wave.stock.shape
    node_of = {int(node): at for at, node in enumerate(order.node)}
    line_of = {int(item): at for at, item in enumerate(order.item)}
    units: dict[int, dict[int, int]] = {}
    pickups: dict[int, tuple[int, int]] = {}
    entries = columns.entries(np.array([column]))
    for resource, taken in zip(entries.resource.tolist(), entries.taken.tolist(), strict=True):
        if resource < nodes * items:
            node, item = divmod(resource, items)
            units.setdefault(node_of[node], {})[line_of[item]] = taken
        elif resource >= nodes * items + nodes:
            node, service = divmod(resource - nodes * items - nodes, wave.services)
            pickups[node_of[node]] = (service, taken)
    shipments: list[Shipment] = []
    for at, held in sorted(units.items()):
        service, parcels = pickups[at]
        sent = shipment(order.problem, at, service, held)
        if sent is None or len(sent.parcels) != parcels:
            raise RuntimeError(f"a column ships {held} from {at} by {service}: {sent}")
        shipments.append(sent)
    split = int(order.problem.arrays.terms[SPLIT_COST]) * (len(shipments) - 1)
    plan = Plan(tuple(shipments), split)
    if plan.cost != int(columns.cost[column]):
        raise RuntimeError(f"a column said to cost {columns.cost[column]} is {plan}")
    return plan
