"""A wave to its answer, as good as the caller's budget allows.

1. One order after another, each at its cheapest: the first answer, and what no later one exceeds.
2. Prices on what is scarce, by pricing every order by itself round after round (`ascent`): a bound,
   and the plans met are columns. One after another again, this time at the prices.
3. More columns: at the best prices over the columns, at prices that chance has shaken, and beside
   the answer in hand, what each order would do with what the others leave.
4. Ruin and recreate over the columns, in turn with more columns of the last kind.
5. Up to `RESTRICTED_ORDERS_MAX` orders, a higher bound by cuts over several orders' plans; CP-SAT
   over the columns that are cheap at the prices; where that leaves time, over more of them and new
   ones.

It may be stopped after any of it and has an answer. `progress` is told of every better one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.routing import limits
from engine.routing.plan import Status
from engine.routing.tariff import Integers
from engine.routing.view import View
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.ascent import Ascent, Priced, Pricer, ascend_pool
from engine.routing.waves.budget import Budget, search_work_s
from engine.routing.waves.columns import Columns
from engine.routing.waves.cuts import Charged
from engine.routing.waves.emit import STEPS, Outlet
from engine.routing.waves.in_turn import take_turns
from engine.routing.waves.memory import FINENESS, Memory
from engine.routing.waves.pool import NO_LIMIT, NONE, Pool
from engine.routing.waves.pricing import price_what_is_left
from engine.routing.waves.raising import raise_bound
from engine.routing.waves.restricted import solve_restricted
from engine.routing.waves.ruin import BEST, Standing, ruin_and_recreate
from engine.routing.waves.wave import Wave

RESTRICTED_ORDERS_MAX: Final = 500
"""Orders up to which CP-SAT is given all columns at once."""

IN_TURN: Final = "in turn"
"""The first stage: one order after another."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of the budget by whose end a stage is over."""

    ascent: float
    exchange: float
    shake: float
    ruin: float
    cut: float


_LARGE: Final = _Parts(ascent=0.30, exchange=0.38, shake=0.43, ruin=1.0, cut=1.0)
_SMALL: Final = _Parts(ascent=0.30, exchange=0.38, shake=0.43, ruin=0.53, cut=0.53)
"""With CP-SAT, without cuts."""
_CUT: Final = _Parts(ascent=0.25, exchange=0.27, shake=0.31, ruin=0.52, cut=0.88)
"""With both. The linear program of the cuts does what exchanging does, and better."""
_CUT_S_PER_ORDER: Final = 0.015
"""Of the whole budget: with less of it cuts take their time and raise nothing."""

_ASCENT_ROUNDS = 50
_EXCHANGES = 8
_POOL_ROUNDS = 150
_SHAKES = 6
_CYCLES = 3
_PER_ORDER = 60
_WIDTH = 0.2
"""Of what the bound leaves open: columns so much dearer than their order's cheapest, at the prices,
are left out of CP-SAT's first look. In the best answers known hardly one is."""
_QUICK = 2_000
"""Work budget of a search that only looks for columns."""
_FIRST_LENGTH = 0.05
"""Of an order's average cost: how far one price moves at first."""
_WARMTH = 0.2
"""Of an order's average cost: how warm ruining starts."""
_CHUNK = 500
_WORK_S_PER_TURN = 7e-6
_WORK_S_PER_COLUMN = 1.5e-5
"""Of CP-SAT's model."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a wave stands."""

    stage: str
    cost: int
    bound: int
    """0 as long as nothing is known."""
    routed: int
    left_s: float
    answer: Callable[[], WaveAnswer]
    """What would be answered now; only while `progress` is being told."""


Say = Callable[[Progress], None]


