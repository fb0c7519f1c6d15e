"""Promises as the ledger's columns: of each its decision as a document, and the command that holds.

``k`` has the views of a desk and its writer, and ``r``: where the parts of promises lie in an arena
(`marks`), where everything stands in their requests (`spans`), and what they take (`takes`).

`put_promise` takes from the desk what is to be kept of an order before the next one comes: bytes of
the reply, the problem, and what is taken. `draft` makes the commands of all of them: the same rows
and bytes as `server.transport.columns`, `server.routing.decisions` and
`server.transport.document_commands` make; tests compare them. `reply` tells what became of them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import commands, limits, outcomes
from engine.compiled import Integer, kernel
from engine.hashing import hash_bytes, hash_bytes_wide
from engine.narrow import narrow_rows
from engine.routing.express.pricing import SHIPMENTS, UNITS
from engine.routing.limits import shipments_per_plan_max as SHIPMENTS_MAX
from engine.words import copy_bytes
from server.routing import decisions
from server.routing.kernels.desk import (
    NUMBER,
    PICK_DAY,
    PICK_KNOWN,
    PICK_LIMITED,
    SLOT_AT,
    SLOT_BYTES,
    SLOT_KNOWN,
    SLOT_LIMITED,
)
from server.routing.kernels.packing import pack, put_word
from server.routing.kernels.reading import (
    CHANNEL,
    FINGERPRINT,
    FIRST_LINE,
    LINE,
    LINES_MAX,
    ORDER,
    OWNER,
    REQUEST_ID,
    REQUEST_KEY,
    RESERVATION_ID,
    SKU_AT,
    SKU_BYTES,
    SKU_KEY,
)
from server.routing.kernels.writing import ALWAYS, DAY_BYTES, ENDING, put_answer, put_day
from server.wire_fields import close, put_bytes, put_moment, put_number, put_text

# Places in a row of r.marks: where the parts of a promise begin in the arena, one behind the other:
# the request, the decision's name (its first bytes are the reservation's id), the caller; plan,
# currency and report of the reply; the Reservation but for what the ledger says, lines and then
# capacities; the problem. Then sizes, the rows of r.takes, and whether it takes of what the ledger
# does not have yet.
RAW: Final = 0
NAME: Final = 1
CALLER: Final = 2
ANSWER: Final = 3
LINES_AT: Final = 4
CAPACITIES: Final = 5
PROBLEM: Final = 6
END: Final = 7
ID_BYTES: Final = 8
TTL_MS: Final = 9
TAKES_FROM: Final = 10
TAKES_END: Final = 11
IS_NEW: Final = 12
MARKS: Final = 13

# Places in a row of r.takes.
TAKE_KEY: Final = 0
TAKE_NODE: Final = 1
TAKE_UNITS: Final = 2
TAKE_KIND: Final = 3
TAKE: Final = 4
TAKES_MAX: Final = SHIPMENTS_MAX * (LINES_MAX + 2)
"""Of a promise."""

# Places in `facts`: what all promises of a set have in common.
NOW_MS: Final = 0
REVISION: Final = 1
STRATEGY: Final = 2
WORK_BUDGET: Final = 3
DOCUMENT_KIND: Final = 4
FACTS: Final = 5

ATTEMPT: Final = np.frombuffer(b"\0attempt0", np.uint8)
"""Behind a request's id: that of its first command."""

_AT_NODE: Final = commands.AT_NODE
_ON_HAND: Final = commands.ON_HAND
_NODE_CAPACITY: Final = commands.NODE_CAPACITY
_CARRIER_SLOT: Final = commands.CARRIER_SLOT
_OK: Final = outcomes.OK
_CREATE: Final = commands.CREATE
_ALL_OR_NONE: Final = commands.ALL_OR_NONE
_PUT_DOCUMENT: Final = commands.PUT_DOCUMENT
_LINES_MAX: Final = limits.lines_per_reservation_max
_HELD: Final = 1
"""Of holdfast.v1.Reservation.State."""
_ZERO = np.uint64(0)
_DECISION_MAGIC: Final = int.from_bytes(decisions.MAGIC, "little")
_HEAD_BYTES: Final = decisions.HEAD.size
_BATCH_MAGIC: Final = int.from_bytes(commands.MAGIC, "little")


