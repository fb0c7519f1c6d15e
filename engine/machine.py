"""The ledger's one entry: ``apply(state, now_ms, batch) -> Outcomes``.

Deterministic: the same state, time and batch give the same state and outcomes, bit for bit, on
every machine and in every run. No clock, no randomness, no order that depends on hashes of objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine import commands
from engine.apply import apply_columns
from engine.commands import CommandBatch
from engine.documents import delete_document, keep_documents
from engine.formats import apply_format
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
    rows: list[bytearray] = []
    details: list[bytearray] = []
    begun = 0
    while True:
        apply_columns(state.tables, now_ms, headers, batch.lines, batch.text)
        done, _, _, written, changed, documents, _ = state.cursor.tolist()
        if documents:
            keep_documents(state, batch, begun, done)
        rows.append(bytearray(state.outcome_bytes[: (done - begun) * _OUTCOME_BYTES]))
        details.append(bytearray(state.detail_bytes[: written * _DETAIL_BYTES]))
        if done == count:
            break
        if headers["kind"][done] == commands.DELETE_DOCUMENT:
            delete_document(state, batch)
        elif headers["kind"][done] == commands.RESIZE:
            apply_resize(state, batch)
        elif headers["kind"][done] == commands.SET_FORMAT:
            apply_format(state, batch)
        elif done == begun:
            raise ValueError(f"command {done} needs more room for its answer than there is")
        else:
            begun = done
            continue
        rows.append(bytearray(state.outcome_bytes[:_OUTCOME_BYTES]))
        begun = done + 1
    return Outcomes(
        _records(OUTCOME, rows),
        _records(DETAIL, details),
        state.changed[:changed].copy() if changed else NO_CHANGE,
    )


def _records(dtype: np.dtype[np.void], parts: list[bytearray]) -> NDArray[np.void]:
    """`parts`, one after another, as records. numpy's own `empty`, `copy` and `concatenate` go
    through every field of a record type: for a single command that takes longer than the kernel,
    for a column a tenth."""
    buffer = parts[0] if len(parts) == 1 else bytearray().join(parts)
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
