"""Reroute: the open units of a reservation, and its capacity, move to other places at once.

Lines keep their numbers, and each as many units as it had open; what has shipped, come back or been
cancelled stays as it is. All or nothing: the old takes are lifted and the new ones filled against
what is then free; if that fails the old ones are lowered again.

The capacity that shipments went out with is used up by then and is not given back: of a node's
day as many units as have shipped from the node, of a carrier's slot all of it once anything has
shipped from its node. Takes whose shipments have been reckoned with so are marked SETTLED.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, tables
from engine import reservations as records
from engine.compiled import Integer, kernel
from engine.details import write_detail, write_takes
from engine.positions import carries_units, mark_short
from engine.revise import TAKES_GROWN_MAX, count_takes, join, line_sku, refill
from engine.settle import find_open, ship
from engine.waiting import serve_after_release

OK = outcomes.OK
CAPACITY = tables.CAPACITY
LIMIT = tables.LIMIT
SETTLED = tables.SETTLED
_TAKES_MAX = 256  # that one filling notes
_TAKES_PER_LINE = 4
_QUANTITY_TOLD_MAX = np.int64(2147483647)


@kernel
def _is_of_units(kind: int) -> bool:
    """Whether a line of a command asks for units of a line, not for capacity."""
    return kind == commands.AT_NODE or kind == commands.IN_GROUP


@kernel
def _check_units(
    st: Any,
    row: int,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    details: NDArray[np.void],
    detail_at: int,
) -> tuple[Integer, Integer]:
    """Whether the lines give every line of the reservation, of its SKU, what it has open. Changes
    nothing. (code, the place after the last detail)"""
    line_count = np.int64(st.reservations[row].line_count)
    given = st.line_moves
    for i in range(first, first + header.line_count):
        asked = lines[i]
        if not _is_of_units(asked.kind):
            continue
        line = np.int64(asked.line)
        sku = line_sku(st, row, line) if line < line_count else tables.NONE
        if sku < 0 or st.names[sku].key != asked.sku_key:
            code = outcomes.LINE_NOT_FOUND
            at = write_detail(
                details, detail_at, outcomes.LINE_ERROR, line, tables.NONE, 0, 0, code, 0
            )
            return code, at
    for number in range(line_count):
        given[number] = 0
    for i in range(first, first + header.line_count):
        if _is_of_units(lines[i].kind):
            given[lines[i].line] += lines[i].quantity
    at = detail_at
    for number in range(line_count):
        units = np.int64(0)
        take_row = np.int64(st.reservations[row].first_take)
        while take_row >= 0:
            take = st.takes[take_row]
            if take.line == number and carries_units(st.positions[take.position].kind):
                units += take.quantity
            take_row = np.int64(take.next)
        if given[number] != units:
            told = min(_QUANTITY_TOLD_MAX, given[number])
            code = outcomes.OPEN_UNITS_DIFFER
            at = write_detail(
                details, at, outcomes.LINE_ERROR, number, tables.NONE, told, units, code, 0
            )
    return (OK if at == detail_at else outcomes.OPEN_UNITS_DIFFER), at


@kernel
def _shipped_from(st: Any, row: int, node: int) -> Integer:
    """Units of a reservation that have shipped from a node (NONE: from anywhere) since it was last
    rerouted."""
    units = np.int64(0)
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        position = st.positions[take.position]
        if (
            carries_units(position.kind)
            and take.reserved != SETTLED
            and (node < 0 or position.node == node)
        ):
            units += take.fulfilled
        take_row = np.int64(take.next)
    return units


@kernel
def _is_slot(st: Any, position: int) -> bool:
    """Whether a capacity is a carrier's slot, not a node's day."""
    return st.names[st.positions[position].sku].kind == commands.SLOT


@kernel
def plan_release(st: Any, row: int, released: NDArray[np.int64]) -> Integer:
    """What a reroute gives back of each take, in the order of the takes: `released`, in units. How
    many takes there are. Changes nothing else. O(takes), times capacities."""
    count = 0
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        position = st.positions[take.position]
        units = np.int64(take.quantity)
        if position.kind == LIMIT:
            units = np.int64(0)
        elif position.kind == CAPACITY and units > 0:
            shipped = _shipped_from(st, row, np.int64(position.node))
            if _is_slot(st, np.int64(take.position)):
                units = np.int64(0) if shipped > 0 else units
            else:
                # Days of the node that come before this one have used up their part of it.
                at = 0
                other_row = np.int64(st.reservations[row].first_take)
                while other_row != take_row:
                    other = st.takes[other_row]
                    place = st.positions[other.position]
                    same = place.kind == CAPACITY and place.node == position.node
                    if same and not _is_slot(st, np.int64(other.position)):
                        shipped -= np.int64(other.quantity) - released[at]
                    at += 1
                    other_row = np.int64(other.next)
                units -= min(units, shipped)
        released[count] = units
        count += 1
        take_row = np.int64(take.next)
    return count


@kernel
def _shift_open(st: Any, row: int, released: NDArray[np.int64], sign: int) -> None:
    """Lift (sign -1) what is released off the balances, or lower it (1) again."""
    state = np.int64(st.reservations[row].state)
    at = 0
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        position = np.int64(st.takes[take_row].position)
        if released[at]:
            records.shift(st, state, position, sign * released[at])
            if sign > 0:
                mark_short(st, position)  # what was short before is short again
        at += 1
        take_row = np.int64(st.takes[take_row].next)


@kernel
def _leave(st: Any, row: int, released: NDArray[np.int64]) -> None:
    """Takes give up what was lifted, and capacity that is used up is used up."""
    at = 0
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        kind = st.positions[take.position].kind
        if released[at] > 0 and kind == tables.SUPPLY:
            records.stop_waiting(st, take_row)
        take.quantity -= released[at]
        if kind == CAPACITY and take.quantity > 0:
            ship(st, take_row, np.int64(take.quantity), row)
        if carries_units(kind) and take.fulfilled > 0:
            take.reserved = SETTLED
        at += 1
        take_row = np.int64(take.next)


@kernel
def reroute(
    st: Any,
    command: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """Replace what a reservation has open by the lines' units and capacities, all or nothing.

    A line's `line` says which line of the reservation it continues; its state, the time it ends and
    its share of purchase limits stay. Refused with OPEN_UNITS_DIFFER unless every line gets exactly
    what it has open.
    """
    row = find_open(st, command, outcome)
    if row < 0:
        return 0
    code, at = _check_units(st, row, command, lines, first, details, detail_at)
    if code != OK:
        outcome.code = code
        return at - detail_at
    most = min(_TAKES_MAX, _TAKES_PER_LINE * np.int64(command.line_count))
    if count_takes(st, row) + most > TAKES_GROWN_MAX:
        outcome.code = outcomes.TOO_MANY_TAKES
        return 0
    if not records.make_room_for_takes(st, most):
        outcome.code = outcomes.RESERVATIONS_FULL
        return 0
    released = st.line_moves
    plan_release(st, row, released)
    _shift_open(st, row, released, -1)
    code, used, at = refill(st, row, command, lines, first, details, detail_at)
    if code != OK:
        _shift_open(st, row, released, 1)
        outcome.code = code
        return at - detail_at

    # From here it must succeed. Those who wait are served last, as for `reassign`.
    _leave(st, row, released)
    for i in range(used):
        noted = st.scratch[i]
        join(
            st,
            row,
            np.int64(noted.line),
            np.int64(noted.position),
            np.int64(noted.quantity),
        )
    serve_after_release(st, row)
    records.drop_empty_takes(st, row)
    records.stamp(st, row)
    return write_takes(st, row, outcome, details, detail_at)
