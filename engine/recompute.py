"""Recompute every balance from what it should follow from; for `engine.invariants`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import outcomes, tables
from engine.compiled import Integer, kernel
from engine.positions import available

HELD = outcomes.HELD
CONFIRMED = outcomes.CONFIRMED


@kernel
def sum_promises(
    st: Any, held: NDArray[np.int64], committed: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    """Sum the takes of live reservations per position. counts: held, confirmed, terminal, takes."""
    for row in range(st.meta[0].reservation_high):
        reservation = st.reservations[row]
        state = reservation.state
        if state == 0:
            continue
        if state == HELD:
            counts[0] += 1
        elif state == CONFIRMED:
            counts[1] += 1
        else:
            counts[2] += 1
        take_row = np.int64(reservation.first_take)
        while take_row >= 0:
            take = st.takes[take_row]
            counts[3] += 1
            if take.reservation != row or take.quantity < 0:
                counts[4] += 1
            if state == HELD:
                held[take.position] += take.quantity
            elif state == CONFIRMED:
                committed[take.position] += take.quantity
            elif take.quantity != 0:
                counts[4] += 1
            take_row = np.int64(take.next)


@kernel
def sum_fences(st: Any, fenced: NDArray[np.int64]) -> None:
    """Sum what the fences on each stock may still sell."""
    for row in range(st.meta[0].position_count):
        position = st.positions[row]
        if position.kind == tables.FENCE:
            fenced[position.link] += max(np.int64(0), available(st, row))


@kernel
def sum_movements(st: Any, on_hand: NDArray[np.int64]) -> None:
    """Sum the movements of each position, those no longer kept included."""
    for row in range(st.meta[0].position_count):
        on_hand[row] += st.withheld[row].movement_base
    written = st.meta[0].movement_next
    for slot in range(min(written, st.movements.shape[0])):
        on_hand[st.movements[slot].position] += st.movements[slot].delta


@kernel
def check_heap(st: Any) -> Integer:
    """Entries of the expiry heap that break its order or its back links."""
    wrong = 0
    count = st.meta[0].heap_count
    for at in range(count):
        entry = st.heap[at]
        reservation = st.reservations[entry.reservation]
        if reservation.heap_at != at or reservation.state != HELD:
            wrong += 1
        if reservation.expire_ms != entry.expire_ms:
            wrong += 1
        if at > 0:
            parent = st.heap[(at - 1) >> 2]
            if parent.expire_ms > entry.expire_ms:
                wrong += 1
    if count != st.meta[0].held_count:
        wrong += 1
    return wrong


@kernel
def check_waiting(st: Any) -> Integer:
    """Waiting takes that are out of place, and supplies whose list does not hold their promises."""
    wrong = 0
    for row in range(st.meta[0].supply_count):
        supply = st.supplies[row]
        units = np.int64(0)
        take_row = np.int64(supply.first_take)
        previous: Integer = tables.NONE
        while take_row >= 0:
            take = st.takes[take_row]
            if take.previous_waiting != previous or take.position != supply.position:
                wrong += 1
            units += take.quantity
            previous = take_row
            take_row = np.int64(take.next_waiting)
        if supply.last_take != previous:
            wrong += 1
        position = st.positions[supply.position]
        if units != np.int64(position.held) + position.committed:
            wrong += 1
    return wrong
