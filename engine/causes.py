"""Why a movement was made: the request and the caller's document it came with, or the supply.

The texts of a command, its request's name and its reference, are written once, when the first of
its movements is, into a ring of rows of eight bytes; all its movements point there. The ring has 64
bytes for each movement there is room for. Where the texts are longer on average, those of the
oldest movements are gone before the movements are; they are told as empty then.

Invariants
1. Texts decide nothing: an outcome never depends on what is, or is no longer, in the ring.
2. In a state of a format before KEEPS_CAUSES no movement names its request or supply, and its
   reference is in `movement_text`, as the versions of that time kept it.

Callers: `engine.apply` (`note_texts`), `engine.movements`, `engine.supply`, `engine.reads`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, tables
from engine.compiled import Integer, kernel
from engine.limits import reference_bytes_max, request_id_bytes_max

NONE = tables.NONE
CREATE = commands.CREATE
KEEPS_CAUSES = tables.KEEPS_CAUSES
ROW_BYTES = tables.CAUSE_ROW_BYTES
ROWS_PER_CAUSE_MAX = (request_id_bytes_max + reference_bytes_max) // ROW_BYTES


@kernel
def of_supply(row: int) -> Integer:
    """What stands in `movement.reservation` for the supply in `row`."""
    return np.int64(NONE - 1) - row


@kernel
def note_texts(st: Any, header: Any, text: NDArray[np.uint8], text_at: int) -> None:
    """Note the texts of the command that begins, for the movements it may make."""
    if header.kind == CREATE:
        return  # a hold moves nothing, and its owner stands where others name their request
    running = st.running[0]
    at = text_at + header.reservation_bytes
    size = np.int64(0)
    if st.format[0].number >= KEEPS_CAUSES:
        size = np.int64(header.owner_bytes)
    for i in range(size):
        st.reference[i] = text[at + i]
    at += np.int64(header.owner_bytes) + header.actor_bytes
    for i in range(header.reference_bytes):
        st.reference[size + i] = text[at + i]
    st.meta[0].reference_bytes = header.reference_bytes
    running.request_bytes = size
    running.cause = NONE


@kernel
def keep_texts(st: Any) -> Integer:
    """The row in which the running command's texts begin; they are written when first asked for."""
    running = st.running[0]
    if running.cause < 0:
        account = st.format[0]
        size = running.request_bytes + st.meta[0].reference_bytes
        rows = (size + ROW_BYTES - 1) // ROW_BYTES
        first = account.cause_next
        mask = st.cause_text.shape[0] - 1
        for i in range(rows * ROW_BYTES):
            byte = st.reference[i] if i < size else np.uint8(0)
            st.cause_text[(first + i // ROW_BYTES) & mask, i % ROW_BYTES] = byte
        account.cause_next = first + rows
        account.cause_oldest = max(account.cause_oldest, first + rows - st.cause_text.shape[0])
        running.cause = first
    return running.cause


@kernel
def keep_cause(st: Any, slot: int, source: int) -> None:
    """Note why the movement in `slot` was made. `source`: its reservation, or `of_supply`."""
    movement = st.movements[slot]
    movement.reference_bytes = st.meta[0].reference_bytes
    if st.format[0].number >= KEEPS_CAUSES:
        movement.reservation = source
        movement.reserved = st.running[0].request_bytes
        movement.reserved2 = keep_texts(st) & 0xFFFFFFFF
        return
    movement.reservation = max(source, NONE)
    for i in range(st.meta[0].reference_bytes):
        st.movement_text[slot, i] = st.reference[i]
