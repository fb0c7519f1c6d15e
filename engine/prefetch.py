"""Asking memory for what will be needed soon, without waiting for it.

A ledger is far larger than a processor's caches, and a command's look-ups each depend on the one
before: alone, a create of three lines waits for memory about ten times. In a column the next
commands are known. `ahead` asks for their index slots, a little later for the rows these name and
for those that creates will write, so that all have come when the command is applied. What was
worked out on the way, the keys of ids to be made, is kept for it. Nothing here changes a result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from engine import commands, index, outcomes, tables
from engine.compiled import Integer, kernel
from engine.hashing import combine
from engine.ids import made_key

SLOTS_AHEAD = 24
ROWS_AHEAD = 10
_LINES_MAX = 16  # of a command that is looked ahead at: longer ones are work enough themselves
_ZERO = np.uint64(0)
_LINE_BYTES = 64
_RESERVATION_BYTES = tables.RESERVATION.itemsize
_TAKE_BYTES = tables.TAKE_ROW.itemsize
_OUTCOME_BYTES = outcomes.OUTCOME.itemsize
_DETAIL_BYTES = outcomes.DETAIL.itemsize


def _prefetch(typingctx: Any, array: Any, row: Any, offset: Any) -> Any:
    """How `ask` is compiled: the processor's prefetch instruction."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table = context.make_array(signature.args[0])(context, builder, arguments[0])
        word = ir.IntType(64)
        row_bytes = cgutils.unpack_tuple(builder, table.strides)[0]
        start = builder.ptrtoint(table.data, word)
        place = builder.add(start, builder.mul(arguments[1], row_bytes))
        pointer_type = ir.IntType(8).as_pointer()
        pointer = builder.inttoptr(builder.add(place, arguments[2]), pointer_type)
        small = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [pointer_type],
            ir.FunctionType(ir.VoidType(), [pointer_type, small, small, small]),
        )
        # For writing, to stay in all caches, data.
        builder.call(function, [pointer, small(1), small(3), small(1)])
        return cgutils.get_null_value(context.get_value_type(types.none))

    return types.none(array, types.int64, types.int64), codegen


_ask: Any = intrinsic(_prefetch)


@kernel
def ask(table: Any, row: int, offset: int) -> None:
    """Ask for the cache line with byte `offset` of a table's row."""
    _ask(table, np.int64(row), np.int64(offset))


@kernel
def slots(st: Any, header: Any, lines: NDArray[np.void], first: int) -> None:
    """Ask for the index slots that a command will look at."""
    ask(st.request_index, index.home(st.request_index, header.request_hi), 0)
    if header.reservation_hi != _ZERO:
        ask(st.reservation_index, index.home(st.reservation_index, header.reservation_hi), 0)
    if header.owner_key != _ZERO:
        ask(st.owner_index, index.home(st.owner_index, header.owner_key), 0)
    if header.line_count <= _LINES_MAX:
        for at in range(first, first + header.line_count):
            key = combine(lines[at].sku_key, lines[at].node_key)
            ask(st.position_index, index.home(st.position_index, key), 0)


@kernel
def rows(st: Any, header: Any, lines: NDArray[np.void], first: int, revision: int) -> None:
    """Ask for the rows that a command's slots name. `revision`: the one it will probably get."""
    meta = st.meta[0]
    if header.reservation_hi == _ZERO:
        hi, lo = made_key(meta.now_ms, revision, meta.ledger_seed)
        made = st.made_ahead[revision & (st.made_ahead.shape[0] - 1)]
        made.revision = revision
        made.now_ms = meta.now_ms
        made.hi = hi
        made.lo = lo
        ask(st.reservation_index, index.home(st.reservation_index, hi), 0)
    else:
        _ask_reservation(st, st.reservation_index, header.reservation_hi)
    if header.owner_key != _ZERO:
        _ask_reservation(st, st.owner_index, header.owner_key)
    if header.line_count <= _LINES_MAX:
        for at in range(first, first + header.line_count):
            key = combine(lines[at].sku_key, lines[at].node_key)
            row = index.row_at(st.position_index, index.home(st.position_index, key))
            if row >= 0:
                ask(st.positions, row, 0)
        if header.kind == commands.CREATE:
            _rows_to_write(st, header, revision - 1 - meta.revision)


@kernel
def _ask_all(table: Any, row: int, size: int) -> None:
    """Ask for `size` bytes from a row on."""
    for offset in range(0, size, _LINE_BYTES):
        ask(table, row, offset)


@kernel
def _rows_to_write(st: Any, header: Any, commands_before: int) -> None:
    """Ask for the rows that a create will write if those `commands_before` it are like it, where
    rows are used for the first time."""
    meta = st.meta[0]
    lines = np.int64(header.line_count)
    if meta.reservation_free < 0:
        reservation = meta.reservation_high + commands_before
        _ask_all(st.reservations, reservation, _RESERVATION_BYTES)
        ask(st.owner_text, reservation, 0)
    if meta.take_free < 0:
        _ask_all(st.takes, meta.take_high + commands_before * lines, lines * _TAKE_BYTES)
    request = (meta.request_next + commands_before) & (st.requests.shape[0] - 1)
    ask(st.requests, request, 0)
    _ask_all(st.request_outcomes, request, _OUTCOME_BYTES)
    detail = (meta.detail_next + commands_before * lines) & (st.reply_details.shape[0] - 1)
    _ask_all(st.reply_details, detail, lines * _DETAIL_BYTES)


@kernel
def _ask_reservation(st: Any, slots_of: NDArray[np.uint64], key: np.uint64) -> None:
    row = index.row_at(slots_of, index.home(slots_of, key))
    if row >= 0:
        ask(st.reservations, row, 0)
        ask(st.reservations, row, _LINE_BYTES)


@kernel
def next_made_key(st: Any) -> tuple[np.uint64, np.uint64]:
    """Key (hi, lo) of the id that the running command makes, if it makes one."""
    meta = st.meta[0]
    revision = meta.revision + 1
    made = st.made_ahead[revision & (st.made_ahead.shape[0] - 1)]
    if made.revision == revision and made.now_ms == meta.now_ms:
        return made.hi, made.lo
    return made_key(meta.now_ms, revision, meta.ledger_seed)


@kernel
def ahead(
    st: Any,
    headers: NDArray[np.void],
    lines: NDArray[np.void],
    begin: int,
    line: int,
    stop: int,
    applying: int,
) -> Integer:
    """Look ahead at the commands [begin, stop), whose lines begin at `line`: for their slots where
    `applying` is below 0, else for their rows. Returns the line after theirs."""
    for at in range(begin, stop):
        header = headers[at]
        if applying < 0:
            slots(st, header, lines, line)
        else:
            rows(st, header, lines, line, st.meta[0].revision + 1 + at - applying)
        line += header.line_count
    return line
