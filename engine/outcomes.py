"""What the engine answers: one `OUTCOME` row a command, and the `DETAIL` rows behind it.

Refusals are values. `OUTCOME.code` is 0 when the command took effect and a reason otherwise; the
transport's one table turns reasons into wire codes. An outcome holds everything a reply says
apart from names, so that the engine can remember it under the request's id and give the very
same answer again, after a restart too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Reasons. Values are part of the remembered answers: never renumber.
OK = 0
INSUFFICIENT_STOCK = 1  # details: SHORTAGE rows
SKU_NOT_FOUND = 2  # details: one LINE_ERROR row a line concerned
NODE_NOT_FOUND = 3
GROUP_NOT_FOUND = 4
CHANNEL_NOT_FOUND = 5
RESERVATION_NOT_FOUND = 6
SUPPLY_NOT_FOUND = 7
POSITION_NOT_FOUND = 8
CAPACITY_NOT_FOUND = 9
RESERVATION_EXISTS = 10
REQUEST_ID_REUSED = 11
RESERVATION_EXPIRED = 12
STATE_TRANSITION_NOT_ALLOWED = 13
NODE_FROZEN = 14
CAPACITY_EXHAUSTED = 15
PURCHASE_LIMIT_REACHED = 16
OWNER_REQUIRED = 17
ETAG_MISMATCH = 18
COUNT_OUT_OF_DATE = 19
LINE_NOT_FOUND = 20
QUANTITY_EXCEEDS_OPEN = 21  # more than the line still holds, has shipped, ...
SUPPLY_NOT_RECEIVED = 22  # these units are promised from supply that has not come yet
QUANTITY_OUT_OF_RANGE = 23  # the position would pass units_per_position_max, or fall below 0
TOO_MANY_TAKES = 24
RESERVATIONS_FULL = 25  # a table's limit is reached; the limit is named by the transport
POSITIONS_FULL = 26
NAMES_FULL = 27
SUPPLIES_FULL = 28
KEY_COLLISION = 29  # a new name's 64-bit key belongs to another name already
TIME_IN_FUTURE = 30
BATCH_ABORTED = 31  # another request of the same atomic batch was refused
DOCUMENT_NOT_FOUND = 32
SUPPLY_EXISTS = 33  # this supply id stands for another (sku, node)
SUPPLY_CLOSED = 34  # received or cancelled: nothing more can come of it
OPEN_UNITS_DIFFER = 35  # other units are given than are open; details: LINE_ERROR rows with both

REASON_NAMES = {
    value: name
    for name, value in sorted(globals().items(), key=lambda item: str(item[0]))
    if name.isupper() and isinstance(value, int)
}

# outcome.flags
REPLAYED = 1  # the answer to an earlier command with the same request id

# outcome.state and the reservations' state
HELD = 1
CONFIRMED = 2
FULFILLED = 3
CANCELLED = 4
EXPIRED = 5

# detail.kind
TAKE = 1  # a take of the reservation, as it stood right after the command
SHORTAGE = 2  # quantity asked, available; time_ms: when more comes (0: unknown)
LINE_ERROR = 3  # code: why this line was refused
SHORTFALL = 4  # a count found fewer units than are promised: shortfall
CANCELLED_HOLD = 5  # a hold this command cancelled: `position` is its reservation's row, `time_ms`
# the revision that made it (a row may have another reservation later)
MOVED = 6  # `quantity` promised units moved from supply to stock `position`
BALANCE_DETAIL = 7  # a position right after the command, in two rows: BALANCE names the fields
BALANCE_SECOND = 8

OUTCOME = np.dtype(
    [
        ("code", "u2"),
        ("flags", "u2"),
        ("state", "u1"),
        ("kind", "u1"),
        ("reserved", "u2"),
        ("detail_count", "i4"),
        ("reservation", "i4"),  # row, -1: none
        ("revision", "i8"),
        ("now_ms", "i8"),  # ledger time at which it was applied
        ("create_ms", "i8"),
        ("expire_ms", "i8"),
        ("update_ms", "i8"),
        ("etag", "i8"),  # the reservation's
        ("reservation_hi", "u8"),
        ("reservation_lo", "u8"),
        ("affected", "i8"),  # lines applied, holds expired, units moved
    ]
)

DETAIL = np.dtype(
    [
        ("kind", "u1"),
        ("position_kind", "u1"),
        ("line", "u2"),
        ("position", "i4"),
        ("quantity", "i4"),  # TAKE: still open; SHORTAGE: asked for
        ("fulfilled", "i4"),
        ("cancelled", "i4"),
        ("returned", "i4"),
        ("shortfall", "i4"),
        ("available", "i4"),
        ("code", "u2"),
        ("reserved", "u2"),
        ("reserved2", "u4"),
        ("time_ms", "i8"),
    ]
)

# Two DETAIL rows, the first of kind BALANCE_DETAIL, as one: (field, format, offset in bytes).
_BALANCE_FIELDS = (
    ("kind", "u1", 0),
    ("position_kind", "u1", 1),
    ("line", "u2", 2),
    ("position", "i4", 4),
    ("on_hand", "i4", 8),
    ("held", "i4", 12),
    ("committed", "i4", 16),
    ("changed_revision", "i8", 40),
    ("moved", "i4", 76),  # by how much the command changed it
    # Of STOCK. Its last movement's time is update_low | update_high << 16, in ms.
    ("safety_stock", "i4", 20),
    ("damaged", "i4", 24),
    ("quality_control", "i4", 28),
    ("frozen", "u4", 36),
    ("incoming", "i4", 56),
    ("in_transit", "i4", 60),
    ("supply_promised", "i4", 64),
    ("backorder_limit", "i4", 68),
    ("backordered", "i4", 72),
    ("update_low", "u2", 82),
    ("update_high", "u4", 84),
    ("count_ms", "i8", 88),
    # Of SUPPLY.
    ("supply", "i4", 52),  # its row
    ("received", "i4", 56),
    ("type", "u2", 80),
    ("open", "u2", 82),
    ("source", "i4", 60),  # 1 + the name row of the node it comes from, 0: none is known
    ("expected_ms", "i8", 88),
    # Of CAPACITY: what shipments used up.
    ("used_up", "i4", 56),
)
BALANCE = np.dtype(
    {
        "names": [name for name, _, _ in _BALANCE_FIELDS],
        "formats": [form for _, form, _ in _BALANCE_FIELDS],
        "offsets": [offset for _, _, offset in _BALANCE_FIELDS],
        "itemsize": 2 * DETAIL.itemsize,
    }
)


class Outcomes(NamedTuple):
    """The answers to a batch. Shapes: rows (n,), details (sum of detail_count,)."""

    rows: NDArray[np.void]
    details: NDArray[np.void]
    changed: NDArray[np.int32]
    """Rows of the positions that this batch changed, each once."""
