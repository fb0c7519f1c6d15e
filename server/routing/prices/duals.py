"""Dual prices of a server: which solve is next, and what the last one says of an order.

Owns: `DualOpportunity`. It counts promises, hands out jobs (`next_job`) and takes their prices; who
has them solved, and what becomes of those that fail, is `server.application.price_solves`.

After a restart the period's solves are made up for one after another, at most `line.POINTS_MAX` of
them, and the last one's prices are those that the server had before. Until then there are none, and
orders are planned at their plain cost. Where solves take longer than promises need to make the
next one due, those in between are left out; after a restart they are not.

Invariants
1. Prices are of the period they were solved in: after its end there are none until the next solve.
2. What a job needs is in it: the state it was made of may be gone when it is solved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.routing.plan import Plan
from engine.routing.prices.duals.counting import beyond_cheapest, part_at
from engine.routing.prices.duals.prices import CAUTION_PERCENT
from engine.state import State
from server.documents import ROUTING_DECISION
from server.routing.assembly import Assembly
from server.routing.network import Network
from server.routing.prices.dual_job import DualJob
from server.routing.prices.line import Point, PromiseLine
from server.routing.prices.price_table import NO_PRICES, PriceTable
from server.routing.prices.promises import Reading, is_new_order
from server.routing.prices.source import Integers, PriceSettings

_NO_POINT: Final = -1


@dataclass(frozen=True, slots=True)
class Due:
    """A solve to be made, and for which point of which line."""

    job: DualJob
    point: Point
    line: PromiseLine


@dataclass(frozen=True, slots=True)
class _Known:
    """Prices, and the period they are of."""

    table: PriceTable
    begin_ms: int
    horizon_ms: int


class DualOpportunity:
    """Dual prices of what came."""

    def __init__(self, settings: PriceSettings) -> None:
        self.mode = settings.mode
        self._settings = settings
        self.on_due: Callable[[], None] = lambda: None
        """Called whenever a solve may be due; see `next_job`."""
        self.left_out = 0
        """Solves that were due while another one was made, and were left out for a newer one."""
        self._state: State | None = None
        self._reading = Reading()
        self._line = PromiseLine(settings.period_ms)
        self._tried = self._goal = _NO_POINT
        self._last: _Known | None = None
        self._known: _Known | None = None
        self._places: tuple[Network, PriceTable, Integers] | None = None

    @property
    def positions(self) -> int:
        """Nodes and SKUs that have a price now, whether or not its period is over."""
        return 0 if self._known is None else len(self._known.table)

    # --- Orders --------------------------------------------------------------------------------

    def refresh(
        self, state: State, documents_version: int, now_ms: int, *, follows: bool = False
    ) -> None:
        """As `OpportunityPrices.refresh`."""
        if self._reading.is_at(state, documents_version):
            return
        is_anew = self._reading.move_to(state, documents_version, follows=follows)
        if is_anew:
            self._line = PromiseLine(self._settings.period_ms)
            self._last, self._tried = None, _NO_POINT
        self._state = state
        for _, time_ms, name in self._reading.new(state):
            if is_new_order(state, name):
                self._line.add(name, time_ms)
        if is_anew:
            self._goal = self._line.points[-1].number if self._line.points else _NO_POINT
        self.on_due()

    def costs(self, assembly: Assembly) -> Integers:
        """As `OpportunityPrices.costs`."""
        there = assembly.problem.arrays.stock > 0
        known = self._known
        if known is None or assembly.now_ms >= known.horizon_ms:
            return np.zeros(there.shape, np.int64)
        rows = self._rows(assembly.network, known.table)[assembly.nodes]
        columns = known.table.sku_places(assembly.order.skus)
        part = part_at(
            assembly.now_ms,
            begin_ms=known.begin_ms,
            horizon_ms=known.horizon_ms,
            caution_percent=CAUTION_PERCENT,
        )
        price = known.table.price[np.ix_(rows, columns)]
        return beyond_cheapest(price, there, price_max=self._settings.scale, part=part)

    def _rows(self, network: Network, table: PriceTable) -> Integers:
        """(N,) where the prices of each of the network's nodes are."""
        known = self._places
        if known is None or known[0] is not network or known[1] is not table:
            known = network, table, table.node_places(network.node_names)
            self._places = known
        return known[2]

    def took(
        self, state: State, documents_version: int, assembly: Assembly, plan: Plan, name: str
    ) -> None:
        """As `OpportunityPrices.took`."""
        if not self._reading.is_at(state, documents_version):
            return
        if (ROUTING_DECISION, name) in state.documents and is_new_order(state, name):
            self._line.add(name, assembly.now_ms)
        self.on_due()

    # --- Solves --------------------------------------------------------------------------------

    @property
    def newest_point(self) -> int:
        """Number of the last point at which prices are to be solved; tells one from another."""
        points = self._line.points
        return points[-1].number if points else _NO_POINT

    @property
    def is_due(self) -> bool:
        """Whether there is a solve to be made."""
        return self.newest_point > self._tried

    def next_job(self) -> Due | None:
        """The solve to be made now, once: it is not due any more. O(sample)."""
        if not self.is_due or self._state is None:
            return None
        waiting = [one for one in self._line.points if one.number > self._tried]
        # What is made up for is made up for one by one; else only the newest counts.
        place = 0 if waiting[0].number <= self._goal else len(waiting) - 1
        point = waiting[place]
        self.left_out += place
        self._tried = point.number
        begin_ms = self._settings.begin_ms(point.time_ms)
        last = self._last
        job = DualJob.of(
            self._state,
            self._line.sample(point),
            since_ms=point.since_ms,
            now_ms=point.time_ms,
            begin_ms=begin_ms,
            horizon_ms=begin_ms + self._settings.period_ms,
            scale=self._settings.scale,
            before=last.table if last is not None and last.begin_ms == begin_ms else NO_PRICES,
        )
        return Due(job, point, self._line)

    def solved(self, due: Due, table: PriceTable) -> None:
        """A job's prices. They count once nothing is left to be made up for."""
        if due.line is not self._line:
            return  # another state has been read since
        self._last = _Known(table, due.job.begin_ms, due.job.horizon_ms)
        if due.point.number >= self._goal:
            self._known = self._last

    def failed(self, due: Due) -> None:
        """A job has no prices: the last ones stay, and nothing is made up for any more. What was
        made up for until then counts."""
        if due.line is self._line:
            self._goal = _NO_POINT
            self._known = self._last or self._known
