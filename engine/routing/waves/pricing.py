"""Each order by itself at the prices in hand: its best plans, and what it costs at least.

By Lagrange, whatever the prices, no answer of the wave costs less than

    sum over orders of min(unrouted cost, cheapest plan with the prices on what it takes)
    - sum over resources of price x capacity

and as little with prices on cuts (`cuts`), each less its price times what it allows.

A shipment of several parcels pays a pickup's price once here, which can only lower the bound.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.exact import solve
from engine.routing.waves.cuts import charge
from engine.routing.waves.emit import COLUMNS, STEPS, emit, has_room
from engine.routing.waves.memory import FINENESS
from engine.routing.waves.window import look
from engine.routing.work import CUTS, PLANS, ROOT_BOUND
from engine.routing.work import STEPS as SEARCH_STEPS


@kernel
def price(
    v: Any,
    source: Any,
    seen: Any,
    w: Any,
    out: Any,
    cuts: Any,
    first: Integer,
    plans_max: Integer,
    work_budget: Integer,
    more_steps: Integer,
) -> Integer:
    """Price orders from `first` on until the outlet is full; the first order not priced.

    `more_steps`: what those that `work_budget` is too little for may take beyond it, together.
    Fills `bound`. A plan dearer than leaving the order unrouted is no column.
    """
    orders = len(v.unrouted)
    for order in range(first, orders):
        look(v, source, seen, order)
        if not has_room(v, out, plans_max, len(source.quantity)):
            return order
        charge(cuts, w, order)
        solve(seen, w, plans_max, work_budget + more_steps)
        more_steps -= min(more_steps, max(0, w.state[SEARCH_STEPS] - work_budget))
        out.state[STEPS] += w.state[SEARCH_STEPS]
        unrouted = v.unrouted[order] * FINENESS
        v.bound[order] = min(unrouted, w.state[ROOT_BOUND])
        for plan in range(w.state[PLANS]):
            if w.plan_cost[plan] < unrouted or plan == 0:
                emit(v, source, seen, w, out, order, plan)
        # No other kernel knows of cuts.
        w.state[CUTS] = 0
    return orders


@kernel
def take(v: Any, out: Any, column: Integer, sign: Integer) -> None:
    """Take what a column takes from what is left; a `sign` of -1 gives it back."""
    for at in range(out.start[column], out.start[column + 1]):
        v.left[out.resource[at]] -= sign * out.taken[at]


@kernel
def route_in_turn(
    v: Any,
    source: Any,
    seen: Any,
    w: Any,
    out: Any,
    turn: Any,
    first: Integer,
    work_budget: Integer,
) -> Integer:
    """Give one order after another its best plan of what is left; the first turn not taken.

    `turn`: (O,) orders in the order they are routed. A plan that costs as much as leaving the
    order unrouted is written, but takes nothing.
    """
    for at in range(first, len(turn)):
        order = turn[at]
        look(v, source, seen, order)
        if not has_room(v, out, 1, len(source.quantity)):
            return at
        solve(seen, w, 1, work_budget)
        out.state[STEPS] += w.state[SEARCH_STEPS]
        if w.state[PLANS] > 0:
            column = out.state[COLUMNS]
            emit(v, source, seen, w, out, order, 0)
            if out.cost[column] < v.unrouted[order]:
                take(v, out, column, 1)
    return len(turn)


@kernel
def price_what_is_left(
    v: Any,
    source: Any,
    seen: Any,
    w: Any,
    out: Any,
    held: Any,
    first: Integer,
    plans_max: Integer,
    work_budget: Integer,
) -> Integer:
    """Each order's best plans of what the others leave it; the first order not priced.

    `held`: what each order's plan takes now, entries ``start[o] : start[o + 1]``. Whatever an order
    finds here fits beside the plans that all others have.
    """
    orders = len(v.unrouted)
    for order in range(first, orders):
        own = range(held.start[order], held.start[order + 1])
        for at in own:
            v.left[held.resource[at]] += held.taken[at]
        look(v, source, seen, order)
        room = has_room(v, out, plans_max, len(source.quantity))
        if room:
            solve(seen, w, plans_max, work_budget)
            out.state[STEPS] += w.state[SEARCH_STEPS]
            for plan in range(w.state[PLANS]):
                emit(v, source, seen, w, out, order, plan)
        for at in own:
            v.left[held.resource[at]] -= held.taken[at]
        if not room:
            return order
    return orders
