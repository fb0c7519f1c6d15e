"""What a server's prices save: the seasons through `server.routing.prices`, as a server has them.

``python -m benchmarks.season.on_server`` says horizon by horizon what paced prices and dual prices
save beside each order at its cheapest, and ends with one JSON object: percent saved, its 95 %
confidence interval, and what a promise and a solve take of a core. Each order is posed over the
nodes that have something of it, promised, kept as a decision, and prices follow from the decisions.
A solve is made at once where it is due; on a server it is there a moment later. No gRPC, no ledger.

Orders come evenly over one period, and the first one finds no prices: nothing is known before it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.kept_decisions import DecisionBook
from benchmarks.measure import Say, core_s
from benchmarks.season.policies import ORDER_MS, Outcome, Stock
from benchmarks.season.run import PACED_PERCENT, SETTINGS, Mean, Setting
from engine.routing.extents import EXTENTS
from engine.routing.plan import Plan
from engine.routing.prices.decide import Mode, plain_cost, with_opportunity_cost
from engine.routing.problem import Problem
from engine.routing.solver import Solver
from engine.routing.view import View
from engine.routing.waves.answer import problem_beside
from engine.routing.waves.wave import Wave, WaveOrder
from engine.state import Capacity, State
from server.routing.prices.dual_job import DualJob
from server.routing.prices.dual_solve import solved
from server.routing.prices.duals import DualOpportunity
from server.routing.prices.made import prices_of
from server.routing.prices.source import OpportunityPrices, PriceSettings, Source

_PERIODS_BEFORE = 7
_POSITIONS = 1 << 17


@dataclass
class Taken:
    """Processor time of one horizon."""

    promise_s: float = 0.0
    """Of prices at every order: read, and told of its promise."""
    solves_s: list[float] = field(default_factory=list)


def horizon(setting: Setting, wave: Wave, source: Source | None) -> tuple[Outcome, Taken]:
    """One horizon at the prices of a source; None: at none."""
    outcome, taken, stock, solver = Outcome(), Taken(), Stock(wave), Solver()
    nodes, items = wave.stock.shape
    state = State.create(replace(Capacity.small(), positions=_POSITIONS))
    book = DecisionBook(
        [f"node{number}" for number in range(nodes)],
        [f"sku{number}" for number in range(items)],
        state,
    )
    period_ms = len(wave.orders) * ORDER_MS
    begin_ms = _PERIODS_BEFORE * period_ms
    prices: OpportunityPrices | None = None
    if source is not None:
        percent = PACED_PERCENT if source is Source.PACE else 100
        scale = setting.scale * percent // 100
        prices = prices_of(PriceSettings(Mode.ON, scale, period_ms, source))
        prices.refresh(state, 0, begin_ms)
    for number, one in enumerate(wave.orders):
        now_ms = begin_ms + number * ORDER_MS
        asked = _where_it_is(one, problem_beside(wave, number, stock.free))
        assembly = book.assembly(asked, now_ms)
        began_s = core_s()
        due = np.zeros_like(asked.problem.arrays.stock)
        if prices is not None:
            due = prices.costs(assembly)
        taken.promise_s += core_s() - began_s
        priced = with_opportunity_cost(asked.problem, due)
        answer = solver.solve(priced)
        if not answer.costs:
            outcome.add(None, one.unrouted_cost)
            continue
        plan = answer.plans[0]
        outcome.add(plan, plain_cost(priced, plan, due))
        stock.take(number, _as_posed(asked, one, plan))
        if prices is None:
            continue
        name = book.promise(asked, plan, now_ms, problem=priced)
        began_s = core_s()
        prices.took(state, 0, assembly, plan, name)
        taken.promise_s += core_s() - began_s
        if isinstance(prices, DualOpportunity):
            taken.solves_s += _solve(prices)
    return outcome, taken


def _solve(prices: DualOpportunity) -> list[float]:
    """Make the solves that are due, as a solver's process does."""
    spent = []
    while (due := prices.next_job()) is not None:
        numbers = due.job.numbers()
        began_s = core_s()
        table = solved(DualJob.from_numbers(numbers))
        spent.append(core_s() - began_s)
        prices.solved(due, table)
    return spent


def _where_it_is(one: WaveOrder, problem: Problem) -> WaveOrder:
    """An order over the nodes that have something of it, all where none has."""
    a = problem.arrays
    some = np.flatnonzero(a.stock.sum(axis=1) > 0)
    if not len(some):
        some = np.arange(problem.nodes)
    arrays = a._replace(
        **{
            name: np.ascontiguousarray(getattr(a, name)[some])
            for name, letters in EXTENTS.items()
            if letters.startswith("N")
        }
    )
    posed = Problem(problem.tariff, arrays, View(arrays._asdict()))
    return WaveOrder(posed, one.node[some], one.item, one.unrouted_cost)


def _as_posed(asked: WaveOrder, one: WaveOrder, plan: Plan) -> Plan:
    """A plan by the places of the nodes among those the order came with."""
    place = {int(node): at for at, node in enumerate(one.node)}
    shipments = [replace(sent, node=place[int(asked.node[sent.node])]) for sent in plan.shipments]
    return replace(plan, shipments=tuple(shipments))


def compare(setting: Setting, seeds: Sequence[int], say: Say) -> dict[str, float]:
    """What each source saves, percent of each order at its cheapest."""
    saved: dict[Source, list[float]] = {source: [] for source in Source}
    taken: dict[Source, list[Taken]] = {source: [] for source in Source}
    for seed in seeds:
        wave = setting.make(seed, orders=setting.orders, stock=setting.stock)
        plain, _ = horizon(setting, wave, None)
        for source in Source:
            outcome, spent = horizon(setting, wave, source)
            saved[source].append(100 * (1 - outcome.cost / plain.cost))
            taken[source].append(spent)
        told = ", ".join(f"{one.value} {saved[one][-1]:.2f} %" for one in Source)
        say(f"{setting.name}, seed {seed}: {plain.cost / plain.orders:.0f} an order; saved: {told}")
    found: dict[str, float] = {}
    for source in Source:
        name, mean = source.value.lower(), Mean.of(saved[source])
        found[f"{name}_saving_percent"] = round(mean.value, 3)
        found[f"{name}_saving_percent_half"] = round(mean.half, 3)
        orders = setting.orders * len(seeds)
        spent_s = sum(one.promise_s for one in taken[source])
        found[f"{name}_promise_core_us"] = round(1e6 * spent_s / orders, 1)
    solves_s = [one for each in taken[Source.DUALS] for one in each.solves_s]
    found["duals_solve_core_ms"] = round(1e3 * sum(solves_s) / len(solves_s), 1)
    found["duals_solve_core_ms_max"] = round(1e3 * max(solves_s), 1)
    return found


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.season.on_server")
    parser.add_argument("--seeds", type=int, default=8, help="horizons of each setting, 2 or more")
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--setting", action="append", choices=names, help="all, unless told")
    asked = parser.parse_args()
    if asked.seeds < 2:
        parser.error("--seeds must be at least 2: one horizon has no confidence interval")
    seeds = range(1, asked.seeds + 1)
    found = {
        setting.name: compare(setting, seeds, lambda line: print(line, flush=True))
        for setting in SETTINGS
        if setting.name in (asked.setting or names)
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
