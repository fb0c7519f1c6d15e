"""The independent ledger of the simulator, taught what else callers do here.

They ship, count in several lines, keep documents; and due holds are released in the ledger's order,
without looking at all of them.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

import numpy as np

from engine import commands, outcomes
from engine.commands import CommandBatch
from tests.simulation.reference import Expected, Key, Place, Reservation, Stock
from tests.simulation.reference import Ledger as Reference

Balances = dict[Place, tuple[int, int, int]]
"""(sku key, node key) -> (on_hand, held, committed)"""


@dataclass(slots=True)
class Ledger(Reference):
    """A `Reference` for the commands that `tests.robustness.traffic` and its set-up send."""

    units_oversold: int = 0
    expired_at_once_max: int = 0
    """The most holds that one EXPIRE released."""
    made_by: dict[int, Key] = field(default_factory=dict)
    """Revision of a CREATE -> the reservation it made."""
    _due: list[tuple[int, int, Key]] = field(default_factory=list)
    _order: dict[Key, int] = field(default_factory=dict)

    def balances(self) -> Balances:
        """Every position that ever was."""
        return {
            place: (stock.on_hand, stock.held, stock.committed)
            for place, stock in self.stock.items()
        }

    def apply(self, now_ms: int, batch: CommandBatch) -> None:
        """Apply the commands of one record. Sizes of tables and formats decide nothing, and use no
        revision; they come alone."""
        if not np.isin(batch.headers["kind"], (commands.RESIZE, commands.SET_FORMAT)).any():
            Reference.apply(self, now_ms, batch)

    def _dispatch(self, header: np.void, lines: np.ndarray, request: Key) -> Expected:
        kind = int(header["kind"])
        key = (int(header["reservation_hi"]), int(header["reservation_lo"]))
        if kind in (commands.PUT_DOCUMENT, commands.DEFINE_GROUP):
            return Expected(self.revision, request, outcomes.OK)
        if kind == commands.COUNT and len(lines) != 1:
            for line in lines:
                self._stock_line(kind, line)
            return Expected(self.revision, request, outcomes.OK)
        if kind == commands.FULFILL:
            return self._fulfil(request, key)
        known = len(self.reservations)
        short = self._short(lines) if kind == commands.CREATE else ()
        told = Reference._dispatch(self, header, lines, request)
        if len(self.reservations) > known:
            key = next(reversed(self.reservations))
            self._order[key] = len(self._order)
            self.made_by[self.revision] = key
        if told.code == outcomes.INSUFFICIENT_STOCK and kind == commands.CREATE:
            return replace(told, quantities=short)
        if told.code == outcomes.OK and kind in (commands.CREATE, commands.EXTEND):
            self._wait_for(key)
        return told

    def _short(self, lines: np.ndarray) -> tuple[int, ...]:
        """Units asked of each place that has too few, all lines of a place together; sorted."""
        asked: dict[Place, int] = {}
        for line in lines:
            place = (int(line["sku_key"]), int(line["node_key"]))
            asked[place] = asked.get(place, 0) + int(line["quantity"])
        return tuple(
            sorted(
                units
                for place, units in asked.items()
                if units > self.stock.get(place, Stock()).available
            )
        )

    def _wait_for(self, key: Key) -> None:
        due = (self.reservations[key].expire_ms, self._order[key], key)
        heapq.heappush(self._due, due)

    def _fulfil(self, request: Key, key: Key) -> Expected:
        record = self.reservations.get(key)
        if record is None:
            return Expected(self.revision, request, outcomes.RESERVATION_NOT_FOUND)
        if self._is_over(record):
            return Expected(self.revision, request, outcomes.RESERVATION_EXPIRED)
        if record.state != outcomes.CONFIRMED:
            return Expected(self.revision, request, outcomes.STATE_TRANSITION_NOT_ALLOWED)
        for _, place, quantity in record.takes:
            self.stock[place].on_hand -= quantity
            self.stock[place].committed -= quantity
        record.state = outcomes.FULFILLED
        return Expected(self.revision, request, outcomes.OK, record.state, record.expire_ms)

    def _is_over(self, record: Reservation) -> bool:
        return record.state == outcomes.EXPIRED or (
            record.state == outcomes.HELD and record.expire_ms <= self.now_ms
        )

    def _expire(self, most: int) -> None:
        released = 0
        while self._due and self._due[0][0] <= self.now_ms and released < most:
            expire_ms, _, key = heapq.heappop(self._due)
            record = self.reservations[key]
            if record.state != outcomes.HELD or record.expire_ms != expire_ms:
                continue  # it has ended, or was extended: then it is there a second time
            self._give_back(record)
            record.state = outcomes.EXPIRED
            released += 1
        self.expired_at_once_max = max(self.expired_at_once_max, released)

    def _move(self, place: Place, *, held: int = 0, committed: int = 0) -> None:
        complaints = len(self.oversold)
        Reference._move(self, place, held=held, committed=committed)
        if len(self.oversold) > complaints:
            self.units_oversold += min(-self.stock[place].available, max(held + committed, 1))
