"""Order edits: a new set of lines, or the same lines at other nodes; all of it or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, tables
from engine import reservations as records
from engine.compiled import Integer, kernel
from engine.create import fill, node_is_frozen, write_noted_takes
from engine.details import write_detail, write_takes
from engine.names import find_name
from engine.positions import available, carries_units, find_fence, find_stock, sellable
from engine.settle import find_open
from engine.waiting import serve_backorders

NONE = tables.NONE
OK = outcomes.OK
STOCK = tables.STOCK
SUPPLY = tables.SUPPLY
FENCE = tables.FENCE
_ZERO = np.uint64(0)


@kernel
def revise(
    st: Any,
    command: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """Replace the lines of a reservation of which nothing has shipped.

    The old takes are lifted, the new ones filled against what is then free; if that fails the old
    ones are lowered again.
    """
    row = find_open(st, command, outcome)
    if row < 0:
        return 0
    if not records.make_room_for_takes(st, 256):
        outcome.code = outcomes.RESERVATIONS_FULL
        return 0
    reservation = st.reservations[row]
    take_row = np.int64(reservation.first_take)
    while take_row >= 0:
        if st.takes[take_row].fulfilled > 0:
            outcome.code = outcomes.STATE_TRANSITION_NOT_ALLOWED
            return 0
        take_row = np.int64(st.takes[take_row].next)
    # `fill` reads owner and channel from a header; the command itself must stay as it came.
    st.header[0] = command
    header = st.header[0]
    header.owner_key = reservation.owner_key
    header.channel_key = st.names[reservation.channel].key if reservation.channel >= 0 else _ZERO
    header.owner_bytes = reservation.owner_bytes
    header.reservation_bytes = 0
    state = np.int64(reservation.state)
    records.lift(st, row)
    code, used, written = fill(
        st, header, lines, first, st.owner_text[row], 0, state, details, detail_at
    )
    if code != OK:
        records.lower(st, row)
        outcome.code = code
        return written - detail_at

    # From here it must succeed.
    records.close_takes(st, row)
    old = np.int64(reservation.first_take)
    write_noted_takes(st, row, used)
    reservation.line_count = command.line_count
    while old >= 0:
        following = np.int64(st.takes[old].next)
        position = np.int64(st.takes[old].position)
        records.free_take(st, old)
        serve_backorders(st, position)
        old = following
    records.stamp(st, row)
    return write_takes(st, row, outcome, details, detail_at)


@kernel
def _fence_share(st: Any, row: int, line: int, stock: int, units: int, state: int) -> None:
    """Give back what a fence holds for units of a line that leave its stock."""
    open_units = np.int64(0)
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.line == line and take.position == stock:
            open_units += take.quantity
        take_row = np.int64(take.next)
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        position = st.positions[take.position]
        if take.line == line and position.kind == FENCE and position.link == stock:
            surplus = np.int64(take.quantity) - open_units
            if surplus > 0:
                records.shift(st, state, np.int64(take.position), -surplus)
                take.quantity -= surplus
                take.cancelled += surplus
        take_row = np.int64(take.next)


@kernel
def _movable(st: Any, row: int, asked: Any, origin: int) -> Integer:
    """Open units of the asked line at node `origin` (NONE: anywhere)."""
    units = np.int64(0)
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        position = st.positions[take.position]
        if (
            take.line == asked.line
            and carries_units(position.kind)
            and (origin < 0 or position.node == origin)
        ):
            units += take.quantity
        take_row = np.int64(take.next)
    return units


@kernel
def _line_sku(st: Any, row: int, line: int) -> Integer:
    """Name row of a line's SKU, or NONE."""
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        kind = st.positions[take.position].kind
        if take.line == line and carries_units(kind):
            return np.int64(st.positions[take.position].sku)
        take_row = np.int64(take.next)
    return NONE


