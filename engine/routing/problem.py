"""One order to be routed, as arrays: its lines, the nodes it may ship from, what everything costs.

Owns: `Problem`, and `Arrays`, the same for the kernels.

A plan gives every unit to a node. What one node ships is a shipment; it goes by one carrier
service, in as few parcels as that service's weight limit allows (`engine.routing.parcels`). The
cost of a plan, in whole minor units of money, is

    for each shipment   shipment_cost[n] + service_cost[n, s] + lateness[n, s]
                        + the charge of each parcel (rate, surcharges, priced CO2e)
                        + for each unit of line l: unit_cost[n] + opportunity_cost[n, l]
    and                 split_cost for each shipment after the first.

Arrays over nodes and lines have a row for each node, so that a node's numbers lie together.

Invariants (`Problem.of` refuses anything else)
1. Every number is whole and not negative; zones are those of the tariff, or -1 for no lane.
2. Sizes are within `engine.routing.limits`, and no sum of costs, weights or units leaves 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from engine.routing import limits
from engine.routing.errors import ProblemError, whole
from engine.routing.tariff import Integers, Tariff
from engine.routing.view import View

ALL_SERVICES: Final = -1
"""A line's `carried_by` when any service may carry it: every bit is set."""

NO_GROUP: Final = -1
NO_LANE: Final = -1


class Arrays(NamedTuple):
    """What a `@kernel` reads; field by field as in `Problem.of` and `Tariff`."""

    quantity: Any
    unit_weight_g: Any
    unit_volume_cm3: Any
    carried_by: Any
    group: Any
    stock: Any
    node_open: Any
    pick_capacity: Any
    shipment_cost: Any
    unit_cost: Any
    opportunity_cost: Any
    distance: Any
    priority: Any
    zone: Any
    service_open: Any
    service_cost: Any
    slots: Any
    ready_day: Any
    step_g: Any
    charge: Any
    volume_divisor: Any
    parcels_max: Any
    transit_days: Any
    limit_step: Any
    limit_g: Any
    terms: Any


# Where the scalars of a problem lie in Arrays.terms.
SPLIT_COST: Final = 0
SHIPMENTS_MAX: Final = 1
SHIP_COMPLETE: Final = 2
PROMISED_DAY: Final = 3
LATE_COST_PER_DAY: Final = 4
DAYS_LATE_MAX: Final = 5
TERMS: Final = 6

