"""The exact search for one order, from arrays to arrays.

1. Read the problem; offer every plan of one shipment.
2. Where the two cheapest openings already cost more, that proves the best of them.
3. Otherwise a first plan over a pair of nodes or by a rule of thumb, then prices and reduced costs,
   then the search over sets.
4. An order that this does not finish soon gets a better pair of nodes and better bounds, and the
   search starts again.
"""

from __future__ import annotations

from typing import Any

from engine.compiled import Integer, kernel
from engine.routing.allocate import allocate, set_bound
from engine.routing.bounds import prepare, price, scaled_bar, two_least_openings
from engine.routing.greedy import CHEAPEST, FEWEST, greedy
from engine.routing.improve import improve
from engine.routing.lots import read
from engine.routing.pairs import best_pair, better_pair
from engine.routing.pool import offer
from engine.routing.search import search_sets
from engine.routing.single import offer_single_nodes
from engine.routing.work import (
    BUDGET,
    CUT_BOUND,
    INFEASIBLE,
    PLANS,
    PLANS_MAX,
    ROOT_BOUND,
    SCALE,
    SHIPMENTS_MAX,
    STEPS,
)

_EASY = 800
"""Work after which better bounds are worth their time."""

_FIRST = 400
"""Work that a set to start from may take."""


@kernel
def _allocate_set(p: Any, w: Any, size: Integer) -> None:
    bound = set_bound(w, size)
    if bound < scaled_bar(w):
        allocate(p, w, size, bound)


@kernel
def _offer_first_plan(p: Any, w: Any) -> None:
    """A plan to start from: over the best pair, or by a rule and improved over its own nodes."""
    if best_pair(p, w):
        _allocate_set(p, w, 2)
        if w.state[PLANS] > 0:
            return
    size, cost = greedy(p, w, CHEAPEST)
    if cost >= INFEASIBLE:
        size, cost = greedy(p, w, FEWEST)
    if cost >= INFEASIBLE or size < 2:
        return
    offer(w, cost, size)
    for place in range(size):
        w.set_node[place] = w.trial_node[place]
    _allocate_set(p, w, size)


@kernel
def _offer_better_pair(p: Any, w: Any, budget: Integer) -> None:
    if better_pair(p, w):
        w.state[BUDGET] = min(budget, w.state[STEPS] + _FIRST)
        _allocate_set(p, w, 2)


@kernel
def solve(p: Any, w: Any, plans_max: Integer, budget: Integer) -> None:
    """Fill the plans of `w` and the bound that holds for the first of them."""
    w.state[PLANS] = 0
    w.state[PLANS_MAX] = plans_max
    w.state[BUDGET] = budget
    w.state[CUT_BOUND] = INFEASIBLE * SCALE
    read(p, w)
    offer_single_nodes(p, w)
    if w.state[SHIPMENTS_MAX] > 1:
        prepare(p, w)
        if two_least_openings(p, w) < scaled_bar(w):
            w.state[BUDGET] = min(budget, _FIRST)
            _offer_first_plan(p, w)
            # What was cut there the search comes to again.
            w.state[CUT_BOUND] = INFEASIBLE * SCALE
            price(p, w)
            w.state[BUDGET] = min(budget, _EASY)
            search_sets(p, w)
            if w.state[STEPS] > w.state[BUDGET] and budget > _EASY:
                # A hard one: a better pair, better prices, then again from the plans found so far.
                _offer_better_pair(p, w, budget)
                w.state[BUDGET] = budget
                w.state[CUT_BOUND] = INFEASIBLE * SCALE
                improve(p, w)
                search_sets(p, w)
    best = INFEASIBLE
    if w.state[PLANS] > 0:
        best = w.plan_cost[0]
    w.state[ROOT_BOUND] = min(best, -(-w.state[CUT_BOUND] // SCALE))


@kernel
def solve_by_rule(p: Any, w: Any, rule: Integer) -> None:
    """Fill in the one plan that a rule of thumb makes, or none."""
    w.state[PLANS] = 0
    w.state[PLANS_MAX] = 1
    read(p, w)
    size, cost = greedy(p, w, rule)
    if cost < INFEASIBLE:
        offer(w, cost, size)
