"""Promises against supply, and how they become promises of stock when units arrive.

A supply is a position of its own, so promising it is an ordinary take. Supplies of one stock are
chained by expected time; what may be promised beyond all supply (backorder) is the last of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import outcomes, tables
from engine import reservations as records
from engine.compiled import Integer, kernel
from engine.positions import available

NONE = tables.NONE
STOCK = tables.STOCK
_BEYOND = tables.BACKORDER_SUPPLY


@kernel
def move_take(st: Any, take_row: int, stock: int, units: int) -> bool:
    """Move `units` of a waiting take to stock. False when there is no room to split it."""
    take = st.takes[take_row]
    state = np.int64(st.reservations[take.reservation].state)
    if units < take.quantity and not records.make_room_for_takes(st, 1):
        return False

    # From here it must succeed.
    records.shift(st, state, np.int64(take.position), -units)
    records.shift(st, state, stock, units)
    if units == take.quantity:
        records.stop_waiting(st, take_row)
        take.position = stock
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
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        serve_backorders(st, np.int64(st.takes[take_row].position))
        take_row = np.int64(st.takes[take_row].next)


@kernel
def cancel_newest_holds(st: Any, row: int) -> Integer:
    """Cancel the newest holds on a position until it is short no more; holds cancelled.

    O(takes): a scan, as shortfalls are rare.
    """
    cancelled = 0
    while available(st, row) < 0:
        newest: Integer = NONE
        newest_revision = np.int64(-1)
        for take_row in range(st.meta[0].take_high):
            take = st.takes[take_row]
            if take.reservation >= 0 and take.position == row and take.quantity > 0:
                reservation = st.reservations[take.reservation]
                if (
                    reservation.state == outcomes.HELD
                    and reservation.create_revision > newest_revision
                ):
                    newest = np.int64(take.reservation)
                    newest_revision = reservation.create_revision
        if newest < 0:
            break
        end(st, newest, outcomes.CANCELLED)
        cancelled += 1
    return cancelled
