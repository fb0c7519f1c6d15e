"""What happens to a reservation after it was created: confirm, cancel, extend, fulfil, return.

Quantities by line are planned on a copy of the takes in `scratch` first (position: the take's
row, quantity: units that move); only a plan that works out is applied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, heap, outcomes, tables
from engine import reservations as records
from engine.compiled import Integer, kernel
from engine.details import write_takes
from engine.limits import units_per_position_max
from engine.movements import record
from engine.names import find_name
from engine.positions import (
    carries_units,
    change,
    find_stock,
    mark_short,
    need_stock,
    withhold,
)
from engine.waiting import end, serve_after_release, serve_backorders

NONE = tables.NONE
OK = outcomes.OK
HELD = outcomes.HELD
CONFIRMED = outcomes.CONFIRMED
FULFILLED = outcomes.FULFILLED
CANCELLED = outcomes.CANCELLED
STOCK = tables.STOCK
SUPPLY = tables.SUPPLY
FENCE = tables.FENCE
LIMIT = tables.LIMIT
_ZERO = np.uint64(0)

_OPEN = 0  # plan over what is still held or committed
_SHIPPED = 1  # plan over what was shipped and not returned


@kernel
def find_open(st: Any, header: Any, outcome: Any) -> Integer:
    """The reservation a command speaks of, HELD (and not past its time) or CONFIRMED; NONE with
    `outcome.code` set otherwise."""
    row = records.find_reservation(st, header.reservation_hi, header.reservation_lo)
    outcome.reservation_hi = header.reservation_hi
    outcome.reservation_lo = header.reservation_lo
    if row < 0:
        outcome.code = outcomes.RESERVATION_NOT_FOUND
        return NONE
    reservation = st.reservations[row]
    outcome.state = reservation.state
    outcome.reservation = row
    outcome.expire_ms = reservation.expire_ms
    expired = reservation.state == outcomes.EXPIRED or (
        reservation.state == HELD and reservation.expire_ms <= st.meta[0].now_ms
    )
    if expired:
        outcome.code = outcomes.RESERVATION_EXPIRED
        outcome.state = outcomes.EXPIRED
        return NONE
    if reservation.state != HELD and reservation.state != CONFIRMED:
        outcome.code = outcomes.STATE_TRANSITION_NOT_ALLOWED
        return NONE
    if header.etag != 0 and header.etag != reservation.etag:
        outcome.code = outcomes.ETAG_MISMATCH
        outcome.etag = reservation.etag
        return NONE
    return row


@kernel
def _copy_takes(st: Any, row: int) -> Integer:
    """The reservation's takes in `scratch`, nothing moving yet; how many."""
    count = 0
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0 and count < st.scratch.shape[0]:
        st.scratch[count].position = take_row
        st.scratch[count].quantity = 0
        count += 1
        take_row = np.int64(st.takes[take_row].next)
    return count


@kernel
def _plan(
    st: Any,
    row: int,
    lines: NDArray[np.void],
    first: int,
    line_count: int,
    basis: int,
    backwards: bool,
    stock_only: bool,
) -> tuple[Integer, Integer]:
    """Spread the quantities by line over the takes. (code, takes in scratch)"""
    count = _copy_takes(st, row)
    for i in range(first, first + line_count):
        asked = lines[i]
        if asked.line >= st.reservations[row].line_count:
            return outcomes.LINE_NOT_FOUND, count
        node = NONE
        if asked.node_key != _ZERO:
            node = find_name(st, commands.NODE, asked.node_key)
            if node < 0:
                return outcomes.NODE_NOT_FOUND, count
        left = np.int64(asked.quantity)
        waiting = False
        for k in range(count):
            at = count - 1 - k if backwards else k
            noted = st.scratch[at]
            take = st.takes[noted.position]
            position = st.positions[take.position]
            if take.line != asked.line or not carries_units(position.kind):
                continue
            if node >= 0 and position.node != node:
                continue
            if basis == _OPEN:
                units = np.int64(take.quantity) - noted.quantity
            else:
                units = np.int64(take.fulfilled) - take.returned - noted.quantity
            if units > 0 and stock_only and position.kind == SUPPLY:
                waiting = True
                continue
            part = min(left, max(np.int64(0), units))
            noted.quantity += part
            left -= part
        if left > 0:
            if waiting:
                return outcomes.SUPPLY_NOT_RECEIVED, count
            return outcomes.QUANTITY_EXCEEDS_OPEN, count
    return OK, count


