"""The ledger's tables: one numpy record array each, worked by the kernels in place.

A table's row number is its identity inside the engine. Arrays are allocated once, at their limit,
from zero pages: rows never used cost no memory, nothing ever grows, and no rehash or copy can
interrupt a sale. Fields that end in `_ms` are milliseconds of ledger time; quantities are units.

Links between rows are row numbers; NONE (-1) ends a chain.
"""

from __future__ import annotations

import numpy as np

NONE = -1

# positions.kind
STOCK = 1  # a SKU at a node
SUPPLY = 2  # incoming units of a SKU at a node, and what may be promised beyond all supply
CAPACITY = 3  # a node's pick capacity on a day, a carrier's pickup slot
FENCE = 4  # units of a SKU at a node that only one channel may sell
LIMIT = 5  # what one owner may still buy of a SKU

# positions.flags
FENCED = 1  # some channel has a fence on this stock
LIMITED = 2  # the SKU has a purchase limit per owner
BACKORDERED = 4  # units of this stock are promised beyond supply
SHORT = 8  # a count found less than was promised; cleared when available is 0 or more again

# names.flags
NODE_IS_FROZEN = 1
SKU_HAS_LIMIT = 2

# supplies.type, beyond those of commands
BACKORDER_SUPPLY = 9

# movements.reason
RECEIPT = 1
ADJUSTMENT = 2
COUNTED = 3
FULFILLMENT = 4
RETURNED = 5
TRANSFER_OUT = 6
TRANSFER_IN = 7
WITHHELD = 8  # delta is 0; bucket and withheld_delta tell

REASONS = {
    RECEIPT: "RECEIPT",
    ADJUSTMENT: "ADJUSTMENT",
    COUNTED: "COUNT",
    FULFILLMENT: "FULFILLMENT",
    RETURNED: "RETURN",
    TRANSFER_OUT: "TRANSFER_OUT",
    TRANSFER_IN: "TRANSFER_IN",
    WITHHELD: "WITHHOLD",
}

# format.number: what a state keeps. Up to format 2 a movement has its reference alone, in
# `movement_text`; the formats before are read and replayed as they were written.
KEEPS_CAUSES = 3  # movements tell their request and supply, supplies of transfers their source
FORMAT = KEEPS_CAUSES  # of new ledgers; older ones go over to it by SET_FORMAT

ORDER_LEVEL = 0xFFFF  # takes.line of takes that belong to no line (capacity)

# takes.reserved: what this take has shipped went out before its reservation was last rerouted, and
# the capacity it went with is used up. Such a take gets no units any more.
SETTLED = 1

META = np.dtype(
    [
        (name, "i8")
        for name in (
            "revision",  # the last command's sequence number
            "now_ms",  # ledger time
            "ledger_seed",  # tells made ids of two ledgers apart
            "batch_revision",  # revision before the running batch
            "changed_count",  # positions changed by the running batch
            "changed_overflow",  # 1: more than `changed` holds
            "name_count",
            "name_bytes",
            "group_member_count",
            "position_count",
            "supply_count",
            "supply_free",
            "reservation_high",  # rows ever used
            "reservation_free",  # head of the chain of free rows
            "terminal_oldest",
            "terminal_newest",
            "take_high",
            "take_free",
            "take_count",
            "heap_count",
            "movement_next",  # movements ever written
            "movement_oldest",  # the first of them that is still kept
            "request_next",  # requests ever remembered
            "request_oldest",
            "detail_next",  # reply details ever written
            "held_count",
            "confirmed_count",
            "terminal_count",
            "evicted_count",  # terminal reservations whose room was needed
            "expired_count",
            "expiry_lag_ms",  # of the hold released last: released at - due at
            "shortage_count",  # refusals for lack of stock
            "reference_bytes",  # of the running command, in `reference` after its request's name
            "pinned",  # a reservation the running command works on: it is not evicted
            "superseded",  # head of the chain of holds the running atomic group replaces
            "group_revision",  # revision before the running atomic group
            "group_left",  # requests of it still to come
            "short_units",  # units promised beyond on_hand, found by counts
            "holds_told",  # holds cancelled that the running command's answer names
        )
    ]
)

