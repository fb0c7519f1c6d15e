"""Why there is no plan: the first constraint that cannot be met, and the line it stops.

Constraints are put on one after another, from what is there to how it may travel, and the one with
which the order first stops being feasible is the answer. A change to any other would not help.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.routing.plan import charged_weight_g
from engine.routing.problem import (
    DAYS_LATE_MAX,
    NO_GROUP,
    PROMISED_DAY,
    SHIP_COMPLETE,
    SHIPMENTS_MAX,
    Problem,
)


class Constraint(enum.StrEnum):
    """What stands in the way."""

    STOCK = "STOCK"
    """All nodes together have too few units."""
    NODE_CLOSED = "NODE_CLOSED"
    """Nodes that may ship have too few: channel, rules or a frozen node."""
    PICK_CAPACITY = "PICK_CAPACITY"
    """Nodes with stock cannot pick that many units."""
    NO_LANE = "NO_LANE"
    """No service has a rate from nodes with stock to the destination."""
    SERVICE_CLOSED = "SERVICE_CLOSED"
    """Services are excluded there: service area, rules, a carrier that is down."""
    NO_SLOT = "NO_SLOT"
    """Pickups are full."""
    TOO_LATE = "TOO_LATE"
    """Every service would deliver later than is allowed."""
    NOT_CARRIED = "NOT_CARRIED"
    """No service there carries the item."""
    TOO_HEAVY = "TOO_HEAVY"
    """A single unit is above every weight limit there."""
    KEPT_TOGETHER = "KEPT_TOGETHER"
    """No node has all lines of the group."""
    SHIP_COMPLETE = "SHIP_COMPLETE"
    """No node has the whole order."""
    SHIPMENTS_MAX = "SHIPMENTS_MAX"
    """It would take more shipments than are allowed."""
    COMBINATION = "COMBINATION"
    """Each line could ship, but capacities, services and parcels do not allow all of them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The constraint, the line (by place), what it asks for and what there is."""

    constraint: Constraint
    line: int
    requested: int
    available: int


def _lanes(problem: Problem) -> list[tuple[Constraint, NDArray[np.bool_]]]:
    """(N, S) which services run, constraint by constraint."""
    a = problem.arrays
    zone = np.maximum(a.zone, 0)
    service = np.arange(problem.tariff.services)[None, :]
    lane = (a.zone >= 0) & (a.limit_step[service, zone] >= 0)
    late = a.ready_day + a.transit_days[service, zone] - a.terms[PROMISED_DAY]
    return [
        (Constraint.NO_LANE, lane),
        (Constraint.SERVICE_CLOSED, a.service_open == 1),
        (Constraint.NO_SLOT, a.slots > 0),
        (Constraint.TOO_LATE, late <= a.terms[DAYS_LATE_MAX]),
    ]


def _short(problem: Problem, can: NDArray[np.int64], constraint: Constraint) -> Refusal | None:
    """The first line of which the nodes together have too little."""
    for line, wanted in enumerate(problem.arrays.quantity):
        there = int(np.minimum(can[:, line], wanted).sum())
        if there < wanted:
            return Refusal(constraint, line, int(wanted), there)
    return None


def _by_line(problem: Problem) -> Refusal | None:
    """What stops some line by itself."""
    a = problem.arrays
    can = a.stock.copy()
    refusal = _short(problem, can, Constraint.STOCK)
    can[a.node_open == 0] = 0
    refusal = refusal or _short(problem, can, Constraint.NODE_CLOSED)
    can = np.minimum(can, a.pick_capacity[:, None])
    refusal = refusal or _short(problem, can, Constraint.PICK_CAPACITY)
    running = np.ones((problem.nodes, problem.tariff.services), np.bool_)
    for constraint, allowed in _lanes(problem):
        running &= allowed
        can[~running.any(axis=1)] = 0
        refusal = refusal or _short(problem, can, constraint)
    bits = np.arange(problem.tariff.services)
    zone = np.maximum(a.zone, 0)
    limit_g = a.step_g[np.maximum(a.limit_step[bits[None, :], zone], 0)]
    for line in range(problem.lines):
        carried = running & ((a.carried_by[line] >> bits) & 1 == 1)[None, :]
        can[~carried.any(axis=1), line] = 0
        refusal = refusal or _short(problem, can, Constraint.NOT_CARRIED)
        charged = np.array(
            [
                charged_weight_g(int(a.unit_weight_g[line]), int(a.unit_volume_cm3[line]), int(d))
                for d in a.volume_divisor
            ]
        )
        fits = carried & (charged[None, :] <= limit_g)
        can[~fits.any(axis=1), line] = 0
        refusal = refusal or _short(problem, can, Constraint.TOO_HEAVY)
    return refusal or _together(problem, can)


def _together(problem: Problem, can: NDArray[np.int64]) -> Refusal | None:
    a = problem.arrays
    whole = (can >= a.quantity[None, :]).astype(np.int64)
    if a.terms[SHIP_COMPLETE]:
        most = int(whole.sum(axis=1).max())
        if most < problem.lines:
            line = int(np.argmin(whole.sum(axis=0)))
            return Refusal(Constraint.SHIP_COMPLETE, line, problem.lines, most)
    for group in sorted({int(one) for one in a.group if one != NO_GROUP}):
        lines = np.flatnonzero(a.group == group)
        most = int(whole[:, lines].sum(axis=1).max())
        if most < len(lines):
            line = int(lines[np.argmin(whole[:, lines].sum(axis=0))])
            return Refusal(Constraint.KEPT_TOGETHER, line, len(lines), most)
    return None


def refusal_of(problem: Problem, feasible_with_more_shipments: bool) -> Refusal:
    """Why a problem that has no plan has none. O(N (L + S)) in numpy.

    `feasible_with_more_shipments`: whether it has one when shipments are not limited.
    """
    found = _by_line(problem)
    if found is not None:
        return found
    a = problem.arrays
    nodes_having = (np.minimum(a.stock, a.pick_capacity[:, None]) > 0).sum(axis=0)
    # The line that the fewest nodes have is the one that forces the most shipments.
    line = int(np.argmin(nodes_having))
    units = int(a.quantity.sum())
    free = int(np.minimum(a.pick_capacity[a.node_open == 1], units).sum())
    if free < units:
        return Refusal(Constraint.PICK_CAPACITY, line, units, free)
    if feasible_with_more_shipments:
        return Refusal(Constraint.SHIPMENTS_MAX, line, 0, int(a.terms[SHIPMENTS_MAX]))
    return Refusal(Constraint.COMBINATION, line, int(a.quantity[line]), int(nodes_having[line]))
