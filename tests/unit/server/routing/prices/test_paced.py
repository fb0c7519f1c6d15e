"""Paced prices of a server: the same for the process that promised and for whoever reads later."""

from __future__ import annotations

import numpy as np

from benchmarks.kept_decisions import DecisionBook
from engine import reads
from engine.routing.prices.decide import Mode, with_opportunity_cost
from engine.routing.solver import Solver
from engine.routing.waves.wave import WaveOrder
from server.routing.prices.paced import PacedOpportunity
from server.routing.prices.source import PriceSettings
from tests.ledger import Ledger
from tests.routing.shapes import problem

NODES, SKUS = ["n0", "n1", "n2"], ["a", "b"]
PERIOD_MS = 100_000
BEGIN_MS = 7 * PERIOD_MS
SETTINGS = PriceSettings(Mode.ON, 300, PERIOD_MS)


class Shop:
    """Random orders at the server's prices, one every 100 ms, over a ledger's own positions."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(3)
        ledger = Ledger()
        for node in NODES:
            for sku in SKUS:
                ledger.stock(sku, node, 40)
        state = ledger.state
        rows = [reads.position_row(state, sku, node) for node in NODES for sku in SKUS]
        assert rows == list(range(6))
        self.book = DecisionBook(NODES, SKUS, state)
        self.stock = np.full((3, 2), 40)
        self.prices = PacedOpportunity(SETTINGS)
        self.prices.refresh(state, 0, BEGIN_MS)
        self.now_ms = BEGIN_MS

    def order(self, *others: PacedOpportunity) -> None:
        """One more; `others` read the ledger before they are told of it."""
        self.now_ms += 100
        node, item = np.arange(3), self.random.permutation(2)[: int(self.random.integers(1, 3))]
        there = self.stock[np.ix_(node, item)]
        far = self.random.integers(0, 90, 3)
        asked = WaveOrder(problem(there, shipment_cost=far), node, item, 0)
        assembly = self.book.assembly(asked, self.now_ms)
        priced = with_opportunity_cost(asked.problem, self.prices.costs(assembly))
        plan = Solver().solve(priced).plans[0]
        name = self.book.promise(asked, plan, self.now_ms, problem=priced)
        for sent in plan.shipments:
            for line, units in sent.units.items():
                self.stock[node[sent.node], item[line]] -= units
        self.prices.took(self.book.state, 0, assembly, plan, name)
        for one in others:
            one.refresh(self.book.state, 0, self.now_ms)
            one.took(self.book.state, 0, assembly, plan, name)

    def cost_by(self, prices: PacedOpportunity) -> list[list[int]]:
        everything = WaveOrder(problem(self.stock), np.arange(3), np.arange(2), 0)
        assembly = self.book.assembly(everything, self.now_ms)
        found: list[list[int]] = prices.costs(assembly).tolist()
        return found


def test_whoever_reads_the_decisions_later_has_the_same_prices() -> None:
    shop = Shop()
    for _ in range(60):
        shop.order()
    assert np.any(shop.cost_by(shop.prices))
    later = PacedOpportunity(SETTINGS)
    later.refresh(shop.book.state, 1, shop.now_ms)
    assert shop.cost_by(later) == shop.cost_by(shop.prices)


def test_a_process_that_follows_reads_only_what_is_new() -> None:
    shop = Shop()
    follower = PacedOpportunity(SETTINGS)
    follower.refresh(shop.book.state, 0, BEGIN_MS, follows=True)
    table = follower._prices
    for version in range(1, 61):
        shop.order()
        follower.refresh(shop.book.state, version, shop.now_ms, follows=True)
        assert shop.cost_by(follower) == shop.cost_by(shop.prices)
    assert follower._prices is table
    # And all of it once it serves by itself.
    follower.refresh(shop.book.state, 61, shop.now_ms)
    assert follower._prices is not table
    assert shop.cost_by(follower) == shop.cost_by(shop.prices)


def test_a_promise_that_was_on_its_way_when_the_ledger_was_read_counts_once() -> None:
    shop = Shop()
    shop.order()
    late = PacedOpportunity(SETTINGS)
    for _ in range(20):
        shop.order(late)
    assert np.any(shop.cost_by(shop.prices))
    assert shop.cost_by(late) == shop.cost_by(shop.prices)


def test_what_was_taken_before_the_period_moves_no_price() -> None:
    shop = Shop()
    for _ in range(20):
        shop.order()
    later = PacedOpportunity(SETTINGS)
    later.refresh(shop.book.state, 1, BEGIN_MS + PERIOD_MS)
    assert not np.any(shop.cost_by(later))
