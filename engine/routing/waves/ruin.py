"""Ruin and recreate over columns (Schrimpf et al. 2000; Christiaens and Vanden Berghe 2020).

Some orders that stand in each other's way lose their plans; one after another they choose again
from their columns, among those that fit what is left. Choosing by cost makes a plan cheap for its
order, choosing by cost and prices makes it cheap for all: both are done in turn. A worse answer is
accepted with a chance that falls as the search cools (simulated annealing).

Chance is a xorshift generator (Marsaglia 2003) in `state`: the same seed, the same search.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.compiled import Integer, kernel
from engine.routing.tariff import Integers
from engine.routing.view import View
from engine.routing.waves.pool import NONE, Pool

RANDOM: Final = 0
COST: Final = 1
BEST: Final = 2
SCALARS: Final = 3

_RUIN_MOST: Final = 16
_TRIES: Final = 12
_PASS_OVER_ONE_IN: Final = 24


class Standing:
    """An answer in the making: each order's column of a pool, and what is left of the resources."""

    def __init__(self, pool: Pool, chosen: Integers, seed: int) -> None:
        arrays = pool.view.arrays
        self.pool = pool
        self.chosen = np.ascontiguousarray(chosen)
        self.best = self.chosen.copy()
        self.left = arrays["capacity"].copy()
        self.state = np.zeros(SCALARS, np.int64)
        self.state[RANDOM] = (seed * 2_654_435_761 + 88_172_645_463_325_252) & ((1 << 62) - 1)
        self.state[COST] = self.state[BEST] = cost_of(pool, chosen)
        routed = chosen[chosen != NONE]
        for column in routed:
            part = slice(arrays["start"][column], arrays["start"][column + 1])
            self.left[arrays["resource"][part]] -= arrays["taken"][part]
        assert int(self.left.min()) >= 0
        self.view = View(
            {
                "chosen": self.chosen,
                "best": self.best,
                "left": self.left,
                "state": self.state,
                "ruined": np.zeros(_RUIN_MOST, np.int64),
                "before": np.zeros(_RUIN_MOST, np.int64),
                "is_ruined": np.zeros(len(chosen), np.int64),
            }
        )


def cost_of(pool: Pool, chosen: Integers) -> int:
    """Cost of an answer, minor units."""
    arrays = pool.view.arrays
    routed = chosen != NONE
    plans = int(arrays["cost"][chosen[routed]].sum())
    return plans + int(arrays["unrouted"][~routed].sum())


@kernel
def _random(a: Any, below: Integer) -> Integer:
    """A number from 0 to `below`, not included."""
    x = a.state[RANDOM]
    x ^= (x << 13) & 0x7FFFFFFFFFFFFFFF
    x ^= x >> 7
    x ^= (x << 17) & 0x7FFFFFFFFFFFFFFF
    a.state[RANDOM] = x
    return (x >> 11) % below


@kernel
def _fits(pool: Any, a: Any, column: Integer) -> bool:
    starts, resource, taken, left = pool.start, pool.resource, pool.taken, a.left
    at = starts[column]
    end = starts[column + 1]
    while at < end and left[resource[at]] >= taken[at]:
        at += 1
    return at == end


@kernel
def _shift(pool: Any, a: Any, column: Integer, sign: Integer) -> None:
    for at in range(pool.start[column], pool.start[column + 1]):
        a.left[pool.resource[at]] -= sign * pool.taken[at]


@kernel
def _remove(pool: Any, a: Any, order: Integer, count: Integer) -> Integer:
    a.ruined[count] = order
    a.before[count] = a.chosen[order]
    a.is_ruined[order] = 1
    if a.chosen[order] != NONE:
        _shift(pool, a, a.chosen[order], -1)
    a.chosen[order] = NONE
    return count + 1


