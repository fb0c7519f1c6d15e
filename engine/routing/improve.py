"""Better bounds for the orders that the first ones leave hard.

First the slope: the bounds value every gram alike, and the value at which the nodes of the best
plan so far are bounded best suits its rivals too, which ship from as far. Then the prices: dual
ascent stops where no single price can rise, subgradients go on from there.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.allocate import choose_slope
from engine.routing.bounds import floors, line_up, openings, price, scaled_bar
from engine.routing.parcels import collapse
from engine.routing.work import (
    ALIVE,
    BASE_DUAL,
    INFEASIBLE,
    LEAST_OPENING,
    LOTS,
    PLANS,
    SCALE,
    SLOPE,
    SPLIT,
    TAIL_SLOPE,
)

_BIG = 1 << 62
_TURNS = 14
_LENGTH = 64


@kernel
def _retune(p: Any, w: Any) -> None:
    """Take over the slope that bounds the best plan's nodes best, unless an opening fell below 0.

    A node with a negative opening would look as if it paid for itself.
    """
    size = w.plan_size[0] if w.state[PLANS] > 0 else 0
    if size < 2:
        return
    for place in range(size):
        node = w.plan_node[0, place]
        w.set_node[place] = node
        if not collapse(p, w, node):
            return
    for node in range(len(p.pick_capacity)):
        w.collapsed[node] = 0
    first = w.state[SLOPE]
    choose_slope(w, size)
    w.state[SLOPE] = w.state[TAIL_SLOPE]
    floors(p, w, False)
    openings(p, w)
    if w.state[LEAST_OPENING] < 0:
        w.state[SLOPE] = first
        floors(p, w, True)
        openings(p, w)


@kernel
def _costs_at(w: Any) -> tuple[Integer, Integer]:
    """Term of every candidate at the prices in hand, in `slack`; the least two of them."""
    lots = w.state[LOTS]
    alive, mosts, dears, prices = w.alive, w.most, w.node_dear, w.price
    openings, slacks = w.opening, w.slack
    least = _BIG // 4
    second = _BIG // 4
    for at in range(w.state[ALIVE]):
        node = alive[at]
        cost = openings[node]
        for lot in range(lots):
            # Where there is none of a lot its cost is of another order: none times anything.
            cost -= mosts[node, lot] * max(0, prices[lot] - dears[node, lot])
        slacks[node] = cost
        if cost < least:
            second = least
            least = cost
        elif cost < second:
            second = cost
    return least, second


@kernel
def _gradient(w: Any, second: Integer) -> Integer:
    """Per lot, in `order`: units wanted less units given by who has a part in the bound.

    Those are the two cheapest, and everyone whose term is negative. Returns the sum of squares.
    """
    lots = w.state[LOTS]
    for lot in range(lots):
        w.order[lot] = w.lot_quantity[lot]
    for at in range(w.state[ALIVE]):
        node = w.alive[at]
        if w.slack[node] < 0 or w.slack[node] <= second:
            for lot in range(lots):
                if w.most[node, lot] > 0 and w.price[lot] > w.node_dear[node, lot]:
                    w.order[lot] -= w.most[node, lot]
    squares = 0
    for lot in range(lots):
        squares += w.order[lot] * w.order[lot]
    return squares


@kernel
def _follow_gradient(w: Any) -> None:
    """Raise the dual bound by subgradients (Held, Wolfe and Crowder 1974).

    Counts on two nodes at least, plans of one having been looked at. Keeps the best prices met.
    """
    lots = w.state[LOTS]
    bar = scaled_bar(w)
    best = w.state[BASE_DUAL]
    length = _LENGTH
    for lot in range(lots):
        w.best_price[lot] = w.price[lot]
    for _ in range(_TURNS):
        least, second = _costs_at(w)
        bound = -w.state[SPLIT] * SCALE
        for lot in range(lots):
            bound += w.lot_quantity[lot] * w.price[lot]
        for at in range(w.state[ALIVE]):
            bound += min(0, w.slack[w.alive[at]])
        bound += max(0, least) + max(0, second)
        if bound > best:
            best = bound
            for lot in range(lots):
                w.best_price[lot] = w.price[lot]
        else:
            length = max(1, length * 3 // 4)
        squares = _gradient(w, second)
        if squares == 0 or bar >= INFEASIBLE * SCALE:
            break
        for lot in range(lots):
            step = (bar - bound) // squares * w.order[lot] * length // _LENGTH
            w.price[lot] = max(w.least_price[lot], w.price[lot] + step)
    for lot in range(lots):
        w.price[lot] = w.best_price[lot]
    _costs_at(w)
    base = -w.state[SPLIT] * SCALE
    for lot in range(lots):
        base += w.lot_quantity[lot] * w.price[lot]
    for at in range(w.state[ALIVE]):
        node = w.alive[at]
        base += min(0, w.slack[node])
        w.reduced[node] = max(0, w.slack[node])
    w.state[BASE_DUAL] = base
    line_up(w)


@kernel
def improve(p: Any, w: Any) -> None:
    """Slope, candidates, prices; the first slope again where the new one bounds worse.

    O(N (L + S)).
    """
    first = w.state[SLOPE]
    before = w.state[BASE_DUAL]
    _retune(p, w)
    price(p, w)
    if w.state[BASE_DUAL] < before and w.state[SLOPE] != first:
        w.state[SLOPE] = first
        floors(p, w, True)
        openings(p, w)
        price(p, w)
    _follow_gradient(w)
