"""Movements: every change of on_hand or of a withheld bucket, with its reason and time.

A ring of fixed size, chained per position from new to old. What is overwritten is folded into
the position's `movement_base`, so on_hand can always be recomputed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import tables
from engine.causes import keep_cause
from engine.compiled import Integer, kernel

NONE = tables.NONE
COUNTED = tables.COUNTED


@kernel
def record(
    st: Any,
    row: int,
    reason: int,
    delta: int,
    bucket: int,
    withheld_delta: int,
    as_of_ms: int,
    source: int,
) -> None:
    """Note a movement of position `row`, after its balances changed.

    `source`: the row of the reservation it belongs to, `of_supply` of a supply's row, or NONE.
    """
    meta = st.meta[0]
    slot = meta.movement_next & (st.movements.shape[0] - 1)
    movement = st.movements[slot]
    if meta.movement_next - meta.movement_oldest >= st.movements.shape[0]:
        meta.movement_oldest += 1
        forgotten = st.positions[movement.position]
        st.withheld[movement.position].movement_base += movement.delta
        if forgotten.movement == slot:
            forgotten.movement = NONE
    position = st.positions[row]
    movement.sequence = meta.movement_next
    movement.revision = meta.revision + 1
    movement.time_ms = meta.now_ms
    movement.as_of_ms = as_of_ms
    movement.position = row
    movement.previous = position.movement
    movement.delta = delta
    movement.on_hand = position.on_hand
    movement.withheld_delta = withheld_delta
    movement.reason = reason
    movement.bucket = bucket
    keep_cause(st, slot, source)
    position.movement = slot
    meta.movement_next += 1


@kernel
def before(st: Any, slot: int) -> Integer:
    """The slot of the same position's movement before this one, or NONE when it is not kept."""
    movement = st.movements[slot]
    previous = np.int64(movement.previous)
    if previous < 0:
        return NONE
    older = st.movements[previous]
    if older.position != movement.position or older.sequence > movement.sequence:
        return NONE
    return previous


@kernel
def net_since(st: Any, row: int, as_of_ms: int) -> tuple[Integer, bool]:
    """Units that moved after `as_of_ms` (corrections by counts left out), and whether that is
    known: False when a later count was applied or the movements kept do not reach back."""
    net = np.int64(0)
    slot = np.int64(st.positions[row].movement)
    while slot >= 0:
        movement = st.movements[slot]
        if movement.reason == COUNTED:
            if movement.as_of_ms > as_of_ms:
                return np.int64(0), False
        elif movement.time_ms > as_of_ms:
            net += movement.delta
        if movement.time_ms <= as_of_ms:
            return net, True
        slot = before(st, slot)
    oldest = st.meta[0].movement_oldest
    if oldest == 0:
        return net, True
    return net, st.movements[oldest & (st.movements.shape[0] - 1)].time_ms <= as_of_ms
