"""The columns CP-SAT is given, and when it stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.core_budget import CoreBudget
from benchmarks.wave_orders import wave_of
from engine.routing.tariff import Integers
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.budget import NO_CLOCK_S, WorkBudget
from engine.routing.waves.memory import FINENESS
from engine.routing.waves.pool import NO_LIMIT, NONE, Pool
from engine.routing.waves.restricted import solve_restricted
from engine.routing.waves.solver import solve_wave

ABOVE = 150


@dataclass
class Solved:
    """A wave's answer without CP-SAT, and its columns."""

    answer: WaveAnswer
    unrouted: Integers

    def pool(self, above_most: int = NO_LIMIT) -> Pool:
        answer = self.answer
        return Pool(
            answer.columns,
            answer.due,
            self.unrouted,
            answer.wave.capacity,
            per_order_most=60,
            keep=answer.chosen[answer.chosen != NONE],
            above_most=above_most,
        )


def solved_of(orders: int) -> Solved:
    wave = wave_of(orders, seed=2)
    answer = solve_wave(wave, WorkBudget(0.3), kernels_only=True)
    unrouted = np.array([order.unrouted_cost for order in wave.orders], np.int64)
    return Solved(answer, unrouted)


@pytest.fixture(scope="module")
def solved() -> Solved:
    return solved_of(60)


def test_dear_columns_are_left_out_and_chosen_ones_kept(solved: Solved) -> None:
    columns, chosen = solved.answer.columns, solved.answer.chosen
    whole, narrow = solved.pool(), solved.pool(ABOVE)
    assert len(narrow.place) < len(whole.place)
    every = np.arange(len(columns))
    paid = columns.with_dues(every, solved.answer.due, FINENESS)
    cheapest = {
        order: paid[columns.order == order].min() for order in np.unique(columns.order).tolist()
    }
    left_out = np.setdiff1d(whole.place, narrow.place)
    for place in left_out.tolist():
        assert paid[place] > cheapest[int(columns.order[place])] + ABOVE * FINENESS - 1
        assert place not in chosen
    for place in np.setdiff1d(narrow.place, chosen).tolist():
        assert paid[place] <= cheapest[int(columns.order[place])] + ABOVE * FINENESS + 1
    assert np.array_equal(narrow.to_columns(narrow.of_columns(chosen)), chosen)


def test_more_columns_are_no_dearer_and_the_best_of_all_is_within_the_bound(
    solved: Solved,
) -> None:
    costs = []
    for above in (0, ABOVE, NO_LIMIT):
        pool = solved.pool(above)
        found = solve_restricted(
            pool,
            pool.of_columns(solved.answer.chosen),
            deterministic_s=60,
            seconds_left=lambda: NO_CLOCK_S,
            seed=1,
        )
        assert found is not None
        assert found.is_best
        costs.append(found.cost)
    assert solved.answer.cost >= costs[0] >= costs[1] >= costs[2] >= solved.answer.bound


def test_it_stops_when_it_is_told_to() -> None:
    """Told by another thread until it does. A proof would take minutes."""
    solved = solved_of(300)
    pool = solved.pool()
    told = threading.Event()
    done = threading.Event()

    @contextmanager
    def stopping(stop: Callable[[], None]) -> Iterator[None]:
        def tell() -> None:
            while not done.wait(0.001):
                stop()
                told.set()

        teller = threading.Thread(target=tell)
        teller.start()
        assert told.wait(60)
        try:
            yield
        finally:
            done.set()
            teller.join()

    found = solve_restricted(
        pool,
        pool.of_columns(solved.answer.chosen),
        deterministic_s=1e6,
        seconds_left=lambda: NO_CLOCK_S,
        seed=1,
        stopping=stopping,
    )
    assert found is None or (found.cost <= solved.answer.cost and not found.is_best)


def test_a_budget_of_processor_time_stops_when_it_is_used_up() -> None:
    budget = CoreBudget(0.05)
    stopped = threading.Event()
    with budget.stopping(stopped.set):
        while not stopped.is_set():
            sum(range(1000))  # uses some
    assert budget.left_s() <= 0
    assert budget.clock_left_s() == NO_CLOCK_S
