"""Walking tables for lists: which rows match, a bounded stretch at a time.

A list call never reads more than `SCAN_ROWS_MAX` rows, so that it holds up the ledger for a few
milliseconds at most; where that was not enough for a full page the page is short and its token
says where to go on, as AIP-158 allows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import outcomes, tables
from engine.causes import ROW_BYTES, ROWS_PER_CAUSE_MAX
from engine.compiled import Integer, kernel
from engine.positions import available
from engine.state import State

SCAN_ROWS_MAX = 500_000
_PLACES = np.int64(1 << 32)
"""Of texts in their ring, as movements keep them."""


@kernel
def _positions(
    st: Any,
    kind: int,
    start: int,
    stop: int,
    sku: int,
    node: int,
    scope: int,
    short_only: bool,
    out: NDArray[np.int64],
) -> tuple[int, int]:
    found = 0
    row = start
    while row < stop and found < out.shape[0]:
        position = st.positions[row]
        if (
            position.kind == kind
            and (sku < 0 or position.sku == sku)
            and (node < 0 or position.node == node)
            and (scope < 0 or position.scope == scope)
            and (not short_only or available(st, row) < 0)
        ):
            out[found] = row
            found += 1
        row += 1
    return found, row


def positions(
    state: State,
    kind: int,
    start: int,
    most: int,
    *,
    sku: int = -1,
    node: int = -1,
    scope: int = -1,
    short_only: bool = False,
) -> tuple[NDArray[np.int64], int]:
    """(rows of this kind from `start` on, row to go on at or -1). Filters are name rows."""
    count = int(state.meta["position_count"][0])
    stop = min(count, start + SCAN_ROWS_MAX)
    out = np.empty(most, np.int64)
    found, row = _positions(state.tables, kind, start, stop, sku, node, scope, short_only, out)
    return out[:found], row if row < count else -1


@kernel
def _takes_from(st: Any, row: int, sku: int, node: int) -> bool:
    """Whether a reservation has a take of this SKU and node (-1: any)."""
    take_row: Integer = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        position = st.positions[st.takes[take_row].position]
        matches = (sku < 0 or position.sku == sku) and (node < 0 or position.node == node)
        if matches and (position.kind == tables.STOCK or position.kind == tables.SUPPLY):
            return True
        take_row = np.int64(st.takes[take_row].next)
    return False


@kernel
def _reservations(
    st: Any,
    after_revision: int,
    owner_key: np.uint64,
    state: int,
    channel: int,
    sku: int,
    node: int,
    matches: NDArray[np.bool_],
) -> None:
    now_ms = st.meta[0].now_ms
    for row in range(matches.shape[0]):
        reservation = st.reservations[row]
        matches[row] = False
        if reservation.state == 0 or reservation.create_revision <= after_revision:
            continue
        if owner_key != np.uint64(0) and reservation.owner_key != owner_key:
            continue
        if channel >= 0 and reservation.channel != channel:
            continue
        shown: Integer = np.int64(reservation.state)
        if shown == outcomes.HELD and reservation.expire_ms <= now_ms:
            shown = outcomes.EXPIRED
        if state != 0 and shown != state:
            continue
        matches[row] = (sku < 0 and node < 0) or _takes_from(st, row, sku, node)


def reservations(
    state: State,
    after_revision: int,
    most: int,
    *,
    owner_key: int = 0,
    in_state: int = 0,
    channel: int = -1,
    sku: int = -1,
    node: int = -1,
) -> tuple[list[int], int]:
    """(rows, oldest first, made after `after_revision`; revision to go on after, or -1).

    Rows are reused, so age is the revision that made a reservation. O(reservations kept).
    """
    high = int(state.meta["reservation_high"][0])
    matches = np.empty(high, np.bool_)
    _reservations(
        state.tables, after_revision, np.uint64(owner_key), in_state, channel, sku, node, matches
    )
    rows = np.flatnonzero(matches)
    revisions = state.reservations["create_revision"][rows]
    more = len(rows) > most
    if more:
        # One revision never makes two reservations, so a page ends between two of them.
        nearest = np.argpartition(revisions, most)[:most]
        rows, revisions = rows[nearest], revisions[nearest]
    order = np.argsort(revisions)
    last = int(revisions[order[-1]]) if more else -1
    return rows[order].tolist(), last


@kernel
def _texts_of(st: Any, slot: int) -> Integer:
    """The row in which a movement's texts begin, as `reads.movement_cause` has it; NONE where
    younger ones have taken their room."""
    movement, account = st.movements[slot], st.format[0]
    first = account.cause_next - (account.cause_next - np.int64(movement.reserved2)) % _PLACES
    younger = st.meta[0].movement_next - movement.sequence
    if first < account.cause_oldest or younger * ROWS_PER_CAUSE_MAX >= _PLACES:
        return np.int64(tables.NONE)
    return np.int64(first)


@kernel
def _untold(st: Any) -> Integer:
    # Texts are forgotten in the order in which movements were made.
    oldest = st.meta[0].movement_oldest
    low, high = oldest, st.meta[0].movement_next
    while low < high:
        middle = (low + high) // 2
        if _texts_of(st, middle % st.movements.shape[0]) == tables.NONE:
            low = middle + 1
        else:
            high = middle
    return np.int64(low - oldest)


def movements_untold(state: State) -> int:
    """Movements that are kept, and the texts of their time are not. O(log movements)."""
    if state.format_number < tables.KEEPS_CAUSES:
        return 0
    return int(_untold(state.tables))


@kernel
def _is_made_by(st: Any, slot: int, request_id: NDArray[np.uint8]) -> bool:
    """Whether a movement tells this request."""
    size = request_id.shape[0]
    if st.movements[slot].reserved != size:
        return False
    first = _texts_of(st, slot)
    if first == tables.NONE:
        return False
    mask = st.cause_text.shape[0] - 1
    for at in range(size):
        if st.cause_text[(first + at // ROW_BYTES) & mask, at % ROW_BYTES] != request_id[at]:
            return False
    return True


@kernel
def _movements(
    st: Any,
    start: int,
    stop: int,
    sku: int,
    node: int,
    reservation: int,
    made_revision: int,
    start_ms: int,
    end_ms: int,
    request_id: NDArray[np.uint8],
    out: NDArray[np.int64],
) -> tuple[int, int]:
    found = 0
    sequence: Integer = start
    size = st.movements.shape[0]
    while sequence < stop and found < out.shape[0]:
        movement = st.movements[sequence % size]
        position = st.positions[movement.position]
        if (
            (sku < 0 or position.sku == sku)
            and (node < 0 or position.node == node)
            and (reservation < 0 or movement.reservation == reservation)
            and movement.revision >= made_revision
            and movement.time_ms >= start_ms
            and (end_ms == 0 or movement.time_ms < end_ms)
            and (request_id.shape[0] == 0 or _is_made_by(st, sequence % size, request_id))
        ):
            out[found] = sequence % size
            found += 1
        sequence += 1
    return found, sequence


def movements(
    state: State,
    after: int,
    most: int,
    *,
    sku: int = -1,
    node: int = -1,
    reservation: int = -1,
    start_ms: int = 0,
    end_ms: int = 0,
    request_id: str = "",
) -> tuple[NDArray[np.int64], int]:
    """(slots of movements, oldest first, from the `after`-th ever on; the next to go on at or -1).

    A reservation's movements are those since it was made: its row may have had another before.
    """
    written = int(state.meta["movement_next"][0])
    start = max(after, int(state.meta["movement_oldest"][0]))
    stop = min(written, start + SCAN_ROWS_MAX)
    made = 0
    if reservation >= 0:
        made = int(state.reservations["create_revision"][reservation])
    out = np.empty(most, np.int64)
    name = np.frombuffer(request_id.encode(), np.uint8)
    found, sequence = _movements(
        state.tables, start, stop, sku, node, reservation, made, start_ms, end_ms, name, out
    )
    return out[:found], sequence if sequence < written else -1


def supplies(
    state: State, after: int, most: int, *, sku: int = -1, node: int = -1, in_state: int = 0
) -> tuple[list[int], int]:
    """(supply rows by expected time, place to go on at or -1). O(supplies).

    `in_state` is that of holdfast.v1.Supply; 0: any. A place is the last row shown, plus 1.
    """
    used = state.supplies[: int(state.meta["supply_count"][0])]
    wanted = used["type"] != tables.BACKORDER_SUPPLY
    if sku >= 0:
        wanted &= state.positions["sku"][used["position"]] == sku
    if node >= 0:
        wanted &= state.positions["node"][used["position"]] == node
    is_open, is_received = used["open"] != 0, used["received"] > 0
    if in_state == 1:
        wanted &= is_open
    elif in_state == 2:
        wanted &= ~is_open & is_received
    elif in_state == 3:
        wanted &= ~is_open & ~is_received
    rows = np.flatnonzero(wanted)
    rows = rows[np.lexsort((rows, used["expected_ms"][rows]))]
    if after:
        last = (int(used["expected_ms"][after - 1]), after - 1) if after <= len(used) else None
        if last is not None:
            times = used["expected_ms"][rows]
            rows = rows[(times > last[0]) | ((times == last[0]) & (rows > last[1]))]
    page = rows[:most].tolist()
    return page, page[-1] + 1 if len(rows) > most else -1


@kernel
def _holders(st: Any, positions: NDArray[np.bool_], matches: NDArray[np.bool_]) -> None:
    for row in range(matches.shape[0]):
        state = st.reservations[row].state
        matches[row] = False
        if state != outcomes.HELD and state != outcomes.CONFIRMED:
            continue
        take_row: Integer = np.int64(st.reservations[row].first_take)
        while take_row >= 0:
            take = st.takes[take_row]
            if take.quantity > 0 and positions[take.position]:
                matches[row] = True
                break
            take_row = np.int64(take.next)


def holders(state: State, positions: NDArray[np.int64]) -> list[int]:
    """Open reservations with open units at one of these positions (rows), newest first.

    O(reservations).
    """
    marked = np.zeros(int(state.meta["position_count"][0]), np.bool_)
    marked[positions] = True
    matches = np.empty(int(state.meta["reservation_high"][0]), np.bool_)
    _holders(state.tables, marked, matches)
    rows = np.flatnonzero(matches)
    ages = np.argsort(state.reservations["create_revision"][rows])
    return [int(row) for row in rows[ages[::-1]]]
