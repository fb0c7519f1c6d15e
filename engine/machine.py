"""The ledger's one entry: ``apply(state, now_ms, batch) -> Outcomes``.

Deterministic: the same state, time and batch give the same state and outcomes, bit for bit, on
every machine and in every run. No clock, no randomness, no order that depends on hashes of objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine import commands
from engine.apply import DETAILS_PER_COMMAND, apply_columns
from engine.commands import CommandBatch
from engine.documents import delete_document, keep_documents
from engine.outcomes import DETAIL, OUTCOME, Outcomes
from engine.resize import apply_resize
from engine.state import State

_OUTCOME_BYTES = OUTCOME.itemsize
_DETAIL_BYTES = DETAIL.itemsize
NO_CHANGE: NDArray[np.int32] = np.zeros(0, np.int32)


def apply(state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
    """Apply the commands of `batch` in order at ledger time `now_ms` (never before `state`'s).

    Every outcome is a value; an exception means a bug, and the state is then undefined.
    """
    headers = batch.headers
    count = len(headers)
    rows = _records(OUTCOME, bytearray(count * _OUTCOME_BYTES))
    cursor = state.cursor
    details, details_bytes = state.details, state.details_bytes
    cursor[0] = -1  # a new batch: the kernel starts it
    chunks: list[bytearray] = []
    done = 0
    while True:
        apply_columns(state.tables, now_ms, headers, batch.lines, batch.text, cursor, rows, details)
        before = done
        done, _, _, written, changed, documents = cursor.tolist()
        chunks.append(bytearray(details_bytes[: written * _DETAIL_BYTES]))
        if documents:
            keep_documents(state, batch, rows, before, done)
            cursor[5] = 0
        if done == count:
            break
        cursor[3] = 0
        if headers["kind"][done] == commands.DELETE_DOCUMENT:
            delete_document(state, batch, cursor, rows)
            done += 1
        elif headers["kind"][done] == commands.RESIZE:
            apply_resize(state, batch, cursor, rows)
            done += 1
        elif done == before:
            # A command, or an atomic group, that needs more room for its details than is kept.
            details = np.empty(
                len(details) + 2 * len(batch.lines) + DETAILS_PER_COMMAND * count, DETAIL
            )
            details_bytes = details.view(np.uint8).data
    return Outcomes(
        rows,
        _records(DETAIL, chunks[0] if len(chunks) == 1 else bytearray().join(chunks)),
        state.changed[:changed].copy() if changed else NO_CHANGE,
    )


def _records(dtype: np.dtype[np.void], buffer: bytearray) -> NDArray[np.void]:
    """`buffer` as records. numpy's own `empty`, `copy` and `concatenate` go through every field of
    a record type: for a single command that takes longer than the kernel, for a column a tenth."""
    return np.ndarray((len(buffer) // dtype.itemsize,), dtype, buffer)


def next_expiry_ms(state: State) -> int:
    """Ledger time at which the earliest open hold expires; -1 when none is open."""
    if state.meta["heap_count"][0] == 0:
        return -1
    return int(state.arrays["heap"]["expire_ms"][0])


def expire_command(most: int) -> CommandBatch:
    """The command that releases up to `most` holds whose time has come."""
    headers = np.zeros(1, commands.HEADER)
    headers["kind"] = commands.EXPIRE
    headers["amount"] = most
    return CommandBatch(headers, np.zeros(0, commands.LINE), np.zeros(0, np.uint8))
