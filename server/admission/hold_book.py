"""Which open holds each caller made, counted in the ledger's own tables.

The rows of the reservations that a caller made are noted here, while it has a quota; who made those
of before a restart is known from `server.application.hold_origins`. Whether such a row is still an
open hold, and of how many units, is always asked of the ledger: a hold that expired, was confirmed,
cancelled, revised or replaced, by whomever, counts for what it is at that moment, without anyone
telling this book.

Between two looks into the ledger an upper bound is kept: what there was, and what was made since.
Only when that reaches the quota the ledger is looked into, which costs some 10 us and 10 ns a hold.

Invariants
1. What is counted is the open holds that the caller made, also before a restart (`recall`), and
   those being made.

Callers: the transport, on the event loop, between two batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine import outcomes, tables
from engine.state import State

_NOBODY_LEAVES: Set[int] = frozenset()
_ROWS_MIN = 64
_NOTED = np.dtype([("row", "i8"), ("hi", "u8"), ("lo", "u8")])


@dataclass(slots=True)
class _Caller:
    """The holds that one caller made, and bounds of what they come to."""

    noted: NDArray[np.void] = field(default_factory=lambda: np.zeros(_ROWS_MIN, _NOTED))
    count: int = 0
    """Rows of `noted` in use."""
    making: int = 0
    """Holds asked for and not answered yet."""
    units: dict[str, int] = field(default_factory=dict)
    """At most so many units of a SKU, those being made too; only SKUs asked for lately."""
    making_units: dict[str, int] = field(default_factory=dict)


class HoldBook:
    """The open holds of every caller that has a quota for them."""

    def __init__(self) -> None:
        self._callers: dict[bytes, _Caller] = {}

    def open_holds(
        self, state: State, now_ms: int, caller: bytes, leaving: Set[int] = _NOBODY_LEAVES
    ) -> int:
        """How many open holds of this caller there are, those being made too. O(its holds).

        `leaving`: rows of reservations that the same step ends, and which are not counted.
        """
        book = self._callers.get(caller)
        if book is None:
            return 0
        rows = self._open_rows(state, now_ms, book)
        return len(rows) - _count_in(rows, leaving) + book.making

    def open_holds_most(self, caller: bytes) -> int:
        """A number that `open_holds` does not exceed. O(1)."""
        book = self._callers.get(caller)
        return book.count + book.making if book is not None else 0

    def units(
        self,
        state: State,
        now_ms: int,
        caller: bytes,
        sku: str,
        sku_row: int,
        leaving: Set[int] = _NOBODY_LEAVES,
    ) -> int:
        """Units of a SKU (`sku_row`: its name's row) in this caller's open holds, those being made
        too. O(its holds)."""
        book = self._callers.get(caller)
        if book is None:
            return 0
        rows = self._open_rows(state, now_ms, book)
        total = units_of(state, rows, sku_row) + book.making_units.get(sku, 0)
        book.units[sku] = total
        if leaving:
            ending = rows[np.isin(rows, np.fromiter(leaving, np.int64))]
            total -= units_of(state, ending, sku_row)
        return total

    def units_most(self, caller: bytes, sku: str) -> int | None:
        """A number that `units` does not exceed; None when that is not known. O(1)."""
        book = self._callers.get(caller)
        if book is None or (not book.count and not book.making):
            return 0
        return book.units.get(sku)

    def next_end_ms(self, state: State, now_ms: int, caller: bytes) -> int:
        """In how many milliseconds the first of this caller's open holds runs out; 0: it has none.
        O(its holds)."""
        book = self._callers.get(caller)
        if book is None:
            return 0
        rows = self._open_rows(state, now_ms, book)
        if not len(rows):
            return 0
        return max(1, int(state.reservations["expire_ms"][rows].min()) - now_ms)

    def begin(self, caller: bytes, holds: int, units: Mapping[str, int]) -> None:
        """So much has been asked for, and is counted until `end`."""
        book = self._callers.setdefault(caller, _Caller())
        book.making += holds
        for sku, quantity in units.items():
            book.making_units[sku] = book.making_units.get(sku, 0) + quantity
            if sku in book.units:
                book.units[sku] += quantity
            elif not book.count and book.making == holds:
                book.units[sku] = quantity

    def end(
        self,
        state: State | None,
        caller: bytes,
        holds: int,
        units: Mapping[str, int],
        made: list[int],
    ) -> None:
        """It was answered; `made` are rows of the reservations it made, in `state`."""
        book = self._callers[caller]
        if state is not None:
            for row in made:
                self._note(state, book, row)
        book.making -= holds
        for sku, quantity in units.items():
            left = book.making_units[sku] - quantity
            if left:
                book.making_units[sku] = left
            else:
                del book.making_units[sku]
        if not book.making and len(book.units) > 10_000:
            book.units.clear()

    def recall(self, state: State, caller: bytes, rows: NDArray[np.int64]) -> None:
        """A caller made the open holds at `rows` before. O(rows)."""
        book = self._callers.setdefault(caller, _Caller())
        book.units.clear()  # bounds that did not know of these
        found = np.zeros(len(rows), _NOTED)
        found["row"] = rows
        found["hi"] = state.reservations["id_hi"][rows]
        found["lo"] = state.reservations["id_lo"][rows]
        book.noted = np.concatenate((book.noted[: book.count], found, np.zeros(_ROWS_MIN, _NOTED)))
        book.count += len(rows)

    def _note(self, state: State, book: _Caller, row: int) -> None:
        if book.count == len(book.noted):
            grown = np.zeros(2 * book.count, _NOTED)
            grown[: book.count] = book.noted
            book.noted = grown
        reservation = state.reservations[row]
        book.noted[book.count] = (row, reservation["id_hi"], reservation["id_lo"])
        book.count += 1

    def _open_rows(self, state: State, now_ms: int, book: _Caller) -> NDArray[np.int64]:
        """Rows of those that are open; the others are forgotten."""
        noted = book.noted[: book.count]
        reservations = state.reservations[noted["row"]]
        is_open = (
            (reservations["id_hi"] == noted["hi"])
            & (reservations["id_lo"] == noted["lo"])
            & (reservations["state"] == outcomes.HELD)
            & (reservations["expire_ms"] > now_ms)
        )
        kept = np.unique(noted[is_open])  # an answer that was given again was noted again
        book.noted[: len(kept)] = kept
        book.count = len(kept)
        rows: NDArray[np.int64] = kept["row"].copy()
        return rows


def _count_in(rows: NDArray[np.int64], wanted: Set[int]) -> int:
    return int(np.isin(rows, np.fromiter(wanted, np.int64)).sum()) if wanted else 0


def units_of(state: State, rows: NDArray[np.int64], sku_row: int) -> int:
    """Units of a SKU that these reservations hold: the takes of each, one after another."""
    total = 0
    takes, positions = state.takes, state.positions
    at = state.reservations["first_take"][rows]
    at = at[at >= 0]
    while len(at):
        places = positions[takes["position"][at]]
        # A line's own units: shares in a fence or a purchase limit are not counted again.
        is_stock = (places["kind"] == tables.STOCK) | (places["kind"] == tables.SUPPLY)
        total += int(takes["quantity"][at][is_stock & (places["sku"] == sku_row)].sum())
        at = takes["next"][at]
        at = at[at >= 0]
    return total