@kernel
def _rival(pool: Any, a: Any, order: Integer) -> Integer:
    """An order that holds something `order` could use, or NONE."""
    first = pool.first[order]
    columns = pool.first[order + 1] - first
    if columns == 0:
        return NONE
    for _ in range(_TRIES):
        # The cheapest columns come first: rather those.
        column = first + min(_random(a, columns), _random(a, columns))
        at = pool.start[column]
        entries = pool.start[column + 1] - at
        if entries == 0:
            continue
        at += _random(a, entries)
        resource = pool.resource[at]
        if a.left[resource] >= pool.taken[at] and _random(a, 4) > 0:
            continue
        begin = pool.users_start[resource]
        count = pool.users_start[resource + 1] - begin
        for _ in range(_TRIES):
            user = pool.users[begin + _random(a, count)]
            owner = pool.order[user]
            if a.chosen[owner] == user and a.is_ruined[owner] == 0:
                return owner
    return NONE


@kernel
def _ruin(pool: Any, a: Any, most: Integer) -> Integer:
    """Take the plans of up to `most` orders that are in each other's way; how many."""
    orders = len(a.chosen)
    count = _remove(pool, a, _random(a, orders), 0)
    tries = 0
    while count < most and tries < 2 * most:
        tries += 1
        rival = _rival(pool, a, a.ruined[_random(a, count)])
        if rival != NONE:
            count = _remove(pool, a, rival, count)
    return count


@kernel
def _choose(pool: Any, a: Any, order: Integer, by_price: bool) -> None:
    """Give an order its best column of those that fit; now and then the first is passed over."""
    chosen = NONE
    passed_over = _random(a, _PASS_OVER_ONE_IN) == 0
    cost, by_cost = pool.cost, pool.by_cost
    unrouted = pool.unrouted[order]
    for at in range(pool.first[order], pool.first[order + 1]):
        # Columns lie in the order of what they pay.
        column = at if by_price else by_cost[at]
        if cost[column] >= unrouted or not _fits(pool, a, column):
            continue
        if passed_over:
            passed_over = False
            continue
        chosen = column
        break
    a.chosen[order] = chosen
    if chosen != NONE:
        _shift(pool, a, chosen, 1)


@kernel
def _cost(pool: Any, order: Integer, column: Integer) -> Integer:
    return pool.unrouted[order] if column == NONE else pool.cost[column]


@kernel
def _recreate(pool: Any, a: Any, count: Integer) -> Integer:
    """Choose again for the ruined orders, in a random order; what that changes the cost by."""
    change = 0
    by_price = _random(a, 2) == 0
    for at in range(count):
        other = at + _random(a, count - at)
        order, before = a.ruined[other], a.before[other]
        a.ruined[other], a.before[other] = a.ruined[at], a.before[at]
        a.ruined[at], a.before[at] = order, before
        _choose(pool, a, order, by_price)
        change += _cost(pool, order, a.chosen[order]) - _cost(pool, order, before)
    return change


@kernel
def _undo(pool: Any, a: Any, count: Integer) -> None:
    for at in range(count):
        if a.chosen[a.ruined[at]] != NONE:
            _shift(pool, a, a.chosen[a.ruined[at]], -1)
    for at in range(count):
        a.chosen[a.ruined[at]] = a.before[at]
        if a.before[at] != NONE:
            _shift(pool, a, a.before[at], 1)


@kernel
def ruin_and_recreate(pool: Any, a: Any, turns: Integer, warmth: Integer) -> None:
    """So many turns; a turn that makes the answer dearer by less than about `warmth` may stand."""
    for _ in range(turns):
        count = _ruin(pool, a, 2 + _random(a, _RUIN_MOST - 2))
        change = _recreate(pool, a, count)
        for at in range(count):
            a.is_ruined[a.ruined[at]] = 0
        # The chance of `change` and more falls by half for every `warmth`.
        limit = 0
        while warmth > 0 and limit < 20 * warmth and _random(a, 2) == 0:
            limit += warmth
        if limit > 0:
            limit -= _random(a, warmth)
        if change > limit:
            _undo(pool, a, count)
            continue
        a.state[COST] += change
        if a.state[COST] < a.state[BEST]:
            a.state[BEST] = a.state[COST]
            for order in range(len(a.chosen)):
                a.best[order] = a.chosen[order]