@kernel
def _take(r: Any, at: int, key: Any, node_key: int, units: int, kind: int) -> Integer:
    r.takes[at, TAKE_KEY] = np.int64(key)
    r.takes[at, TAKE_NODE] = node_key
    r.takes[at, TAKE_UNITS] = units
    r.takes[at, TAKE_KIND] = kind
    return at + 1


@kernel
def _put_held_line(
    c: Any,
    texts: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    sku_at: int,
    sku_bytes: int,
    node: int,
    units: int,
    out: NDArray[np.uint8],
    at: int,
) -> Integer:
    """A ReservationLine whose units are taken at one node, as a field of the Reservation."""
    out[at] = 42
    end = put_text(out, at + 2, 10, raw, sku_at, sku_bytes)
    end = put_number(out, end, 16, units)
    out[end] = 26
    inner = _put_node(c, texts, node, 10, out, end + 2)
    inner = put_number(out, inner, 16, units)
    end = close(out, end + 1, inner)
    return close(out, at + 1, end)


@kernel
def _put_node(
    c: Any, texts: NDArray[np.uint8], node: int, tag: int, out: NDArray[np.uint8], at: int
) -> Integer:
    """A node's name as a field."""
    return put_text(out, at, tag, texts, c.name_at[node], c.name_at[node + 1] - c.name_at[node])


@kernel
def _put_lines(
    n: Any,
    c: Any,
    d: Any,
    t: Any,
    r: Any,
    texts: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    spans: NDArray[np.int64],
    lines: int,
    take: Integer,
    out: NDArray[np.uint8],
    at: Integer,
) -> tuple[Integer, Integer]:
    """The Reservation's lines, and their takes. (next take, place behind)"""
    for place in range(t.head[SHIPMENTS]):
        node = d.told[place, NUMBER]
        for line in range(lines):
            units = t.amounts[place, line]
            if units == 0:
                continue
            here = FIRST_LINE + line * LINE
            take = _take(r, take, spans[here + SKU_KEY], n.node_key[node], units, _AT_NODE)
            sku_at, sku_bytes = spans[here + SKU_AT], spans[here + SKU_BYTES]
            at = _put_held_line(c, texts, raw, sku_at, sku_bytes, node, units, out, at)
    return take, at


@kernel
def _put_capacities(
    n: Any,
    c: Any,
    d: Any,
    t: Any,
    r: Any,
    texts: NDArray[np.uint8],
    take: Integer,
    out: NDArray[np.uint8],
    at: Integer,
) -> tuple[Integer, Integer]:
    """The Reservation's capacities, and their takes. (next take, place behind)"""
    for place in range(t.head[SHIPMENTS]):
        told = d.told[place]
        node = told[NUMBER]
        if told[PICK_LIMITED] != 0:
            units = t.shipments[place, UNITS]
            out[at] = 74
            out[at + 2] = 10
            inner = _put_node(c, texts, node, 10, out, at + 4)
            out[inner] = 18
            out[inner + 1] = DAY_BYTES
            day = inner + 2
            inner = put_day(out, day, told[PICK_DAY])
            key = hash_bytes(out, day, inner)
            end = close(out, at + 3, inner)
            end = put_number(out, end, 24, units)
            at = close(out, at + 1, end)
            take = _take(r, take, key, n.node_key[node], units, _NODE_CAPACITY)
        if told[SLOT_LIMITED] != 0:
            slot, size = told[SLOT_AT], told[SLOT_BYTES]
            out[at] = 74
            out[at + 2] = 18
            inner = put_text(out, at + 4, 10, texts, slot, size)
            inner = _put_node(c, texts, node, 18, out, inner)
            end = close(out, at + 3, inner)
            end = put_number(out, end, 24, 1)
            at = close(out, at + 1, end)
            key = hash_bytes(texts, slot, slot + size)
            take = _take(r, take, key, n.node_key[node], 1, _CARRIER_SLOT)
    return take, at


