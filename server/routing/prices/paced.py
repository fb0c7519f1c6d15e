"""Paced prices of a server: each promise raises those of what it takes, time lowers them.

Prices are those of the decisions in the order the ledger took them. After a restart each decision
of the running period is read once, and of it only what it took, of how much, and when.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from engine.hashing import key_of
from engine.positions import find_stock
from engine.routing.plan import Plan
from engine.routing.prices.pacing import PacedPrices
from engine.state import State
from holdfast.v1 import routing_service_pb2 as messages
from server.documents import ROUTING_DECISION, ROUTING_DIRECTORY
from server.routing.assembly import Assembly
from server.routing.decisions import Decision, parts_of, unpack_stock
from server.routing.prices.promises import Reading
from server.routing.prices.source import Integers, PriceSettings


class _Taken(NamedTuple):
    """Units that a decision took from one node."""

    sku: str
    node: str
    units: int
    available: int


class PacedOpportunity:
    """Prices that pace."""

    def __init__(self, settings: PriceSettings) -> None:
        self.mode = settings.mode
        self._settings = settings
        self._prices: PacedPrices | None = None
        self._reading = Reading()

    def refresh(
        self, state: State, documents_version: int, now_ms: int, *, follows: bool = False
    ) -> None:
        """As `OpportunityPrices.refresh`."""
        if self._reading.is_at(state, documents_version):
            return
        if self._reading.move_to(state, documents_version, follows=follows):
            # Zero pages: only positions that were promised from take memory.
            self._prices = PacedPrices(len(state.positions), scale=self._settings.scale)
        begin_ms = self._settings.begin_ms(now_ms)
        for _, time_ms, name in self._reading.new(state):
            if time_ms < begin_ms:
                continue
            for taken in _taken(state, name):
                sku, node = (np.uint64(key_of(one.encode())) for one in (taken.sku, taken.node))
                row = int(find_stock(state.tables, sku, node))
                if row >= 0:
                    self._reserved(row, taken.units, taken.available, time_ms)

    def costs(self, assembly: Assembly) -> Integers:
        """As `OpportunityPrices.costs`."""
        assert self._prices is not None
        stock = np.maximum(assembly.problem.arrays.stock, 0)
        return self._prices.opportunity_cost(assembly.positions, stock, assembly.now_ms)

    def took(
        self, state: State, documents_version: int, assembly: Assembly, plan: Plan, name: str
    ) -> None:
        """As `OpportunityPrices.took`."""
        if not self._reading.is_at(state, documents_version):
            return
        kept = state.documents.get((ROUTING_DECISION, name))
        if kept is not None and self._reading.has(kept[1]):
            return  # it was on its way when the state was read, and was read with it
        stock = assembly.problem.arrays.stock
        for one in plan.shipments:
            for line, units in one.units.items():
                row = int(assembly.positions[one.node, line])
                if row >= 0:
                    there = int(stock[one.node, line])
                    self._reserved(row, units, there, assembly.now_ms)

    def _reserved(self, row: int, units: int, available: int, now_ms: int) -> None:
        assert self._prices is not None
        horizon_ms = self._settings.begin_ms(now_ms) + self._settings.period_ms
        if self._prices.horizon_ms[row] != horizon_ms:
            self._prices.begin(np.array([row]), now_ms, horizon_ms)
        self._prices.reserved(row, units, max(available, units), now_ms)


def _taken(state: State, name: str) -> Iterator[_Taken]:
    """What a kept decision took."""
    body, _ = state.documents[ROUTING_DECISION, name]
    decision = Decision.from_bytes(body)
    if not decision.problem:
        return
    _, directory = parts_of(decision.problem)
    named = state.documents.get((ROUTING_DIRECTORY, directory)) if directory else (b"", 0)
    if named is None:
        return
    nodes, stock = unpack_stock(decision.problem, named[0])
    place_of = {node: place for place, node in enumerate(nodes)}
    # What the ledger adds to a reply has the same field numbers in both kinds.
    told = messages.PromiseOrderResponse.FromString(decision.reply)
    for one in told.plan.shipments:
        for line in one.lines:
            there = int(stock[place_of[one.node], line.line])
            yield _Taken(line.sku, one.node, line.quantity, there)
