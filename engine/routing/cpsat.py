"""The same problem for CP-SAT: an independent check of the exact search, and its slow second.

Amounts by node and line, one service and one weight step for each shipment; a shipment's weight and
volume must be within its step. Where a service takes several parcels and the order may need them,
what a node's amounts cost is given as a table, because packing has no linear form: only for orders
small enough to list.

Runs for as long as its deterministic time allows. In a server it belongs in a process of its own,
which may die: the solver has been seen to abort. One worker, a fixed seed: the same answer again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

from engine.routing.plan import Plan, Status, charged_weight_g, plan_of, shipment
from engine.routing.problem import (
    DAYS_LATE_MAX,
    LATE_COST_PER_DAY,
    NO_GROUP,
    PROMISED_DAY,
    SHIP_COMPLETE,
    SHIPMENTS_MAX,
    SPLIT_COST,
    Problem,
)

TUPLES_MAX = 5_000
"""Amounts of one node that are listed at most."""


class TooLargeError(ValueError):
    """A heavy order of more amounts than can be listed."""


@dataclass(frozen=True, slots=True)
class CpSatAnswer:
    """What CP-SAT found; `seconds` without building the model."""

    status: Status
    plan: Plan | None
    bound: int
    seconds: float


class _Model:
    """One order's model. Names follow `Problem`."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.model: Any = cp_model.CpModel()
        a = problem.arrays
        self.nodes = [
            node for node in range(problem.nodes) if a.node_open[node] and a.pick_capacity[node] > 0
        ]
        self.lines = range(problem.lines)
        self.amount = {
            (node, line): self.model.new_int_var(0, most, "")
            for node in self.nodes
            for line in self.lines
            if (most := int(min(a.stock[node, line], a.quantity[line]))) > 0
        }
        self.ships = {node: self.model.new_bool_var("") for node in self.nodes}
        self.costs: list[Any] = []
        self._add_amounts()
        self._add_groups()
        heavy = self._may_need_parcels()
        for node in self.nodes:
            if heavy:
                self._add_listed(node)
            else:
                self._add_services(node)
        split = int(a.terms[SPLIT_COST])
        self.model.minimize(sum(self.costs) + split * sum(self.ships.values()) - split)

    def _of(self, node: int) -> list[tuple[int, Any]]:
        return [
            (line, self.amount[node, line]) for line in self.lines if (node, line) in self.amount
        ]

    def _add_amounts(self) -> None:
        a, model = self.problem.arrays, self.model
        for line in self.lines:
            given = [self.amount[node, line] for node in self.nodes if (node, line) in self.amount]
            model.add(sum(given) == int(a.quantity[line]))
        model.add(sum(self.ships.values()) <= int(a.terms[SHIPMENTS_MAX]))
        if a.terms[SHIP_COMPLETE]:
            model.add(sum(self.ships.values()) == 1)
        for node in self.nodes:
            held = self._of(node)
            model.add(sum(one for _, one in held) <= int(min(a.pick_capacity[node], 1 << 40)))
            model.add(sum(one for _, one in held) >= self.ships[node])
            for line, one in held:
                model.add(one <= int(a.quantity[line]) * self.ships[node])
                each = int(a.unit_cost[node] + a.opportunity_cost[node, line])
                self.costs.append(each * one)
            self.costs.append(int(a.shipment_cost[node]) * self.ships[node])

    def _add_groups(self) -> None:
        a, model = self.problem.arrays, self.model
        for group in {int(one) for one in a.group if one != NO_GROUP}:
            lines = [line for line in self.lines if a.group[line] == group]
            for node in self.nodes:
                chosen = model.new_bool_var("")
                for line in lines:
                    held = self.amount.get((node, line), 0)
                    model.add(held == int(a.quantity[line]) * chosen)

    def _charged(self, service: int) -> int:
        a = self.problem.arrays
        return charged_weight_g(
            int(a.quantity @ a.unit_weight_g),
            int(a.quantity @ a.unit_volume_cm3),
            int(a.volume_divisor[service]),
        )

    def _may_need_parcels(self) -> bool:
        a = self.problem.arrays
        return any(
            a.parcels_max[service] > 1 and self._charged(service) > int(a.step_g[last])
            for service in range(self.problem.tariff.services)
            for last in a.limit_step[service]
            if last >= 0
        )

    def _add_services(self, node: int) -> None:
        """One service and one step for the shipment, if there is one."""
        a, model = self.problem.arrays, self.model
        held = self._of(node)
        weight = sum(int(a.unit_weight_g[line]) * one for line, one in held)
        volume = sum(int(a.unit_volume_cm3[line]) * one for line, one in held)
        most_volume = int(a.quantity @ a.unit_volume_cm3)
        chosen: list[Any] = []
        weight_room: list[Any] = []
        volume_room: list[Any] = []
        by_service: dict[int, list[Any]] = {}
        for service, fixed in self._running(node):
            zone = int(a.zone[node, service])
            divisor = int(a.volume_divisor[service])
            for step in range(int(a.limit_step[service, zone]) + 1):
                taken = model.new_bool_var("")
                grams = int(a.step_g[step])
                chosen.append(taken)
                by_service.setdefault(service, []).append(taken)
                weight_room.append(grams * taken)
                room = grams * divisor // 1000 if divisor else most_volume
                volume_room.append(min(room, most_volume) * taken)
                self.costs.append((int(a.charge[service, zone, step]) + fixed) * taken)
                if grams >= self._charged(service):
                    break
        model.add(sum(chosen) == self.ships[node])
        model.add(weight <= sum(weight_room))
        model.add(volume <= sum(volume_room))
        for line, one in held:
            carried = [
                taken
                for service, steps in by_service.items()
                if int(a.carried_by[line]) >> service & 1
                for taken in steps
            ]
            if len(carried) < len(chosen):
                model.add(one <= int(a.quantity[line]) * sum(carried))

    def _running(self, node: int) -> list[tuple[int, int]]:
        """Services that run from `node`, and what each costs a shipment."""
        a = self.problem.arrays
        running = []
        for service in range(self.problem.tariff.services):
            zone = int(a.zone[node, service])
            if zone < 0 or not a.service_open[node, service] or a.slots[node, service] < 1:
                continue
            late = int(
                a.ready_day[node, service] + a.transit_days[service, zone] - a.terms[PROMISED_DAY]
            )
            if late <= a.terms[DAYS_LATE_MAX]:
                due = max(0, late) * int(a.terms[LATE_COST_PER_DAY])
                running.append((service, int(a.service_cost[node, service]) + due))
        return running

    def _add_listed(self, node: int) -> None:
        """All amounts the node can ship, and what the cheapest service costs for each."""
        held = self._of(node)
        a = self.problem.arrays
        ranges = [range(int(min(a.stock[node, line], a.quantity[line])) + 1) for line, _ in held]
        count = 1
        for amounts in ranges:
            count *= len(amounts)
        if count > TUPLES_MAX:
            raise TooLargeError(f"{count} amounts of one node")
        rows: list[Sequence[int]] = []
        for units in itertools.product(*ranges):
            shipped = {line: many for (line, _), many in zip(held, units, strict=True) if many}
            if not shipped:
                rows.append((*units, 0))
                continue
            choices = [
                sent.cost - sent.handling_cost - sent.opportunity_cost
                for service in range(self.problem.tariff.services)
                if (sent := shipment(self.problem, node, service, shipped)) is not None
            ]
            if choices:
                rows.append((*units, min(choices)))
        cost = self.model.new_int_var(0, max(row[-1] for row in rows), "")
        self.model.add_allowed_assignments([*(one for _, one in held), cost], rows)
        self.costs.append(cost)


