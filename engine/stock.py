"""Stock on hand: adjust by a difference, count, transfer, withhold.

All-or-none over a command's lines by default: balances change line by line and are changed back
when a later line is refused; movements are recorded once all lines passed. With PER_LINE each
line stands alone: a bad one is reported and the good ones land (feeds).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, tables
from engine.balances import write_balance
from engine.compiled import Integer, kernel
from engine.details import write_detail
from engine.limits import units_per_position_max
from engine.movements import net_since, record
from engine.positions import (
    available,
    change,
    find_stock,
    mark_short,
    need_stock,
    withheld_in,
    withhold,
)
from engine.waiting import cancel_newest_holds, serve_backorders

NONE = tables.NONE
OK = outcomes.OK
_SKEW_MS = 300_000  # a feed's clock may run this far ahead of the ledger's
_UNITS_MAX = units_per_position_max


@kernel
def _adjust_line(st: Any, line: Any) -> tuple[Integer, Integer, Integer]:
    """Add to on_hand. (code, position, difference or units that were available)"""
    delta = np.int64(line.quantity)
    if delta > 0:
        row = need_stock(st, line.sku_key, line.node_key)
        if row < 0:
            return -row, NONE, 0
    else:
        row = find_stock(st, line.sku_key, line.node_key)
        if row < 0:
            row = need_stock(st, line.sku_key, line.node_key)
            if row < 0:
                return -row, NONE, 0
    free = available(st, row)
    if delta < 0 and free < -delta:
        return outcomes.INSUFFICIENT_STOCK, row, max(np.int64(0), free)
    if st.positions[row].on_hand + delta > _UNITS_MAX:
        return outcomes.QUANTITY_OUT_OF_RANGE, row, free
    change(st, row, delta, 0, 0)
    return OK, row, delta


@kernel
def _count_line(st: Any, line: Any) -> tuple[Integer, Integer, Integer]:
    """Set on_hand to what was counted plus what moved since. (code, position, difference)"""
    now_ms = st.meta[0].now_ms
    as_of_ms = np.int64(line.time_ms)
    if as_of_ms > now_ms + _SKEW_MS:
        return outcomes.TIME_IN_FUTURE, NONE, 0
    row = need_stock(st, line.sku_key, line.node_key)
    if row < 0:
        return -row, NONE, 0
    net = np.int64(0)
    if as_of_ms != 0 and as_of_ms < now_ms:
        net, known = net_since(st, row, as_of_ms)
        if not known:
            return outcomes.COUNT_OUT_OF_DATE, row, 0
    on_hand = line.quantity + net
    if on_hand < 0 or on_hand > _UNITS_MAX:
        return outcomes.QUANTITY_OUT_OF_RANGE, row, 0
    delta = on_hand - st.positions[row].on_hand
    change(st, row, delta, 0, 0)
    return OK, row, delta


@kernel
def _withhold_line(st: Any, line: Any) -> tuple[Integer, Integer, Integer]:
    """Move units into or out of a bucket. (code, position, units moved or available)"""
    row = find_stock(st, line.sku_key, line.node_key)
    if row < 0:
        row = need_stock(st, line.sku_key, line.node_key)
        if row < 0:
            return -row, NONE, 0
    bucket = np.int64(line.policy)
    before = withheld_in(st, row, bucket)
    after = np.int64(line.quantity)
    if not line.flags & 1:
        after += before
    if after < 0:
        return outcomes.QUANTITY_OUT_OF_RANGE, row, before
    free = available(st, row)
    if after - before > max(np.int64(0), free):
        return outcomes.INSUFFICIENT_STOCK, row, max(np.int64(0), free)
    withhold(st, row, bucket, after - before)
    return OK, row, after - before


@kernel
def _apply_line(st: Any, kind: int, line: Any) -> tuple[Integer, Integer, Integer]:
    if kind == commands.ADJUST:
        return _adjust_line(st, line)
    if kind == commands.COUNT:
        return _count_line(st, line)
    return _withhold_line(st, line)


@kernel
def _undo_line(st: Any, kind: int, line: Any, row: int, moved: int) -> None:
    if kind == commands.WITHHOLD:
        withhold(st, row, np.int64(line.policy), -moved)
    else:
        change(st, row, -moved, 0, 0)
    mark_short(st, row)  # what was short before the command is short again


@kernel
def _complete_line(
    st: Any, kind: int, line: Any, row: int, moved: int, details: NDArray[np.void], at: int
) -> int:
    """After a line stands: its movement, its shortfall, and those who wait; the next detail."""
    if kind == commands.WITHHOLD:
        record(st, row, tables.WITHHELD, 0, np.int64(line.policy), moved, 0, NONE)
    elif kind == commands.ADJUST:
        reason = np.int64(line.policy)
        record(st, row, reason if reason else tables.ADJUSTMENT, moved, 0, 0, 0, NONE)
    else:
        as_of_ms = np.int64(line.time_ms)
        if as_of_ms == 0 or as_of_ms > st.meta[0].now_ms:
            as_of_ms = st.meta[0].now_ms
        record(st, row, tables.COUNTED, moved, 0, 0, as_of_ms, NONE)
        short = -available(st, row)
        if short > 0:
            mark_short(st, row)
            ended = 0
            if line.policy == commands.CANCEL_NEWEST_HOLDS:
                ended, at = cancel_newest_holds(st, row, np.int64(line.line), details, at)
            at = write_detail(
                details, at, outcomes.SHORTFALL, np.int64(line.line), row, ended, 0, 0, 0
            )
            details[at - 1].shortfall = max(np.int64(0), -available(st, row))
    serve_backorders(st, row)
    return at


@kernel
def apply_lines(
    st: Any,
    header: Any,
    lines: NDArray[np.void],
    first: int,
    outcome: Any,
    details: NDArray[np.void],
    detail_at: int,
) -> int:
    """ADJUST, COUNT or WITHHOLD; details written."""
    rows = st.line_rows
    moves = st.line_moves
    per_line = (header.flags & commands.PER_LINE) != 0
    kind = np.int64(header.kind)
    at = detail_at
    applied = np.int64(0)
    for i in range(header.line_count):
        line = lines[first + i]
        code, row, moved = _apply_line(st, kind, line)
        if code == OK:
            applied += 1
            rows[i] = row
            moves[i] = moved
            if per_line:
                at = _complete_line(st, kind, line, row, moved, details, at)
            continue
        detail_kind = outcomes.LINE_ERROR
        if code == outcomes.INSUFFICIENT_STOCK:
            detail_kind = outcomes.SHORTAGE
        asked = min(np.int64(2147483647), abs(np.int64(line.quantity)))
        at = write_detail(details, at, detail_kind, np.int64(line.line), row, asked, moved, code, 0)
        details[at - 1].time_ms = i  # the line's place in the command: feeds have many lines
        if not per_line:
            for j in range(i - 1, -1, -1):
                _undo_line(st, kind, lines[first + j], np.int64(rows[j]), moves[j])
            outcome.code = code
            return at - detail_at
    if not per_line:
        for i in range(header.line_count):
            at = _complete_line(
                st, kind, lines[first + i], np.int64(rows[i]), moves[i], details, at
            )
    if header.flags & commands.TELL_BALANCES:
        for i in range(header.line_count):
            at = write_balance(
                st, details, at, np.int64(lines[first + i].line), np.int64(rows[i]), moves[i]
            )
    outcome.affected = applied
    return at - detail_at
