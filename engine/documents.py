"""Documents: data the ledger keeps and versions but does not interpret (nodes' addresses, items'
sizes, carriers' rates, rules). A document is bytes under (kind, id) with its revision.

PUT_DOCUMENT: ``header.amount`` is the kind, the first line's text the id, the text after it the
body. DELETE_DOCUMENT has no body; each of its lines names a document, and those that are there go
even where one is not.
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

# Texts of a header that come before those of its lines.
_TEXTS_BEFORE = ("reservation_bytes", "owner_bytes", "actor_bytes", "reference_bytes")


def keep_documents(state: State, batch: CommandBatch, first: int, stop: int) -> None:
    """Keep what the PUT_DOCUMENTs among commands [first, stop) brought: the kernel has just
    answered them. A replay brings nothing new. O(bytes of the batch)."""
    headers = batch.headers
    rows = state.outcomes[: stop - first]
    new = (headers["kind"][first:stop] == commands.PUT_DOCUMENT) & (rows["code"] == outcomes.OK)
    new &= (rows["flags"] & outcomes.REPLAYED) == 0
    answers = np.flatnonzero(new)
    puts = answers + first
    ends = np.cumsum(headers["text_bytes"], dtype=np.int64)
    lines = np.cumsum(headers["line_count"], dtype=np.int64) - headers["line_count"]
    names = ends - headers["text_bytes"]
    for field in _TEXTS_BEFORE:
        names += headers[field]
    bodies = names[puts] + batch.lines["text_bytes"][lines[puts]]
    text = batch.text.tobytes()
    for kind, name, body, end, revision in zip(
        headers["amount"][puts].tolist(),
        names[puts].tolist(),
        bodies.tolist(),
        ends[puts].tolist(),
        rows["revision"][answers].tolist(),
        strict=True,
    ):
        state.documents[kind, text[name:body].decode()] = (text[body:end], revision)


def delete_document(state: State, batch: CommandBatch) -> None:
    """Apply the DELETE_DOCUMENT at the cursor and move the cursor past it; the answer is the first
    of `state.outcomes`, without details."""
    cursor = state.cursor
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
        start = text_at + sum(int(header[field]) for field in _TEXTS_BEFORE)
        names = batch.text[start : text_at + int(header["text_bytes"])].tobytes()
        sizes = batch.lines["text_bytes"][first : first + int(header["line_count"])]
        kind, name_at = int(header["amount"]), 0
        for size in sizes.tolist():
            name = names[name_at : name_at + size].decode()
            name_at += size
            if state.documents.pop((kind, name), None) is None:
                answer["code"] = outcomes.DOCUMENT_NOT_FOUND
        state.meta["revision"][0] += 1
        answer["revision"] = state.revision
        if keyed:
            remember(st, hi, lo, np.uint64(fingerprint), answer, details, 0)
    state.outcomes[0] = answer
    cursor[0] += 1
    cursor[1] += int(header["line_count"])
    cursor[2] += int(header["text_bytes"])
