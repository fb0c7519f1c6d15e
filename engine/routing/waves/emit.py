"""From a search's plans to columns: what a plan costs, and what it takes of each resource.

A column is a plan in the terms of the wave: its order, its cost in minor units without any price
on resources, and entries (resource, how much). Columns are written one after another into an
`Outlet`, which has room for some thousands.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.compiled import Integer, kernel
from engine.routing import limits
from engine.routing.cuts import cuts_of_trial
from engine.routing.parcels import charged_g, packed, step_at
from engine.routing.problem import NO_GROUP, SHIP_COMPLETE
from engine.routing.view import View
from engine.routing.waves.memory import FINENESS
from engine.routing.work import CUTS, LOTS

# Where the scalars of an outlet lie.
COLUMNS: Final = 0
ENTRIES: Final = 1
STEPS: Final = 2

_ROOM: Final = 1 << 13
_ENTRIES_PER_COLUMN: Final = 16
_MIX: Final = 0x9E3779B97F4A7C1  # odd, of 60 bits


class Outlet:
    """Room for the columns of one run of a kernel."""

    def __init__(self, lines: int) -> None:
        self.entries_most = limits.shipments_per_plan_max * (lines + 2)
        room = max(_ROOM * _ENTRIES_PER_COLUMN, 64 * self.entries_most)
        self.state = np.zeros(3, np.int64)
        self.order = np.zeros(_ROOM, np.int64)
        self.cost = np.zeros(_ROOM, np.int64)
        self.mark = np.zeros(_ROOM, np.int64)
        """A number that differs, with great likelihood, between different plans of an order."""
        self.start = np.zeros(_ROOM + 1, np.int64)
        self.resource = np.zeros(room, np.int64)
        self.taken = np.zeros(room, np.int64)
        self.view = View(
            {
                "state": self.state,
                "order": self.order,
                "cost": self.cost,
                "mark": self.mark,
                "start": self.start,
                "resource": self.resource,
                "taken": self.taken,
            }
        )

    def clear(self) -> None:
        """Make it empty."""
        self.state[:] = 0


@kernel
def has_room(v: Any, out: Any, plans: Integer, lines: Integer) -> bool:
    """Whether `plans` more columns of an order of so many lines can be written."""
    entries = plans * limits.shipments_per_plan_max * (lines + 2)
    return out.state[COLUMNS] + plans <= len(out.order) and out.state[ENTRIES] + entries <= len(
        out.resource
    )


@kernel
def _put(out: Any, resource: Integer, taken: Integer) -> Integer:
    at = out.state[ENTRIES]
    out.resource[at] = resource
    out.taken[at] = taken
    out.state[ENTRIES] = at + 1
    # A sum: the same entries in another order make the same mark.
    mixed = (resource * 1_000_003 + taken) * _MIX
    return mixed ^ (mixed >> 29)


@kernel
def _parcels(p: Any, w: Any, node: Integer, service: Integer) -> Integer:
    """Parcels of the units in `pack_count`."""
    weight = 0
    volume = 0
    for line in range(len(p.quantity)):
        weight += w.pack_count[line] * p.unit_weight_g[line]
        volume += w.pack_count[line] * p.unit_volume_cm3[line]
    step = step_at(p, charged_g(weight, volume, p.volume_divisor[service]))
    if step <= p.limit_step[service, p.zone[node, service]]:
        return 1
    _, parcels = packed(p, w, node, service)
    return parcels


@kernel
def _cuts_of(p: Any, w: Any, plan: Integer) -> Integer:
    """What the cuts charge one of the search's plans."""
    if w.state[CUTS] == 0:
        return 0
    for place in range(w.plan_size[plan]):
        w.trial_node[place] = w.plan_node[plan, place]
        for lot in range(w.state[LOTS]):
            w.trial_amount[place, lot] = w.plan_amount[plan, place, lot]
    return cuts_of_trial(p, w, w.plan_size[plan])


@kernel
def emit(v: Any, source: Any, seen: Any, w: Any, out: Any, order: Integer, plan: Integer) -> None:
    """Write one of the search's plans as a column."""
    column = out.state[COLUMNS]
    first_node = v.node_start[order]
    first_item = v.item_start[order]
    nodes, items = v.stock_left.shape
    services = v.slots_left.shape[1]
    together = source.terms[SHIP_COMPLETE] == 1
    cost = w.plan_cost[plan] - _cuts_of(source, w, plan)
    mark = order
    out.start[column] = out.state[ENTRIES]
    for place in range(w.plan_size[plan]):
        at = w.plan_node[plan, place]
        node = v.node[first_node + at]
        service = w.plan_service[plan, place]
        units = 0
        for line in range(len(source.quantity)):
            given = w.plan_amount[plan, place, w.lot_of[line]]
            if together or source.group[line] != NO_GROUP:
                given *= source.quantity[line]
            w.pack_count[line] = given
            if given > 0:
                item = v.item[first_item + line]
                units += given
                cost -= given * v.stock_due[node, item]
                mark += _put(out, node * items + item, given)
        cost -= units * v.pick_due[node] + v.slots_due[node, service]
        mark += _put(out, nodes * items + node, units)
        parcels = _parcels(seen, w, at, service)
        mark += _put(out, nodes * items + nodes + node * services + service, parcels)
    out.order[column] = order
    out.cost[column] = cost // FINENESS
    out.mark[column] = mark
    out.start[column + 1] = out.state[ENTRIES]
    out.state[COLUMNS] = column + 1
