"""From protobuf bytes to columns in one compiled step: CreateReservationRequest, one or many.

Reads the bytes of ordinary messages, hashes the names and checks every limit, with no Python
object in between. It knows only what is usual: fields 1 to 9 of CreateReservationRequest, each at
most once, and fields 1 to 6 of its lines, all values within their limits, all names printable
ASCII. At anything else it stops in front of that request and says so; `codec` reads it again with
protobuf and either accepts it or says precisely what is wrong. So nothing is ever refused here,
and what is accepted here is accepted there with the same columns (a property test holds that).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, limits
from engine.commands import HEADER, LINE, CommandBatch
from engine.compiled import Integer, inlined, kernel
from engine.hashing import hash_bytes, hash_bytes_wide
from engine.words import is_printable
from server.caller import Caller
from server.wire_fields import put_bytes

LINE_SPAN = np.dtype(
    [("sku_at", "i4"), ("source_at", "i4"), ("sku_bytes", "u2"), ("source_bytes", "u2")]
)
REQUEST_SPAN = np.dtype(
    [
        ("start", "i4"),
        ("stop", "i4"),
        ("channel_at", "i4"),
        ("channel_bytes", "i4"),
        ("line_at", "i4"),
        ("text_at", "i4"),
    ]
)

# Places in `totals`.
NEXT_AT, REQUESTS, LINES, TEXT_BYTES, MEMORY_ONLY = range(5)
TOTALS = 5

# The shortest line: tag and length of the line, its SKU, its node and its quantity.
_LINE_BYTES_MIN = 10
# The shortest request: tag and length around one line.
_REQUEST_BYTES_MIN = 12

_REQUEST_ID_MAX = limits.request_id_bytes_max
_RESERVATION_ID_MAX = limits.reservation_id_bytes_max
_OWNER_MAX = limits.owner_bytes_max
_CHANNEL_MAX = limits.channel_bytes_max
_SKU_MAX = limits.sku_bytes_max
_NODE_MAX = limits.node_bytes_max
_LINES_MAX = limits.lines_per_reservation_max
_QUANTITY_MAX = limits.quantity_max
_TTL_MAX = limits.hold_ttl_ms_max
_TTL_DEFAULT = limits.hold_ttl_ms_default
_TIME_MAX = 253_402_300_799_999
_CREATE = commands.CREATE
_ALL_OR_NONE = commands.ALL_OR_NONE
_ON_HAND = commands.ON_HAND
_AT_NODE = commands.AT_NODE
_IN_GROUP = commands.IN_GROUP
_REPLACE_OWNER_HOLDS = commands.REPLACE_OWNER_HOLDS
_ZERO = np.uint64(0)


@kernel
def _varint(buffer: NDArray[np.uint8], at: int, stop: int) -> tuple[Integer, Integer]:
    """(value, place after it); (-1, at) when it is cut off, negative or past 63 bits."""
    if at < stop and buffer[at] < 128:
        return np.int64(buffer[at]), at + 1
    value = np.int64(0)
    shift = np.int64(0)
    while at < stop and shift < 63:
        byte = np.int64(buffer[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return np.int64(-1), at


@kernel
def _is_plain(buffer: NDArray[np.uint8], start: int, stop: int) -> bool:
    """Whether this text is printable ASCII with no space at either end."""
    if start == stop:
        return True
    return buffer[start] != 32 and buffer[stop - 1] != 32 and is_printable(buffer, start, stop)


@kernel
def _milliseconds(buffer: NDArray[np.uint8], at: int, stop: int, upwards: bool) -> Integer:
    """google.protobuf.Duration or Timestamp in [at, stop) as milliseconds; -1 when unusual."""
    seconds = np.int64(0)
    nanos = np.int64(0)
    seen: Integer = 0
    while at < stop:
        tag = buffer[at]
        value, at = _varint(buffer, at + 1, stop)
        if value < 0 or value > 253_402_300_799:
            return np.int64(-1)
        if tag == 8 and not seen & 1:
            seconds = value
            seen |= 1
        elif tag == 16 and not seen & 2 and value <= 999_999_999:
            nanos = value
            seen |= 2
        else:
            return np.int64(-1)
    if upwards:
        nanos += 999_999
    return seconds * 1000 + nanos // 1_000_000


@inlined
def _line(
    buffer: NDArray[np.uint8], at: int, stop: int, now_ms: int, line: Any, span: Any, number: int
) -> bool:
    """Read one ReservationLineRequest. False when something about it is unusual."""
    seen: Integer = 0
    quantity = np.int64(0)
    policy = np.int64(_ON_HAND)
    time_ms = np.int64(0)
    span.sku_bytes = 0
    span.source_bytes = 0
    while at < stop:
        tag = np.int64(buffer[at])
        value, at = _varint(buffer, at + 1, stop)
        bit = np.int64(1) << (tag >> 3)
        if value < 0 or tag > 50 or seen & bit:
            return False
        seen |= bit
        if tag == 32:
            quantity = value
        elif tag == 40:
            policy = value
        else:
            if value > stop - at:
                return False
            if tag == 10:
                if value > _SKU_MAX or not _is_plain(buffer, at, at + value):
                    return False
                span.sku_at = at
                span.sku_bytes = value
            elif tag == 18 or tag == 26:
                if value > _NODE_MAX or value == 0 or not _is_plain(buffer, at, at + value):
                    return False
                span.source_at = at
                span.source_bytes = value
            elif tag == 50:
                time_ms = _milliseconds(buffer, at, at + value, False)
                if time_ms <= 0 or time_ms < now_ms or time_ms > _TIME_MAX:
                    return False
            else:
                return False
            at += value
    in_group = (seen & 8) != 0
    if span.sku_bytes == 0 or span.source_bytes == 0 or (in_group and seen & 4):
        return False
    if quantity < 1 or quantity > _QUANTITY_MAX or policy < 0 or policy > 3:
        return False
    line.sku_key = hash_bytes(buffer, span.sku_at, span.sku_at + np.int64(span.sku_bytes))
    source = hash_bytes(buffer, span.source_at, span.source_at + np.int64(span.source_bytes))
    line.node_key = _ZERO if in_group else source
    line.scope_key = source if in_group else _ZERO
    line.kind = _IN_GROUP if in_group else _AT_NODE
    line.time_ms = time_ms
    line.quantity = quantity
    line.line = number
    line.policy = policy if policy != 0 else _ON_HAND
    line.text_bytes = 0
    line.flags = 0
    return True


@inlined
def _request(
    buffer: NDArray[np.uint8],
    at: int,
    stop: int,
    now_ms: int,
    caller: NDArray[np.uint8],
    caller_bytes: int,
    header: Any,
    span: Any,
    lines: NDArray[np.void],
    line_spans: NDArray[np.void],
    text: NDArray[np.uint8],
    totals: NDArray[np.int64],
) -> bool:
    """Read one CreateReservationRequest. False when something about it is unusual.

    `caller` holds the caller, a zero byte, and room for the longest request_id.
    """
    seen: Integer = 0
    request_at: Integer = np.int64(0)
    request_bytes: Integer = np.int64(0)
    reservation_at: Integer = np.int64(0)
    reservation_bytes = np.int64(0)
    owner_at: Integer = np.int64(0)
    owner_bytes = np.int64(0)
    ttl_ms = np.int64(_TTL_DEFAULT)
    fill_policy = np.int64(_ALL_OR_NONE)
    replace = False
    memory_only = False
    count = 0
    first: Integer = totals[LINES]
    span.start = at
    span.stop = stop
    span.channel_at = 0
    span.channel_bytes = 0
    while at < stop:
        tag = np.int64(buffer[at])
        value, at = _varint(buffer, at + 1, stop)
        if value < 0 or tag > 74:
            return False
        if tag == 42:
            if count >= _LINES_MAX or value > stop - at or first + count >= lines.shape[0]:
                return False
            row = first + count
            if not _line(buffer, at, at + value, now_ms, lines[row], line_spans[row], count):
                return False
            count += 1
            at += value
            continue
        bit = np.int64(1) << (tag >> 3)
        if seen & bit:
            return False
        seen |= bit
        if tag == 56:
            if value > 3:
                return False
            fill_policy = value if value != 0 else np.int64(_ALL_OR_NONE)
        elif tag == 64:
            replace = value != 0
        elif tag == 72:
            if value > 2:
                return False
            memory_only = value == 2
        else:
            if value > stop - at:
                return False
            if tag == 50:
                ttl_ms = _milliseconds(buffer, at, at + value, True)
                if ttl_ms < 1 or ttl_ms > _TTL_MAX:
                    return False
            else:
                if not _is_plain(buffer, at, at + value):
                    return False
                if tag == 10 and value <= _REQUEST_ID_MAX:
                    request_at = at
                    request_bytes = value
                elif tag == 18 and value <= _RESERVATION_ID_MAX:
                    reservation_at = at
                    reservation_bytes = value
                elif tag == 26 and value <= _OWNER_MAX:
                    owner_at = at
                    owner_bytes = value
                elif tag == 34 and value <= _CHANNEL_MAX:
                    span.channel_at = at
                    span.channel_bytes = value
                else:
                    return False
            at += value
    if count == 0 or (replace and owner_bytes == 0):
        return False
    text_at: Integer = totals[TEXT_BYTES]
    text_bytes = reservation_bytes + owner_bytes + caller_bytes
    if text_at + text_bytes > text.shape[0]:
        return False

    # From here it must succeed.
    header.kind = _CREATE
    header.fill_policy = fill_policy
    header.flags = _REPLACE_OWNER_HOLDS if replace else 0
    header.line_count = count
    header.text_bytes = text_bytes
    header.reservation_bytes = reservation_bytes
    header.owner_bytes = owner_bytes
    header.actor_bytes = caller_bytes
    header.reference_bytes = 0
    header.request_hi = _ZERO
    header.request_lo = _ZERO
    if request_bytes > 0:
        end = put_bytes(caller, caller_bytes + 1, buffer, request_at, request_at + request_bytes)
        hi, lo = hash_bytes_wide(caller, 0, end)
        header.request_hi = hi
        header.request_lo = lo
    header.reservation_hi = _ZERO
    header.reservation_lo = _ZERO
    if reservation_bytes > 0:
        hi, lo = hash_bytes_wide(buffer, reservation_at, reservation_at + reservation_bytes)
        header.reservation_hi = hi
        header.reservation_lo = lo
    header.owner_key = _ZERO
    if owner_bytes > 0:
        header.owner_key = hash_bytes(buffer, owner_at, owner_at + owner_bytes)
    header.channel_key = _ZERO
    if span.channel_bytes > 0:
        channel_at = np.int64(span.channel_at)
        header.channel_key = hash_bytes(buffer, channel_at, channel_at + span.channel_bytes)
    header.etag = 0
    header.ttl_ms = ttl_ms
    header.amount = 0
    span.line_at = first
    span.text_at = text_at
    reservation_end = reservation_at + reservation_bytes
    text_at = put_bytes(text, text_at, buffer, reservation_at, reservation_end)
    text_at = put_bytes(text, text_at, buffer, owner_at, owner_at + owner_bytes)
    text_at = put_bytes(text, text_at, caller, 0, caller_bytes)
    totals[LINES] = first + count
    totals[TEXT_BYTES] = text_at
    totals[REQUESTS] += 1
    if memory_only:
        totals[MEMORY_ONLY] += 1
    return True


@kernel
def _decode(
    buffer: NDArray[np.uint8],
    framed: bool,
    now_ms: int,
    caller: NDArray[np.uint8],
    caller_bytes: int,
    headers: NDArray[np.void],
    spans: NDArray[np.void],
    lines: NDArray[np.void],
    line_spans: NDArray[np.void],
    text: NDArray[np.uint8],
    totals: NDArray[np.int64],
) -> bool:
    """Read requests from totals[NEXT_AT] on. False when it stopped in front of an unusual one.

    `framed`: the buffer is a BulkCreateReservationsRequest; otherwise it is one request.
    """
    size = buffer.shape[0]
    at: Integer = totals[NEXT_AT]
    while at < size or (not framed and at == 0):
        start = at
        stop = np.int64(size)
        if framed:
            if buffer[at] != 10:
                return False
            value, start = _varint(buffer, at + 1, size)
            if value < 0 or value > size - start:
                return False
            stop = start + value
        row = totals[REQUESTS]
        if row >= headers.shape[0] or not _request(
            buffer,
            start,
            stop,
            now_ms,
            caller,
            caller_bytes,
            headers[row],
            spans[row],
            lines,
            line_spans,
            text,
            totals,
        ):
            return False
        at = stop
        totals[NEXT_AT] = at
        if not framed:
            break
    return True


@dataclass(frozen=True, slots=True)
class Decoded:
    """Requests as columns, and where their names stand in the message."""

    buffer: NDArray[np.uint8]
    batch: CommandBatch
    spans: NDArray[np.void]
    line_spans: NDArray[np.void]
    memory_only: int
    """Requests that asked for durability MEMORY."""
    next_at: int
    """Place in the message of the first request not read; its length when all are read."""

    @property
    def is_whole(self) -> bool:
        """Whether the whole message was read, and held at least one request."""
        return len(self.batch) > 0 and self.next_at == len(self.buffer)


def decode(message: bytes, caller: Caller, now_ms: int, *, framed: bool, start: int = 0) -> Decoded:
    """The requests of `message` from byte `start` up to the first unusual one. O(bytes).

    `framed`: a BulkCreateReservationsRequest; otherwise one CreateReservationRequest.
    """
    buffer = np.frombuffer(message, np.uint8)
    size = len(message) - start
    most = min(size // _REQUEST_BYTES_MIN + 1, limits.requests_per_bulk_max) if framed else 1
    headers = np.empty(most, HEADER)
    spans = np.empty(most, REQUEST_SPAN)
    lines = np.empty(size // _LINE_BYTES_MIN + 1, LINE)
    line_spans = np.empty(size // _LINE_BYTES_MIN + 1, LINE_SPAN)
    text = np.empty(size + most * caller.size, np.uint8)
    totals = np.zeros(TOTALS, np.int64)
    totals[NEXT_AT] = start
    _decode(
        buffer,
        framed,
        now_ms,
        caller.buffer,
        caller.size,
        headers,
        spans,
        lines,
        line_spans,
        text,
        totals,
    )
    next_at, requests, line_count, text_bytes, memory_only = totals.tolist()
    return Decoded(
        buffer,
        CommandBatch(headers[:requests], lines[:line_count], text[:text_bytes]),
        spans[:requests],
        line_spans[:line_count],
        memory_only,
        next_at if requests else start,
    )
