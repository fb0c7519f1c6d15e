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
from engine.waiting import serve_after_release, serve_backorders

NONE = tables.NONE
OK = outcomes.OK
STOCK = tables.STOCK
FENCE = tables.FENCE
SETTLED = tables.SETTLED
_ZERO = np.uint64(0)
# Takes a reservation may grow to by being moved about: what an answer and its plans have room for.
TAKES_GROWN_MAX = 768


@kernel
def refill(
    st: Any,
    row: int,
    command: Any,
    lines: NDArray[np.void],
    first: int,
    details: NDArray[np.void],
    detail_at: int,
) -> tuple[Integer, Integer, Integer]:
    """Take what the lines ask for, for a reservation whose takes were lifted. (code, takes noted in
    `scratch`, the place after the last detail)"""
    # `fill` reads owner and channel from a header; the command itself must stay as it came.
    st.header[0] = command
    header = st.header[0]
    reservation = st.reservations[row]
    header.owner_key = reservation.owner_key
    header.channel_key = st.names[reservation.channel].key if reservation.channel >= 0 else _ZERO
    header.owner_bytes = reservation.owner_bytes
    header.reservation_bytes = 0
    if command.kind == commands.REROUTE:
        header.fill_policy = commands.ALL_OR_NONE
    state = np.int64(reservation.state)
    return fill(st, header, lines, first, st.owner_text[row], 0, state, details, detail_at)


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
    records.lift(st, row)
    code, used, written = refill(st, row, command, lines, first, details, detail_at)
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
def _fence_share(st: Any, row: int, line: int, stock: int, state: int) -> None:
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
def _open_at(st: Any, row: int, line: int, node: int) -> Integer:
    """Open units of a line at a node, promised from stock or from supply."""
    units = np.int64(0)
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        position = st.positions[take.position]
        if take.line == line and carries_units(position.kind) and position.node == node:
            units += take.quantity
        take_row = np.int64(take.next)
    return units


@kernel
def line_sku(st: Any, row: int, line: int) -> Integer:
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
def count_takes(st: Any, row: int) -> Integer:
    """Takes of a reservation, those that only record something included."""
    count = 0
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        count += 1
        take_row = np.int64(st.takes[take_row].next)
    return count


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
    """Guards of `reassign`; the units each line moves are left in `line_moves`. Nothing else
    changes. (code, details written)"""
    moves = st.line_moves
    channel = np.int64(st.reservations[row].channel)
    channel_key = st.names[channel].key if channel >= 0 else _ZERO
    for i in range(header.line_count):
        asked = lines[first + i]
        line = np.int64(asked.line)
        sku = line_sku(st, row, line)
        if line >= st.reservations[row].line_count or sku < 0:
            return outcomes.LINE_NOT_FOUND, 0
        origin = find_name(st, commands.NODE, asked.node_key)
        if origin < 0 or find_name(st, commands.NODE, asked.scope_key) < 0:
            return outcomes.NODE_NOT_FOUND, 0
        movable = _open_at(st, row, line, origin)
        if movable == 0:
            return outcomes.LINE_NOT_FOUND, 0
        moves[i] = np.int64(asked.quantity) if asked.quantity else movable
        wanted_from = np.int64(0)
        wanted_to = np.int64(0)
        for j in range(i + 1):
            other = lines[first + j]
            if other.line == asked.line and other.node_key == asked.node_key:
                wanted_from += moves[j]
            if other.scope_key == asked.scope_key:
                other_sku = sku
                if other.line != asked.line:
                    other_sku = line_sku(st, row, np.int64(other.line))
                if other_sku == sku:
                    wanted_to += moves[j]
        if movable < wanted_from:
            return outcomes.QUANTITY_EXCEEDS_OPEN, 0
        target = find_stock(st, st.names[sku].key, asked.scope_key)
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
                line,
                target,
                wanted_to,
                free,
                outcomes.INSUFFICIENT_STOCK,
                0,
            )
            return outcomes.INSUFFICIENT_STOCK, written - detail_at
    return OK, 0


@kernel
def _leave(st: Any, row: int, line: int, node: int, units: int) -> None:
    """Take `units` of a line away from a node; nobody has them then."""
    state = np.int64(st.reservations[row].state)
    left = np.int64(units)
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0 and left > 0:
        take = st.takes[take_row]
        position = st.positions[take.position]
        part = min(left, np.int64(take.quantity))
        if (
            part > 0
            and take.line == line
            and carries_units(position.kind)
            and position.node == node
        ):
            source = np.int64(take.position)
            records.shift(st, state, source, -part)
            take.quantity -= part
            left -= part
            if position.kind == STOCK:
                _fence_share(st, row, line, source, state)
            elif take.quantity == 0:
                records.stop_waiting(st, take_row)
        take_row = np.int64(take.next)


@kernel
def join(st: Any, row: int, line: int, position: int, units: int) -> None:
    """Give a line `units` more of a position, whose balances have them already: its take there
    grows, or is made. Units never join those that are settled."""
    last: Integer = NONE
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.line == line and take.position == position and take.reserved != SETTLED:
            if take.quantity == 0 and st.positions[position].kind == tables.SUPPLY:
                records.wait_for_supply(st, take_row)
            take.quantity += units
            return
        last = take_row
        take_row = np.int64(take.next)
    made = records.new_take(st, row, position, line, units)
    if last < 0:
        st.reservations[row].first_take = made
    else:
        st.takes[last].next = made


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
    """Move open units of lines from node (node_key) to node (scope_key); quantity 0: all there."""
    row = find_open(st, header, outcome)
    if row < 0:
        return 0
    if count_takes(st, row) + 2 * header.line_count > TAKES_GROWN_MAX:
        outcome.code = outcomes.TOO_MANY_TAKES
        return 0
    if not records.make_room_for_takes(st, 2 * header.line_count):
        outcome.code = outcomes.RESERVATIONS_FULL
        return 0
    code, written = _check_moves(st, row, header, lines, first, details, detail_at)
    if code != OK:
        outcome.code = code
        return written
    channel = np.int64(st.reservations[row].channel)
    channel_key = st.names[channel].key if channel >= 0 else _ZERO

    # From here it must succeed. Those who wait are served last: what the checks found free is
    # then still free.
    state = np.int64(st.reservations[row].state)
    for i in range(header.line_count):
        asked = lines[first + i]
        line = np.int64(asked.line)
        units = st.line_moves[i]
        origin = find_name(st, commands.NODE, asked.node_key)
        target = find_stock(st, st.names[line_sku(st, row, line)].key, asked.scope_key)
        if st.positions[target].node == origin:
            continue
        _leave(st, row, line, origin, units)
        fence = find_fence(st, target, channel_key)
        from_fence = np.int64(0)
        if fence >= 0:
            from_fence = min(units, max(np.int64(0), available(st, fence)))
        records.shift(st, state, target, units)
        join(st, row, line, target, units)
        if from_fence > 0:
            records.shift(st, state, fence, from_fence)
            join(st, row, line, fence, from_fence)
    serve_after_release(st, row)
    records.drop_empty_takes(st, row)
    records.stamp(st, row)
    return write_takes(st, row, outcome, details, detail_at)