class _Run:
    """One wave being solved."""

    def __init__(
        self,
        wave: Wave,
        budget: Budget,
        *,
        seed: int,
        work_budget: int,
        gap_enough: float,
        kernels_only: bool,
        say: Say | None,
    ) -> None:
        self.wave, self.budget, self.say = wave, budget, say
        self.gap_enough = gap_enough
        self.memory = Memory(wave)
        self.columns = Columns()
        self.out = Outlet(self.memory.lines)
        self.pricer = Pricer(self.memory, self.columns, self.out, work_budget)
        self.quick = Pricer(self.memory, self.columns, self.out, _QUICK)
        self.work_budget = work_budget
        self.unrouted: Integers = self.memory.whole.arrays["unrouted"]
        self.orders = len(wave.orders)
        self.is_restricted = self.orders <= RESTRICTED_ORDERS_MAX and not kernels_only
        self.parts = _SMALL if self.is_restricted else _LARGE
        if self.is_restricted and budget.total_s >= _CUT_S_PER_ORDER * self.orders:
            self.parts = _CUT
        self.seed = seed
        self.random_state = seed & ((1 << 62) - 1)
        self.work_s = 0.0
        self.chosen = np.full(self.orders, NONE)
        self.cost = int(self.unrouted.sum())
        self.sequential_cost = self.cost
        self.impossible: frozenset[int] = frozenset()
        self.stage = ""

    # -- accounts

    def spend(self, work_s: float) -> None:
        self.work_s += work_s
        self.budget.spend(work_s)

    def has(self, until: float) -> bool:
        """Whether there is reason to go on, and the budget's part that ends at `until` has not."""
        if self.cost <= self.pricer.bound * (1.0 + self.gap_enough):
            return False
        return self.budget.left_s() > (1.0 - until) * self.budget.total_s

    def offer(self, chosen: Integers) -> None:
        """An answer; kept if it is the best so far."""
        routed = chosen != NONE
        cost = int(self.columns.cost[chosen[routed]].sum() + self.unrouted[~routed].sum())
        if cost < self.cost:
            self.cost, self.chosen = cost, chosen
            # The first one is that of the orders in turn.
            if self.stage == IN_TURN:
                self.sequential_cost = cost
            self.tell()

    def tell(self) -> None:
        if self.say is not None:
            routed = int((self.chosen != NONE).sum())
            bound, left_s = self.pricer.bound, self.budget.left_s()
            self.say(Progress(self.stage, self.cost, bound, routed, left_s, self.answer))

    def answer(self) -> WaveAnswer:
        """The best answer so far."""
        bound = self.pricer.bound
        known = Status.OPTIMAL if self.cost <= bound else Status.FEASIBLE
        return WaveAnswer(
            wave=self.wave,
            status=known if bound else Status.HEURISTIC,
            cost=self.cost,
            bound=bound,
            sequential_cost=self.sequential_cost,
            columns=self.columns,
            chosen=self.chosen,
            impossible=self.impossible,
            due=self.pricer.due,
            work_s=self.work_s,
        )

    @property
    def kept(self) -> Integers:
        """Columns of the best answer."""
        return self.chosen[self.chosen != NONE]

    @property
    def length(self) -> float:
        """How far prices move at first."""
        return _FIRST_LENGTH * self.cost / self.orders * FINENESS

    # -- stages

    def price(
        self, pricer: Pricer, due: np.ndarray, plans_max: int, charged: Charged | None = None
    ) -> Priced:
        before = pricer.work_s
        priced = pricer.price(due, plans_max, charged)
        self.spend(pricer.work_s - before)
        return priced

    def in_turn(self, turn: Integers, due: Integers) -> Integers:
        """Route one after another at `due`, in the order of `turn`."""
        memory = self.memory
        memory.left[:] = memory.capacity
        memory.due[:] = due
        chosen = np.full(self.orders, NONE)
        steps = take_turns(memory, self.columns, self.out, turn, chosen, self.work_budget)
        self.spend(search_work_s(memory.nodes, steps))
        return chosen

    def beside(self, due: np.ndarray, plans_max: int) -> None:
        """Columns of what each order would do with what the others leave."""
        memory, out = self.memory, self.out
        memory.left[:] = memory.capacity - self.columns.taken_by(self.kept, len(memory.capacity))
        memory.due[:] = np.rint(due)
        held = self.held()
        out.clear()
        first = steps = 0
        while first < self.orders:
            first = price_what_is_left(
                memory.rest,
                memory.source,
                memory.seen,
                memory.work,
                out.view,
                held,
                first,
                plans_max,
                _QUICK,
            )
            steps += int(out.state[STEPS])
            self.columns.add(out)
        self.spend(search_work_s(memory.nodes, steps))

    def held(self) -> View:
        """What each order's plan takes, one order after another."""
        entries = self.columns.entries(self.kept)
        owner = np.flatnonzero(self.chosen != NONE)[entries.column]
        start = np.searchsorted(owner, np.arange(self.orders + 1)).astype(np.int64)
        return View({"start": start, "resource": entries.resource, "taken": entries.taken})

    def pool(self, per_order: int, *, above_most: int = NO_LIMIT) -> Pool:
        return Pool(
            self.columns,
            self.pricer.due,
            self.unrouted,
            self.memory.capacity,
            per_order_most=per_order,
            keep=self.kept,
            above_most=above_most,
        )

    def ascend(self) -> None:
        """Prices and a bound; then one after another at these prices, the dearest orders first."""
        self.stage = "prices"
        ascent = Ascent(np.zeros(len(self.memory.capacity)), self.length)
        for at in range(_ASCENT_ROUNDS):
            ascent.move(self.price(self.pricer, ascent.due, 1).over)
            if at % 10 == 0:
                self.tell()
            if not self.has(self.parts.ascent):
                break
        if self.has(self.parts.exchange):
            dearest_first = np.argsort(-self.memory.bound, kind="stable")
            self.offer(self.in_turn(dearest_first, self.pricer.due))

    def exchange(self) -> None:
        """Best prices over the columns, new columns at these prices, and again."""
        length = self.length / 8
        for _ in range(_EXCHANGES):
            if not self.has(self.parts.exchange):
                return
            before = self.pricer.due.astype(np.float64)
            bound = self.pricer.bound
            due, work_s = ascend_pool(self.pool(_PER_ORDER), before, length, _POOL_ROUNDS)
            self.spend(work_s)
            self.price(self.pricer, due, 1)
            # The columns know too little far from where they were met: half the way as well.
            self.price(self.pricer, (due + before) / 2, 1)
            if self.pricer.bound == bound:
                length /= 2

    def shake(self) -> None:
        """Columns at prices that chance has raised or lowered by up to 40 %."""
        for turn in range(_SHAKES):
            if not self.has(self.parts.shake):
                return
            self.price_shaken(turn)

    def price_shaken(self, turn: int) -> None:
        """One time; `turn`: another chance each."""
        shaken = self.pricer.due * (0.6 + 0.8 * _chances(len(self.pricer.due), self.seed, turn))
        self.price(self.quick, shaken, 3)

    def beside_all(self, until: float) -> None:
        """Columns of what each order would do beside the others: at its cheapest, at half of the
        prices and at all of them."""
        for part in (0.0, 0.5, 1.0):
            if self.has(until):
                self.beside(part * self.pricer.due, 3)

    def ruin(self, since: float, until: float, seed: int) -> None:
        """Ruin and recreate over the columns from `since` to `until` of the budget, cooling."""
        self.stage = "search"
        pool = self.pool(_PER_ORDER)
        standing = Standing(pool, pool.of_columns(self.chosen), seed)
        warmth = _WARMTH * self.cost / self.orders
        while self.has(until):
            part = 1.0 - self.budget.left_s() / self.budget.total_s
            warm = max(0.0, (until - part) / (until - since))
            ruin_and_recreate(pool.view, standing.view, _CHUNK, int(warmth * warm * warm))
            self.spend(_CHUNK * _WORK_S_PER_TURN)
            if standing.state[BEST] < self.cost:
                self.offer(pool.to_columns(standing.best))

    def cut(self, until: float) -> None:
        """A higher bound by cuts; their prices find columns, too."""
        self.stage = "cuts"

        def price(due: np.ndarray, charged: Charged) -> int:
            return self.price(self.pricer, due, 1, charged).bound

        raise_bound(
            self.wave,
            self.memory,
            self.columns,
            due=self.pricer.due,
            price=price,
            spend=self.spend,
            seconds_left=self.budget.clock_left_s,
            goes_on=lambda: self.has(until),
        )
        self.tell()

    def restrict(self, width: float) -> bool | None:
        """CP-SAT over the columns of a `width`, as `_WIDTH` is; whether it has the best answer they
        allow, None where it has nothing to say."""
        self.stage = "columns"
        left = self.budget.left_s()
        pool = self.pool(_PER_ORDER, above_most=int(width * (self.cost - self.pricer.plain_bound)))
        found = solve_restricted(
            pool,
            pool.of_columns(self.chosen),
            deterministic_s=max(0.01, left),
            seconds_left=self.budget.clock_left_s,
            seed=self.seed,
            stopping=self.budget.stopping,
        )
        if found is None:
            return None
        self.spend(max(found.work_s, len(pool.place) * _WORK_S_PER_COLUMN))
        self.offer(pool.to_columns(found.chosen))
        return found.is_best

    def restrict_wider(self) -> None:
        """CP-SAT over more and more columns, until the time is over or nothing more is found."""
        width, turn = _WIDTH, _SHAKES
        while self.has(1.0):
            is_best = self.restrict(width)
            if is_best is None:
                return
            if is_best and self.has(1.0):
                known = len(self.columns)
                self.beside_all(1.0)
                for _ in range(_SHAKES):
                    if self.has(1.0):
                        self.price_shaken(turn)
                        turn += 1
                if len(self.columns) == known and width > 1.0:
                    return
                width *= 2