@kernel
def _plan_all(st: Any, row: int, stock_only: bool) -> tuple[Integer, Integer]:
    """Everything open moves. (code, takes in scratch)"""
    count = _copy_takes(st, row)
    for at in range(count):
        take = st.takes[st.scratch[at].position]
        kind = st.positions[take.position].kind
        if carries_units(kind):
            if stock_only and kind == SUPPLY and take.quantity > 0:
                return outcomes.SUPPLY_NOT_RECEIVED, count
            st.scratch[at].quantity = take.quantity
    return OK, count


@kernel
def _sum_line(st: Any, count: int, line: int, stock: int, moving: bool) -> Integer:
    """Units of a line (at one stock, or anywhere: NONE) that move, or that stay open."""
    units = np.int64(0)
    for at in range(count):
        noted = st.scratch[at]
        take = st.takes[noted.position]
        kind = st.positions[take.position].kind
        if take.line != line or not carries_units(kind):
            continue
        if stock >= 0 and take.position != stock:
            continue
        units += noted.quantity if moving else np.int64(take.quantity) - noted.quantity
    return units


@kernel
def _plan_shares(st: Any, count: int, shipping: bool) -> None:
    """Let the shares in fences and purchase limits follow what their lines' units do."""
    # A line has at most one take of a limit, and one of a fence on a stock.
    for at in range(count):
        noted = st.scratch[at]
        take = st.takes[noted.position]
        position = st.positions[take.position]
        line = np.int64(take.line)
        if position.kind == LIMIT:
            noted.quantity = min(np.int64(take.quantity), _sum_line(st, count, line, NONE, True))
        elif position.kind == FENCE:
            stock = np.int64(position.link)
            if shipping:
                moved = _sum_line(st, count, line, stock, True)
                noted.quantity = min(np.int64(take.quantity), moved)
            else:
                stays = _sum_line(st, count, line, stock, False)
                noted.quantity = max(np.int64(0), np.int64(take.quantity) - stays)


@kernel
def _stays_open(st: Any, count: int) -> bool:
    """Whether any unit stays open once the plan is applied."""
    for at in range(count):
        noted = st.scratch[at]
        take = st.takes[noted.position]
        kind = st.positions[take.position].kind
        if carries_units(kind) and take.quantity > noted.quantity:
            return True
    return False


@kernel
def ship(st: Any, take_row: int, units: int, reservation: int) -> None:
    """Units leave: on_hand and committed fall."""
    take = st.takes[take_row]
    row = np.int64(take.position)
    change(st, row, -units, 0, -units)
    if st.positions[row].kind == tables.CAPACITY:
        st.withheld[row].movement_base -= units
    take.quantity -= units
    take.fulfilled += units
    if st.positions[row].kind == STOCK:
        record(st, row, tables.FULFILLMENT, -units, 0, 0, 0, reservation)


@kernel
def _release(st: Any, take_row: int, units: int, state: int) -> None:
    """Units are given back."""
    take = st.takes[take_row]
    records.shift(st, state, np.int64(take.position), -units)
    take.cancelled += units
    take.quantity -= units
    if take.quantity == 0 and st.positions[take.position].kind == SUPPLY:
        records.stop_waiting(st, take_row)


@kernel
def _finish(st: Any, row: int) -> None:
    """Nothing of the order's lines is open any more: settle its capacity, end it."""
    shipped = False
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        if st.takes[take_row].fulfilled > 0:
            shipped = True
        take_row = np.int64(st.takes[take_row].next)
    state = np.int64(st.reservations[row].state)
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        units = np.int64(st.takes[take_row].quantity)
        if units > 0:
            if shipped:
                ship(st, take_row, units, row)
            else:
                _release(st, take_row, units, state)
        take_row = np.int64(st.takes[take_row].next)
    records.enter_terminal(st, row, FULFILLED if shipped else CANCELLED)


