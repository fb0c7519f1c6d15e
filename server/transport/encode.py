"""From columns to protobuf bytes in one compiled step: replies to creates, one or many.

Writes the very bytes that protobuf's deterministic serialisation of the same message gives (a
property test compares them), from the outcome, its details, and the names as they stand in the
request. A reply that needs a name from the ledger (a line taken from a group, units promised from
supply) is left to `render`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, tables
from engine.compiled import Integer, kernel
from engine.ids import ID_BYTES, write_made_id
from server.transport.decode import Decoded
from server.transport.errors import TABLE, reason_of
from server.wire_fields import close, put_moment, put_number, put_text

_OK = outcomes.OK
_TAKE = outcomes.TAKE
_SHORTAGE = outcomes.SHORTAGE
_HELD = outcomes.HELD
_EXPIRED = outcomes.EXPIRED
_REPLAYED = outcomes.REPLAYED
_PURCHASE_LIMIT_REACHED = outcomes.PURCHASE_LIMIT_REACHED
_STOCK = tables.STOCK
_SUPPLY = tables.SUPPLY
_CAPACITY = tables.CAPACITY
_IN_GROUP = commands.IN_GROUP

# holdfast.v1.ErrorReason of each outcome code: one byte on the wire.
_REASONS = np.zeros(max(key for key in TABLE if isinstance(key, int)) + 1, np.uint8)
for _key in TABLE:
    if isinstance(_key, int):
        _REASONS[_key] = reason_of(_key)

# holdfast.v1.Reservation.State of each state of the engine.
_STATES = np.array([0, 1, 2, 3, 5, 4], np.uint8)

# Most bytes of one result and one shortage; ids and names are at most 64 bytes.
_RESULT_BYTES_MAX = 160
_SHORTAGE_BYTES_MAX = 200
_LINE_BYTES_MAX = 240
_REPLY_BYTES_MAX = 400


@kernel
def _shortage(
    out: NDArray[np.uint8],
    at: int,
    message: NDArray[np.uint8],
    line: Any,
    span: Any,
    with_node: bool,
    requested: int,
    available: int,
    next_ms: int,
) -> Integer:
    """One Shortage as field 5 of a result."""
    out[at] = 42
    mark = at + 1
    end = put_number(out, mark + 1, 8, np.int64(line.line))
    end = put_text(out, end, 18, message, np.int64(span.sku_at), np.int64(span.sku_bytes))
    if with_node and line.kind != _IN_GROUP:
        end = put_text(out, end, 26, message, np.int64(span.source_at), np.int64(span.source_bytes))
    end = put_number(out, end, 32, requested)
    end = put_number(out, end, 40, available)
    if next_ms > 0:
        end = put_moment(out, end, 50, next_ms)
    return close(out, mark, end)


@kernel
def _is_same(lines: NDArray[np.void], a: int, b: int) -> bool:
    """Whether two lines ask for the same SKU at the same node."""
    return (
        lines[a].kind != _IN_GROUP
        and lines[b].kind != _IN_GROUP
        and lines[a].sku_key == lines[b].sku_key
        and lines[a].node_key == lines[b].node_key
    )


@kernel
def _refused_shortages(
    out: NDArray[np.uint8],
    at: int,
    message: NDArray[np.uint8],
    header: Any,
    first: int,
    lines: NDArray[np.void],
    line_spans: NDArray[np.void],
    details: NDArray[np.void],
    detail_first: int,
    detail_count: int,
) -> Integer:
    """The short lines of a refusal; lines of equal SKU and node as one (see `shortages`)."""
    for i in range(detail_first, detail_first + detail_count):
        detail = details[i]
        if detail.kind != _SHORTAGE:
            continue
        row = first + np.int64(detail.line)
        of_limit = detail.code == _PURCHASE_LIMIT_REACHED
        requested = np.int64(detail.quantity)
        available = np.int64(detail.available)
        if not of_limit:
            told = False
            for j in range(detail_first, i):
                other = details[j]
                if other.kind == _SHORTAGE and other.code == detail.code:
                    told |= _is_same(lines, first + np.int64(other.line), row)
            if told:
                continue
            requested = np.int64(lines[row].quantity)
            for j in range(first, first + header.line_count):
                if j != row and _is_same(lines, j, row):
                    requested += lines[j].quantity
                    if j < row:
                        available += lines[j].quantity
        at = _shortage(
            out,
            at,
            message,
            lines[row],
            line_spans[row],
            not of_limit,
            requested,
            available,
            np.int64(detail.time_ms),
        )
    return at


@kernel
def _cut_shortages(
    out: NDArray[np.uint8],
    at: int,
    message: NDArray[np.uint8],
    first: int,
    lines: NDArray[np.void],
    line_spans: NDArray[np.void],
    details: NDArray[np.void],
    detail_first: int,
    detail_count: int,
) -> Integer:
    """The lines that a partial fill policy cut."""
    for i in range(detail_first, detail_first + detail_count):
        detail = details[i]
        if detail.kind == _TAKE and detail.shortfall > 0:
            row = first + np.int64(detail.line)
            quantity = np.int64(lines[row].quantity)
            at = _shortage(
                out,
                at,
                message,
                lines[row],
                line_spans[row],
                True,
                quantity,
                quantity - detail.shortfall,
                0,
            )
    return at


@kernel
def _reservation_id(
    out: NDArray[np.uint8],
    at: int,
    tag: int,
    header: Any,
    span: Any,
    text: NDArray[np.uint8],
    outcome: Any,
    ledger_seed: int,
) -> Integer:
    """The id as given, or as the ledger made it."""
    if header.reservation_bytes > 0:
        size = np.int64(header.reservation_bytes)
        return put_text(out, at, tag, text, np.int64(span.text_at), size)
    if outcome.code != _OK:
        return at
    out[at] = tag
    out[at + 1] = ID_BYTES
    write_made_id(out, at + 2, outcome.create_ms, outcome.revision, ledger_seed)
    return at + 2 + ID_BYTES


@kernel
def _encode_bulk(
    message: NDArray[np.uint8],
    headers: NDArray[np.void],
    spans: NDArray[np.void],
    lines: NDArray[np.void],
    line_spans: NDArray[np.void],
    text: NDArray[np.uint8],
    rows: NDArray[np.void],
    details: NDArray[np.void],
    ledger_seed: int,
    reasons: NDArray[np.uint8],
    states: NDArray[np.uint8],
    out: NDArray[np.uint8],
    totals: NDArray[np.int64],
) -> None:
    """Write one BulkCreateResult a request; totals: bytes written, last revision."""
    at: Integer = 0
    detail_at: Integer = 0
    last = np.int64(0)
    for i in range(headers.shape[0]):
        header = headers[i]
        outcome = rows[i]
        span = spans[i]
        count = np.int64(outcome.detail_count)
        first = np.int64(span.line_at)
        out[at] = 10
        mark = at + 1
        end = _reservation_id(out, mark + 1, 10, header, span, text, outcome, ledger_seed)
        end = put_number(out, end, 16, outcome.revision)
        if outcome.code == _OK:
            end = put_moment(out, end, 26, outcome.expire_ms)
            if header.fill_policy != commands.ALL_OR_NONE:
                end = _cut_shortages(
                    out, end, message, first, lines, line_spans, details, detail_at, count
                )
            end = put_number(out, end, 48, np.int64(states[outcome.state]))
        else:
            end = put_number(out, end, 32, np.int64(reasons[outcome.code]))
            if count > 0:
                end = _refused_shortages(
                    out,
                    end,
                    message,
                    header,
                    first,
                    lines,
                    line_spans,
                    details,
                    detail_at,
                    count,
                )
        at = close(out, mark, end)
        detail_at += count
        last = max(last, np.int64(outcome.revision))
    totals[0] = at
    totals[1] = last


def encode_results(
    decoded: Decoded,
    rows: NDArray[np.void],
    details: NDArray[np.void],
    ledger_seed: int,
) -> tuple[bytes, int]:
    """The results of a bulk reply, each as a field of it, and the last revision. O(bytes)."""
    room = len(rows) * _RESULT_BYTES_MAX + len(details) * _SHORTAGE_BYTES_MAX
    out = np.empty(room, np.uint8)
    totals = np.zeros(2, np.int64)
    _encode_bulk(
        decoded.buffer,
        decoded.batch.headers,
        decoded.spans,
        decoded.batch.lines,
        decoded.line_spans,
        decoded.batch.text,
        rows,
        details,
        ledger_seed,
        _REASONS,
        _STATES,
        out,
        totals,
    )
    return out[: totals[0]].tobytes(), int(totals[1])


@kernel
def _line(
    out: NDArray[np.uint8],
    at: int,
    message: NDArray[np.uint8],
    number: int,
    span: Any,
    details: NDArray[np.void],
    detail_first: int,
    detail_count: int,
) -> Integer:
    """One ReservationLine of a reservation taken from one node."""
    shortfall = np.int64(0)
    fulfilled = np.int64(0)
    cancelled = np.int64(0)
    returned = np.int64(0)
    held = np.int64(0)
    for i in range(detail_first, detail_first + detail_count):
        detail = details[i]
        if detail.line == number and detail.position_kind == _STOCK:
            held += detail.quantity
            shortfall += detail.shortfall
            fulfilled += detail.fulfilled
            cancelled += detail.cancelled
            returned += detail.returned
    out[at] = 42
    mark = at + 1
    end = put_text(out, mark + 1, 10, message, np.int64(span.sku_at), np.int64(span.sku_bytes))
    end = put_number(out, end, 16, held + shortfall + fulfilled + cancelled)
    if held > 0:
        out[end] = 26
        inner = end + 1
        source_at = np.int64(span.source_at)
        end = put_text(out, inner + 1, 10, message, source_at, np.int64(span.source_bytes))
        end = put_number(out, end, 16, held)
        end = close(out, inner, end)
    end = put_number(out, end, 32, shortfall)
    end = put_number(out, end, 40, fulfilled)
    end = put_number(out, end, 48, cancelled)
    end = put_number(out, end, 56, returned)
    return close(out, mark, end)


@kernel
def _needs_names(
    header: Any,
    first: int,
    lines: NDArray[np.void],
    outcome: Any,
    details: NDArray[np.void],
    detail_first: int,
) -> bool:
    """Whether the reply says something that only the ledger's names tell."""
    if outcome.code != _OK or outcome.flags & _REPLAYED:
        return True
    for i in range(detail_first, detail_first + outcome.detail_count):
        detail = details[i]
        if detail.kind != _TAKE or detail.line >= header.line_count:
            return True
        if detail.position_kind == _SUPPLY or detail.position_kind == _CAPACITY:
            return True
        if lines[first + np.int64(detail.line)].kind == _IN_GROUP:
            return True
    return False


