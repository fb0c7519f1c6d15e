"""Dual prices of a server: those of the engine, fed with the decisions that are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.kept_decisions import DecisionBook
from engine.routing.plan import Plan
from engine.routing.prices.decide import Mode, with_opportunity_cost
from engine.routing.prices.duals.prices import DualPrices
from engine.routing.solver import Solver
from engine.routing.waves.wave import WaveOrder
from server.documents import ROUTING_DECISION
from server.routing.decision_log import name_of
from server.routing.prices.dual_job import DualJob
from server.routing.prices.dual_solve import solved
from server.routing.prices.duals import DualOpportunity
from server.routing.prices.line import POINTS_MAX
from server.routing.prices.price_table import PriceTable
from server.routing.prices.source import PriceSettings, Source
from tests.routing.shapes import problem

NODES, SKUS = ["n0", "n1", "n2", "n3"], ["a", "b", "c"]
SCALE = 300
PERIOD_MS = 100_000
BEGIN_MS = 7 * PERIOD_MS


SETTINGS = PriceSettings(Mode.ON, SCALE, PERIOD_MS, Source.DUALS)

Integers = NDArray[np.int64]


def solve_all(duals: DualOpportunity) -> int:
    """As the server has it done, but at once; how many solves there were."""
    count = 0
    while (due := duals.next_job()) is not None:
        numbers = solved(DualJob.from_numbers(due.job.numbers())).numbers()
        duals.solved(due, PriceTable.from_numbers(numbers, scale=due.job.scale))
        count += 1
    return count


@dataclass(frozen=True)
class Promised:
    """An order as it came, its plan, and when."""

    order: WaveOrder
    plan: Plan
    time_ms: int


class Shop:
    """Orders of random customers, each promised at the server's prices, one every 100 ms."""

    def __init__(self, seed: int, units: int = 150) -> None:
        self.random = np.random.default_rng(seed)
        self.book = DecisionBook(NODES, SKUS)
        self.stock = np.full((4, 3), units)
        self.duals = DualOpportunity(SETTINGS)
        self.duals.refresh(self.book.state, 0, BEGIN_MS)
        self.solver = Solver()
        self.promised: list[Promised] = []
        self.now_ms = BEGIN_MS - 100

    def asked(self, item: Integers) -> WaveOrder:
        node = np.flatnonzero(self.stock[:, item].sum(axis=1))
        # A few have one node alone.
        zone = np.zeros((len(node), 1), np.int64)
        zone[1:] = self.random.choice([-1, 0, 0])
        there = self.stock[np.ix_(node, item)]
        far = self.random.integers(0, 120, len(node))
        return WaveOrder(problem(there, shipment_cost=far, zone=zone), node, item, 0)

    def order(self, items: int = 0) -> tuple[WaveOrder, Integers]:
        """One more that can be promised, and what its nodes cost more by the prices."""
        self.now_ms += 100
        items = items or (int(self.random.integers(1, 3)) if self.promised else 3)
        while True:
            asked = self.asked(np.sort(self.random.permutation(3)[:items]))
            assembly = self.book.assembly(asked, self.now_ms)
            cost = self.duals.costs(assembly)
            priced = with_opportunity_cost(asked.problem, cost)
            answer = self.solver.solve(priced)
            if answer.costs:
                break
        plan = answer.plans[0]
        self.promised.append(Promised(asked, plan, self.now_ms))
        name = self.book.promise(asked, plan, self.now_ms, problem=priced)
        for sent in plan.shipments:
            for line, units in sent.units.items():
                self.stock[asked.node[sent.node], asked.item[line]] -= units
        self.duals.took(self.book.state, 0, assembly, plan, name)
        return asked, cost

    def sell(self, orders: int) -> None:
        """So many, with every solve made in time."""
        for _ in range(orders):
            self.order()
            solve_all(self.duals)

    def cost_by(self, duals: DualOpportunity) -> list[list[int]]:
        """Of an order for everything from everywhere."""
        everything = WaveOrder(problem(np.ones((4, 3), np.int64)), np.arange(4), np.arange(3), 0)
        found: list[list[int]] = duals.costs(self.book.assembly(everything, self.now_ms)).tolist()
        return found


@pytest.mark.parametrize("seed", range(3))
def test_they_are_the_engines_prices_of_the_same_orders_to_the_unit(seed: int) -> None:
    shop = Shop(seed)
    engine = DualPrices(4, 3, scale=SCALE)
    engine.begin(BEGIN_MS, BEGIN_MS + PERIOD_MS)
    changed = 0
    for number in range(520):
        one, cost = shop.order()
        there = one.problem.arrays.stock
        wanted = engine.opportunity_cost(one.node, one.item, there, shop.now_ms)
        assert (cost == wanted).all(), number
        changed += bool(cost.any())
        engine.ordered(replace(one, unrouted_cost=unrouted_cost(shop.promised[-1])), shop.now_ms)
        if number % 50 == 0:
            engine.solve(shop.stock, shop.now_ms)
            assert solve_all(shop.duals) == 1
    assert changed > 100  # there is something to differ in
    assert shop.duals._known is not None
    table = shop.duals._known.table
    places = np.ix_(table.node_places(NODES), table.sku_places(SKUS))
    assert (table.price[places] == engine.price).all()


def unrouted_cost(one: Promised) -> int:
    """Ten times what the plan costs without prices."""
    return 10 * (one.plan.cost - sum(sent.opportunity_cost for sent in one.plan.shipments)) + 1


