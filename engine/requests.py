"""What was answered to which request: the memory behind "a retry never acts twice".

Two rings: one row a request with its outcome, and the details of all outcomes. The oldest
requests are forgotten when either ring is full. Requests are known by a 128-bit key of caller and
request id, and by a fingerprint of what was asked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, index, outcomes
from engine.compiled import Integer, inlined, kernel
from engine.hashing import absorb, hash_bytes, mix

_ZERO = np.uint64(0)
_SHIFT_32 = np.uint64(32)
_SHIFT_16 = np.uint64(16)
_SHIFT_8 = np.uint64(8)


@kernel
def fingerprint_of(
    header: Any, lines: NDArray[np.void], first: int, text: NDArray[np.uint8], text_at: int
) -> np.uint64:
    """64-bit fingerprint of what a command asks for: all of it but the request id and sender."""
    value = np.uint64(header.kind) | (np.uint64(header.fill_policy) << _SHIFT_8)
    value |= np.uint64(header.flags) << _SHIFT_16
    value |= np.uint64(header.line_count) << _SHIFT_32
    value = absorb(value, header.reservation_hi)
    value = absorb(value, header.reservation_lo)
    value = absorb(value, header.owner_key)
    value = absorb(value, header.channel_key)
    value = absorb(value, np.uint64(header.etag))
    value = absorb(value, np.uint64(header.ttl_ms))
    value = absorb(value, np.uint64(header.amount))
    for i in range(first, first + header.line_count):
        line = lines[i]
        value = absorb(value, line.sku_key)
        value = absorb(value, line.node_key)
        value = absorb(value, line.scope_key)
        value = absorb(value, np.uint64(line.time_ms))
        value = absorb(value, np.uint64(line.quantity))
        small = np.uint64(line.line) | (np.uint64(line.kind) << _SHIFT_16)
        small |= np.uint64(line.policy) << np.uint64(24)
        value = absorb(value, small | (np.uint64(line.flags) << _SHIFT_32))
    if header.kind >= commands.ADJUST:
        # Names' texts are part of what these ask for; the sender (actor) is not.
        skipped = np.int64(header.reservation_bytes) + header.owner_bytes + header.actor_bytes
        value = absorb(
            value, hash_bytes(text, text_at + skipped, text_at + np.int64(header.text_bytes))
        )
    value = mix(value)
    return value if value != _ZERO else np.uint64(1)


@inlined
def find_request(st: Any, hi: np.uint64, lo: np.uint64) -> Integer:
    """Row of a remembered request, or -1."""
    slots = st.request_index
    mask = slots.shape[0] - 1
    at = index.probe(slots, hi, index.home(slots, hi))
    while at >= 0:
        row = index.row_at(slots, at)
        if st.requests[row].hi == hi and st.requests[row].lo == lo:
            return row
        at = index.probe(slots, hi, (at + 1) & mask)
    return -1


@kernel
def _forget_oldest(st: Any) -> None:
    meta = st.meta[0]
    row = meta.request_oldest & (st.requests.shape[0] - 1)
    index.remove(st.request_index, st.requests[row].hi, row)
    meta.request_oldest += 1


@inlined
def remember(
    st: Any,
    hi: np.uint64,
    lo: np.uint64,
    fingerprint: np.uint64,
    outcome: Any,
    details: NDArray[np.void],
    first: int,
) -> None:
    """Keep an outcome and its details under the request's key."""
    meta = st.meta[0]
    count = np.int64(outcome.detail_count)
    room = st.reply_details.shape[0]
    while meta.request_oldest < meta.request_next and (
        meta.request_next - meta.request_oldest >= st.requests.shape[0]
        or st.requests[meta.request_oldest & (st.requests.shape[0] - 1)].detail_at
        < meta.detail_next + count - room
    ):
        _forget_oldest(st)
    row = meta.request_next & (st.requests.shape[0] - 1)
    request = st.requests[row]
    request.hi = hi
    request.lo = lo
    request.fingerprint = fingerprint
    request.detail_at = meta.detail_next
    st.request_outcomes[row] = outcome
    for i in range(count):
        st.reply_details[(meta.detail_next + i) & (room - 1)] = details[first + i]
    meta.detail_next += count
    meta.request_next += 1
    index.insert(st.request_index, hi, row)


@kernel
def recall(
    st: Any, row: int, fingerprint: np.uint64, outcome: Any, details: NDArray[np.void], first: int
) -> Integer:
    """Give the remembered answer again; the number of details."""
    request = st.requests[row]
    if request.fingerprint != fingerprint:
        outcome.code = outcomes.REQUEST_ID_REUSED
        return 0
    kept = st.request_outcomes[row]
    outcome.code = kept.code
    outcome.flags = kept.flags | outcomes.REPLAYED
    outcome.state = kept.state
    outcome.reservation = kept.reservation
    outcome.revision = kept.revision
    outcome.now_ms = kept.now_ms
    outcome.create_ms = kept.create_ms
    outcome.expire_ms = kept.expire_ms
    outcome.update_ms = kept.update_ms
    outcome.etag = kept.etag
    outcome.reservation_hi = kept.reservation_hi
    outcome.reservation_lo = kept.reservation_lo
    outcome.affected = kept.affected
    room = st.reply_details.shape[0]
    count = np.int64(kept.detail_count)
    for i in range(count):
        details[first + i] = st.reply_details[(request.detail_at + i) & (room - 1)]
    return count
