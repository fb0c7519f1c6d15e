"""Why a plan is as it is: what keeps every other node and service out, or what they would cost.

Works on a problem alone, so a decision of last week is explained as it was made. The cost of a node
that is not chosen is that of the cheapest plan in which it ships all it can of some line: the line
is cut there, and the problem solved again.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.routing.limits import lines_per_order_max
from engine.routing.plan import Plan, Status, shipment
from engine.routing.problem import (
    DAYS_LATE_MAX,
    NO_GROUP,
    PROMISED_DAY,
    SHIP_COMPLETE,
    Arrays,
    Problem,
)
from engine.routing.view import View
from server.routing.decisions import Names
from server.routing.planning import Planner

Integers = NDArray[np.int64]

_LINES_TRIED_MAX = 4
"""Lines for which a node is forced in; those it has most of, by value of the plan's parts."""


class Why(enum.Enum):
    """What is to be said of a node or service that is not in the plan."""

    CHOSEN = 0
    NO_STOCK = 1
    CAPACITY = 2
    CUTOFF_PASSED = 3
    RULE = 4
    DOMINATED = 5
    COST = 6
    NO_LANE = 7
    NOT_CARRIED = 8
    CLOSED = 9


@dataclass(slots=True)
class ServiceWhy:
    """Of one service at one node."""

    service: int
    why: Why
    rule: str = ""
    forced_cost: int | None = None


@dataclass(slots=True)
class NodeWhy:
    """Of one node."""

    node: int
    why: Why
    rule: str = ""
    forced_cost: int | None = None
    services: list[ServiceWhy] = field(default_factory=list)