@kernel
def put_promise(
    k: Any,
    texts: NDArray[np.uint8],
    about: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    spans: NDArray[np.int64],
    name: NDArray[np.uint8],
    id_bytes: int,
    caller: NDArray[np.uint8],
    ttl_ms: int,
    midnights: NDArray[np.int64],
    nanoseconds: int,
    place: int,
    out: NDArray[np.uint8],
) -> bool:
    """Write what is kept of the order at the desk behind what is in the arena `out`, and its row
    `place` of r.marks. False where a day is too far ahead, or there are too many lines to hold.

    `name`: of its decision, which begins with the reservation's id; `about`: text of its problem.
    """
    n, c, d, p, t, r = k.n, k.c, k.d, k.p, k.t, k.r
    lines = p.quantity.shape[0]
    marks = r.marks[place]
    at: Integer = np.int64(0)
    take: Integer = np.int64(0)
    if place > 0:
        at = r.marks[place - 1, END]
        take = r.marks[place - 1, TAKES_END]
    marks[RAW], marks[TAKES_FROM] = at, take
    marks[NAME] = put_bytes(out, marks[RAW], raw, 0, raw.shape[0])
    marks[CALLER] = put_bytes(out, marks[NAME], name, 0, name.shape[0])
    at = marks[ANSWER] = put_bytes(out, marks[CALLER], caller, 0, caller.shape[0])
    at = put_answer(c, d, t, texts, raw, spans, midnights, lines, True, nanoseconds, out, at)
    if at < 0:
        return False
    marks[LINES_AT] = at
    at = put_text(out, at, 10, name, 0, id_bytes)
    at = put_number(out, at, 16, _HELD)
    at = put_text(out, at, 26, raw, spans[OWNER], spans[OWNER + 1])
    at = put_text(out, at, 34, raw, spans[CHANNEL], spans[CHANNEL + 1])
    take, at = _put_lines(n, c, d, t, r, texts, raw, spans, lines, take, out, at)
    marks[CAPACITIES] = at
    take, at = _put_capacities(n, c, d, t, r, texts, take, out, at)
    marks[PROBLEM], marks[TAKES_END] = at, take
    if take - marks[TAKES_FROM] > _LINES_MAX:
        return False
    marks[END] = pack(p, d.chosen[: p.node_open.shape[0]], about, out, at)
    marks[ID_BYTES], marks[TTL_MS] = id_bytes, ttl_ms
    marks[IS_NEW] = 0
    for shipment in range(t.head[SHIPMENTS]):
        told = d.told[shipment]
        if told[PICK_LIMITED] != 0 and told[PICK_KNOWN] == 0:
            marks[IS_NEW] = 1
        if told[SLOT_LIMITED] != 0 and told[SLOT_KNOWN] == 0:
            marks[IS_NEW] = 1
    for span in range(FIRST_LINE):
        r.spans[place, span] = spans[span]
    return True


@kernel
def _clear(header: Any) -> None:
    header.fill_policy = 0
    header.flags = 0
    header.reservation_bytes = 0
    header.owner_bytes = 0
    header.reference_bytes = 0
    header.request_hi = _ZERO
    header.request_lo = _ZERO
    header.reservation_hi = _ZERO
    header.reservation_lo = _ZERO
    header.owner_key = _ZERO
    header.channel_key = _ZERO
    header.etag = 0
    header.ttl_ms = 0
    header.amount = 0


