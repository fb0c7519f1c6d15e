"""Reservations and their takes: rows, chains, and the room they use.

Invariants
1. A HELD reservation is in the heap and in its owner's chain; a terminal one is in the terminal
   list, from the oldest to the newest; a free row is in the chain of free rows.
2. A take's `quantity` is counted in its position's `held` while the reservation is HELD and in
   `committed` while it is CONFIRMED; in a terminal reservation it is 0.
3. Takes of supply are in that supply's waiting list, in order of arrival, while quantity > 0.
4. Whatever changes a reservation's takes or state stamps it, so that `stamped` names every
   reservation that changed (`engine.verification` follows it).

Terminal reservations are kept until their room is needed, the oldest going first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import heap, index, outcomes, tables
from engine.compiled import Integer, kernel
from engine.positions import change, mark_short

NONE = tables.NONE
HELD = outcomes.HELD
CONFIRMED = outcomes.CONFIRMED
SUPPLY = tables.SUPPLY
_ZERO = np.uint64(0)


@kernel
def find_reservation(st: Any, hi: np.uint64, lo: np.uint64) -> Integer:
    """Row of the reservation with this id key, or NONE."""
    slots = st.reservation_index
    mask = slots.shape[0] - 1
    at = index.probe(slots, hi, index.home(slots, hi))
    while at >= 0:
        row = index.row_at(slots, at)
        reservation = st.reservations[row]
        if reservation.id_hi == hi and reservation.id_lo == lo:
            return row
        at = index.probe(slots, hi, (at + 1) & mask)
    return NONE


@kernel
def first_owned(st: Any, owner_key: np.uint64) -> Integer:
    """Newest open hold of the owner, or NONE; the others follow by `next_owned`."""
    slots = st.owner_index
    mask = slots.shape[0] - 1
    at = index.probe(slots, owner_key, index.home(slots, owner_key))
    while at >= 0:
        row = index.row_at(slots, at)
        if st.reservations[row].owner_key == owner_key:
            return row
        at = index.probe(slots, owner_key, (at + 1) & mask)
    return NONE


@kernel
def own(st: Any, row: int) -> None:
    """Put an open hold into its owner's chain."""
    reservation = st.reservations[row]
    reservation.next_owned = NONE
    reservation.previous_owned = NONE
    if reservation.owner_key == _ZERO:
        return
    first = first_owned(st, reservation.owner_key)
    if first < 0:
        index.insert(st.owner_index, reservation.owner_key, row)
        return
    reservation.next_owned = first
    st.reservations[first].previous_owned = row
    index.replace(st.owner_index, reservation.owner_key, first, row)


@kernel
def disown(st: Any, row: int) -> None:
    """Take a hold out of its owner's chain."""
    reservation = st.reservations[row]
    if reservation.owner_key == _ZERO:
        return
    following = np.int64(reservation.next_owned)
    preceding = np.int64(reservation.previous_owned)
    if following >= 0:
        st.reservations[following].previous_owned = preceding
    if preceding >= 0:
        st.reservations[preceding].next_owned = following
    elif following >= 0:
        index.replace(st.owner_index, reservation.owner_key, row, following)
    else:
        index.remove(st.owner_index, reservation.owner_key, row)
    reservation.next_owned = NONE
    reservation.previous_owned = NONE


@kernel
def wait_for_supply(st: Any, take_row: int) -> None:
    """Put a take of supply at the end of that supply's waiting list."""
    take = st.takes[take_row]
    supply = st.supplies[st.positions[take.position].link]
    take.next_waiting = NONE
    take.previous_waiting = supply.last_take
    if supply.last_take >= 0:
        st.takes[supply.last_take].next_waiting = take_row
    else:
        supply.first_take = take_row
    supply.last_take = take_row


@kernel
def stop_waiting(st: Any, take_row: int) -> None:
    """Take a take out of its supply's waiting list."""
    take = st.takes[take_row]
    supply = st.supplies[st.positions[take.position].link]
    if take.previous_waiting >= 0:
        st.takes[take.previous_waiting].next_waiting = take.next_waiting
    else:
        supply.first_take = take.next_waiting
    if take.next_waiting >= 0:
        st.takes[take.next_waiting].previous_waiting = take.previous_waiting
    else:
        supply.last_take = take.previous_waiting
    take.next_waiting = NONE
    take.previous_waiting = NONE


@kernel
def free_take(st: Any, take_row: int) -> None:
    """Free the row of a take that holds nothing and is in no chain."""
    meta = st.meta[0]
    take = st.takes[take_row]
    take.reservation = NONE
    take.quantity = 0
    take.next = meta.take_free
    meta.take_free = take_row
    meta.take_count -= 1


@kernel
def _free_takes(st: Any, row: int) -> None:
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        following = np.int64(st.takes[take_row].next)
        free_take(st, take_row)
        take_row = following
    st.reservations[row].first_take = NONE


@kernel
def erase(st: Any, row: int) -> None:
    """Free the row of a reservation that holds nothing and is in no chain or list."""
    meta = st.meta[0]
    reservation = st.reservations[row]
    _free_takes(st, row)
    index.remove(st.reservation_index, reservation.id_hi, row)
    reservation.state = 0
    reservation.newer = meta.reservation_free
    meta.reservation_free = row


