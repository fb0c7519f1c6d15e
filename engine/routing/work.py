"""The memory a search works in: allocated once, used for one order after another.

Owns: `Work`. Every `@kernel` of this folder reads and writes these arrays and allocates nothing.

Invariants
1. No array keeps anything from one order to the next that is read before it is written.
2. A `Work` serves one search at a time.

Lots are what the search moves: a line's units, or the whole of a group of lines as one unit.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from engine.routing import limits

# Where the scalars of a search lie in Work.state.
LOTS: Final = 0
UNITS: Final = 1  # units of the whole order
ORDER_WEIGHT: Final = 2
ORDER_VOLUME: Final = 3
HEAVY: Final = 4  # services that might need several parcels, as bits
ORDER_MASK: Final = 5  # services that carry every lot, as bits
STEPS: Final = 6  # work done
BUDGET: Final = 7
CUT_BOUND: Final = 8  # least bound of what was not looked into
GROUPED: Final = 9  # 1 where lots may be groups of lines
SLOPE: Final = 23  # scaled money per gram of bound weight
ALIVE: Final = 10  # candidate nodes
BASE_FLAT: Final = 11  # scaled: bound before any node is open, prices at each lot's least cost
BASE_DUAL: Final = 12  # scaled: the same with prices raised by dual ascent
PLANS: Final = 13  # plans kept
PLANS_MAX: Final = 14
SPLIT: Final = 15
SHIPMENTS_MAX: Final = 16
SERVICES: Final = 17
DIVISORS: Final = 18  # distinct volume divisors
LEAST_OPENING: Final = 19  # scaled: least flat reduced cost of a candidate
ROOT_BOUND: Final = 20
BOUND_TOTAL: Final = 21  # bound weight of the whole order
TAIL_SLOPE: Final = 22  # scaled money per gram in the bound of a set's freight
REFUSED: Final = 24  # services that some line refuses, whatever its weight, as bits
CUTS: Final = 25  # cuts that the order is charged by
SCALARS: Final = 26

CLASSES_MAX: Final = 4
"""Distinct volume divisors up to which the services of a node are collapsed into step functions."""

SLOPES: Final = 4
"""Prices of a gram that the freight of a set is bounded with."""

SCALE: Final = 64
"""Bounds count in 1/64 of a minor unit, so that rounding costs them next to nothing."""

INFEASIBLE: Final = 1 << 56

DEAR: Final = 1 << 50
"""More than any freight; a few of them, scaled, still fit 64 bits."""


class Work(NamedTuple):
    """(N) nodes, (M) lots, (S) services, (Z) zones, (K) shipments, (P) plans, (D) divisors."""

    state: Any
    # Lots.
    lot_of: Any  # (L) lot of a line
    lot_quantity: Any
    lot_weight: Any  # grams of one lot unit
    lot_volume: Any
    lot_units: Any  # units of stock that one lot unit is
    lot_mask: Any  # services that carry it
    bound_weight: Any  # (M) grams that every service charges for one lot unit, at least
    # Nodes.
    most: Any  # (N, M) lot units a node can give
    lot_cost: Any  # (N, M) money for one lot unit at a node
    node_mask: Any  # (N) services that run from a node
    node_free: Any  # (N) units it can pick
    has: Any  # (N) bit m: gives some of lot m
    full: Any  # (N) bit m: gives all of lot m
    extra: Any  # (N, S) money for a shipment by a service
    alive: Any  # (N) candidates, by dual reduced cost
    node_dear: Any  # (N, M) scaled bound cost of one lot unit
    opening: Any  # (N) scaled flat reduced cost of opening a node
    reduced: Any  # (N) scaled dual reduced cost
    slack: Any  # (N)
    excluded: Any  # (N) depth that excluded it, 0: none
    collapsed: Any  # (N) 1 where `step_cost` is filled in
    step_cost: Any  # (N, D x steps) by divisor: the cheapest of its services at a step
    node_grams: Any  # (N) bound weight of all it can give
    step_least: Any  # (N, steps) scaled: the least of `step_cost` over the divisors
    at_slope: Any  # (N, SLOPES) scaled: least freight beyond a price of each gram
    # Candidates in the order of `alive`, so that looking through them reads memory in a row.
    at_has: Any
    at_opening: Any
    at_reduced: Any
    # Services.
    divisor: Any  # (S) distinct divisors
    divisor_of: Any  # (S) which of them
    step_of: Any  # (S) step of the weight in hand, by divisor
    # Scaled, by service, zone and step: the least that a parcel up to that step costs beyond the
    # slope times its weight.
    floor: Any  # (S x Z x steps)
    reach: Any  # (S) grams this order has at most as a service charges it
    reach_step: Any  # (S)
    # Prices.
    price: Any  # (M) scaled dual price of one lot unit
    least_price: Any  # (M)
    best_price: Any  # (M)
    order: Any  # (M)
    givers: Any  # (M) candidates that have a lot
    giver: Any  # (M + 1, N) their places in `alive`; the last row: all places
    least_cost: Any  # (M) money for one lot unit at the cheapest place of a set
    least_opening: Any  # (M) of those candidates
    least_reduced: Any  # (M)
    # The search over node sets, by depth.
    set_node: Any
    set_flat: Any
    set_dual: Any
    set_line: Any  # the lot branched on, -1: none
    set_missing: Any  # lots not covered, as bits
    pointer: Any
    need: Any  # (K + 1, M)
    set_dear: Any  # (K + 1, M) least bound cost of a lot in the set
    # The search over amounts for one set.
    choice: Any  # (M) lots in the order they are given out
    last: Any  # (M) turn that gave the last of a lot
    turn: Any  # (M, K) nodes of the set in the order tried
    later: Any  # (M, K) what the nodes after this one can still give
    amount: Any  # (M, K) by lot and place in the set
    cap: Any  # (K)
    weight: Any
    volume: Any
    units: Any
    mask: Any
    freight: Any
    grams: Any  # (K) bound weight
    low: Any  # (K) bound weight a place must give
    high: Any  # (K) and can
    tail: Any  # (K) scaled: least freight of what a shipment may still become, less the slope
    tails: Any  # (K, steps) the same by step of its bound weight
    old_tail: Any  # (M, K)
    old_mask: Any  # (M, K)
    old_freight: Any  # (M, K)
    rest: Any  # (M + 1)
    dear: Any  # (M, K) node_dear by place in the set
    value: Any  # (M, K) what is left of a lot before a turn
    # Parcels of one shipment.
    pack_order: Any  # (L)
    pack_count: Any  # (L)
    parcel_weight: Any
    parcel_volume: Any
    # Plans found, best first.
    plan_cost: Any  # (P)
    plan_size: Any
    plan_node: Any  # (P, K)
    plan_service: Any  # (P, K)
    plan_amount: Any  # (P, K, M)
    spare_amount: Any  # (K, M)
    trial_amount: Any  # (K, M)
    trial_service: Any  # (K)
    trial_node: Any  # (K)
    # What units cost that are taken together, and the (X) places that each cut looks at.
    cut_price: Any  # (C) money
    cut_offset: Any  # (C)
    cut_start: Any  # (C + 1) where a cut's places begin
    cut_node: Any  # (X)
    cut_line: Any  # (X) `cuts.EVERY_LINE`: all of them


def work_for(
    nodes: int = 512,
    lines: int = 32,
    plans: int = limits.plans_max,
    cuts: int = 0,
    places: int = 0,
) -> Work:
    """Memory for orders of up to that many candidate nodes and lines, and for their cuts."""
    services = limits.services_max
    shipments = limits.shipments_per_plan_max
    parcels = limits.parcels_per_shipment_max

    def room(*shape: int) -> Any:
        return np.zeros(shape, np.int64)

    by_lot, by_node = room(lines), room(nodes)
    return Work(
        state=room(SCALARS),
        **{
            name: np.zeros_like(by_lot)
            for name in [
                "lot_of",
                "lot_quantity",
                "lot_weight",
                "lot_volume",
                "lot_units",
                "lot_mask",
                "bound_weight",
                "price",
                "least_price",
                "best_price",
                "order",
                "givers",
                "least_cost",
                "least_opening",
                "least_reduced",
                "choice",
                "last",
                "pack_order",
                "pack_count",
            ]
        },
        most=room(nodes, lines),
        lot_cost=room(nodes, lines),
        node_dear=room(nodes, lines),
        **{
            name: np.zeros_like(by_node)
            for name in [
                "node_mask",
                "node_free",
                "has",
                "full",
                "alive",
                "opening",
                "reduced",
                "slack",
                "excluded",
                "collapsed",
                "node_grams",
                "at_has",
                "at_opening",
                "at_reduced",
            ]
        },
        extra=room(nodes, services),
        step_cost=room(nodes, CLASSES_MAX * limits.weight_steps_max),
        at_slope=room(nodes, SLOPES),
        step_least=room(nodes, limits.weight_steps_max),
        divisor=room(services),
        divisor_of=room(services),
        step_of=room(services),
        floor=room(services * limits.zones_max * limits.weight_steps_max),
        reach=room(services),
        reach_step=room(services),
        **{
            name: room(shipments + 1)
            for name in ["set_node", "set_flat", "set_dual", "set_line", "set_missing", "pointer"]
        },
        need=room(shipments + 1, lines),
        set_dear=room(shipments + 1, lines),
        **{
            name: room(lines, shipments)
            for name in [
                "turn",
                "later",
                "amount",
                "old_tail",
                "old_mask",
                "old_freight",
                "dear",
                "value",
            ]
        },
        **{
            name: room(shipments)
            for name in [
                "cap",
                "weight",
                "volume",
                "units",
                "mask",
                "freight",
                "grams",
                "tail",
                "low",
                "high",
            ]
        },
        rest=room(lines + 1),
        giver=room(lines + 1, nodes),
        tails=room(shipments, limits.weight_steps_max),
        parcel_weight=room(parcels),
        parcel_volume=room(parcels),
        plan_cost=room(plans),
        plan_size=room(plans),
        plan_node=room(plans, shipments),
        plan_service=room(plans, shipments),
        plan_amount=room(plans, shipments, lines),
        spare_amount=room(shipments, lines),
        trial_amount=room(shipments, lines),
        trial_service=room(shipments),
        trial_node=room(shipments),
        cut_price=room(cuts),
        cut_offset=room(cuts),
        cut_start=room(cuts + 1),
        cut_node=room(places),
        cut_line=room(places),
    )
