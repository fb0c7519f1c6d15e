"""What a solver's process makes of kept decisions: which orders count, what is left of stock."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.kept_decisions import DecisionBook
from engine.commands import CREATE, REROUTE
from engine.routing.solver import Solver
from engine.routing.waves.wave import WaveOrder
from server.documents import ROUTING_DECISION
from server.routing.decision_log import name_of
from server.routing.prices.dual_job import DualJob
from server.routing.prices.dual_solve import PLENTY, _alike, _came, _numbered, _stock_left, solved
from server.routing.prices.price_table import NO_PRICES
from server.routing.prices.promises import EVERYTHING, is_new_order, kept_after
from server.transport.columns import Columns
from tests.routing.shapes import TWO_CARRIERS, problem

NODES, SKUS = ["newark", "chicago"], ["mug", "rug"]
FAR = 30
EITHER, FIRST_ONLY = [[0], [0]], [[0], [-1]]


class Book:
    """Orders for a mug from two nodes, the second one 30 dearer."""

    def __init__(self) -> None:
        self.kept = DecisionBook(NODES, SKUS)
        self.promises: list[tuple[str, int]] = []

    def promise(
        self, stock: list[int], now_ms: int, *, item: int = 0, channel: str = "", **values: Any
    ) -> None:
        there = np.array(stock)[:, None]
        asked = problem(there, **({"shipment_cost": [0, FAR]} | values))
        order = WaveOrder(asked, np.arange(2), np.array([item]), 0)
        plan = Solver().solve(asked).plans[0]
        name = self.kept.promise(order, plan, now_ms, channel=channel)
        self.promises.append((name, now_ms))

    def job(self, **changes: Any) -> DualJob:
        told: dict[str, Any] = {
            "since_ms": 0,
            "now_ms": 500,
            "begin_ms": 0,
            "horizon_ms": 1000,
            "scale": 100,
            "before": NO_PRICES,
            "rounds": 60,
        }
        return DualJob.of(self.kept.state, self.promises, **(told | changes))

    def left(self, begin_ms: int = 0) -> list[list[int]]:
        """Units at each node of each SKU that came up, as the job takes them to be."""
        job = self.job()
        came = [_came(body, job) for body in job.decisions]
        nodes, node = _numbered([one.nodes for one in came])
        skus, item = _numbered([one.skus for one in came])
        orders = [
            WaveOrder(one.problem, at, of, 0) for one, at, of in zip(came, node, item, strict=True)
        ]
        found: list[list[int]] = _stock_left(
            came, orders, (len(nodes), len(skus)), begin_ms
        ).tolist()
        return found


def half_seen() -> Book:
    """Half of a horizon: of twenty orders every second one can only have the first node, where
    there are fifteen left in the end."""
    book = Book()
    for at in range(20):
        zone = FIRST_ONLY if at % 2 else EITHER
        book.promise([35 - at, 40], at * 25, zone=zone)
    return book


def test_a_unit_is_worth_what_an_order_with_a_choice_pays_elsewhere() -> None:
    book = half_seen()
    assert book.left() == [[15], [40]]
    # Twenty more are to come: the ten without a choice and five others find a unit there.
    table = solved(book.job())
    assert abs(table.over(NODES, SKUS)[0, 0] / 16 - FAR) <= 1
    assert table.over(NODES, SKUS)[1].tolist() == [0, 0]


def test_the_same_job_has_the_same_prices() -> None:
    job = half_seen().job()
    first, again = solved(job), solved(DualJob.from_numbers(job.numbers()))
    assert first.due.tolist() == again.due.tolist()
    assert len(first) == 1


def test_where_there_is_plenty_or_nothing_is_to_come_there_is_no_price() -> None:
    book = Book()
    for at in range(20):
        book.promise([900, 900], at * 25)
    assert len(solved(book.job())) == 0
    scarce = half_seen()
    assert len(solved(scarce.job(now_ms=1000))) == 0
    assert len(solved(scarce.job(since_ms=500))) == 0
    scarce.promises.clear()
    assert len(solved(scarce.job())) == 0


def test_stock_is_what_the_last_order_saw_less_what_was_taken_since() -> None:
    book = Book()
    book.promise([9, 4], 10)
    book.promise([2, 7], 20, item=1)
    book.promise([6, 4], 30)
    assert book.left() == [[5, 1], [4, 7]]


def test_what_was_seen_before_stock_came_says_nothing() -> None:
    book = Book()
    book.promise([1, 1], 10)
    book.promise([8, 3], 30, item=1)
    assert book.left(begin_ms=20) == [[PLENTY, 7], [PLENTY, 3]]


def test_what_a_fence_hides_from_others_is_counted() -> None:
    book = Book()
    book.promise([10, 4], 10, channel="local")
    book.promise([3, 4], 20)
    book.promise([2, 4], 30)
    # Local saw ten, of which three are taken; the others see one more that is theirs.
    assert book.left() == [[7], [4]]


def test_an_order_of_another_number_of_services_ends_the_sample() -> None:
    book = Book()
    for at in range(6):
        few = {} if at >= 3 else {"tariff": TWO_CARRIERS}
        book.promise([9, 9], 10 * at, **few)
    job = book.job()
    came = [_came(body, job) for body in job.decisions]
    kept, since_ms = _alike(came, 0, positions_max=1 << 20)
    assert [one.time_ms for one in kept] == [30, 40, 50]
    assert since_ms == 20
    # Two SKUs at two nodes are too many for three positions.
    book.promise([9, 9], 60, item=1)
    came.append(_came(book.job().decisions[-1], job))
    kept, since_ms = _alike(came, 0, positions_max=3)
    assert ([one.time_ms for one in kept], since_ms) == ([60], 50)


def test_decisions_that_are_gone_or_were_refused_are_no_sample() -> None:
    book = half_seen()
    documents = book.kept.state.documents
    for name, _ in [*book.promises[:5], book.promises[7]]:
        del documents[ROUTING_DECISION, name]
    job = book.job()
    # The fifth, of 100 ms, is the last that is missing before all others.
    assert (len(job.decisions), job.since_ms) == (14, 100)
    for key in [key for key in documents if key[0] != ROUTING_DECISION]:
        del documents[key]
    assert len(book.job().decisions) == 0


def test_promises_are_found_in_the_order_of_the_ledger_and_from_a_revision_on() -> None:
    book = Book()
    for at in (30, 10, 20):
        book.promise([9, 9], at)
    every = kept_after(book.kept.state, EVERYTHING)
    assert [one.time_ms for one in every] == [30, 10, 20]
    assert kept_after(book.kept.state, every[0].revision) == every[1:]
    assert kept_after(book.kept.state, every[-1].revision) == []


def test_an_order_that_is_planned_anew_is_no_new_order() -> None:
    kept = DecisionBook(NODES, SKUS)
    asked = problem([[9], [9]])
    order = WaveOrder(asked, np.arange(2), np.zeros(1, np.int64), 0)
    plan = Solver().solve(asked).plans[0]
    for kind, is_new in ((CREATE, True), (REROUTE, False)):
        columns = Columns()
        columns.add(kind, caller=b"")
        name = kept.promise(
            order, plan, 0, name=name_of(f"{kind}", 1), command=columns.batch().to_bytes()
        )
        assert is_new_order(kept.state, name) == is_new
    assert is_new_order(kept.state, kept.promise(order, plan, 0))