@kernel
def _fill_create(
    arena: NDArray[np.uint8],
    marks: NDArray[np.int64],
    spans: NDArray[np.int64],
    scratch: NDArray[np.uint8],
    header: Any,
) -> None:
    """The header of the command that holds."""
    raw, name, id_bytes = marks[RAW], marks[NAME], marks[ID_BYTES]
    owner, owner_bytes = raw + spans[OWNER], spans[OWNER + 1]
    channel, channel_bytes = raw + spans[CHANNEL], spans[CHANNEL + 1]
    request, request_bytes = raw + spans[REQUEST_ID], spans[REQUEST_ID + 1]
    caller_bytes = marks[ANSWER] - marks[CALLER]
    _clear(header)
    header.kind = _CREATE
    header.fill_policy = _ALL_OR_NONE
    header.line_count = marks[TAKES_END] - marks[TAKES_FROM]
    header.text_bytes = id_bytes + owner_bytes + caller_bytes
    header.reservation_bytes = id_bytes
    header.owner_bytes = owner_bytes
    header.actor_bytes = caller_bytes
    if request_bytes > 0:
        copy_bytes(arena, marks[CALLER], caller_bytes, scratch, 0)
        scratch[caller_bytes] = 0
        end = caller_bytes + 1
        copy_bytes(arena, request, request_bytes, scratch, end)
        end = put_bytes(scratch, end + request_bytes, ATTEMPT, 0, ATTEMPT.shape[0])
        high, low = hash_bytes_wide(scratch, 0, end)
        header.request_hi = high
        header.request_lo = low
    high, low = hash_bytes_wide(arena, name, name + id_bytes)
    header.reservation_hi = high
    header.reservation_lo = low
    if owner_bytes > 0:
        header.owner_key = hash_bytes(arena, owner, owner + owner_bytes)
    if channel_bytes > 0:
        header.channel_key = hash_bytes(arena, channel, channel + channel_bytes)
    header.ttl_ms = marks[TTL_MS]


@kernel
def _fill_line(r: Any, take: int, number: int, line: Any) -> None:
    """A line of the command that holds."""
    kind = r.takes[take, TAKE_KIND]
    line.sku_key = np.uint64(r.takes[take, TAKE_KEY])
    line.node_key = np.uint64(r.takes[take, TAKE_NODE])
    line.scope_key = _ZERO
    line.time_ms = 0
    line.quantity = r.takes[take, TAKE_UNITS]
    line.line = number
    line.kind = kind
    line.policy = _ON_HAND if kind == _AT_NODE else 0
    line.text_bytes = 0
    line.flags = 0


@kernel
def _fill_name_line(line: Any, size: int) -> None:
    """The line that names a document."""
    line.sku_key = _ZERO
    line.node_key = _ZERO
    line.scope_key = _ZERO
    line.time_ms = 0
    line.quantity = 0
    line.line = 0
    line.kind = 0
    line.policy = 0
    line.text_bytes = size
    line.flags = 0


@kernel
def _put_create_text(
    arena: NDArray[np.uint8],
    marks: NDArray[np.int64],
    spans: NDArray[np.int64],
    out: NDArray[np.uint8],
    at: Integer,
) -> Integer:
    """The texts of the command that holds: reservation, owner, caller."""
    at = put_bytes(out, at, arena, marks[NAME], marks[NAME] + marks[ID_BYTES])
    owner = marks[RAW] + spans[OWNER]
    at = put_bytes(out, at, arena, owner, owner + spans[OWNER + 1])
    return put_bytes(out, at, arena, marks[CALLER], marks[ANSWER])


