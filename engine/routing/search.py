"""Branch and bound over node sets: which nodes ship, each set looked at once.

At a set that does not cover the order, branch on the lot still missing that the fewest nodes have:
one of those nodes must join, and once it has been tried it is excluded for its siblings. At a set
that covers it, the best plan over exactly that set is offered (`engine.routing.allocate`), and any
further node may join. Sets are cut by the two additive bounds and by what one more node must cover.

Invariants
1. Every set of two or more nodes that could hold a plan below the bar is reached once, or its bound
   went into CUT_BOUND.
2. ``excluded`` is, by place among the candidates, one more than the depth that holds or has tried
   one, 0 for none.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.allocate import allocate
from engine.routing.bounds import scaled_bar
from engine.routing.work import (
    ALIVE,
    BASE_DUAL,
    BASE_FLAT,
    BUDGET,
    CUT_BOUND,
    LEAST_OPENING,
    LOTS,
    SCALE,
    SHIPMENTS_MAX,
    SPLIT,
    STEPS,
    UNITS,
)

_ANY = -1
_BIG = 1 << 60


@kernel
def _read_givers(w: Any) -> None:
    """Per lot: how many candidates have it, and the least that one of them adds to a bound."""
    lots = w.state[LOTS]
    for lot in range(lots):
        w.givers[lot] = 0
        w.least_opening[lot] = _BIG
        w.least_reduced[lot] = _BIG
    for at in range(w.state[ALIVE]):
        node = w.alive[at]
        has = w.has[node]
        for lot in range(lots):
            if (has >> lot) & 1:
                w.givers[lot] += 1
                w.least_opening[lot] = min(w.least_opening[lot], w.opening[node])
                w.least_reduced[lot] = min(w.least_reduced[lot], w.reduced[node])


@kernel
def _scarcest(w: Any, missing: Integer) -> Integer:
    scarcest = _ANY
    for lot in range(w.state[LOTS]):
        if (missing >> lot) & 1 and (scarcest == _ANY or w.givers[lot] < w.givers[scarcest]):
            scarcest = lot
    return scarcest


@kernel
def _join(w: Any, depth: Integer, node: Integer) -> tuple[Integer, Integer]:
    """What is missing once `node` has joined, as bits; the linear bound of the lots, if nothing is.

    Fills the need of the next depth, and each lot's least bound cost in the set.
    """
    lots = w.state[LOTS]
    # Arrays in local names are read from the view once, not at every use.
    needs, leasts, mosts, dears, quantities = (
        w.need,
        w.set_dear,
        w.most,
        w.node_dear,
        w.lot_quantity,
    )
    has = w.has[node]
    missing = 0
    total = 0
    for lot in range(lots):
        left = needs[depth, lot]
        least = leasts[depth, lot]
        if (has >> lot) & 1:
            left -= mosts[node, lot]
            least = min(least, dears[node, lot])
        if left > 0:
            missing |= 1 << lot
        else:
            left = 0
        needs[depth + 1, lot] = left
        leasts[depth + 1, lot] = least
        if missing == 0:
            total += quantities[lot] * least
    return missing, total


@kernel
def _next_candidate(w: Any, depth: Integer, bar: Integer) -> Integer:
    """The next place in the order of candidates that may join at `depth`; all of them: none."""
    alive = w.state[ALIVE]
    line = w.set_line[depth]
    missing = w.set_missing[depth]
    flat_room = bar - w.set_flat[depth]
    dual_room = bar - w.set_dual[depth]
    # Without room for one more after this one, it must have everything that is missing.
    last_room = flat_room - w.state[LEAST_OPENING]
    if depth + 1 == w.state[SHIPMENTS_MAX]:
        last_room = 0
    needs = 0 if line == _ANY else 1 << line
    at_has = w.at_has
    at_opening = w.at_opening
    at_reduced = w.at_reduced
    excluded = w.excluded
    first = w.pointer[depth]
    at = first
    while at < alive:
        if at_reduced[at] >= dual_room:
            # Candidates lie in order of reduced cost.
            at = alive
            break
        if at_has[at] & needs == needs and excluded[at] == 0:
            opening = at_opening[at]
            if opening < flat_room and (opening < last_room or missing & ~at_has[at] == 0):
                break
        at += 1
    w.state[STEPS] += (at - first) >> 4
    return at


@kernel
def _next_costs(w: Any, missing: Integer, flat: Integer, dual: Integer) -> Integer:
    """Bound of a set of which `missing` is still to come from nodes that are not in it."""
    opening = 0
    reduced = 0
    openings, reduceds = w.least_opening, w.least_reduced
    for lot in range(w.state[LOTS]):
        if (missing >> lot) & 1:
            opening = max(opening, openings[lot])
            reduced = max(reduced, reduceds[lot])
    return max(flat + opening, dual + reduced)


@kernel
def _leave(w: Any, depth: Integer) -> None:
    """Forget what `depth` has excluded."""
    excluded = w.excluded
    for at in range(w.state[ALIVE]):
        if excluded[at] == depth + 1:
            excluded[at] = 0


@kernel
def _can_pick(w: Any, size: Integer) -> bool:
    free = 0
    for place in range(size):
        free += min(w.node_free[w.set_node[place]], w.state[UNITS])
    return free >= w.state[UNITS]


@kernel
def search_sets(p: Any, w: Any) -> None:
    """Offer every plan of two or more shipments that is below the bar."""
    lots = w.state[LOTS]
    _read_givers(w)
    for lot in range(lots):
        w.need[0, lot] = w.lot_quantity[lot]
        w.set_dear[0, lot] = _BIG >> 20
    w.set_flat[0] = w.state[BASE_FLAT]
    w.set_dual[0] = w.state[BASE_DUAL]
    w.set_missing[0] = (1 << lots) - 1
    w.set_line[0] = _scarcest(w, w.set_missing[0])
    w.pointer[0] = 0
    depth = 0
    while depth >= 0:
        bar = scaled_bar(w)
        at = _next_candidate(w, depth, bar)
        if at >= w.state[ALIVE]:
            _leave(w, depth)
            depth -= 1
            continue
        w.pointer[depth] = at + 1
        w.state[STEPS] += 2
        node = w.alive[at]
        flat = w.set_flat[depth] + w.at_opening[at]
        dual = w.set_dual[depth] + w.at_reduced[at]
        size = depth + 1
        last = size == w.state[SHIPMENTS_MAX] or flat + w.state[LEAST_OPENING] >= bar
        if size == 1 and last:
            continue
        missing, lots_cost = _join(w, depth, node)
        if missing != 0 and (last or _next_costs(w, missing, flat, dual) >= bar):
            continue
        w.excluded[at] = size
        w.set_node[depth] = node
        if size > 1 and missing == 0 and _can_pick(w, size):
            # As allocate.set_bound says, from what is at hand.
            bound = flat - w.state[BASE_FLAT] + lots_cost - w.state[SPLIT] * SCALE
            if bound < bar:
                if w.state[STEPS] > w.state[BUDGET]:
                    w.state[CUT_BOUND] = min(w.state[CUT_BOUND], bound)
                else:
                    allocate(p, w, size, bound)
        if last:
            continue
        if w.state[STEPS] > w.state[BUDGET]:
            w.state[CUT_BOUND] = min(w.state[CUT_BOUND], max(dual, flat))
            continue
        depth += 1
        w.set_flat[depth] = flat
        w.set_dual[depth] = dual
        w.set_missing[depth] = missing
        w.set_line[depth] = _scarcest(w, missing) if missing != 0 else _ANY
        w.pointer[depth] = 0
