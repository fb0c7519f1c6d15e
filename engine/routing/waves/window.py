"""One order of a wave under the one-order kernels: fill in its windows.

Every `@kernel` of this folder takes ``v``, a wave's view (`memory.Memory`), ``source`` and
``seen``, its windows, and ``w``, a search's working memory.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.problem import LATE_COST_PER_DAY, SPLIT_COST, Arrays
from engine.routing.waves.memory import FINENESS

_WORDS = 4
_CHARGE = _WORDS * Arrays._fields.index("charge")


@kernel
def look(v: Any, source: Any, seen: Any, order: Integer) -> None:
    """Lay both windows over an order. O(N (L + S))."""
    for word in range(v.block.shape[1]):
        v.source_words[word] = v.block[order, word]
        v.seen_words[word] = v.block[order, word]
    for field in range(len(v.scratch)):
        if v.scratch[field] != 0:
            v.seen_words[_WORDS * field] = v.scratch[field]
    v.seen_words[_CHARGE] = v.charge[order]
    for at in range(len(source.terms)):
        seen.terms[at] = source.terms[at]
    seen.terms[SPLIT_COST] = source.terms[SPLIT_COST] * FINENESS
    seen.terms[LATE_COST_PER_DAY] = source.terms[LATE_COST_PER_DAY] * FINENESS
    first_node = v.node_start[order]
    first_item = v.item_start[order]
    lines = len(source.quantity)
    services = len(source.volume_divisor)
    # Arrays in local names are read from the view once, not at every use.
    stock, stock_left, seen_stock = source.stock, v.stock_left, seen.stock
    dear, stock_due, seen_dear = source.opportunity_cost, v.stock_due, seen.opportunity_cost
    slots, slots_left, seen_slots = source.slots, v.slots_left, seen.slots
    fixed, slots_due, seen_fixed = source.service_cost, v.slots_due, seen.service_cost
    items = v.item
    for at in range(len(source.pick_capacity)):
        node = v.node[first_node + at]
        seen.pick_capacity[at] = min(source.pick_capacity[at], v.pick_left[node])
        seen.shipment_cost[at] = source.shipment_cost[at] * FINENESS
        seen.unit_cost[at] = source.unit_cost[at] * FINENESS + v.pick_due[node]
        for line in range(lines):
            item = items[first_item + line]
            seen_stock[at, line] = min(stock[at, line], stock_left[node, item])
            seen_dear[at, line] = dear[at, line] * FINENESS + stock_due[node, item]
        for s in range(services):
            seen_slots[at, s] = min(slots[at, s], slots_left[node, s])
            seen_fixed[at, s] = fixed[at, s] * FINENESS + slots_due[node, s]
