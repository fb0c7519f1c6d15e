"""Open holds by expiry: an indexed 4-ary heap, so that a hold leaves it the moment it ends.

Holds of one time to live arrive nearly in order, so adding one rarely moves another. Ties break by
reservation row, which keeps the order a function of the state.

Invariants
1. ``heap[k]`` is not after any of its children, by (expire_ms, reservation).
2. ``reservations[heap[k].reservation].heap_at == k``.

Source: d-ary heaps, Johnson 1975. O(log n) time a call, O(1) to look at the earliest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import tables
from engine.compiled import kernel

NONE = tables.NONE


@kernel
def _place(st: Any, at: int, expire_ms: int, reservation: int) -> None:
    st.heap[at].expire_ms = expire_ms
    st.heap[at].reservation = reservation
    st.reservations[reservation].heap_at = at


@kernel
def _later(expire_ms: int, reservation: int, other_ms: int, other: int) -> bool:
    return expire_ms > other_ms or (expire_ms == other_ms and reservation > other)


@kernel
def _rise(st: Any, at: int, expire_ms: int, reservation: int) -> None:
    while at > 0:
        parent = (at - 1) >> 2
        above_ms = st.heap[parent].expire_ms
        above = st.heap[parent].reservation
        if not _later(above_ms, above, expire_ms, reservation):
            break
        _place(st, at, above_ms, above)
        at = parent
    _place(st, at, expire_ms, reservation)


@kernel
def _sink(st: Any, at: int, expire_ms: int, reservation: int) -> None:
    count = st.meta[0].heap_count
    while True:
        child = 4 * at + 1
        if child >= count:
            break
        least = child
        for other in range(child + 1, min(child + 4, count)):
            if _later(
                st.heap[least].expire_ms,
                st.heap[least].reservation,
                st.heap[other].expire_ms,
                st.heap[other].reservation,
            ):
                least = other
        if not _later(expire_ms, reservation, st.heap[least].expire_ms, st.heap[least].reservation):
            break
        _place(st, at, st.heap[least].expire_ms, st.heap[least].reservation)
        at = least
    _place(st, at, expire_ms, reservation)


@kernel
def push(st: Any, reservation: int, expire_ms: int) -> None:
    """Add a hold."""
    meta = st.meta[0]
    meta.heap_count += 1
    _rise(st, meta.heap_count - 1, expire_ms, np.int64(reservation))


@kernel
def discard(st: Any, reservation: int) -> None:
    """Take a hold out, wherever it is."""
    meta = st.meta[0]
    at = np.int64(st.reservations[reservation].heap_at)
    st.reservations[reservation].heap_at = NONE
    meta.heap_count -= 1
    last = meta.heap_count
    if at == last:
        return
    expire_ms = st.heap[last].expire_ms
    moved = np.int64(st.heap[last].reservation)
    parent = (at - 1) >> 2
    if at > 0 and _later(st.heap[parent].expire_ms, st.heap[parent].reservation, expire_ms, moved):
        _rise(st, at, expire_ms, moved)
    else:
        _sink(st, at, expire_ms, moved)
