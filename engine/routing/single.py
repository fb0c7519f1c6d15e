"""Plans of one shipment: every node that has the whole order."""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.parcels import freight_of
from engine.routing.pool import bar, cost_of_trial, offer
from engine.routing.work import (
    INFEASIBLE,
    LOTS,
    ORDER_MASK,
    ORDER_VOLUME,
    ORDER_WEIGHT,
    UNITS,
)


@kernel
def cost_without_freight(p: Any, w: Any, node: Integer) -> Integer:
    """Handling and opportunity cost of the whole order at one node."""
    cost = p.shipment_cost[node]
    for lot in range(w.state[LOTS]):
        cost += w.lot_quantity[lot] * w.lot_cost[node, lot]
    return cost


@kernel
def offer_single_nodes(p: Any, w: Any) -> None:
    """Offer the plan of each node that can ship everything. O(N (L + S))."""
    lots = w.state[LOTS]
    everything = (1 << lots) - 1
    for node in range(len(p.pick_capacity)):
        if w.full[node] != everything or w.node_free[node] < w.state[UNITS]:
            continue
        mask = w.node_mask[node] & w.state[ORDER_MASK]
        least = cost_without_freight(p, w, node)
        if least >= bar(w) or mask == 0:
            continue
        least += freight_of(p, w, node, w.state[ORDER_WEIGHT], w.state[ORDER_VOLUME], mask)
        if least >= bar(w):
            continue
        for lot in range(lots):
            w.trial_amount[0, lot] = w.lot_quantity[lot]
        w.trial_node[0] = node
        cost = cost_of_trial(p, w, 1)
        if cost < INFEASIBLE:
            offer(w, cost, 1)