NAME = np.dtype(
    [
        ("key", "u8"),
        ("text_at", "i8"),
        ("text_bytes", "i4"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("reserved", "u2"),
        ("first", "i4"),  # GROUP: first member; SKU: purchase limit per owner
        ("count", "i4"),  # GROUP: members
    ]
)

POSITION = np.dtype(
    [
        ("key", "u8"),  # of (sku, node, scope)
        ("sku", "i4"),  # name row; of CAPACITY: the date's or the slot's
        ("node", "i4"),  # name row, NONE for LIMIT
        ("scope", "i4"),  # name row of the channel, supply or owner; NONE for STOCK
        ("kind", "u1"),
        ("flags", "u1"),
        ("reserved", "u2"),
        ("on_hand", "i4"),
        ("held", "i4"),
        ("committed", "i4"),
        ("withheld", "i4"),  # the sum of the buckets in WITHHELD_ROW
        ("fenced", "i4"),  # STOCK: what the fences on it may still sell
        ("link", "i4"),  # STOCK: first supply row; SUPPLY: its supply row; FENCE: the stock
        ("movement", "i4"),  # newest movement's slot
        # SUPPLY: 1 + the name row of the node it comes from, 0: none is known. Called so as fields'
        # names are part of a snapshot's format.
        ("reserved2", "i4"),
        ("changed_revision", "i8"),
    ]
)  # 64 bytes, allocated at multiples of 64: one cache line holds all that a sale touches

WITHHELD_ROW = np.dtype(
    [
        ("safety_stock", "i4"),
        ("damaged", "i4"),
        ("quality_control", "i4"),
        ("frozen", "i4"),
        # STOCK: on_hand from movements no longer kept; CAPACITY: minus what shipments used up.
        ("movement_base", "i4"),
        ("reserved", "i4"),
    ]
)

SUPPLY_ROW = np.dtype(
    [
        ("key", "u8"),
        ("expected_ms", "i8"),
        ("position", "i4"),
        ("stock", "i4"),
        ("next", "i4"),  # by expected_ms, of the same stock
        ("first_take", "i4"),  # promises in order of arrival
        ("last_take", "i4"),
        ("name", "i4"),
        ("received", "i4"),
        ("type", "u1"),
        ("open", "u1"),
        ("reserved", "u2"),
    ]
)

RESERVATION = np.dtype(
    [
        ("id_hi", "u8"),
        ("id_lo", "u8"),
        ("owner_key", "u8"),
        ("fingerprint", "u8"),  # of the command that made it
        ("create_ms", "i8"),
        ("expire_ms", "i8"),
        ("update_ms", "i8"),
        ("create_revision", "i8"),
        ("etag", "i8"),  # revision that changed it last
        ("state", "u1"),  # 0: free row
        ("id_bytes", "u1"),  # 0: the id is made from create_ms and create_revision
        ("owner_bytes", "u1"),
        ("line_count", "u1"),
        ("channel", "i4"),
        ("first_take", "i4"),
        ("next_owned", "i4"),  # open holds of the same owner
        ("previous_owned", "i4"),
        ("older", "i4"),  # terminal reservations; `newer` also chains free rows
        ("newer", "i4"),
        ("heap_at", "i4"),
    ]
)

TAKE_ROW = np.dtype(
    [
        ("position", "i4"),
        ("reservation", "i4"),  # NONE: free row
        ("next", "i4"),
        ("quantity", "i4"),  # still held or committed
        ("fulfilled", "i4"),
        ("cancelled", "i4"),
        ("returned", "i4"),
        ("shortfall", "i4"),  # asked for and not had (partial fill)
        ("next_waiting", "i4"),  # takes of the same supply
        ("previous_waiting", "i4"),
        ("line", "u2"),
        # SETTLED or 0; called so because the name of a field is part of a snapshot's format.
        ("reserved", "u2"),
    ]
)

MOVEMENT = np.dtype(
    [
        ("sequence", "i8"),  # movements ever written before it
        ("revision", "i8"),
        ("time_ms", "i8"),
        ("as_of_ms", "i8"),  # COUNTED: the time the count speaks of
        ("position", "i4"),
        ("previous", "i4"),  # slot of this position's movement before
        ("delta", "i4"),  # of on_hand
        ("on_hand", "i4"),  # afterwards
        ("withheld_delta", "i4"),
        ("reservation", "i4"),  # its row, or NONE; below NONE: `engine.causes.of_supply`
        ("reason", "u1"),
        ("bucket", "u1"),
        ("reference_bytes", "u1"),
        # Bytes of the request's name, and the row of `cause_text` (its lower 32 bits) in which that
        # and the reference begin. Called so because fields' names are part of a snapshot's format.
        ("reserved", "u1"),
        ("reserved2", "u4"),
    ]
)

CAUSE_ROW_BYTES = 8  # of `cause_text`

# Not in META, whose fields are part of the older formats.
FORMAT_ROW = np.dtype(
    [
        ("number", "i8"),  # 0: one before KEEPS_CAUSES
        ("cause_next", "i8"),  # rows of `cause_text` ever written
        ("cause_oldest", "i8"),  # the first of them that is still kept
    ]
)

# Of the command that runs; no part of the state.
RUNNING = np.dtype(
    [
        ("request_bytes", "i8"),  # of the texts in `reference`: the request's name comes first
        ("cause", "i8"),  # row of `cause_text` that its movements share, NONE: not written yet
    ]
)

REQUEST = np.dtype([("hi", "u8"), ("lo", "u8"), ("fingerprint", "u8"), ("detail_at", "i8")])

HEAP = np.dtype([("expire_ms", "i8"), ("reservation", "i4"), ("reserved", "i4")])

MADE = np.dtype([("revision", "i8"), ("now_ms", "i8"), ("hi", "u8"), ("lo", "u8")])

SCRATCH = np.dtype([("position", "i4"), ("quantity", "i4"), ("shortfall", "i4"), ("line", "i4")])