@kernel
def draft(
    k: Any,
    count: int,
    arena: NDArray[np.uint8],
    scratch: NDArray[np.uint8],
    texts: NDArray[np.uint8],
    facts: NDArray[np.int64],
    headers: NDArray[np.void],
    header_words: tuple[NDArray[Any], ...],
    header_fields: NDArray[np.int64],
    lines: NDArray[np.void],
    line_words: tuple[NDArray[Any], ...],
    line_fields: NDArray[np.int64],
    text: NDArray[np.uint8],
) -> Integer:
    """The commands of `count` promises; fills `headers`, `lines` and `text`, whose bytes it gives.

    `words`: the same rows as bytes and as words of two, four and eight; `fields`: (offset, bytes)
    of each (`engine.narrow`). `scratch`: room for a caller, the longest request_id, and a little.
    """
    c, r = k.c, k.r
    at: Integer = np.int64(0)
    line: Integer = np.int64(0)
    for place in range(count):
        marks, spans = r.marks[place], r.spans[place]
        takes = marks[TAKES_END] - marks[TAKES_FROM]
        document, create = headers[2 * place], headers[2 * place + 1]
        _fill_create(arena, marks, spans, scratch, create)
        _fill_name_line(lines[line], marks[CALLER] - marks[NAME])
        line += 1
        for number in range(takes):
            _fill_line(r, marks[TAKES_FROM] + number, number, lines[line + number])

        start = at
        at = put_bytes(text, at, arena, marks[CALLER], marks[ANSWER])
        at = put_bytes(text, at, arena, marks[NAME], marks[CALLER])
        head = at
        # The order as it was planned, with the id of its reservation.
        order = at = at + _HEAD_BYTES
        if spans[RESERVATION_ID + 1] == 0:
            at = put_text(text, at, 10, arena, marks[NAME], marks[ID_BYTES])
        given = marks[RAW] + spans[ORDER]
        at = put_bytes(text, at, arena, given, given + spans[ORDER + 1])
        reply = at
        at = put_bytes(text, at, arena, marks[ANSWER], marks[LINES_AT])
        at = put_bytes(text, at, texts, c.always[ENDING], c.always[ALWAYS - 1])
        command = at
        at = put_word(text, at, _BATCH_MAGIC, 4)
        at = put_word(text, at, 1, 4)
        at = put_word(text, at, takes, 4)
        at = put_word(text, at, create.text_bytes, 8)
        at += narrow_rows(header_words, 2 * place + 1, 1, header_fields, text[at:])
        at += narrow_rows(line_words, line, takes, line_fields, text[at:])
        at = _put_create_text(arena, marks, spans, text, at)
        problem = at
        at = put_bytes(text, at, arena, marks[PROBLEM], marks[END])

        head = put_word(text, head, _DECISION_MAGIC, 4)
        for key in range(REQUEST_KEY, FINGERPRINT + 2):
            head = put_word(text, head, spans[key], 8)
        head = put_word(text, head, facts[NOW_MS], 8)
        head = put_word(text, head, 0, 4)
        head = put_word(text, head, facts[REVISION], 8)
        head = put_word(text, head, facts[STRATEGY], 4)
        head = put_word(text, head, facts[WORK_BUDGET], 4)
        head = put_word(text, head, reply - order, 4)
        head = put_word(text, head, command - reply, 4)
        head = put_word(text, head, 0, 4)
        head = put_word(text, head, problem - command, 4)
        head = put_word(text, head, at - problem, 4)
        _clear(document)
        document.kind = _PUT_DOCUMENT
        document.line_count = 1
        document.text_bytes = at - start
        document.actor_bytes = marks[ANSWER] - marks[CALLER]
        document.amount = facts[DOCUMENT_KIND]
        line += takes
        at = _put_create_text(arena, marks, spans, text, at)
    return at


@kernel
def reply(
    arena: NDArray[np.uint8],
    marks: NDArray[np.int64],
    ending: NDArray[np.uint8],
    rows: NDArray[np.void],
    first: int,
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """PromiseOrderResponse of each promise that holds, one behind the other: into `ends` where.
    `rows`: outcomes of the ledger, those of the decision and the command of each from `first` on.
    """
    at: Integer = np.int64(0)
    for place in range(marks.shape[0]):
        mine, row = marks[place], rows[first + 2 * place + 1]
        if row.code == _OK:
            at = put_bytes(out, at, arena, mine[ANSWER], mine[LINES_AT])
            out[at] = 34
            end = put_bytes(out, at + 2, arena, mine[LINES_AT], mine[CAPACITIES])
            end = put_moment(out, end, 50, row.create_ms)
            end = put_moment(out, end, 58, row.expire_ms)
            end = put_number(out, end, 64, row.etag)
            end = put_bytes(out, end, arena, mine[CAPACITIES], mine[PROBLEM])
            end = put_moment(out, end, 82, row.update_ms)
            at = close(out, at + 1, end)
            at = put_bytes(out, at, ending, 0, ending.shape[0])
            at = put_number(out, at, 64, row.revision)
        ends[place] = at