class Explainer:
    """Explains one plan of one problem, node by node."""

    def __init__(self, problem: Problem, plan: Plan, names: Names, planner: Planner) -> None:
        self._problem = problem
        self._plan = plan
        self._names = names
        self._planner = planner
        self._chosen = {one.node: one for one in plan.shipments}
        a = problem.arrays
        zone = np.maximum(a.zone, 0)
        service = np.arange(a.zone.shape[1])[None, :]
        self._has_lane = (a.zone >= 0) & (a.limit_step[service, zone] >= 0)
        late = a.ready_day + a.transit_days[service, zone] - a.terms[PROMISED_DAY]
        self._in_time = late <= a.terms[DAYS_LATE_MAX]

    def node(self, node: int) -> NodeWhy:
        """What is to be said of a node. Solves a few problems where it could have been chosen."""
        chosen = self._chosen.get(node)
        if chosen is not None:
            found = NodeWhy(node, Why.CHOSEN, forced_cost=self._plan.cost)
            self._add_services(found, self._plan)
            return found
        why = self._kept_out(node)
        if why is not None:
            found = NodeWhy(node, why)
            if why is Why.RULE:
                found.rule = self._names.node_rules.get(node, "")
            return found
        forced = self._forced(node)
        if forced is None:
            return NodeWhy(node, self._unusable(node))
        why = Why.DOMINATED if self._is_dominated(node) else Why.COST
        found = NodeWhy(node, why, forced_cost=forced.cost)
        self._add_services(found, forced)
        return found

    # --- What keeps a node out ---------------------------------------------------------------

    def _kept_out(self, node: int) -> Why | None:
        """By the order of what comes first; None where nothing does."""
        a = self._problem.arrays
        lane, open_ = self._has_lane[node], a.service_open[node] == 1
        if node in self._names.node_rules:
            return Why.RULE
        if not a.node_open[node]:
            return Why.CLOSED
        if not np.minimum(a.stock[node], a.quantity).any():
            return Why.NO_STOCK
        if a.pick_capacity[node] <= 0:
            return Why.CAPACITY
        if not lane.any():
            return Why.NO_LANE
        if not (lane & open_).any():
            return Why.RULE
        if not (lane & open_ & (a.slots[node] > 0)).any():
            return Why.CAPACITY
        if not (lane & open_ & (a.slots[node] > 0) & self._in_time[node]).any():
            return Why.CUTOFF_PASSED
        return None

    def _unusable(self, node: int) -> Why:
        """Of a node that is open and has something, in no plan."""
        a = self._problem.arrays
        bits = np.arange(a.zone.shape[1])
        usable = self._has_lane[node] & (a.service_open[node] == 1) & self._in_time[node]
        for line in np.flatnonzero(a.stock[node] > 0).tolist():
            if (usable & (a.carried_by[line] >> bits & 1 == 1)).any():
                return Why.CAPACITY
        return Why.NOT_CARRIED

    def _is_dominated(self, node: int) -> bool:
        """Whether a node of the plan has at least as much of every line."""
        a = self._problem.arrays
        has = np.minimum(a.stock[node], a.quantity)
        return any((np.minimum(a.stock[other], a.quantity) >= has).all() for other in self._chosen)

    # --- What it would cost ------------------------------------------------------------------

    def _forced(self, node: int) -> Plan | None:
        """The cheapest plan in which `node` ships all it can of one of its lines."""
        a = self._problem.arrays
        has = np.minimum(a.stock[node], a.quantity)
        lines = np.flatnonzero(has > 0)
        lines = lines[np.argsort(-has[lines], kind="stable")][:_LINES_TRIED_MAX]
        best: Plan | None = None
        for line in lines.tolist():
            problem = _forced_problem(self._problem, node, line, int(has[line]))
            if problem is None:
                continue
            answer = self._planner.answer(problem)
            if answer.status in (Status.INFEASIBLE, Status.UNDECIDED):
                continue
            if best is None or answer.cost < best.cost:
                best = self._as_planned(answer.plans[0], line)
        return best

    def _as_planned(self, plan: Plan, line: int) -> Plan:
        """A plan of the cut problem in the lines of the order."""
        lines = self._problem.lines
        shipments = []
        for one in plan.shipments:
            units: dict[int, int] = {}
            for place, quantity in one.units.items():
                whole = place if place < lines else line
                units[whole] = units.get(whole, 0) + quantity
            priced = shipment(self._problem, one.node, one.service, units)
            if priced is None:  # a unit more or less never changes whether a service takes it
                raise RuntimeError(f"node {one.node} was forced in and can not ship {units}")
            shipments.append(priced)
        return Plan(tuple(shipments), plan.split_cost)

    def _add_services(self, found: NodeWhy, plan: Plan) -> None:
        """Each service in place of the one that `plan` has for this node."""
        a = self._problem.arrays
        own = next(one for one in plan.shipments if one.node == found.node)
        for service in range(len(self._names.services)):
            told = ServiceWhy(service, self._service_kept_out(found.node, service))
            if service == own.service and found.why is Why.CHOSEN:
                told.why, told.forced_cost = Why.CHOSEN, plan.cost
            elif told.why is Why.COST:
                other = shipment(self._problem, found.node, service, own.units)
                if other is None:
                    told.why = Why.NOT_CARRIED
                else:
                    told.forced_cost = plan.cost - own.cost + other.cost
                    later = a.ready_day[found.node, service] > a.ready_day[found.node, own.service]
                    if other.cost >= own.cost and later and service != own.service:
                        told.why = Why.DOMINATED
            elif told.why is Why.RULE:
                told.rule = self._names.service_rules.get(service, "")
            found.services.append(told)

    def _service_kept_out(self, node: int, service: int) -> Why:
        a = self._problem.arrays
        if service in self._names.service_rules or not a.service_open[node, service]:
            return Why.RULE
        if not self._has_lane[node, service]:
            return Why.NO_LANE
        if a.slots[node, service] < 1:
            return Why.CAPACITY
        if not self._in_time[node, service]:
            return Why.CUTOFF_PASSED
        return Why.COST


def _forced_problem(problem: Problem, node: int, line: int, units: int) -> Problem | None:
    """The order with `units` of a line only at `node`, and the rest of the line elsewhere."""
    a = problem.arrays
    quantity = int(a.quantity[line])
    stock = a.stock.copy()
    if units == quantity:
        stock[:, line] = 0
        stock[node, line] = a.stock[node, line]
        return _problem(problem, a._replace(stock=stock))
    is_whole = a.group[line] != NO_GROUP or a.terms[SHIP_COMPLETE]
    if is_whole or problem.lines >= lines_per_order_max:
        return None
    # One more line: what `node` does not have.
    rest = np.ascontiguousarray(np.append(stock, a.stock[:, [line]], axis=1))
    rest[:, line] = 0
    rest[node, line] = units
    rest[node, -1] = 0
    extended = {
        name: np.append(getattr(a, name), getattr(a, name)[line])
        for name in ("quantity", "unit_weight_g", "unit_volume_cm3", "carried_by", "group")
    }
    extended["quantity"][line] = units
    extended["quantity"][-1] = quantity - units
    opportunity = np.append(a.opportunity_cost, a.opportunity_cost[:, [line]], axis=1)
    return _problem(
        problem,
        a._replace(stock=rest, opportunity_cost=np.ascontiguousarray(opportunity), **extended),
    )


def _problem(problem: Problem, arrays: Arrays) -> Problem:
    return Problem(problem.tariff, arrays, View(arrays._asdict()))
