"""Rebuild every index from its table: after a restore, and to check that they agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import index, tables
from engine.compiled import kernel
from engine.hashing import combine

_ZERO = np.uint64(0)


@kernel
def rebuild_indices(st: Any) -> None:
    """Fill the (empty) indices from the tables. O(rows)."""
    meta = st.meta[0]
    for row in range(meta.name_count):
        name = st.names[row]
        index.insert(st.name_index, combine(name.key, np.uint64(name.kind)), row)
    for row in range(meta.position_count):
        index.insert(st.position_index, st.positions[row].key, row)
    for row in range(meta.supply_count):
        index.insert(st.supply_index, st.supplies[row].key, row)
    for row in range(meta.reservation_high):
        reservation = st.reservations[row]
        if reservation.state == 0:
            continue
        index.insert(st.reservation_index, reservation.id_hi, row)
        owns = reservation.owner_key != _ZERO and reservation.heap_at >= 0
        if owns and reservation.previous_owned == tables.NONE:
            index.insert(st.owner_index, reservation.owner_key, row)
    for number in range(meta.request_oldest, meta.request_next):
        row = number & (st.requests.shape[0] - 1)
        index.insert(st.request_index, st.requests[row].hi, row)
