"""Eight bytes of a text at a time, as one little-endian number.

A compiled loop over bytes looks at each index for being negative, so that the compiler can not join
the loads: names are read by one load of eight bytes instead. A text's last word is read from the
eight bytes before its end, so nothing behind a buffer is touched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from engine.compiled import kernel

WORD_BYTES = 8
_EIGHT = np.uint64(8)
_ZERO = np.uint64(0)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_SPACES = np.uint64(0x2020202020202020)


def _unchecked(typingctx: Any, buffer: Any, at: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        pointer = builder.bitcast(place, ir.IntType(64).as_pointer())
        word = builder.load(pointer)
        word.align = 1
        return word

    return types.uint64(buffer, types.int64), codegen


_load: Any = intrinsic(_unchecked)


def load_word(buffer: NDArray[np.uint8], at: int) -> np.uint64:
    """buffer[at : at + 8] as a number. The caller knows that these bytes are there."""
    return np.uint64(
        int.from_bytes(bytes(int(buffer[at + i]) for i in range(WORD_BYTES)), "little")
    )


@overload(load_word)
def _load_word_compiled(buffer: Any, at: Any) -> Any:
    def implementation(buffer: Any, at: Any) -> Any:
        return _load(buffer, np.int64(at))

    return implementation


def _unchecked_copy(typingctx: Any, source: Any, at: Any, size: Any, target: Any, to: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        have = context.make_array(signature.args[0])(context, builder, arguments[0])
        want = context.make_array(signature.args[3])(context, builder, arguments[3])
        cgutils.raw_memcpy(
            builder,
            builder.gep(want.data, [arguments[4]]),
            builder.gep(have.data, [arguments[1]]),
            arguments[2],
            1,
        )
        return cgutils.get_null_value(context.get_value_type(types.none))

    return types.none(source, types.int64, types.int64, target, types.int64), codegen


_copy: Any = intrinsic(_unchecked_copy)


def copy_bytes(
    source: NDArray[np.uint8], at: int, size: int, target: NDArray[np.uint8], to: int
) -> None:
    """Copy `size` bytes. The caller knows that they are there, and that there is room."""
    target[to : to + size] = source[at : at + size]


@overload(copy_bytes)
def _copy_bytes_compiled(source: Any, at: Any, size: Any, target: Any, to: Any) -> Any:
    def implementation(source: Any, at: Any, size: Any, target: Any, to: Any) -> Any:
        _copy(source, np.int64(at), np.int64(size), target, np.int64(to))

    return implementation


@kernel
def word_at(buffer: NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """Up to eight bytes from `start` as a number; those from `stop`, which is beyond `start`, on
    count as 0."""
    size = stop - start
    if size >= WORD_BYTES:
        return load_word(buffer, start)
    if stop >= WORD_BYTES:
        return load_word(buffer, stop - WORD_BYTES) >> (_EIGHT * np.uint64(WORD_BYTES - size))
    word = _ZERO
    for at in range(stop - 1, start - 1, -1):
        word = (word << _EIGHT) | np.uint64(buffer[at])
    return word


@kernel
def is_printable(buffer: NDArray[np.uint8], start: int, stop: int) -> bool:
    """Whether buffer[start:stop] is printable ASCII (32 to 126).

    Source: "bytes less than n", "more than n" in Anderson, Bit Twiddling Hacks.
    """
    bad = _ZERO
    for at in range(start, stop, WORD_BYTES):
        word = word_at(buffer, at, stop)
        size = stop - at
        if size < WORD_BYTES:
            word |= _SPACES << (_EIGHT * np.uint64(size))
        bad |= (word - _SPACES) & ~word
        bad |= (word + _ONES) | word
    return (bad & _HIGH_BITS) == _ZERO
