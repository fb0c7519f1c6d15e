"""Documents: data the ledger keeps and versions but does not interpret (nodes' addresses, items'
sizes, carriers' rates, rules). A document is bytes under (kind, id) with its revision.

PUT_DOCUMENT: ``header.amount`` is the kind, the first line's text the id, the text after it the
body. DELETE_DOCUMENT has no body.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes
from engine.commands import CommandBatch
from engine.outcomes import DETAIL
from engine.requests import find_request, fingerprint_of, recall, remember
from engine.state import State


def apply_document(
    state: State, batch: CommandBatch, cursor: NDArray[np.int64], rows: NDArray[np.void]
) -> None:
    """Apply the document command at the cursor and move the cursor past it; it has no details."""
    at, first, text_at = (int(value) for value in cursor[:3])
    header = batch.headers[at]
    st = state.tables
    outcome = np.zeros(1, outcomes.OUTCOME)
    details: NDArray[Any] = np.zeros(1, DETAIL)
    answer = outcome[0]
    answer["kind"] = header["kind"]
    answer["reservation"] = -1
    answer["now_ms"] = state.meta["now_ms"][0]
    answer["revision"] = state.revision
    fingerprint = fingerprint_of(header, batch.lines, first, batch.text, text_at)
    hi, lo = header["request_hi"], header["request_lo"]
    keyed = bool(hi or lo)
    known = find_request(st, hi, lo) if keyed else -1
    if known >= 0:
        recall(st, known, np.uint64(fingerprint), answer, details, 0)
    else:
        _change(state, batch, at, first, text_at, answer)
        state.meta["revision"][0] += 1
        answer["revision"] = state.revision
        if keyed:
            remember(st, hi, lo, np.uint64(fingerprint), answer, details, 0)
    rows[at] = answer
    cursor[0] += 1
    cursor[1] += int(header["line_count"])
    cursor[2] += int(header["text_bytes"])


def _change(
    state: State, batch: CommandBatch, at: int, first: int, text_at: int, answer: Any
) -> None:
    header = batch.headers[at]
    start = text_at + sum(
        int(header[name])
        for name in ("reservation_bytes", "owner_bytes", "actor_bytes", "reference_bytes")
    )
    middle = start + int(batch.lines[first]["text_bytes"])
    stop = text_at + int(header["text_bytes"])
    key = (int(header["amount"]), batch.text[start:middle].tobytes().decode())
    if int(header["kind"]) == commands.PUT_DOCUMENT:
        state.documents[key] = (batch.text[middle:stop].tobytes(), state.revision + 1)
    elif key in state.documents:
        del state.documents[key]
    else:
        answer["code"] = outcomes.DOCUMENT_NOT_FOUND