@kernel
def _evict_oldest(st: Any) -> bool:
    """Forget the oldest terminal reservation but the pinned one. False when there is none."""
    meta = st.meta[0]
    row = meta.terminal_oldest
    if row >= 0 and row == meta.pinned:
        row = np.int64(st.reservations[row].newer)
    if row < 0:
        return False
    older = np.int64(st.reservations[row].older)
    newer = np.int64(st.reservations[row].newer)
    if older >= 0:
        st.reservations[older].newer = newer
    else:
        meta.terminal_oldest = newer
    if newer >= 0:
        st.reservations[newer].older = older
    else:
        meta.terminal_newest = older
    meta.terminal_count -= 1
    meta.evicted_count += 1
    erase(st, row)
    return True


@kernel
def make_room(st: Any, takes: int) -> bool:
    """See to it that a reservation of `takes` takes fits; False when all room is in use."""
    meta = st.meta[0]
    while meta.reservation_free < 0 and meta.reservation_high >= st.reservations.shape[0]:
        if not _evict_oldest(st):
            return False
    return make_room_for_takes(st, takes)


@kernel
def make_room_for_takes(st: Any, takes: int) -> bool:
    """See to it that `takes` more takes fit; False when all room is in use."""
    while st.takes.shape[0] - st.meta[0].take_count < takes:
        if not _evict_oldest(st):
            return False
    return True


@kernel
def new_reservation(st: Any) -> Integer:
    """A row for a reservation; `make_room` has seen to it."""
    meta = st.meta[0]
    row = meta.reservation_free
    if row >= 0:
        meta.reservation_free = np.int64(st.reservations[row].newer)
    else:
        row = meta.reservation_high
        meta.reservation_high += 1
    return row


@kernel
def new_take(st: Any, reservation: int, position: int, line: int, quantity: int) -> Integer:
    """A take of `quantity` units, in no chain yet; `make_room` has seen to it."""
    meta = st.meta[0]
    row = meta.take_free
    if row >= 0:
        meta.take_free = np.int64(st.takes[row].next)
    else:
        row = meta.take_high
        meta.take_high += 1
    meta.take_count += 1
    take = st.takes[row]
    take.position = position
    take.reservation = reservation
    take.next = NONE
    take.quantity = quantity
    take.fulfilled = 0
    take.cancelled = 0
    take.returned = 0
    take.shortfall = 0
    take.next_waiting = NONE
    take.previous_waiting = NONE
    take.line = line
    take.reserved = 0
    if quantity > 0 and st.positions[position].kind == SUPPLY:
        wait_for_supply(st, row)
    return row


@kernel
def shift(st: Any, state: int, position: int, quantity: int) -> None:
    """Add to what a position has promised to reservations in this state."""
    if state == HELD:
        change(st, position, 0, quantity, 0)
    else:
        change(st, position, 0, 0, quantity)


@kernel
def lift(st: Any, row: int) -> None:
    """Give back everything a reservation holds, in the balances only. Undone by `lower`."""
    state = st.reservations[row].state
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.quantity:
            shift(st, state, np.int64(take.position), -np.int64(take.quantity))
        take_row = np.int64(take.next)


@kernel
def lower(st: Any, row: int) -> None:
    """Undo `lift`."""
    state = st.reservations[row].state
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.quantity:
            shift(st, state, np.int64(take.position), np.int64(take.quantity))
            # What was short before the lift is short again.
            mark_short(st, np.int64(take.position))
        take_row = np.int64(take.next)


@kernel
def close_takes(st: Any, row: int) -> None:
    """Count what each take still holds as cancelled; the balances were lifted already."""
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.quantity > 0:
            if st.positions[take.position].kind == SUPPLY:
                stop_waiting(st, take_row)
            take.cancelled += take.quantity
            take.quantity = 0
        take_row = np.int64(take.next)


@kernel
def leave_held(st: Any, row: int) -> None:
    """A hold stops being one: out of the heap and of its owner's chain."""
    if st.reservations[row].heap_at >= 0:
        heap.discard(st, row)
    disown(st, row)
    st.meta[0].held_count -= 1


@kernel
def stamp(st: Any, row: int) -> None:
    """Note on the reservation, and in the log of changes, that the running command changed it."""
    meta = st.meta[0]
    st.reservations[row].etag = meta.revision + 1
    st.reservations[row].update_ms = meta.now_ms
    at = st.stamped_count[0]
    st.stamped[at & (st.stamped.shape[0] - 1)] = row
    st.stamped_count[0] = at + 1


@kernel
def enter_terminal(st: Any, row: int, state: int) -> None:
    """The reservation, HELD or CONFIRMED and holding nothing more, ends in `state`."""
    meta = st.meta[0]
    reservation = st.reservations[row]
    if reservation.state == HELD:
        leave_held(st, row)
    else:
        meta.confirmed_count -= 1
    reservation.state = state
    reservation.newer = NONE
    reservation.older = meta.terminal_newest
    if meta.terminal_newest >= 0:
        st.reservations[meta.terminal_newest].newer = row
    else:
        meta.terminal_oldest = row
    meta.terminal_newest = row
    meta.terminal_count += 1
    stamp(st, row)


@kernel
def drop_empty_takes(st: Any, row: int) -> None:
    """Free the takes of a reservation that hold nothing and record nothing."""
    last: Integer = NONE
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        following = np.int64(take.next)
        if take.quantity or take.fulfilled or take.cancelled or take.shortfall:
            last = take_row
        else:
            if last < 0:
                st.reservations[row].first_take = following
            else:
                st.takes[last].next = following
            free_take(st, take_row)
        take_row = following
