"""Dual prices are solved beside everything else: what fails is counted, and changes nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.wave_orders import wave_of
from engine.routing.waves.memory import FINENESS
from engine.routing.waves.warmup import warm_up
from server.application import solver_messages
from server.application.price_solves import PriceSolves
from server.application.solver_pool import (
    NotPriced,
    NotPricedError,
    PoolLimits,
    SolverPool,
    Source,
)
from server.routing.prices.metrics import OUTCOMES, SOLVED, PriceMetrics
from server.routing.prices.price_table import PriceTable
from tests.unit.server.application import pricer_with_faults as faults
from tests.unit.server.routing.prices.test_duals import (
    BEGIN_MS,
    NODES,
    SCALE,
    SETTINGS,
    SKUS,
    Shop,
    solve_all,
)

BUDGET_S = 1.0
"""For a solver that does not answer."""
PLENTY_S = 90.0


async def pool_with(fault: str) -> SolverPool:
    made = SolverPool(PoolLimits(), command=(sys.executable, str(Path(faults.__file__)), fault))
    await made.start()
    await made.ready()
    return made


@pytest.fixture
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[SolverPool]:
    made = await pool_with(request.param)
    yield made
    await made.close()


def shop_with_a_solve_due() -> Shop:
    shop = Shop(seed=5)
    for _ in range(60):
        shop.order()
    assert shop.duals.is_due
    return shop


def read(numbers: Any) -> PriceTable:
    return PriceTable.from_numbers(numbers, scale=SCALE)


# --- The pool --------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [faults.SOUND], indirect=True)
async def test_a_solver_has_the_prices_that_this_process_would_have(pool: SolverPool) -> None:
    shop, same = shop_with_a_solve_due(), shop_with_a_solve_due()
    due = shop.duals.next_job()
    assert due is not None
    table = await pool.price(due.job.numbers(), read, budget_s=PLENTY_S)
    shop.duals.solved(due, table)
    assert solve_all(same.duals) == 1
    assert shop.cost_by(shop.duals) == same.cost_by(same.duals)
    assert any(map(any, shop.cost_by(shop.duals)))
    # Its solver is as good for a wave as before, and the other way round.
    warm_up()
    solved = await pool.solve(wave_of(10), budget_s=PLENTY_S, gap_enough=0.5)
    assert solved.source is Source.SOLVER
    again = await pool.price(due.job.numbers(), read, budget_s=PLENTY_S)
    assert again.due.tolist() == table.due.tolist()
    assert (pool.counts.started, pool.counts.crashed, pool.counts.hung) == (1, 0, 0)


@pytest.mark.parametrize(
    ("pool", "why", "counted"),
    [
        (faults.CRASH, NotPriced.CRASHED, "crashed"),
        (faults.NONSENSE, NotPriced.CRASHED, "crashed"),
        (faults.HANG, NotPriced.HUNG, "hung"),
    ],
    indirect=["pool"],
)
async def test_a_solver_that_fails_is_replaced_and_there_are_no_prices(
    pool: SolverPool, why: NotPriced, counted: str
) -> None:
    due = shop_with_a_solve_due().duals.next_job()
    assert due is not None
    budget_s = BUDGET_S if why is NotPriced.HUNG else PLENTY_S
    with pytest.raises(NotPricedError) as caught:
        await pool.price(due.job.numbers(), read, budget_s=budget_s)
    assert caught.value.why is why
    assert getattr(pool.counts, counted) == 1
    await pool.ready()
    assert pool.counts.started == 2


@pytest.mark.parametrize("fault", [TypeError, AttributeError, OverflowError, IndexError])
@pytest.mark.parametrize("pool", [faults.SOUND], indirect=True)
async def test_an_answer_of_any_nonsense_costs_the_pool_no_solver(
    pool: SolverPool, fault: type[Exception]
) -> None:
    def nonsense(numbers: Any) -> PriceTable:
        raise fault("as of an array that is none")

    due = shop_with_a_solve_due().duals.next_job()
    assert due is not None
    with pytest.raises(NotPricedError, match="CRASHED"):
        await pool.price(due.job.numbers(), nonsense, budget_s=PLENTY_S)
    assert len(await pool.price(due.job.numbers(), read, budget_s=PLENTY_S)) > 0


@pytest.mark.parametrize("pool", [faults.SOUND], indirect=True)
async def test_a_job_that_is_too_large_costs_the_pool_no_solver(
    pool: SolverPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = shop_with_a_solve_due().duals.next_job()
    assert due is not None
    with monkeypatch.context() as patched:
        patched.setattr(solver_messages, "FRAME_BYTES_MAX", 100)
        with pytest.raises(NotPricedError, match="UNSERVED"):
            await pool.price(due.job.numbers(), read, budget_s=PLENTY_S)
    assert len(await pool.price(due.job.numbers(), read, budget_s=PLENTY_S)) > 0
    assert pool.counts.started == 1


@pytest.mark.parametrize("pool", [faults.SOUND], indirect=True)
async def test_waves_come_first(pool: SolverPool) -> None:
    due = shop_with_a_solve_due().duals.next_job()
    assert due is not None
    numbers = due.job.numbers()
    # While the one solver is a wave's, or is waited for by one, prices wait for theirs.
    busy = await pool._next_solver(asyncio.get_running_loop().time() + PLENTY_S)
    assert busy is not None
    prices = asyncio.ensure_future(pool.price(numbers, read, budget_s=PLENTY_S))
    waiting = asyncio.ensure_future(pool._next_solver(asyncio.get_running_loop().time() + PLENTY_S))
    await asyncio.sleep(0)  # it comes as far as its first wait
    assert pool.waiting == 1
    pool._give_back(busy)
    assert await waiting is busy
    assert not prices.done()
    pool._give_back(busy)
    assert len(await prices) > 0
    # And those that find none in their time are told so.
    taken = await pool._next_solver(asyncio.get_running_loop().time() + PLENTY_S)
    assert taken is busy
    with pytest.raises(NotPricedError, match="UNSERVED"):
        await pool.price(numbers, read, budget_s=0.01)


async def test_without_solvers_there_are_no_prices() -> None:
    none = SolverPool(PoolLimits(solvers=0))
    await none.start()
    with pytest.raises(NotPricedError, match="UNSERVED"):
        await none.price({}, read, budget_s=PLENTY_S)
    await none.close()


# --- Who asks it -----------------------------------------------------------------------------


class Pool:
    """Of which a test says what becomes of each job."""

    def __init__(self, answer: Callable[[], Awaitable[PriceTable]]) -> None:
        self.answer = answer
        self.jobs: list[Any] = []
        self.asked = asyncio.Event()

    async def price(self, job: Any, read: Any, *, budget_s: float) -> PriceTable:
        self.jobs.append(job)
        self.asked.set()
        return await self.answer()


PRICES = PriceTable.of(NODES, SKUS, SCALE * FINENESS * (1 - np.eye(4, 3)))


class Solving:
    """A shop whose prices are solved by such a pool."""

    def __init__(self, answer: Callable[[], Awaitable[PriceTable]]) -> None:
        self.shop = Shop(seed=5)
        self.metrics = PriceMetrics(SETTINGS)
        self.pool = Pool(answer)
        self.is_browned_out = False
        self.solves = PriceSolves(
            self.pool,  # type: ignore[arg-type]
            self.shop.duals,
            self.metrics,
            is_browned_out=lambda: self.is_browned_out,
        )

    def sell(self, orders: int) -> None:
        for _ in range(orders):
            self.shop.order()

    @property
    def ended(self) -> dict[str, int]:
        """How many solves, by what became of them."""
        return {
            outcome: count
            for outcome in OUTCOMES
            if (count := sum(self.metrics.seconds[outcome].counts))
        }


async def test_a_solve_begins_with_the_promise_that_makes_it_due() -> None:
    async def answer() -> PriceTable:
        return PRICES

    solving = Solving(answer)
    solving.sell(1)
    await solving.solves.settled()
    assert len(solving.pool.jobs) == 1
    solving.sell(49)
    await solving.solves.settled()
    assert len(solving.pool.jobs) == 1
    solving.sell(1)
    await solving.solves.settled()
    assert solving.ended == {SOLVED: 2}
    assert solving.metrics.positions == len(PRICES) == solving.shop.duals.positions
    assert any(map(any, solving.shop.cost_by(solving.shop.duals)))


@pytest.mark.parametrize("why", list(NotPriced))
async def test_what_fails_is_counted_and_leaves_the_prices_there_are(why: NotPriced) -> None:
    fails = False

    async def answer() -> PriceTable:
        if fails:
            raise NotPricedError(why)
        return PRICES

    solving = Solving(answer)
    solving.sell(51)
    await solving.solves.settled()
    before = solving.shop.cost_by(solving.shop.duals)
    fails = True
    now_ms = solving.shop.now_ms
    solving.sell(50)
    await solving.solves.settled()
    assert solving.ended == {SOLVED: 1, why.value: 1}
    solving.shop.now_ms = now_ms
    assert solving.shop.cost_by(solving.shop.duals) == before
    fails = False
    solving.sell(50)
    await solving.solves.settled()
    assert solving.ended == {SOLVED: 2, why.value: 1}


async def test_one_solve_at_a_time_and_then_the_newest() -> None:
    gate = asyncio.Event()

    async def answer() -> PriceTable:
        await gate.wait()
        return PRICES

    solving = Solving(answer)
    solving.sell(1)
    await solving.pool.asked.wait()
    # Three more are due while the first one takes its time: no promise has waited for it.
    solving.sell(170)
    assert len(solving.pool.jobs) == 1
    gate.set()
    await solving.solves.settled()
    assert len(solving.pool.jobs) == 2
    assert (solving.metrics.behind, solving.ended) == (2, {SOLVED: 2})


async def test_in_a_brown_out_nothing_is_begun_and_what_is_due_then_is_counted_once() -> None:
    async def answer() -> PriceTable:
        return PRICES

    solving = Solving(answer)
    solving.is_browned_out = True
    solving.sell(60)
    await solving.solves.settled()
    solving.sell(1)
    await solving.solves.settled()
    assert (solving.pool.jobs, solving.ended, solving.metrics.browned_out) == ([], {}, 1)
    solving.is_browned_out = False
    solving.sell(1)
    await solving.solves.settled()
    assert solving.ended == {SOLVED: 1}


async def test_closing_ends_what_is_under_way() -> None:
    ended = asyncio.Event()

    async def answer() -> PriceTable:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    solving = Solving(answer)
    solving.sell(1)
    await solving.pool.asked.wait()
    await solving.solves.close()
    assert ended.is_set()
    solving.sell(60)
    assert len(solving.pool.jobs) == 1


async def test_a_process_that_starts_makes_up_for_the_solves_of_the_period() -> None:
    async def answer() -> PriceTable:
        return PRICES

    shop = Solving(answer).shop
    for _ in range(120):
        shop.order()
    later = Solving(answer)
    later.shop.duals.refresh(shop.book.state, 1, BEGIN_MS)
    await later.solves.settled()
    assert len(later.pool.jobs) == 3
    assert later.metrics.behind == 0