@kernel
def confirm(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """HELD -> CONFIRMED. With quantities by line, the rest is given back in the same step."""
    row = find_open(st, header, outcome)
    if row < 0:
        return 0
    reservation = st.reservations[row]
    if reservation.state != HELD:
        outcome.code = outcomes.STATE_TRANSITION_NOT_ALLOWED
        return 0
    if header.line_count:
        code, count = _plan(st, row, lines, first, header.line_count, _OPEN, False, False)
        if code != OK:
            outcome.code = code
            return 0
        for at in range(count):
            take = st.takes[st.scratch[at].position]
            kind = st.positions[take.position].kind
            if carries_units(kind):
                st.scratch[at].quantity = take.quantity - st.scratch[at].quantity
        _plan_shares(st, count, False)
        for at in range(count):
            if st.scratch[at].quantity > 0:
                _release(
                    st,
                    np.int64(st.scratch[at].position),
                    np.int64(st.scratch[at].quantity),
                    HELD,
                )

    # From here it must succeed.
    take_row = np.int64(reservation.first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.quantity:
            change(st, np.int64(take.position), 0, -np.int64(take.quantity), take.quantity)
        take_row = np.int64(take.next)
    records.leave_held(st, row)
    reservation.state = CONFIRMED
    st.meta[0].confirmed_count += 1
    records.stamp(st, row)
    if header.line_count:
        serve_after_release(st, row)
    return write_takes(st, row, outcome, details, detail_at)


@kernel
def cancel(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """HELD | CONFIRMED -> CANCELLED, or only some quantities by line."""
    row = find_open(st, header, outcome)
    if row < 0:
        return 0
    if header.line_count == 0:
        code, count = _plan_all(st, row, False)
    else:
        code, count = _plan(st, row, lines, first, header.line_count, _OPEN, True, False)
    if code != OK:
        outcome.code = code
        return 0

    # From here it must succeed.
    _plan_shares(st, count, False)
    state = np.int64(st.reservations[row].state)
    stays = _stays_open(st, count)
    for at in range(count):
        units = np.int64(st.scratch[at].quantity)
        if units > 0:
            _release(st, np.int64(st.scratch[at].position), units, state)
    if stays:
        records.stamp(st, row)
    else:
        _finish(st, row)
    serve_after_release(st, row)
    return write_takes(st, row, outcome, details, detail_at)


@kernel
def extend(
    st: Any, header: Any, outcome: Any, details: NDArray[np.void], detail_at: int
) -> Integer:
    """Let a hold live at least ttl_ms from now; it is never shortened."""
    row = find_open(st, header, outcome)
    if row < 0:
        return 0
    if st.reservations[row].state != HELD:
        outcome.code = outcomes.STATE_TRANSITION_NOT_ALLOWED
        return 0
    expire_ms = max(st.reservations[row].expire_ms, st.meta[0].now_ms + header.ttl_ms)
    if expire_ms != st.reservations[row].expire_ms:
        heap.discard(st, row)
        st.reservations[row].expire_ms = expire_ms
        heap.push(st, row, expire_ms)
    records.stamp(st, row)
    return write_takes(st, row, outcome, details, detail_at)


@kernel
def fulfill(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """Units of a CONFIRMED reservation ship: all that is open, or quantities by line."""
    row = find_open(st, header, outcome)
    if row < 0:
        return 0
    if st.reservations[row].state != CONFIRMED:
        outcome.code = outcomes.STATE_TRANSITION_NOT_ALLOWED
        return 0
    if header.line_count == 0:
        code, count = _plan_all(st, row, True)
    else:
        code, count = _plan(st, row, lines, first, header.line_count, _OPEN, False, True)
    if code != OK:
        outcome.code = code
        return 0

    # From here it must succeed.
    _plan_shares(st, count, True)
    stays = _stays_open(st, count)
    for at in range(count):
        units = np.int64(st.scratch[at].quantity)
        if units > 0:
            ship(st, np.int64(st.scratch[at].position), units, row)
    if stays:
        records.stamp(st, row)
    else:
        _finish(st, row)
    return write_takes(st, row, outcome, details, detail_at)


@kernel
def return_units(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    """Shipped units come back to on_hand, for sale or withheld; the state stays as it is.

    The first line's scope_key names the node they came to, 0: where each was shipped from.
    """
    row = records.find_reservation(st, header.reservation_hi, header.reservation_lo)
    outcome.reservation_hi = header.reservation_hi
    outcome.reservation_lo = header.reservation_lo
    if row < 0:
        outcome.code = outcomes.RESERVATION_NOT_FOUND
        return 0
    state = st.reservations[row].state
    outcome.state = state
    outcome.reservation = row
    if state != CONFIRMED and state != FULFILLED:
        outcome.code = outcomes.STATE_TRANSITION_NOT_ALLOWED
        return 0
    if header.etag != 0 and header.etag != st.reservations[row].etag:
        outcome.code = outcomes.ETAG_MISMATCH
        outcome.etag = st.reservations[row].etag
        return 0
    code, count = _plan(st, row, lines, first, header.line_count, _SHIPPED, False, False)
    node_key = lines[first].scope_key
    if code == OK and node_key != _ZERO:
        for at in range(count):
            if code == OK and st.scratch[at].quantity > 0:
                take = st.takes[st.scratch[at].position]
                sku = st.positions[take.position].sku
                made = need_stock(st, st.names[sku].key, node_key)
                code = -made if made < 0 else OK
    if code == OK and not _return_fits(st, count, node_key):
        code = outcomes.QUANTITY_OUT_OF_RANGE
    if code != OK:
        outcome.code = code
        return 0

    # From here it must succeed.
    st.meta[0].pinned = row
    bucket = np.int64(lines[first].policy)
    for at in range(count):
        noted = st.scratch[at]
        units = np.int64(noted.quantity)
        if units == 0:
            continue
        take = st.takes[noted.position]
        stock = _return_target(st, at, node_key)
        take.returned += units
        change(st, stock, units, 0, 0)
        if bucket:
            withhold(st, stock, bucket, units)
            mark_short(st, stock)
        record(st, stock, tables.RETURNED, units, bucket, units if bucket else 0, 0, row)
        _return_limit(st, row, np.int64(take.line), units)
        serve_backorders(st, stock)
    st.meta[0].pinned = NONE
    records.stamp(st, row)
    return write_takes(st, row, outcome, details, detail_at)


@kernel
def _return_target(st: Any, at: int, node_key: np.uint64) -> Integer:
    """The stock that the units planned at `at` in scratch come back to."""
    stock = np.int64(st.takes[st.scratch[at].position].position)
    if node_key == _ZERO:
        return stock
    return find_stock(st, st.names[st.positions[stock].sku].key, node_key)


@kernel
def _return_fits(st: Any, count: int, node_key: np.uint64) -> bool:
    """Whether no stock would pass units_per_position_max."""
    for at in range(count):
        if st.scratch[at].quantity == 0:
            continue
        stock = _return_target(st, at, node_key)
        units = np.int64(st.positions[stock].on_hand)
        for other in range(count):
            if st.scratch[other].quantity and _return_target(st, other, node_key) == stock:
                units += st.scratch[other].quantity
        if units > units_per_position_max:
            return False
    return True


@kernel
def _return_limit(st: Any, row: int, line: int, units: int) -> None:
    """The owner may buy returned units again."""
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.line == line and st.positions[take.position].kind == LIMIT:
            part = min(units, np.int64(take.fulfilled) - take.returned)
            take.returned += part
            change(st, np.int64(take.position), part, 0, 0)
        take_row = np.int64(take.next)


@kernel
def expire(st: Any, most: int, outcome: Any) -> None:
    """Release up to `most` holds whose time has come, the earliest first."""
    meta = st.meta[0]
    released = np.int64(0)
    while released < most and meta.heap_count > 0 and st.heap[0].expire_ms <= meta.now_ms:
        row = np.int64(st.heap[0].reservation)
        meta.expiry_lag_ms = meta.now_ms - st.heap[0].expire_ms
        end(st, row, outcomes.EXPIRED)
        released += 1
    meta.expired_count += released
    outcome.affected = released
