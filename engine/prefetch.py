"""Asking memory for what will be needed soon, without waiting for it.

A ledger is far larger than a processor's caches, and a command's look-ups each depend on the one
before: alone, a create of three lines waits for memory about ten times. In a column the next
commands are known. `ahead` asks for their index slots, a little later for the rows these name, so
that both have come when the command is applied. Nothing here changes a result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from engine import index
from engine.compiled import Integer, kernel
from engine.hashing import combine
from engine.ids import made_key

SLOTS_AHEAD = 24
ROWS_AHEAD = 10
_LINES_MAX = 16  # of a command that is looked ahead at: longer ones are work enough themselves
_ZERO = np.uint64(0)
_LINE_BYTES = 64


def _prefetch(typingctx: Any, array: Any, row: Any, offset: Any) -> Any:
    """How `ask` is compiled: the processor's prefetch instruction."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table = context.make_array(signature.args[0])(context, builder, arguments[0])
        word = ir.IntType(64)
        itemsize = ir.Constant(word, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        start = builder.ptrtoint(table.data, word)
        place = builder.add(start, builder.mul(arguments[1], itemsize))
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
        hi, _ = made_key(meta.now_ms, revision, meta.ledger_seed)
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


@kernel
def _ask_reservation(st: Any, slots_of: NDArray[np.uint64], key: np.uint64) -> None:
    row = index.row_at(slots_of, index.home(slots_of, key))
    if row >= 0:
        ask(st.reservations, row, 0)
        ask(st.reservations, row, _LINE_BYTES)


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
