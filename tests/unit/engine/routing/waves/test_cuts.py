"""Cuts against every plan there is, and the bound that prices on them make."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np

from engine.routing import limits
from engine.routing.plan import Status
from engine.routing.problem import Problem
from engine.routing.waves.ascent import Pricer
from engine.routing.waves.budget import WorkBudget
from engine.routing.waves.columns import Columns
from engine.routing.waves.cuts import Cuts
from engine.routing.waves.emit import Outlet
from engine.routing.waves.memory import CUTS_MAX, FINENESS, ROWS_PER_CUT_MAX, Memory
from engine.routing.waves.separation import Rows
from engine.routing.waves.solver import solve_wave
from engine.routing.waves.wave import Wave, WaveOrder
from tests.routing.shapes import FLAT
from tests.routing.waves import Taken, least_cost, plans, wave

WAVES = 300
DEAREST = 1500 * FINENESS


class Priced:
    """A wave with some cuts of its rows and some prices, chance's all, priced."""

    def __init__(self, asked: Wave, seed: int) -> None:
        random = np.random.default_rng([seed, 7])
        self.memory = Memory(asked)
        self.columns = Columns()
        orders = len(asked.orders)
        self.pickups = asked.nodes * (asked.items + 1)
        self.cuts = Cuts(asked, self.memory)
        self.rows: list[tuple[int, ...]] = []
        for _ in range(int(random.integers(1, 7))):
            size = int(random.integers(1, 5))
            chosen = random.choice(orders + self.pickups, size, replace=False)
            rows = tuple(sorted(chosen.tolist()))
            if self.cuts.add(rows):
                self.rows.append(rows)
        self.due = random.integers(0, DEAREST // 8, len(self.memory.capacity))
        # A pickup's price is paid once for several parcels, which only a bound may do.
        self.due[self.pickups :] = 0
        self.prices = random.integers(0, DEAREST, len(self.cuts))
        pricer = Pricer(self.memory, self.columns, Outlet(self.memory.lines), limits.work_budget)
        self.bound = pricer.price(self.due, 8, self.cuts.charged(self.prices)).bound

    def count(self, rows: tuple[int, ...], order: int, taken: Taken) -> int:
        """What a cut counts of a plan, by its definition."""
        orders = len(self.memory.whole.arrays["unrouted"])
        total = sum(row == order if row < orders else taken[row - orders] for row in rows)
        return total // 2


def test_the_search_finds_what_is_cheapest_with_cuts_and_no_bound_is_above_the_least_cost() -> None:
    charged = 0
    for seed in range(WAVES):
        asked = wave(seed)
        priced = Priced(asked, seed)
        capacity = asked.capacity
        for order, one in enumerate(asked.orders):
            least = one.unrouted_cost * FINENESS
            without = least
            for cost, taken in plans(asked, order):
                if any(units > capacity[at] for at, units in taken.items()):
                    continue
                paid = cost * FINENESS + sum(
                    int(priced.due[at]) * units for at, units in taken.items()
                )
                without = min(without, paid)
                paid += sum(
                    int(price) * priced.count(rows, order, taken)
                    for rows, price in zip(priced.rows, priced.prices, strict=True)
                )
                least = min(least, paid)
            assert priced.memory.bound[order] == least, (seed, order)
            charged += least > without
        assert priced.bound <= least_cost(asked), seed
    # Or it would have shown nothing.
    assert charged > WAVES // 4


def test_columns_count_in_cuts_as_their_plans_do_and_cost_what_they_cost_without() -> None:
    for seed in range(WAVES // 3):
        asked = wave(seed)
        priced = Priced(asked, seed)
        columns = priced.columns
        everyone = np.arange(len(columns))
        found = np.zeros((len(columns), len(priced.cuts)), np.int64)
        counted = priced.cuts.coefficients(columns, everyone)
        found[counted.column, counted.cut] = counted.count
        for column in range(len(columns)):
            entries = columns.entries(np.array([column]))
            taken = Counter(
                dict(zip(entries.resource.tolist(), entries.taken.tolist(), strict=True))
            )
            order = int(columns.order[column])
            assert found[column].tolist() == [
                priced.count(rows, order, taken) for rows in priced.rows
            ]
            costs = [cost for cost, takes in plans(asked, order) if takes == taken]
            assert costs == [columns.cost[column]]


def test_no_more_cuts_than_there_is_room_for() -> None:
    asked = wave(1)
    cuts = Cuts(asked, Memory(asked))
    rows = range(len(asked.orders) + asked.nodes * (asked.items + 1))
    assert not cuts.add(tuple(rows[: ROWS_PER_CUT_MAX + 1]))
    sets = [some for size in range(1, 5) for some in itertools.combinations(rows, size)]
    assert len(sets) > CUTS_MAX
    assert [cuts.add(some) for some in sets] == [at < CUTS_MAX for at in range(len(sets))]
    assert len(cuts) == len(cuts.most) == CUTS_MAX
    assert not cuts.add(sets[0])


def triangle() -> Wave:
    """Three orders of two items each, no two of which can both ship from the near node.

    In shares each ships half from there.
    """
    orders = [
        WaveOrder(
            Problem.of(
                FLAT,
                quantity=[1, 1],
                unit_weight_g=[600, 600],
                stock=[[1, 1], [3, 3]],
                shipment_cost=[0, 300],
                zone=[[0], [0]],
                shipments_max=1,
            ),
            node=np.arange(2),
            item=np.array(items),
            unrouted_cost=50_000,
        )
        for items in ([0, 1], [1, 2], [0, 2])
    ]
    return Wave.of(orders, stock=[[1, 1, 1], [3, 3, 3]], pick_capacity=[9, 9], slots=[[9], [9]])


def test_a_cut_closes_the_gap_that_shares_leave() -> None:
    asked = triangle()
    least = least_cost(asked)
    without = solve_wave(asked, WorkBudget(0.2), kernels_only=True)
    assert without.cost == least
    assert without.bound < least
    answer = solve_wave(asked, WorkBudget(0.2))
    assert answer.cost == answer.bound == least
    assert answer.status is Status.OPTIMAL


def test_what_shares_break_is_found() -> None:
    asked = triangle()
    columns = solve_wave(asked, WorkBudget(0.2), kernels_only=True).columns
    near = columns.taken_by(np.arange(0), len(asked.capacity))
    share = np.zeros(len(columns))
    for column in range(len(columns)):
        takes = columns.entries(np.array([column]))
        share[column] = 0.5
        if (takes.resource < asked.items).any():
            near += columns.taken_by(np.array([column]), len(near))
    assert near[: asked.items].tolist() == [2, 2, 2]
    rows = Rows(columns, share, 3, asked.capacity, asked.nodes * (asked.items + 1))
    # The three rows of the near node's stock, after those of the orders.
    assert rows.broken(10)[0] == (3, 4, 5)