@kernel
def _check_moves(
    st: Any,
    row: int,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    details: NDArray[np.void],
    detail_at: int,
) -> tuple[Integer, Integer]:
    """Guards of `reassign`; nothing changes. (code, details written)"""
    channel = np.int64(st.reservations[row].channel)
    channel_key = st.names[channel].key if channel >= 0 else _ZERO
    for i in range(first, first + header.line_count):
        asked = lines[i]
        sku = _line_sku(st, row, np.int64(asked.line))
        if asked.line >= st.reservations[row].line_count or sku < 0:
            return outcomes.LINE_NOT_FOUND, 0
        origin = NONE
        if asked.node_key != _ZERO:
            origin = find_name(st, commands.NODE, asked.node_key)
            if origin < 0:
                return outcomes.NODE_NOT_FOUND, 0
        if find_name(st, commands.NODE, asked.scope_key) < 0:
            return outcomes.NODE_NOT_FOUND, 0
        wanted_from = np.int64(0)
        wanted_to = np.int64(0)
        sku_key = st.names[sku].key
        for j in range(first, i + 1):
            other = lines[j]
            if other.line == asked.line and other.node_key == asked.node_key:
                wanted_from += other.quantity
            other_sku = _line_sku(st, row, np.int64(other.line))
            if other_sku == sku and other.scope_key == asked.scope_key:
                wanted_to += other.quantity
        if _movable(st, row, asked, origin) < wanted_from:
            return outcomes.QUANTITY_EXCEEDS_OPEN, 0
        target = find_stock(st, sku_key, asked.scope_key)
        if target >= 0 and node_is_frozen(st, target):
            return outcomes.NODE_FROZEN, 0
        free = np.int64(0)
        if target >= 0:
            free = sellable(st, target, channel_key, find_fence(st, target, channel_key))
        if free < wanted_to:
            written = write_detail(
                details,
                detail_at,
                outcomes.SHORTAGE,
                np.int64(asked.line),
                target,
                wanted_to,
                free,
                outcomes.INSUFFICIENT_STOCK,
                0,
            )
            return outcomes.INSUFFICIENT_STOCK, written - detail_at
    return OK, 0


@kernel
def reassign(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """Move open units of lines from node (node_key, 0: any) to node (scope_key)."""
    row = find_open(st, header, outcome)
    if row < 0:
        return 0
    if not records.make_room_for_takes(st, 4 * header.line_count + 256):
        outcome.code = outcomes.RESERVATIONS_FULL
        return 0
    code, written = _check_moves(st, row, header, lines, first, details, detail_at)
    if code != OK:
        outcome.code = code
        return written
    state = np.int64(st.reservations[row].state)
    channel = np.int64(st.reservations[row].channel)
    channel_key = st.names[channel].key if channel >= 0 else _ZERO

    # From here it must succeed.
    for i in range(first, first + header.line_count):
        asked = lines[i]
        line = np.int64(asked.line)
        origin = NONE
        if asked.node_key != _ZERO:
            origin = find_name(st, commands.NODE, asked.node_key)
        sku_key = st.names[_line_sku(st, row, line)].key
        target = find_stock(st, sku_key, asked.scope_key)
        left = np.int64(asked.quantity)
        take_row = np.int64(st.reservations[row].first_take)
        last: Integer = NONE
        while take_row >= 0:
            take = st.takes[take_row]
            position = st.positions[take.position]
            following = np.int64(take.next)
            if (
                left > 0
                and take.line == line
                and carries_units(position.kind)
                and (origin < 0 or position.node == origin)
                and take.position != target
            ):
                units = min(left, np.int64(take.quantity))
                if units > 0:
                    source = np.int64(take.position)
                    records.shift(st, state, source, -units)
                    take.quantity -= units
                    if take.quantity == 0 and position.kind == SUPPLY:
                        records.stop_waiting(st, take_row)
                    left -= units
                    if position.kind == STOCK:
                        _fence_share(st, row, line, source, units, state)
                        serve_backorders(st, source)
            last = take_row
            take_row = following
        moved = asked.quantity - left
        if moved > 0:
            from_fence = np.int64(0)
            fence = find_fence(st, target, channel_key)
            if fence >= 0:
                from_fence = min(moved, max(np.int64(0), available(st, fence)))
            records.shift(st, state, target, moved)
            take_row = records.new_take(st, row, target, line, moved)
            st.takes[last].next = take_row
            if from_fence > 0:
                records.shift(st, state, fence, from_fence)
                share = records.new_take(st, row, fence, line, from_fence)
                st.takes[take_row].next = share
    records.drop_empty_takes(st, row)
    records.stamp(st, row)
    return write_takes(st, row, outcome, details, detail_at)
