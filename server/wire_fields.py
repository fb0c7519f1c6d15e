"""Fields of protobuf messages, written by kernels: the bytes of its deterministic serialisation.

Each function writes at a place and gives the place behind; the caller sees to the room. Tags of one
byte are numbers (field 1 to 15). A message inside another is written behind one byte left free, its
mark, and closed: then its length is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import Integer, kernel
from engine.words import copy_bytes


@kernel
def put_varint(out: NDArray[np.uint8], at: int, value: int) -> Integer:
    """A whole number that is not negative."""
    while value > 127:
        out[at] = (value & 127) | 128
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


@kernel
def put_number(out: NDArray[np.uint8], at: int, tag: int, value: int) -> Integer:
    """A varint field that is left out when 0, as proto3 does."""
    if value == 0:
        return at
    out[at] = tag
    return put_varint(out, at + 1, value)


@kernel
def put_text(
    out: NDArray[np.uint8], at: int, tag: int, source: NDArray[np.uint8], start: int, size: int
) -> Integer:
    """A text field of fewer than 128 bytes, left out when empty."""
    if size == 0:
        return at
    out[at] = tag
    out[at + 1] = size
    at += 2
    copy_bytes(source, start, size, out, at)
    return at + size


@kernel
def put_bytes(
    out: NDArray[np.uint8], at: int, source: NDArray[np.uint8], start: int, stop: int
) -> Integer:
    """source[start:stop] as it is: fields that were written before, or a text without a tag."""
    copy_bytes(source, start, stop - start, out, at)
    return at + stop - start


@kernel
def close(out: NDArray[np.uint8], mark: int, at: int) -> Integer:
    """Write the length of out[mark + 1 : at] at `mark`, moving it where one byte is too few."""
    size = at - (mark + 1)
    if size < 128:
        out[mark] = size
        return at
    width = 1
    rest = size >> 7
    while rest:
        width += 1
        rest >>= 7
    move = width - 1
    for i in range(at - 1, mark, -1):
        out[i + move] = out[i]
    put_varint(out, mark, size)
    return at + move


@kernel
def put_moment(out: NDArray[np.uint8], at: int, tag: int, time_ms: int) -> Integer:
    """A google.protobuf.Timestamp field."""
    out[at] = tag
    mark = at + 1
    end = put_number(out, mark + 1, 8, time_ms // 1000)
    end = put_number(out, end, 16, time_ms % 1000 * 1_000_000)
    return close(out, mark, end)
