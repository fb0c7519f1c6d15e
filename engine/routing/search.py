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

_NONE = -1
_BIG = 1 << 60


@kernel
def _read_givers(w: Any) -> None:
    """Per lot: the candidates that have it, in their order, and the least that one of them adds.

    O(N M).
    """
    lots = w.state[LOTS]
    givers, giver, at_has, at_opening = w.givers, w.giver, w.at_has, w.at_opening
    for at in range(w.state[ALIVE]):
        giver[lots, at] = at
    for lot in range(lots):
        count = 0
        opening = _BIG
        for at in range(w.state[ALIVE]):
            # Without a branch, which no processor could foretell.
            gives = (at_has[at] >> lot) & 1
            giver[lot, count] = at
            count += gives
            opening = min(opening, at_opening[at] if gives == 1 else _BIG)
        givers[lot] = count
        w.least_opening[lot] = opening
        # Candidates lie in order of reduced cost.
        w.least_reduced[lot] = w.at_reduced[giver[lot, 0]] if count > 0 else _BIG


@kernel
def _scarcest(w: Any, missing: Integer) -> Integer:
    scarcest = _NONE
    for lot in range(w.state[LOTS]):
        if (missing >> lot) & 1 and (scarcest == _NONE or w.givers[lot] < w.givers[scarcest]):
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
    """The next place in the order of candidates that may join at `depth`, _NONE after the last."""
    line = w.set_line[depth]
    count = w.givers[line] if line != w.state[LOTS] else w.state[ALIVE]
    missing = w.set_missing[depth]
    flat_room = bar - w.set_flat[depth]
    dual_room = bar - w.set_dual[depth]
    # Without room for one more after this one, it must have everything that is missing.
    last_room = flat_room - w.state[LEAST_OPENING]
    if depth + 1 == w.state[SHIPMENTS_MAX]:
        last_room = 0
    at_has = w.at_has
    at_opening = w.at_opening
    at_reduced = w.at_reduced
    excluded = w.excluded
    giver = w.giver
    first = w.pointer[depth]
    spot = first
    found = _NONE
    while spot < count:
        at = giver[line, spot]
        if at_reduced[at] >= dual_room:
            # They lie in order of reduced cost.
            break
        spot += 1
        if excluded[at] == 0:
            opening = at_opening[at]
            if opening < flat_room and (opening < last_room or missing & ~at_has[at] == 0):
                found = at
                break
    w.pointer[depth] = spot
    w.state[STEPS] += (spot - first) >> 4
    return found


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
    giver = w.giver
    line = w.set_line[depth]
    for spot in range(w.pointer[depth]):
        at = giver[line, spot]
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
        if at == _NONE:
            _leave(w, depth)
            depth -= 1
            continue
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
        w.set_line[depth] = _scarcest(w, missing) if missing != 0 else lots
        w.pointer[depth] = 0
