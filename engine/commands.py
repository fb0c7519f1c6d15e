"""Commands as columns: what the sequencer hands to the engine, and what the journal keeps.

A batch is three arrays and nothing else:

* ``headers``: one `HEADER` row a command, in the order in which they apply;
* ``lines``: the `LINE` rows of all commands one after another (``header.line_count`` each);
* ``text``: the bytes of all names one after another (``header.text_bytes`` each).

Offsets are never stored. They are running sums, so joining batches is three concatenations, and the
same kernel serves one command and ten thousand. In the journal rows are narrower (`engine.narrow`).

Names travel as 64-bit keys (`engine.hashing`); a name's text travels only where it must be kept.

Invariants
1. ``sum(headers.line_count) == len(lines)`` and ``sum(headers.text_bytes) == len(text)``.
2. A command carries everything its effect depends on besides the state and the batch's time.

Callers: the transport's codec builds batches, the sequencer joins them, the journal stores them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.narrow import narrow, widen

# Kinds of command. Values are part of the journal's format: never renumber.
CREATE = 1
CONFIRM = 2
CANCEL = 3
EXTEND = 4
REVISE = 5
REASSIGN = 6
FULFILL = 7
RETURN = 8
EXPIRE = 9
ADJUST = 10
COUNT = 11
TRANSFER = 12
WITHHOLD = 13
UPSERT_SUPPLY = 14
RECEIVE_SUPPLY = 15
CANCEL_SUPPLY = 16
SET_BACKORDER_LIMIT = 17
SET_CAPACITY = 18
SET_CHANNEL_FENCE = 19
SET_PURCHASE_LIMIT = 20
DEFINE_NAMES = 21
DEFINE_GROUP = 22
SET_NODE_FROZEN = 23
PUT_DOCUMENT = 24
DELETE_DOCUMENT = 25
RESIZE = 26
REROUTE = 27
SET_FORMAT = 28

KIND_NAMES = {
    value: name
    for name, value in sorted(globals().items())
    if name.isupper() and isinstance(value, int)
}

# Kinds whose movements tell the request that made them: its name is among their texts.
MOVES_UNITS = frozenset((FULFILL, RETURN, ADJUST, COUNT, TRANSFER, WITHHOLD, RECEIVE_SUPPLY))

# header.flags
REPLACE_OWNER_HOLDS = 1
PER_LINE = 2  # lines apply one by one; a bad line is reported and the good ones land
FINAL = 4  # RECEIVE_SUPPLY: nothing more of this supply will come
UNLIMITED = 8  # SET_PURCHASE_LIMIT: no limit any more
TELL_BALANCES = 16  # answer with the balances of what changed: BALANCE details

# header.fill_policy
ALL_OR_NONE = 1
PARTIAL_LINES = 2
PARTIAL_QUANTITY = 3

# line.kind
AT_NODE = 1  # sku_key at node_key
IN_GROUP = 2  # sku_key at the nodes of group scope_key, in the group's order
NODE_CAPACITY = 3  # sku_key is the key of the date's text, node_key the node
CARRIER_SLOT = 4  # sku_key is the key of the slot's text, node_key the node (0: any)
BY_LINE = 5  # addresses line `line` of a reservation, node_key narrows it (0: any)

# line.policy of CREATE, REVISE and REROUTE: where a line's units may come from
ON_HAND = 1
INCOMING = 2
BACKORDER = 3

# line.policy of COUNT, line.flags of the three about supply: what to do with promises that can't
# be kept any more
REPORT = 1
CANCEL_NEWEST_HOLDS = 2
REPLAN = 3

# line.policy of WITHHOLD and RETURN: the bucket (0 with RETURN: back to on_hand, for sale)
SAFETY_STOCK = 1
DAMAGED = 2
QUALITY_CONTROL = 3
FROZEN = 4

# line.policy of UPSERT_SUPPLY
PURCHASE_ORDER = 1
TRANSFER_SUPPLY = 2
PREORDER = 3

# line.policy of DEFINE_NAMES: the kind of name
SKU = 1
NODE = 2
CHANNEL = 3
GROUP = 4
SUPPLY = 5
SLOT = 6
DATE = 7
OWNER = 8

HEADER = np.dtype(
    [
        ("kind", "u1"),
        ("fill_policy", "u1"),
        ("flags", "u2"),
        ("line_count", "i4"),
        ("text_bytes", "i4"),  # all text of this command: the four below, then that of its lines
        ("reservation_bytes", "u1"),
        # CREATE: the owner's name; of what MOVES_UNITS: the request's, kept with the movements.
        ("owner_bytes", "u1"),
        ("actor_bytes", "u1"),  # who sent it: kept for the audit
        ("reference_bytes", "u1"),  # the caller's document, kept with the movements
        ("request_hi", "u8"),  # 128-bit key of (caller, request_id); 0, 0: none
        ("request_lo", "u8"),
        ("reservation_hi", "u8"),  # 128-bit key of reservation_id; 0, 0 with CREATE: make one
        ("reservation_lo", "u8"),
        ("owner_key", "u8"),
        # DEFINE_GROUP: the group's; UPSERT_SUPPLY: that of the node it comes from.
        ("channel_key", "u8"),
        ("etag", "i8"),  # the reservation's revision the caller saw; 0: any
        ("ttl_ms", "i8"),
        ("amount", "i8"),  # CREATE: requests of an atomic batch still to come, itself included
    ]
)  # EXPIRE: most holds to release; PUT_DOCUMENT: the document's kind; SET_FORMAT: the format

LINE = np.dtype(
    [
        ("sku_key", "u8"),
        ("node_key", "u8"),
        ("scope_key", "u8"),  # group, channel, supply, or the node moved to
        ("time_ms", "i8"),  # need_by, as_of or expected time; 0: none
        ("quantity", "i8"),
        ("line", "u2"),  # REROUTE: the line of the reservation that this one continues
        ("kind", "u1"),
        ("policy", "u1"),
        ("text_bytes", "u2"),
        ("flags", "u2"),  # WITHHOLD: 1 = quantity is absolute, 0 = a difference
    ]
)

MAGIC = b"HFB2"
_WIDE_MAGIC = b"HFB1"  # rows as they lie in memory: journals of format 1
_PREFIX = struct.Struct("<4sIIQ")


@dataclass(frozen=True, slots=True)
class CommandBatch:
    """Some commands as columns. Shapes: headers (n,), lines (m,), text (bytes,) uint8."""

    headers: NDArray[np.void]
    lines: NDArray[np.void]
    text: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.headers)

    @staticmethod
    def join(batches: Sequence[CommandBatch]) -> CommandBatch:
        """The commands of `batches` one after another, as one batch. O(bytes)."""
        if len(batches) == 1:
            return batches[0]
        return CommandBatch(
            _joined(HEADER, [batch.headers for batch in batches]),
            _joined(LINE, [batch.lines for batch in batches]),
            _joined(np.uint8, [batch.text for batch in batches]),
        )

    def to_bytes(self) -> bytes:
        """The batch as one buffer: prefix, headers and lines (`engine.narrow`), text."""
        prefix = _PREFIX.pack(MAGIC, len(self.headers), len(self.lines), len(self.text))
        headers, lines = narrow(self.headers), narrow(self.lines)
        return b"".join((prefix, headers.data, lines.data, self.text.data))

    @staticmethod
    def from_bytes(buffer: bytes | memoryview) -> CommandBatch:
        """Read what `to_bytes` wrote, in this version or an earlier one.

        Raises ValueError naming what does not fit.
        """
        if len(buffer) < _PREFIX.size:
            raise ValueError(f"command batch: {len(buffer)} bytes, at least {_PREFIX.size} needed")
        magic, headers, lines, text = _PREFIX.unpack_from(buffer)
        whole = np.frombuffer(buffer, np.uint8)
        if magic == MAGIC:
            try:
                header_rows, at = widen(whole, _PREFIX.size, headers, HEADER)
                line_rows, at = widen(whole, at, lines, LINE)
            except ValueError as error:
                raise ValueError(f"command batch: {error}") from None
        elif magic == _WIDE_MAGIC:
            at = _PREFIX.size + headers * HEADER.itemsize + lines * LINE.itemsize
            if at > len(buffer):
                raise ValueError(f"command batch: {len(buffer)} bytes, {at + text} declared")
            header_rows = np.frombuffer(buffer, HEADER, headers, _PREFIX.size).copy()
            line_rows = np.frombuffer(buffer, LINE, lines, at - lines * LINE.itemsize).copy()
        else:
            raise ValueError(
                f"command batch: format {magic!r}, this version reads {MAGIC!r}, {_WIDE_MAGIC!r}"
            )
        if at + text != len(buffer):
            raise ValueError(f"command batch: {len(buffer)} bytes, {at + text} declared")
        return CommandBatch(header_rows, line_rows, whole[at:].copy())


def _joined(dtype: Any, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The arrays one after another, as bytes: numpy's own concatenate compares record types field
    by field for every array, which takes 35 us each (this: 0.2)."""
    return np.frombuffer(bytearray().join([array.tobytes() for array in arrays]), dtype)
