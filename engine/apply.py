"""The ledger's one step, compiled: apply commands in order and write their outcomes.

Invariants
1. Each command that is not a replay uses exactly one revision, refused or not.
2. A request's answer is remembered in the same step as its effect.
3. Requests of an atomic group (``header.amount`` counts them down to 1) all stand or none does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import allowances, commands, outcomes, reroute, revise, settle, stock, supply, tables
from engine.causes import note_texts
from engine.compiled import Integer, inlined, kernel
from engine.create import create, end_superseded, restore_superseded, uncreate
from engine.details import write_takes
from engine.names import define_group, define_name, find_name
from engine.prefetch import ROWS_AHEAD, SLOTS_AHEAD, ahead
from engine.requests import find_request, fingerprint_of, recall, remember

NONE = tables.NONE
OK = outcomes.OK
REPLAYED = outcomes.REPLAYED
_ZERO = np.uint64(0)
DETAILS_PER_COMMAND = 1024  # room a command may need besides two details a line


@kernel
def _define_names(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    text: NDArray[np.uint8],
    text_at: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> Integer:
    at = detail_at
    for i in range(first, first + header.line_count):
        line = lines[i]
        stop = text_at + line.text_bytes
        row = define_name(st, np.int64(line.policy), line.sku_key, text, text_at, stop)
        text_at = stop
        if row < 0:
            outcome.code = -row
            detail = details[at]
            detail.kind = outcomes.LINE_ERROR
            detail.line = line.line
            detail.position = NONE
            detail.code = -row
            detail.time_ms = i - first
            return 1
        outcome.affected += 1
    return at - detail_at


@kernel
def _set_node_frozen(st: Any, line: Any, outcome: Any) -> None:
    node = find_name(st, commands.NODE, line.node_key)
    if node < 0:
        outcome.code = outcomes.NODE_NOT_FOUND
        return
    if line.quantity:
        st.names[node].flags |= tables.NODE_IS_FROZEN
    else:
        st.names[node].flags &= ~np.uint8(tables.NODE_IS_FROZEN)
    outcome.affected = node


@inlined
def _dispatch(
    st: Any,
    header: Any,
    fingerprint: np.uint64,
    lines: NDArray[np.void],
    first: int,
    text: NDArray[np.uint8],
    text_at: int,
    outcome: Any,
    details: NDArray[np.void],
    at: int,
) -> Integer:
    """Apply one command. Fills `outcome`; returns the number of details written."""
    kind = header.kind
    if kind == commands.CREATE:
        return create(st, header, fingerprint, lines, first, text, text_at, outcome, details, at)
    if kind == commands.CONFIRM:
        return settle.confirm(st, header, lines, first, outcome, details, at)
    if kind == commands.CANCEL:
        return settle.cancel(st, header, lines, first, outcome, details, at)
    if kind == commands.EXPIRE:
        settle.expire(st, header.amount, outcome)
        return 0
    if kind == commands.EXTEND:
        return settle.extend(st, header, outcome, details, at)
    if kind == commands.FULFILL:
        return settle.fulfill(st, header, lines, first, outcome, details, at)
    if kind == commands.RETURN:
        return settle.return_units(st, header, lines, first, outcome, details, at)
    if kind == commands.REVISE:
        return revise.revise(st, header, lines, first, outcome, details, at)
    if kind == commands.REASSIGN:
        return revise.reassign(st, header, lines, first, outcome, details, at)
    if kind == commands.REROUTE:
        return reroute.reroute(st, header, lines, first, outcome, details, at)
    if kind == commands.COUNT or kind == commands.ADJUST or kind == commands.WITHHOLD:
        return stock.apply_lines(st, header, lines, first, outcome, details, at)
    # What follows is rare, and its lines' text comes after the four of the header.
    text_of_header = np.int64(header.reservation_bytes) + header.owner_bytes
    text_of_header += np.int64(header.actor_bytes) + header.reference_bytes
    lines_text_at = text_at + text_of_header
    if kind == commands.DEFINE_NAMES:
        return _define_names(st, header, lines, first, text, lines_text_at, outcome, details, at)
    if kind == commands.TRANSFER:
        return supply.transfer(st, header, lines, first, text, lines_text_at, outcome, details, at)
    if kind == commands.UPSERT_SUPPLY:
        line = lines[first]
        return supply.upsert_supply(st, header, line, text, lines_text_at, outcome, details, at)
    if kind == commands.RECEIVE_SUPPLY:
        return supply.receive_supply(st, header, lines[first], outcome, details, at)
    if kind == commands.CANCEL_SUPPLY:
        return supply.cancel_supply(st, lines[first], outcome, details, at)
    if kind == commands.SET_BACKORDER_LIMIT:
        return supply.set_backorder_limit(st, lines[first], outcome, details, at)
    if kind == commands.SET_CAPACITY:
        line = lines[first]
        return allowances.set_capacity(st, line, text, lines_text_at, outcome, details, at)
    if kind == commands.SET_CHANNEL_FENCE:
        return allowances.set_channel_fence(st, lines[first], outcome, details, at)
    if kind == commands.SET_PURCHASE_LIMIT:
        allowances.set_purchase_limit(st, header, lines[first], outcome)
    elif kind == commands.SET_NODE_FROZEN:
        _set_node_frozen(st, lines[first], outcome)
    elif kind == commands.DEFINE_GROUP:
        stop = text_at + header.text_bytes
        outcome.code = define_group(
            st,
            header.channel_key,
            text,
            lines_text_at,
            stop,
            lines,
            first,
            np.int64(header.line_count),
        )
    return 0


@kernel
def _clear(outcome: Any, header: Any, revision: int, now_ms: int) -> None:
    outcome.code = OK
    outcome.flags = 0
    outcome.state = 0
    outcome.kind = header.kind
    outcome.reserved = 0
    outcome.detail_count = 0
    outcome.reservation = NONE
    outcome.revision = revision
    outcome.now_ms = now_ms
    outcome.create_ms = 0
    outcome.expire_ms = 0
    outcome.update_ms = 0
    outcome.etag = 0
    outcome.reservation_hi = _ZERO
    outcome.reservation_lo = _ZERO
    outcome.affected = 0


@kernel
def _abort_group(st: Any, out: NDArray[np.void], group_first: int, failed: int) -> None:
    """Undo the requests of an atomic group that came before the one refused, and give the holds
    they were to replace back their balances."""
    for j in range(failed - 1, group_first - 1, -1):
        if out[j].code == OK and not out[j].flags & REPLAYED:
            uncreate(st, np.int64(out[j].reservation))
            out[j].code = outcomes.BATCH_ABORTED
            out[j].state = 0
            out[j].reservation = NONE
            out[j].affected = out[j].detail_count  # until `_remember_group` closes the gap
            out[j].detail_count = 0
    restore_superseded(st, NONE)


@kernel
def _is_repeated(headers: NDArray[np.void], group_first: int, member: int) -> bool:
    """Whether an earlier request of the group has the same request id."""
    for j in range(group_first, member):
        if (
            headers[j].request_hi == headers[member].request_hi
            and headers[j].request_lo == headers[member].request_lo
        ):
            return True
    return False


@kernel
def _tell_group_again(
    st: Any,
    headers: NDArray[np.void],
    details: NDArray[np.void],
    begun: int,
    group_first: int,
    group: int,
    detail_first: int,
    detail_stop: int,
) -> Integer:
    """Write a standing group's reservations once more, where it replaced carts: what those left
    may have gone to a member that waits. The place after the last detail."""
    replaces = False
    for j in range(group_first, group_first + group):
        replaces = replaces or (headers[j].flags & commands.REPLACE_OWNER_HOLDS) != 0
    if not replaces:
        return detail_stop
    read: Integer = detail_first
    write: Integer = detail_stop
    for j in range(group_first, group_first + group):
        outcome = st.outcomes[j - begun]
        kept = np.int64(outcome.detail_count)
        if outcome.flags & REPLAYED:
            for k in range(kept):
                details[write + k] = details[read + k]
        else:
            row = np.int64(outcome.reservation)
            outcome.detail_count = write_takes(st, row, outcome, details, write)
        read += kept
        write += outcome.detail_count
    for k in range(write - detail_stop):
        details[detail_first + k] = details[detail_stop + k]
    return detail_first + write - detail_stop


@kernel
def _remember_group(
    st: Any,
    headers: NDArray[np.void],
    lines: NDArray[np.void],
    text: NDArray[np.uint8],
    details: NDArray[np.void],
    begun: int,
    group_first: int,
    group: int,
    detail_first: int,
    detail_stop: int,
    line_stop: int,
    text_stop: int,
) -> Integer:
    """Remember an atomic group's answers once all are known, closing the gaps that aborted
    requests left among the details; the place after the last detail."""
    line = line_stop
    text_at = text_stop
    for j in range(group_first, group_first + group):
        line -= headers[j].line_count
        text_at -= headers[j].text_bytes
    read: Integer = detail_first
    write: Integer = detail_first
    for j in range(group_first, group_first + group):
        header = headers[j]
        outcome = st.outcomes[j - begun]
        # An aborted request was written with its takes; its place is known from the next one's.
        kept = np.int64(outcome.detail_count)
        written = np.int64(outcome.affected) if outcome.code == outcomes.BATCH_ABORTED else kept
        for k in range(kept):
            details[write + k] = details[read + k]
        if outcome.code == outcomes.BATCH_ABORTED:
            outcome.affected = 0
        keyed = header.request_hi != _ZERO or header.request_lo != _ZERO
        if keyed and not outcome.flags & REPLAYED and outcome.code != outcomes.REQUEST_ID_REUSED:
            fingerprint = fingerprint_of(header, lines, line, text, text_at)
            remember(st, header.request_hi, header.request_lo, fingerprint, outcome, details, write)
        read += written
        write += kept
        line += header.line_count
        text_at += header.text_bytes
    return write


@kernel
def _begin(st: Any, now_ms: int) -> None:
    """Start a batch at `now_ms`, or at the ledger's time if that is later."""
    meta = st.meta[0]
    meta.now_ms = max(meta.now_ms, now_ms)
    meta.batch_revision = meta.revision
    meta.changed_count = 0
    meta.changed_overflow = 0
    st.cursor[:] = 0
    st.cursor[6] = 1


