"""Promises against supply, and how they become promises of stock when units arrive.

A supply is a position of its own, so promising it is an ordinary take. Supplies of one stock are
chained by expected time; what may be promised beyond all supply (backorder) is the last of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import outcomes, tables
from engine import reservations as records
from engine.compiled import Integer, kernel
from engine.details import write_detail
from engine.limits import page_size_max
from engine.positions import available

NONE = tables.NONE
STOCK = tables.STOCK
_BEYOND = tables.BACKORDER_SUPPLY
HOLDS_TOLD_MAX = page_size_max  # cancelled holds that one command's answer names


@kernel
def move_take(st: Any, take_row: int, stock: int, units: int) -> bool:
    """Move `units` of a waiting take to stock. False when there is no room to split it.

    A take that is served again and again grows by one part in all: the part that follows it.
    """
    take = st.takes[take_row]
    state = np.int64(st.reservations[take.reservation].state)
    following = np.int64(take.next)
    joins = (
        following >= 0
        and st.takes[following].position == stock
        and st.takes[following].line == take.line
    )
    if units < take.quantity and not joins and not records.make_room_for_takes(st, 1):
        return False

    # From here it must succeed.
    records.shift(st, state, np.int64(take.position), -units)
    records.shift(st, state, stock, units)
    if units == take.quantity:
        records.stop_waiting(st, take_row)
        take.position = stock
    elif joins:
        take.quantity -= units
        st.takes[following].quantity += units
    else:
        take.quantity -= units
        part = records.new_take(st, np.int64(take.reservation), stock, np.int64(take.line), units)
        st.takes[part].next = take.next
        take.next = part
    records.stamp(st, np.int64(take.reservation))
    return True


@kernel
def serve(st: Any, supply_row: int, stock: int, units: int) -> Integer:
    """Move up to `units` promised from a supply to stock, first come first served; units moved."""
    left = np.int64(units)
    take_row = np.int64(st.supplies[supply_row].first_take)
    while take_row >= 0 and left > 0:
        following = np.int64(st.takes[take_row].next_waiting)
        part = min(left, np.int64(st.takes[take_row].quantity))
        if not move_take(st, take_row, stock, part):
            break
        left -= part
        take_row = following
    return units - left


@kernel
def beyond_supply(st: Any, stock: int) -> Integer:
    """The backorder supply of a stock position, or NONE."""
    at = np.int64(st.positions[stock].link)
    while at >= 0:
        if st.supplies[at].type == _BEYOND:
            return at
        at = np.int64(st.supplies[at].next)
    return NONE


@kernel
def serve_backorders(st: Any, stock: int) -> Integer:
    """Units became free: give them to those who wait beyond supply; units moved."""
    position = st.positions[stock]
    if position.kind != STOCK or not position.flags & tables.BACKORDERED:
        return 0
    supply_row = beyond_supply(st, stock)
    free = available(st, stock) - position.fenced
    if supply_row < 0 or free <= 0:
        return 0
    return serve(st, supply_row, stock, free)


@kernel
def end(st: Any, row: int, state: int) -> None:
    """Give back what a reservation holds, end it, and let those waiting have what came free."""
    records.lift(st, row)
    records.close_takes(st, row)
    records.enter_terminal(st, row, state)
    serve_after_release(st, row)


@kernel
def serve_after_release(st: Any, row: int) -> None:
    """Let those waiting have what a reservation's takes gave back."""
    meta = st.meta[0]
    before = meta.pinned
    meta.pinned = row
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        serve_backorders(st, np.int64(st.takes[take_row].position))
        take_row = np.int64(st.takes[take_row].next)
    meta.pinned = before


@kernel
def _age(st: Any, at: int) -> Integer:
    """Revision that made the reservation noted in scratch at `at`."""
    return st.reservations[st.scratch[at].position].create_revision


@kernel
def _sink_older(st: Any, at: int, count: int) -> None:
    """Let the note at `at` sink in the heap of scratch whose top is the oldest."""
    while True:
        child = 2 * at + 1
        if child >= count:
            return
        if child + 1 < count and _age(st, child + 1) < _age(st, child):
            child += 1
        if _age(st, at) <= _age(st, child):
            return
        noted = st.scratch[at].position
        st.scratch[at].position = st.scratch[child].position
        st.scratch[child].position = noted
        at = child


@kernel
def _note_newest_holds(st: Any, row: int) -> Integer:
    """Note the newest holds on a position in scratch, the newest first; how many. One that has
    two takes there is noted twice. O(takes), with a heap as large as scratch."""
    room = st.scratch.shape[0]
    count = 0
    for take_row in range(st.meta[0].take_high):
        take = st.takes[take_row]
        if take.reservation < 0 or take.position != row or take.quantity == 0:
            continue
        reservation = st.reservations[take.reservation]
        if reservation.state != outcomes.HELD:
            continue
        if count < room:
            at = count
            count += 1
            while at > 0 and _age(st, (at - 1) >> 1) > reservation.create_revision:
                st.scratch[at].position = st.scratch[(at - 1) >> 1].position
                at = (at - 1) >> 1
            st.scratch[at].position = take.reservation
        elif reservation.create_revision > _age(st, 0):
            st.scratch[0].position = take.reservation
            _sink_older(st, 0, count)
    for last in range(count - 1, 0, -1):
        oldest = st.scratch[0].position
        st.scratch[0].position = st.scratch[last].position
        st.scratch[last].position = oldest
        _sink_older(st, 0, last)
    return count


@kernel
def cancel_newest_holds(
    st: Any, row: int, line: int, details: NDArray[np.void], at: int
) -> tuple[Integer, Integer]:
    """Cancel the newest holds on a position until it is short no more, naming the first of them.
    (holds cancelled, the next detail)

    A scan of all takes for some thousand holds that are cancelled, as shortfalls are rare.
    """
    meta = st.meta[0]
    cancelled = 0
    while available(st, row) < 0:
        count = _note_newest_holds(st, row)
        if count == 0:
            break
        for i in range(count):
            if available(st, row) >= 0:
                break
            newest = np.int64(st.scratch[i].position)
            if st.reservations[newest].state == outcomes.HELD:
                made = st.reservations[newest].create_revision
                end(st, newest, outcomes.CANCELLED)
                cancelled += 1
                if meta.holds_told < HOLDS_TOLD_MAX:
                    meta.holds_told += 1
                    at = write_detail(
                        details, at, outcomes.CANCELLED_HOLD, line, newest, 0, 0, 0, made
                    )
    return cancelled, at
