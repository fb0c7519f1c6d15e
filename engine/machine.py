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
from engine.documents import apply_document
from engine.outcomes import DETAIL, OUTCOME, Outcomes
from engine.state import State

NO_CHANGE: NDArray[np.int32] = np.zeros(0, np.int32)


def apply(state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
    """Apply the commands of `batch` in order at ledger time `now_ms` (never before `state`'s).

    Every outcome is a value; an exception means a bug, and the state is then undefined.
    """
    meta = state.meta[0]
    if now_ms > meta["now_ms"]:
        meta["now_ms"] = now_ms
    meta["batch_revision"] = meta["revision"]
    meta["changed_count"] = 0
    meta["changed_overflow"] = 0
    headers = batch.headers
    count = len(headers)
    rows = np.empty(count, OUTCOME)
    cursor = np.zeros(4, np.int64)
    room = 2 * len(batch.lines) + 2 * DETAILS_PER_COMMAND + 4 * count
    chunks = []
    while True:
        details = np.empty(room, DETAIL)
        before = cursor[0]
        apply_columns(
            state.tables, headers, batch.lines, batch.text, cursor, rows, details
        )
        chunks.append(details[: cursor[3]])
        if cursor[0] == count:
            break
        cursor[3] = 0
        if headers["kind"][cursor[0]] >= commands.PUT_DOCUMENT:
            chunks.append(apply_document(state, batch, cursor, rows))
        elif cursor[0] == before:
            # An atomic group that needs more room for its details than one command does.
            room += DETAILS_PER_COMMAND * int(headers["amount"][cursor[0]])
    changed = int(meta["changed_count"])
    return Outcomes(
        rows,
        chunks[0] if len(chunks) == 1 else np.concatenate(chunks),
        state.changed[:changed].copy() if changed else NO_CHANGE,
    )


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