def _chances(count: int, seed: int, turn: int) -> np.ndarray:
    """`count` numbers from 0 to 1 by a counter that is mixed (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64((seed * 1_000_003 + turn + 1) << 32)
        z = (z + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def solve_wave(
    wave: Wave,
    budget: Budget,
    *,
    seed: int = 1,
    kernels_only: bool = False,
    work_budget: int = limits.work_budget,
    gap_enough: float = 0.0,
    progress: Say | None = None,
) -> WaveAnswer:
    """Route a wave within `budget`; at least one order after another, whatever the budget.

    `kernels_only`: without OR-Tools. `work_budget`: of the search of one order, as
    `Solver.solve` takes it. `gap_enough`: an answer that is proven to be so near the least cost,
    as a share of it, is returned at once.
    """
    run = _Run(
        wave,
        budget,
        seed=seed,
        work_budget=work_budget,
        gap_enough=gap_enough,
        kernels_only=kernels_only,
        say=progress,
    )
    run.stage = IN_TURN
    run.offer(run.in_turn(np.arange(run.orders), np.zeros_like(run.memory.due)))
    run.price(run.pricer, np.zeros(len(run.memory.capacity)), 4)
    has_plan = np.zeros(run.orders, np.bool_)
    has_plan[run.columns.order] = True
    run.impossible = frozenset(int(one) for one in np.flatnonzero(~has_plan))
    run.ascend()
    run.exchange()
    run.shake()
    since, end = run.parts.shake, run.parts.ruin
    for cycle in range(_CYCLES):
        until = since + (end - since) / (_CYCLES - cycle)
        if cycle:
            run.beside_all(until)
        run.ruin(since, until, seed + cycle)
        since = until
    if run.is_restricted:
        run.cut(run.parts.cut)
        run.restrict_wider()
    return run.answer()
