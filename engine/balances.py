"""Balances as part of an answer, so that a write's reply can be given again as it was.

With TELL_BALANCES an inventory command answers with two BALANCE rows for every position it is
about, as they stand when the whole command has been applied. `outcomes.BALANCE` names the fields.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, tables
from engine.compiled import Integer, kernel
from engine.movements import before
from engine.state import State

# A hot position has many movements; its last count is looked for among the newest ones only.
_COUNT_STEPS_MAX = 256
_BEYOND = tables.BACKORDER_SUPPLY
ROWS_PER_BALANCE = 2


@kernel
def last_count_ms(st: Any, row: int) -> Integer:
    """The time a position's last count speaks of; 0: none is known."""
    slot = np.int64(st.positions[row].movement)
    steps = 0
    while slot >= 0 and steps < _COUNT_STEPS_MAX:
        if st.movements[slot].reason == tables.COUNTED:
            return np.int64(st.movements[slot].as_of_ms)
        slot = before(st, slot)
        steps += 1
    return np.int64(0)


@kernel
def update_ms(st: Any, row: int) -> Integer:
    """When a position changed last; 0 unless that was a movement, as only those keep their time."""
    position = st.positions[row]
    slot = np.int64(position.movement)
    if slot >= 0 and st.movements[slot].revision == position.changed_revision:
        return np.int64(st.movements[slot].time_ms)
    return np.int64(0)


@kernel
def _tell_stock(st: Any, row: int, detail: Any) -> None:
    """Second row of a stock: what is announced and promised beyond what is on hand."""
    at = np.int64(st.positions[row].link)
    while at >= 0:
        supply = st.supplies[at]
        told = st.positions[supply.position]
        units = np.int64(told.held) + told.committed
        if supply.type == _BEYOND:
            detail.returned = told.on_hand
            detail.shortfall = units
        else:
            detail.cancelled += units
            if supply.type == commands.TRANSFER_SUPPLY:
                detail.fulfilled += told.on_hand
            else:
                detail.quantity += told.on_hand
        at = np.int64(supply.next)
    detail.time_ms = last_count_ms(st, row)
    when_ms = update_ms(st, row)
    detail.reserved = when_ms & 0xFFFF
    detail.reserved2 = when_ms >> 16


@kernel
def write_balance(
    st: Any, details: NDArray[np.void], at: int, line: int, row: int, moved: int
) -> int:
    """Write a position as it stands; the place after it. `moved`: by how much this changed it."""
    position = st.positions[row]
    buckets = st.withheld[row]
    for part in range(ROWS_PER_BALANCE):
        detail = details[at + part]
        detail.kind = outcomes.BALANCE_DETAIL + part
        detail.position_kind = position.kind
        detail.line = line
        detail.position = row
        detail.quantity = 0
        detail.fulfilled = 0
        detail.cancelled = 0
        detail.returned = 0
        detail.shortfall = 0
        detail.available = 0
        detail.code = 0
        detail.reserved = 0
        detail.reserved2 = 0
        detail.time_ms = 0
    detail = details[at]
    detail.quantity = position.on_hand
    detail.fulfilled = position.held
    detail.cancelled = position.committed
    detail.time_ms = position.changed_revision
    if position.kind == tables.STOCK:
        detail.returned = buckets.safety_stock
        detail.shortfall = buckets.damaged
        detail.available = buckets.quality_control
        detail.reserved2 = buckets.frozen
    detail = details[at + 1]
    detail.available = moved
    if position.kind == tables.STOCK:
        _tell_stock(st, row, detail)
    elif position.kind == tables.SUPPLY:
        supply = st.supplies[position.link]
        detail.position = position.link
        detail.quantity = supply.received
        detail.code = supply.type
        detail.reserved = supply.open
        detail.fulfilled = position.reserved2
        detail.time_ms = supply.expected_ms
    elif position.kind == tables.CAPACITY:
        detail.quantity = -buckets.movement_base
    return at + ROWS_PER_BALANCE


def read_balance(state: State, row: int) -> np.void:
    """A position as it stands, as `outcomes.BALANCE`."""
    details = np.empty(ROWS_PER_BALANCE, outcomes.DETAIL)
    write_balance(state.tables, details, 0, 0, row, 0)
    found: np.void = details.view(outcomes.BALANCE)[0]
    return found


def told(details: NDArray[np.void]) -> NDArray[np.void]:
    """The `outcomes.BALANCE` rows among an answer's details, in order."""
    first = np.flatnonzero(details["kind"] == outcomes.BALANCE_DETAIL)
    pairs = np.empty((len(first), ROWS_PER_BALANCE), outcomes.DETAIL)
    for part in range(ROWS_PER_BALANCE):
        pairs[:, part] = details[first + part]
    return pairs.view(outcomes.BALANCE).reshape(len(first))
