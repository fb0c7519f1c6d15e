"""Opportunity prices of a server: what a unit of stock is worth to orders still to come.

The prices are `engine.routing.prices`; here they get their horizon and their memory. Stock is taken
to be replenished at the end of every period, counted from 1970; then prices begin anew.

Prices follow from the decisions the ledger keeps (what each promise took, of how much, and when),
so they are no state of their own: after a restart or a take-over they are worked out from those of
the running period (docs/decisions/0024). Units held by other commands move no price.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.hashing import key_of
from engine.positions import find_stock
from engine.routing.plan import Plan
from engine.routing.prices.decide import Mode, plain_cost
from engine.routing.prices.pacing import PacedPrices
from engine.routing.solver import Answer
from engine.routing.tariff import Tariff
from engine.state import State
from holdfast.v1 import routing_service_pb2 as messages
from server.documents import ROUTING_DECISION, ROUTING_DIRECTORY, ROUTING_TARIFF
from server.routing.assembly import Assembly
from server.routing.decisions import Decision, parts_of, unpack_problem, unpack_tariff

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """How prices are used."""

    mode: Mode
    scale: int
    """Minor units that no price goes above."""
    period_ms: int
    """Between two replenishments."""


@dataclass(frozen=True, slots=True)
class Opportunity:
    """What prices said of one order."""

    mode: Mode
    changes_plan: bool
    dearer_by: int
    """What the plan with prices costs more, prices left out, in minor units."""
    other_nodes: tuple[str, ...]
    """Where the plans differ: the nodes of the one not given."""


class _Taken(NamedTuple):
    """Units that a decision took from one node."""

    time_ms: int
    decision: str
    sku: str
    node: str
    units: int
    available: int


class OpportunityPrices:
    """The prices of this process, on the state as it stands."""

    def __init__(self, settings: PriceSettings) -> None:
        self.mode = settings.mode
        self._settings = settings
        self._prices: PacedPrices | None = None
        self._read_from: tuple[State, int] | None = None

    def refresh(self, state: State, documents_version: int, now_ms: int) -> None:
        """Make them those of this state. O(decisions of the period) once a state, else O(1)."""
        if self._read_from == (state, documents_version):
            return
        self._read_from = (state, documents_version)
        # Zero pages: only positions that were promised from take memory.
        self._prices = PacedPrices(len(state.positions), scale=self._settings.scale)
        begin_ms = now_ms - now_ms % self._settings.period_ms
        for taken in sorted(_taken(state, begin_ms)):
            sku, node = (np.uint64(key_of(name.encode())) for name in (taken.sku, taken.node))
            row = int(find_stock(state.tables, sku, node))
            if row >= 0:
                self._reserved(row, taken.units, taken.available, taken.time_ms)

    def costs(self, assembly: Assembly) -> Integers:
        """(K, L) what a unit costs more than at the cheapest node of its line, minor units."""
        assert self._prices is not None
        stock = np.maximum(assembly.problem.arrays.stock, 0)
        return self._prices.opportunity_cost(assembly.positions, stock, assembly.now_ms)

    def took(self, state: State, documents_version: int, assembly: Assembly, plan: Plan) -> None:
        """A plan is held, and its decision kept: prices that are still to be worked out for this
        state will know of it from there."""
        if self._read_from != (state, documents_version):
            return
        stock = assembly.problem.arrays.stock
        for one in plan.shipments:
            for line, units in one.units.items():
                row = int(assembly.positions[one.node, line])
                if row >= 0:
                    there = int(stock[one.node, line])
                    self._reserved(row, units, there, assembly.now_ms)

    def _reserved(self, row: int, units: int, available: int, now_ms: int) -> None:
        assert self._prices is not None
        period_ms = self._settings.period_ms
        horizon_ms = now_ms - now_ms % period_ms + period_ms
        if self._prices.horizon_ms[row] != horizon_ms:
            self._prices.begin(np.array([row]), now_ms, horizon_ms)
        self._prices.reserved(row, units, max(available, units), now_ms)


def compared(
    mode: Mode, assembly: Assembly, plain: Answer, priced: Answer, cost: Integers
) -> Opportunity:
    """What prices changed. `priced` is the answer with `cost` in the problem."""
    changes = priced.amounts[0] != plain.amounts[0]
    if not changes:
        return Opportunity(mode, False, 0, ())
    other = plain.plans[0] if mode is Mode.ON else priced.plans[0]
    names = assembly.network.node_names
    return Opportunity(
        mode,
        True,
        plain_cost(priced.problem, priced.plans[0], cost) - plain.cost,
        tuple(names[int(assembly.nodes[one.node])] for one in other.shipments),
    )


def _taken(state: State, begin_ms: int) -> Iterator[_Taken]:
    """What the kept decisions since `begin_ms` took."""
    tariffs: dict[str, Tariff] = {}
    for (kind, name), (body, _) in list(state.documents.items()):
        if kind != ROUTING_DECISION:
            continue
        decision = Decision.from_bytes(body)
        if decision.time_ms < begin_ms or not decision.problem:
            continue
        digest, directory = parts_of(decision.problem)
        rates = state.documents.get((ROUTING_TARIFF, digest))
        named = state.documents.get((ROUTING_DIRECTORY, directory)) if directory else (b"", 0)
        if rates is None or named is None:
            continue
        if digest not in tariffs:
            tariffs[digest] = unpack_tariff(rates[0])
        problem, names = unpack_problem(decision.problem, tariffs[digest], named[0])
        place_of = {node: place for place, node in enumerate(names.nodes)}
        # What the ledger adds to a reply has the same field numbers in both kinds.
        told = messages.PromiseOrderResponse.FromString(decision.reply)
        for one in told.plan.shipments:
            for line in one.lines:
                there = int(problem.arrays.stock[place_of[one.node], line.line])
                yield _Taken(decision.time_ms, name, line.sku, one.node, line.quantity, there)
