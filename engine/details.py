"""Writing outcomes: the details of a refusal, and a reservation as its takes stand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import outcomes, tables
from engine.compiled import kernel

NONE = tables.NONE


@kernel
def write_detail(
    details: NDArray[np.void],
    at: int,
    kind: int,
    line: int,
    position: int,
    quantity: int,
    available: int,
    code: int,
    time_ms: int,
) -> int:
    """Write one detail at `at`; the place after it."""
    detail = details[at]
    detail.kind = kind
    detail.position_kind = 0
    detail.line = line
    detail.position = position
    detail.quantity = quantity
    detail.fulfilled = 0
    detail.cancelled = 0
    detail.returned = 0
    detail.shortfall = 0
    detail.available = available
    detail.code = code
    detail.reserved = 0
    detail.reserved2 = 0
    detail.time_ms = time_ms
    return at + 1


@kernel
def write_takes(st: Any, row: int, outcome: Any, details: NDArray[np.void], at: int) -> int:
    """Describe a reservation in `outcome` and its takes in `details`; the number of details."""
    reservation = st.reservations[row]
    outcome.state = reservation.state
    outcome.reservation = row
    outcome.reservation_hi = reservation.id_hi
    outcome.reservation_lo = reservation.id_lo
    outcome.create_ms = reservation.create_ms
    outcome.expire_ms = reservation.expire_ms
    outcome.etag = reservation.etag
    outcome.update_ms = reservation.update_ms
    first = at
    take_row = np.int64(reservation.first_take)
    while take_row >= 0 and at < details.shape[0]:
        take = st.takes[take_row]
        detail = details[at]
        detail.kind = outcomes.TAKE
        detail.position_kind = st.positions[take.position].kind
        detail.line = take.line
        detail.position = take.position
        detail.quantity = take.quantity
        detail.fulfilled = take.fulfilled
        detail.cancelled = take.cancelled
        detail.returned = take.returned
        detail.shortfall = take.shortfall
        detail.available = 0
        detail.code = 0
        detail.reserved = 0
        detail.reserved2 = 0
        detail.time_ms = 0
        at += 1
        take_row = np.int64(take.next)
    return at - first