@kernel
def _encode_creates(
    message: NDArray[np.uint8],
    headers: NDArray[np.void],
    spans: NDArray[np.void],
    lines: NDArray[np.void],
    line_spans: NDArray[np.void],
    text: NDArray[np.uint8],
    rows: NDArray[np.void],
    details: NDArray[np.void],
    ledger_seed: int,
    states: NDArray[np.uint8],
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """Write one CreateReservationResponse a request, one behind the other; ends: where each one
    ends, as far as the one before where it is left to `render`."""
    at = np.int64(0)
    detail_at = np.int64(0)
    for i in range(headers.shape[0]):
        header = headers[i]
        outcome = rows[i]
        span = spans[i]
        count = np.int64(outcome.detail_count)
        first = np.int64(span.line_at)
        if _needs_names(header, first, lines, outcome, details, detail_at):
            ends[i] = at
            detail_at += count
            continue
        out[at] = 10
        mark = at + 1
        end = _reservation_id(out, mark + 1, 10, header, span, text, outcome, ledger_seed)
        end = put_number(out, end, 16, np.int64(states[outcome.state]))
        owner_at = np.int64(span.text_at) + header.reservation_bytes
        end = put_text(out, end, 26, text, owner_at, np.int64(header.owner_bytes))
        channel_at = np.int64(span.channel_at)
        end = put_text(out, end, 34, message, channel_at, np.int64(span.channel_bytes))
        for number in range(header.line_count):
            line_span = line_spans[first + number]
            end = _line(out, end, message, number, line_span, details, detail_at, count)
        end = put_moment(out, end, 50, outcome.create_ms)
        if outcome.state == _HELD or outcome.state == _EXPIRED:
            end = put_moment(out, end, 58, outcome.expire_ms)
        end = put_number(out, end, 64, outcome.etag)
        end = put_moment(out, end, 82, outcome.update_ms)
        end = close(out, mark, end)
        at = put_number(out, end, 16, outcome.revision)
        ends[i] = at
        detail_at += count


def encode_creates(
    decoded: Decoded,
    rows: NDArray[np.void],
    details: NDArray[np.void],
    ledger_seed: int,
) -> list[bytes]:
    """CreateReservationResponse of each outcome; empty where it is a refusal or needs names of the
    ledger, and is left to `render`. O(bytes)."""
    room = _REPLY_BYTES_MAX * len(rows) + _LINE_BYTES_MAX * len(decoded.batch.lines)
    out = np.empty(room, np.uint8)
    ends = np.empty(len(rows), np.int64)
    _encode_creates(
        decoded.buffer,
        decoded.batch.headers,
        decoded.spans,
        decoded.batch.lines,
        decoded.line_spans,
        decoded.batch.text,
        rows,
        details,
        ledger_seed,
        _STATES,
        out,
        ends,
    )
    written = out[: ends[-1]].tobytes()
    places = ends.tolist()
    return [written[start:end] for start, end in zip([0, *places[:-1]], places, strict=True)]