@kernel
def apply_columns(
    st: Any,
    now_ms: int,
    headers: NDArray[np.void],
    lines: NDArray[np.void],
    text: NDArray[np.uint8],
) -> None:
    """Apply a batch's commands, from where the call before stopped, if it stopped within the batch.

    Answers are written to `st.outcomes` and `st.details`, from their beginning. Stops early when
    there might not be room for the answer of the next command or atomic group, or at a command that
    is `engine.machine`'s (DELETE_DOCUMENT, RESIZE, SET_FORMAT). ``st.cursor`` says how far it came:
    (commands done, lines and text bytes passed, details written by this call, positions changed by
    the batch, documents put by this call, 1 while the batch is not done). Keeping the documents'
    bytes is the caller's.
    """
    meta = st.meta[0]
    cursor = st.cursor
    out = st.outcomes
    details = st.details
    if cursor[6] == 0:
        _begin(st, now_ms)
    begun = cursor[0]
    i = begun
    first = cursor[1]
    text_at = cursor[2]
    at = np.int64(0)
    cursor[5] = 0
    count = headers.shape[0]
    near = i
    far = i
    near_line = first
    far_line = first
    while i < count:
        kind = headers[i].kind
        if kind == commands.DELETE_DOCUMENT or kind == commands.RESIZE:
            break
        if kind == commands.SET_FORMAT:
            break
        stop = min(count, i + SLOTS_AHEAD)
        if far < stop:
            far_line = ahead(st, headers, lines, far, far_line, stop, -1)
            far = stop
        stop = min(count, i + ROWS_AHEAD)
        if near < stop:
            near_line = ahead(st, headers, lines, near, near_line, stop, i)
            near = stop
        group = max(np.int64(1), headers[i].amount) if headers[i].kind == commands.CREATE else 1
        group = min(group, count - i)
        needed = np.int64(0)
        for j in range(i, i + group):
            a_line = 8 if headers[j].flags & commands.TELL_BALANCES else 2
            needed += a_line * np.int64(headers[j].line_count) + DETAILS_PER_COMMAND
        if details.shape[0] - at < needed or i + group - begun > out.shape[0]:
            break
        group_first = i
        group_detail = at
        refused = False
        meta.group_revision = meta.revision
        for j in range(i, i + group):
            header = headers[j]
            outcome = out[j - begun]
            _clear(outcome, header, meta.revision, meta.now_ms)
            keyed = header.request_hi != _ZERO or header.request_lo != _ZERO
            fingerprint = fingerprint_of(header, lines, first, text, text_at)
            known = -1
            if keyed:
                known = find_request(st, header.request_hi, header.request_lo)
            meta.group_left = i + group - 1 - j
            if known >= 0:
                outcome.detail_count = recall(st, known, fingerprint, outcome, details, at)
                if group > 1 and outcome.code != OK and not refused:
                    refused = True
                    _abort_group(st, out, group_first - begun, j - begun)
            elif keyed and group > 1 and _is_repeated(headers, group_first, j):
                outcome.code = outcomes.REQUEST_ID_REUSED
                if not refused:
                    refused = True
                    _abort_group(st, out, group_first - begun, j - begun)
            elif refused:
                meta.revision += 1
                outcome.revision = meta.revision
                outcome.code = outcomes.BATCH_ABORTED
            else:
                note_texts(st, header, text, text_at)
                meta.holds_told = 0
                outcome.detail_count = _dispatch(
                    st,
                    header,
                    fingerprint,
                    lines,
                    first,
                    text,
                    text_at,
                    outcome,
                    details,
                    at,
                )
                meta.revision += 1
                outcome.revision = meta.revision
                if header.kind == commands.PUT_DOCUMENT:
                    cursor[5] += 1
                if group > 1 and outcome.code != OK:
                    refused = True
                    _abort_group(st, out, group_first - begun, j - begun)
                elif keyed and group == 1:
                    remember(
                        st, header.request_hi, header.request_lo, fingerprint, outcome, details, at
                    )
            at += outcome.detail_count
            first += header.line_count
            text_at += header.text_bytes
        if group > 1:
            if meta.superseded >= 0:
                # The last request was a replay, so that no command of the group has ended them.
                meta.revision -= 1
                end_superseded(st)
                meta.revision += 1
            if not refused:
                at = _tell_group_again(
                    st, headers, details, begun, group_first, group, group_detail, at
                )
            at = _remember_group(
                st,
                headers,
                lines,
                text,
                details,
                begun,
                group_first,
                group,
                group_detail,
                at,
                first,
                text_at,
            )
        i += group
    cursor[0] = i
    cursor[1] = first
    cursor[2] = text_at
    cursor[3] = at
    cursor[4] = meta.changed_count
    cursor[6] = 0 if i == count else 1