def solve_by_cpsat(problem: Problem, *, deterministic_time_max: float = 60.0) -> CpSatAnswer:
    """The best plan, or what is known when the time is up. Raises TooLargeError, RuntimeError."""
    built = _Model(problem)
    solver: Any = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.num_workers = 1
    parameters.random_seed = 1
    parameters.linearization_level = 2
    parameters.max_deterministic_time = deterministic_time_max
    parameters.catch_sigint_signal = False
    status = solver.solve(built.model)
    seconds = float(solver.wall_time)
    if status == cp_model.INFEASIBLE:
        return CpSatAnswer(Status.INFEASIBLE, None, 0, seconds)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return CpSatAnswer(Status.UNDECIDED, None, 0, seconds)
    amounts: dict[int, dict[int, int]] = {}
    for (node, line), variable in built.amount.items():
        if units := int(solver.value(variable)):
            amounts.setdefault(node, {})[line] = units
    plan = plan_of(problem, amounts)
    found = round(solver.objective_value)
    if plan is None or (plan.cost != found and status == cp_model.OPTIMAL):
        raise RuntimeError(f"CP-SAT's plan for {found} is {plan}")
    proven = status == cp_model.OPTIMAL
    bound = plan.cost if proven else int(solver.best_objective_bound)
    return CpSatAnswer(Status.OPTIMAL if proven else Status.FEASIBLE, plan, bound, seconds)