def test_whoever_reads_the_decisions_later_has_the_same_prices() -> None:
    shop = Shop(seed=5)
    shop.sell(460)
    before = shop.cost_by(shop.duals)
    assert np.any(before)
    later = DualOpportunity(SETTINGS)
    later.refresh(shop.book.state, 0, shop.now_ms)
    # Nothing counts before everything is made up for.
    for _ in range(10):
        assert not np.any(shop.cost_by(later))
        due = later.next_job()
        assert due is not None
        later.solved(due, solved(due.job))
    assert not later.is_due
    assert shop.cost_by(later) == before
    assert later.left_out == 0


def test_prices_that_were_in_a_decision_do_not_come_into_the_next_ones() -> None:
    shop = Shop(seed=2)
    shop.sell(101)
    assert any(one.opportunity_cost for each in shop.promised for one in each.plan.shipments)
    plain = DecisionBook(NODES, SKUS)
    for one in shop.promised:
        plan = replace(
            one.plan,
            shipments=tuple(replace(sent, opportunity_cost=0) for sent in one.plan.shipments),
        )
        plain.promise(one.order, plan, one.time_ms)
    shadow = DualOpportunity(replace(SETTINGS, mode=Mode.SHADOW))
    shadow.refresh(plain.state, 0, shop.now_ms)
    assert solve_all(shadow) == 3
    assert shop.cost_by(shadow) == shop.cost_by(shop.duals)


def test_solves_that_come_too_late_are_left_out_for_the_newest() -> None:
    shop = Shop(seed=1)
    for _ in range(160):
        shop.order()
    assert [one.number for one in shop.duals._line.points] == [1, 51, 101, 151]
    assert solve_all(shop.duals) == 1
    assert shop.duals.left_out == 3
    assert shop.duals.positions > 0


def test_where_the_last_solve_to_make_up_for_fails_those_before_it_count() -> None:
    shop = Shop(seed=5)
    shop.sell(160)
    later = DualOpportunity(SETTINGS)
    later.refresh(shop.book.state, 0, shop.now_ms)
    for _ in range(3):
        due = later.next_job()
        assert due is not None
        later.solved(due, solved(due.job))
    assert not np.any(shop.cost_by(later))
    due = later.next_job()
    assert due is not None
    later.failed(due)
    assert not later.is_due
    assert np.any(shop.cost_by(later))


def test_after_a_failure_the_last_prices_stay_and_the_next_solve_goes_on_from_them() -> None:
    shop = Shop(seed=5)
    shop.sell(101)
    before = shop.cost_by(shop.duals)
    assert np.any(before)
    for _ in range(50):
        shop.order()
    due = shop.duals.next_job()
    assert due is not None
    shop.duals.failed(due)
    shop.now_ms = due.point.time_ms
    assert shop.duals.next_job() is None  # each is tried once
    assert shop.duals._known is not None
    table = shop.duals._known.table
    for _ in range(50):
        shop.order()
    again = shop.duals.next_job()
    assert again is not None
    assert again.job.before is table


def test_a_solve_of_a_state_that_is_gone_counts_for_nothing() -> None:
    shop = Shop(seed=5)
    for _ in range(60):
        shop.order()
    due = shop.duals.next_job()
    assert due is not None
    other = DecisionBook(NODES, SKUS)
    shop.duals.refresh(other.state, 0, shop.now_ms)
    shop.duals.solved(due, solved(due.job))
    assert shop.duals.positions == 0


def test_a_new_period_has_no_prices_until_its_first_promise() -> None:
    shop = Shop(seed=5)
    shop.sell(220)
    assert np.any(shop.cost_by(shop.duals))
    shop.now_ms = BEGIN_MS + PERIOD_MS - 100
    shop.stock[:] = 30
    shop.order(items=3)
    assert not np.any(shop.cost_by(shop.duals))  # no solve yet in this period
    due = shop.duals.next_job()
    assert due is not None
    assert (len(due.job.decisions), len(due.job.before)) == (221, 0)
    assert (due.job.begin_ms, due.job.now_ms) == (BEGIN_MS + PERIOD_MS,) * 2
    # The first order has seen what came of all three items: thirty units at each node.
    shop.duals.solved(due, solved(due.job))
    assert np.any(shop.cost_by(shop.duals))


def test_at_most_so_many_solves_are_made_up_for() -> None:
    made = DualOpportunity(SETTINGS)
    book = DecisionBook(["n0"], ["a"])
    one = WaveOrder(problem([[9]]), np.zeros(1, np.int64), np.zeros(1, np.int64), 0)
    plan = Solver().solve(one.problem).plans[0]
    name = book.promise(one, plan, BEGIN_MS)
    body, _ = book.state.documents[ROUTING_DECISION, name]
    for number in range((POINTS_MAX + 10) * 50):
        book.put(ROUTING_DECISION, name_of(f"more{number}", 0), body)
    made.refresh(book.state, 0, BEGIN_MS)
    jobs = 0
    while (due := made.next_job()) is not None:
        jobs += 1
        assert len(due.job.decisions) == 400
        made.solved(due, PriceTable.of([], [], np.zeros((0, 0))))
    assert jobs == POINTS_MAX


def test_a_process_that_follows_reads_only_what_is_new() -> None:
    shop = Shop(seed=5)
    follower = DualOpportunity(SETTINGS)
    follower.refresh(shop.book.state, 0, BEGIN_MS, follows=True)
    for version in range(1, 121):
        shop.order()
        solve_all(shop.duals)
        follower.refresh(shop.book.state, version, shop.now_ms, follows=True)
        solve_all(follower)
    assert shop.cost_by(follower) == shop.cost_by(shop.duals)
    assert follower._line.count == len(shop.promised)
    # And all of it once it serves by itself.
    line = follower._line
    follower.refresh(shop.book.state, 121, shop.now_ms)
    assert follower._line is not line
    assert follower._line.count == len(shop.promised)
    solve_all(follower)
    assert shop.cost_by(follower) == shop.cost_by(shop.duals)
