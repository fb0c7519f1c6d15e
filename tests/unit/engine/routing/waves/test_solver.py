"""Waves against everything there is to try, and what is true of every answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.wave_orders import wave_of
from engine.routing.infeasible import Constraint
from engine.routing.plan import Status
from engine.routing.problem import DAYS_LATE_MAX, PROMISED_DAY, Problem
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.budget import ClockBudget, WorkBudget
from engine.routing.waves.pool import NONE
from engine.routing.waves.solver import Progress, solve_wave
from engine.routing.waves.wave import Wave, WaveOrder
from tests.routing.shapes import FLAT
from tests.routing.waves import least_cost, wave

WAVES = 150


def check(answer: WaveAnswer) -> None:
    """Every unit once, nothing over what there is or later than allowed, costs as said: from the
    plans alone."""
    asked = answer.wave
    nodes, items, services = asked.nodes, asked.items, asked.services
    taken: Counter[int] = Counter()
    cost = 0
    for order, plan in zip(asked.orders, answer.plans, strict=True):
        if plan is None:
            cost += order.unrouted_cost
            continue
        cost += plan.cost
        shipped: Counter[int] = Counter()
        a = order.problem.arrays
        for each in plan.shipments:
            transit = a.transit_days[each.service, a.zone[each.node, each.service]]
            late = a.ready_day[each.node, each.service] + transit - a.terms[PROMISED_DAY]
            assert max(0, late) == each.days_late <= a.terms[DAYS_LATE_MAX]
            node = int(order.node[each.node])
            shipped.update(each.units)
            assert sum(each.units.values()) <= order.problem.arrays.pick_capacity[each.node]
            for line, units in each.units.items():
                assert units <= order.problem.arrays.stock[each.node, line]
                taken[node * items + int(order.item[line])] += units
                taken[nodes * items + node] += units
            taken[nodes * (items + 1) + node * services + each.service] += len(each.parcels)
        wanted = enumerate(order.problem.arrays.quantity.tolist())
        assert shipped == Counter(dict(wanted))
    assert cost == answer.cost
    assert all(units <= asked.capacity[resource] for resource, units in taken.items())
    assert taken == Counter({int(r): int(answer.taken[r]) for r in np.flatnonzero(answer.taken)})


def test_small_waves_cost_what_trying_everything_finds() -> None:
    best = 0
    for seed in range(WAVES):
        asked = wave(seed)
        answer = solve_wave(asked, WorkBudget(0.05), kernels_only=True)
        check(answer)
        least = least_cost(asked)
        assert answer.bound <= least <= answer.cost <= answer.sequential_cost, seed
        if answer.status is Status.OPTIMAL:
            assert answer.cost == least, seed
        best += answer.cost == least
    # The search knows only the columns it has met: nearly always they are enough.
    assert best >= 0.97 * WAVES, best


def test_cp_sat_over_the_columns_is_no_worse() -> None:
    for seed in range(20):
        asked = wave(seed)
        answer = solve_wave(asked, WorkBudget(0.05))
        check(answer)
        assert answer.bound <= least_cost(asked) <= answer.cost <= answer.sequential_cost, seed


@pytest.fixture(scope="module")
def scarce() -> Wave:
    return wave_of(60)


def test_a_scarce_wave_is_within_its_limits_and_below_sequential_routing(scarce: Wave) -> None:
    answer = solve_wave(scarce, WorkBudget(1.0), kernels_only=True)
    check(answer)
    assert answer.bound <= answer.cost < answer.sequential_cost
    assert answer.gap < 0.05


def test_the_same_seed_and_work_give_the_same_answer(scarce: Wave) -> None:
    answers = [solve_wave(scarce, WorkBudget(0.6), seed=5) for _ in range(2)]
    assert answers[0].plans == answers[1].plans
    assert answers[0].bound == answers[1].bound
    assert answers[0].work_s == answers[1].work_s


def test_progress_is_told_and_never_goes_back(scarce: Wave) -> None:
    told: list[Progress] = []
    answer = solve_wave(scarce, WorkBudget(0.5), kernels_only=True, progress=told.append)
    costs = [one.cost for one in told]
    assert costs == sorted(costs, reverse=True)
    assert [one.bound for one in told] == sorted(one.bound for one in told)
    assert told[0].cost == answer.sequential_cost
    assert costs[-1] == answer.cost < answer.sequential_cost


def test_an_answer_that_is_good_enough_is_returned_at_once(scarce: Wave) -> None:
    whole = solve_wave(scarce, WorkBudget(0.6), kernels_only=True)
    early = solve_wave(scarce, WorkBudget(0.6), kernels_only=True, gap_enough=0.06)
    check(early)
    assert whole.gap <= early.gap <= 0.06
    assert early.work_s < whole.work_s


def test_without_any_time_left_there_is_still_the_sequential_answer(scarce: Wave) -> None:
    now = iter(range(1000))
    answer = solve_wave(scarce, ClockBudget(1.0, lambda: float(next(now))))
    check(answer)
    assert answer.cost == answer.sequential_cost
    assert answer.bound > 0


def order_of(zone: list[int], quantity: int = 1, unrouted_cost: int = 10_000) -> WaveOrder:
    """One line of an item that lies at every node; zone -1 is a node without a lane."""
    problem = Problem.of(
        FLAT,
        quantity=[quantity],
        unit_weight_g=600,
        stock=np.full((len(zone), 1), 9),
        zone=[[one] for one in zone],
    )
    nodes = np.arange(len(zone))
    return WaveOrder(problem, node=nodes, item=np.zeros(1, np.int64), unrouted_cost=unrouted_cost)


def of(orders: list[WaveOrder], stock: list[int], pick: int = 9, slots: int = 9) -> Wave:
    nodes = len(stock)
    return Wave.of(
        orders,
        stock=np.array(stock)[:, None],
        pick_capacity=np.full(nodes, pick),
        slots=np.full((nodes, 1), slots),
    )


def solved(asked: Wave) -> WaveAnswer:
    answer = solve_wave(asked, WorkBudget(0.02), kernels_only=True)
    check(answer)
    return answer


def test_an_order_makes_way_for_one_that_has_no_other_node() -> None:
    answer = solved(of([order_of([0, 0]), order_of([0, -1])], stock=[1, 1]))
    first, second = answer.plans
    assert first is not None
    assert second is not None
    assert first.shipments[0].node == 1
    assert second.shipments[0].node == 0
    assert answer.status is Status.OPTIMAL


def test_an_order_that_cannot_be_routed_is_named_and_the_rest_is_routed() -> None:
    answer = solved(of([order_of([0]), order_of([-1]), order_of([0], quantity=7)], stock=[5]))
    assert answer.impossible == {1, 2}
    assert answer.plans[0] is not None
    assert [one.order for one in answer.left] == [1, 2]
    reasons = [one.refusal.constraint for one in answer.left if one.refusal]
    assert reasons == [Constraint.NO_LANE, Constraint.STOCK]
    assert all(one.is_impossible for one in answer.left)


def test_an_order_that_others_leave_nothing_is_told_what_was_short() -> None:
    orders = [order_of([0], unrouted_cost=9_000), order_of([0], unrouted_cost=10_000)]
    answer = solved(of(orders, stock=[1]))
    assert answer.plans[0] is None
    assert answer.plans[1] is not None
    [left] = answer.left
    assert not left.is_impossible
    assert left.refusal is not None
    assert (left.refusal.constraint, left.refusal.available) == (Constraint.STOCK, 0)


@pytest.mark.parametrize(
    ("limits", "constraint"),
    [({"pick": 1}, Constraint.PICK_CAPACITY), ({"slots": 1}, Constraint.NO_SLOT)],
)
def test_capacity_is_shared(limits: dict[str, int], constraint: Constraint) -> None:
    answer = solved(of([order_of([0]), order_of([0])], stock=[9], **limits))
    assert int((answer.chosen != NONE).sum()) == 1
    [left] = answer.left
    assert left.refusal is not None
    assert left.refusal.constraint is constraint


def test_an_order_dearer_than_leaving_it_is_left() -> None:
    answer = solved(of([order_of([0], unrouted_cost=100)], stock=[9]))
    assert answer.plans == (None,)
    [left] = answer.left
    assert not left.is_impossible
    assert left.refusal is None
    assert answer.cost == answer.bound == 100