NEVER_TOO_LATE: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Problem:
    """An order of L lines, N candidate nodes, and the S services of a tariff."""

    tariff: Tariff
    arrays: Arrays
    view: View
    """The arrays for the kernels."""

    @staticmethod
    def of(
        tariff: Tariff,
        *,
        quantity: Any,
        unit_weight_g: Any,
        stock: Any,
        zone: Any,
        unit_volume_cm3: Any = 0,
        carried_by: Any = ALL_SERVICES,
        group: Any = NO_GROUP,
        node_open: Any = 1,
        pick_capacity: Any = limits.quantity_max,
        shipment_cost: Any = 0,
        unit_cost: Any = 0,
        opportunity_cost: Any = 0,
        distance: Any = 0,
        priority: Any = 0,
        service_open: Any = 1,
        service_cost: Any = 0,
        slots: Any = limits.parcels_per_shipment_max,
        ready_day: Any = 0,
        split_cost: int = 0,
        shipments_max: int = limits.shipments_per_plan_max,
        ship_complete: bool = False,
        promised_day: int = NEVER_TOO_LATE,
        late_cost_per_day: int = 0,
        days_late_max: int = NEVER_TOO_LATE,
    ) -> Problem:
        """Check and keep; a single number stands for an array full of it.

        quantity, unit_weight_g, unit_volume_cm3: (L,) units of a line; of one unit.
        carried_by: (L,) bit s is set where service s may carry the line.
        group: (L,) lines of one group ship from one node, whole; NO_GROUP: free to be split.
        stock: (N, L) units available. node_open: (N,) 0 where channel or rules exclude the node.
        pick_capacity: (N,) units the node can still pick.
        shipment_cost, unit_cost: (N,) handling. opportunity_cost: (N, L) for one unit.
        distance, priority: (N,) only the greedy strategies look at them.
        zone: (N, S) of the tariff, or NO_LANE. service_open: (N, S) 0 where a service is excluded.
        service_cost: (N, S) for a shipment, such as the expected cost of a failed delivery.
        slots: (N, S) parcels the pickup still takes. ready_day: (N, S) day of that pickup.
        ship_complete: the whole order from one node.
        Days late beyond promised_day cost late_cost_per_day each; more than days_late_max of them
        are not allowed. Raises ProblemError naming field and place.
        """
        shape = np.shape(stock)
        if len(shape) != 2:
            raise ProblemError("stock", "must have a row for each node and a column for each line")
        nodes, lines = shape
        services = tariff.services
        _size("nodes_per_order_max", "stock", nodes, limits.nodes_per_order_max)
        _size("lines_per_order_max", "stock", lines, limits.lines_per_order_max)
        zones = tariff.rate.shape[1]
        money = limits.cost_max

        def column(
            field: str, values: Any, *shape: int, least: int = 0, most: int = money
        ) -> Integers:
            if np.ndim(values) == 0:
                values = np.full(shape, values)
            return whole(field, values, shape=shape, least=least, most=most)

        terms = np.zeros(TERMS, np.int64)
        for place, field, value, least, most in (
            (SPLIT_COST, "split_cost", split_cost, 0, money),
            (SHIPMENTS_MAX, "shipments_max", shipments_max, 1, limits.shipments_per_plan_max),
            (SHIP_COMPLETE, "ship_complete", int(ship_complete), 0, 1),
            (PROMISED_DAY, "promised_day", promised_day, 0, NEVER_TOO_LATE),
            (LATE_COST_PER_DAY, "late_cost_per_day", late_cost_per_day, 0, money // 10_000),
            (DAYS_LATE_MAX, "days_late_max", days_late_max, 0, NEVER_TOO_LATE),
        ):
            terms[place] = whole(field, value, dimensions=0, least=least, most=most)
        arrays = Arrays(
            quantity=column("quantity", quantity, lines, least=1, most=limits.quantity_max),
            unit_weight_g=column("unit_weight_g", unit_weight_g, lines, most=limits.weight_g_max),
            unit_volume_cm3=column(
                "unit_volume_cm3", unit_volume_cm3, lines, most=limits.volume_cm3_max
            ),
            carried_by=column(
                "carried_by", carried_by, lines, least=ALL_SERVICES, most=(1 << 62) - 1
            ),
            group=column("group", group, lines, least=NO_GROUP, most=lines - 1),
            stock=column("stock", stock, nodes, lines, most=1 << 60),
            node_open=column("node_open", node_open, nodes, most=1),
            pick_capacity=column("pick_capacity", pick_capacity, nodes, most=1 << 60),
            shipment_cost=column("shipment_cost", shipment_cost, nodes),
            unit_cost=column("unit_cost", unit_cost, nodes, most=money // 1000),
            opportunity_cost=column(
                "opportunity_cost", opportunity_cost, nodes, lines, most=money // 1000
            ),
            distance=column("distance", distance, nodes, most=1 << 60),
            priority=column("priority", priority, nodes, most=1 << 60),
            zone=column("zone", zone, nodes, services, least=NO_LANE, most=zones - 1),
            service_open=column("service_open", service_open, nodes, services, most=1),
            service_cost=column("service_cost", service_cost, nodes, services),
            slots=column("slots", slots, nodes, services, most=1 << 60),
            ready_day=column("ready_day", ready_day, nodes, services, most=NEVER_TOO_LATE),
            step_g=tariff.step_g,
            charge=tariff.charge,
            volume_divisor=tariff.volume_divisor,
            parcels_max=tariff.parcels_max,
            transit_days=tariff.transit_days,
            limit_step=tariff.limit_step,
            limit_g=tariff.limit_g,
            terms=terms,
        )
        if arrays.quantity.sum() > limits.quantity_max:
            raise ProblemError(
                "quantity", f"adds up to more than quantity_max {limits.quantity_max}"
            )
        return Problem(tariff, arrays, View(arrays._asdict()))

    def with_terms(self, terms: Integers) -> Problem:
        """The same order with other scalars."""
        arrays = self.arrays._replace(terms=terms)
        return Problem(self.tariff, arrays, View(arrays._asdict()))

    @property
    def nodes(self) -> int:
        """Candidate nodes."""
        return int(self.arrays.stock.shape[0])

    @property
    def lines(self) -> int:
        """Lines of the order."""
        return int(self.arrays.stock.shape[1])


def _size(name: str, field: str, size: int, most: int) -> None:
    if not 1 <= size <= most:
        raise ProblemError(field, f"has {size} of what {name} allows {most}")
