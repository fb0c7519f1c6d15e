"""Rows of whole numbers in as few bytes as their values need: how the journal keeps commands.

Each field is a column. It is kept as its least value and, for every row, the difference to that, in
as many bytes as the greatest difference takes: 0, 1, 2, 4 or 8. So a field that nobody uses, or
that is the same in all rows, costs one to nine bytes for all of them, and only keys made by hashing
cost all their eight.

A column is a byte of two codes (that of the least value times 16, that of the differences), the
least value, the differences of all rows; all little-endian, the least value in two's complement. A
code is a place in `WIDTHS`. Differences of eight bytes are the values themselves. Without rows
there is nothing at all.

Source: frame of reference, Goldstein, Ramakrishnan and Shaft, "Compressing Relations and Indexes"
(ICDE 1998).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.compiled import Integer, kernel
from engine.words import copy_bytes

WIDTHS = (0, 1, 2, 4, 8)
"""Bytes, by code."""
_WORD = 8
_CODE_BITS = 4
_CODE_MASK = 15
_WIDEST = 4
_OVERHEAD = 1 + _WORD
# A table that is larger was not written here.
_ROW_BYTES_MAX = 1 << 32


@cache
def fields_of(dtype: np.dtype[Any]) -> NDArray[np.int64]:
    """(offset, bytes) of each field of a row type in the order of their places, `[fields, 2]`.

    Raises ValueError unless each begins at a multiple of its own size, and rows of eight bytes, and
    nothing but the end of the last word lies behind the last.
    """
    assert dtype.fields is not None
    places = [(int(place[1]), int(place[0].itemsize)) for place in dtype.fields.values()]
    unfilled = dtype.itemsize - sum(places[-1])
    is_aligned = all(offset % size == 0 for offset, size in places) and sorted(places) == places
    if dtype.itemsize % _WORD or not is_aligned or not 0 <= unfilled < _WORD:
        raise ValueError(f"the fields of {dtype} do not lie at multiples of their sizes")
    return np.array(places, np.int64)


def narrow(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    """Rows as bytes, `[bytes]`. O(rows x fields)."""
    if not len(rows):
        return np.empty(0, np.uint8)
    fields = fields_of(rows.dtype)
    out = np.empty(rows.nbytes + len(fields) * _OVERHEAD, np.uint8)
    size = narrow_rows(words_of(rows), 0, len(rows), fields, out)
    return out[: int(size)]


def widen(
    buffer: NDArray[np.uint8], at: int, count: int, dtype: np.dtype[Any]
) -> tuple[NDArray[np.void], int]:
    """`count` rows that `narrow` wrote at buffer[at:], and where they end.

    Raises ValueError where these bytes can not be such rows.
    """
    if count * dtype.itemsize > _ROW_BYTES_MAX:
        raise ValueError(f"{count} rows of {dtype.itemsize} bytes, at most {_ROW_BYTES_MAX} bytes")
    rows = np.zeros(count, dtype)
    if not count:
        return rows, at
    end = int(_widen(buffer, at, *words_of(rows), count, dtype.itemsize, fields_of(dtype)))
    if end < 0:
        raise ValueError(f"{len(buffer)} bytes do not hold {count} rows from byte {at} on")
    return rows, end


def words_of(rows: NDArray[np.void]) -> tuple[NDArray[Any], ...]:
    """The same memory as bytes and as words of two, four and eight bytes."""
    flat = np.ascontiguousarray(rows).view(np.uint8)
    return flat, flat.view(np.uint16), flat.view(np.int32), flat.view(np.int64)


@kernel
def narrow_rows(
    words: tuple[NDArray[Any], ...],
    row: int,
    count: int,
    fields: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """`narrow` of `count` rows from `row` on, which are at least one; how many bytes. `words`: see
    `words_of`; `fields`: see `fields_of`."""
    ones, twos, fours, eights = words
    last = len(fields) - 1
    row_bytes = (fields[last, 0] + fields[last, 1] + _WORD - 1) // _WORD * _WORD
    at = 0
    for field in range(len(fields)):
        offset, size = fields[field, 0], fields[field, 1]
        first, step = (row * row_bytes + offset) // size, row_bytes // size
        if size == 8:
            at = _narrow_column(eights, ones, first, step, count, out, at)
        elif size == 4:
            at = _narrow_column(fours, ones, first, step, count, out, at)
        elif size == 2:
            at = _narrow_column(twos, ones, first, step, count, out, at)
        else:
            at = _narrow_column(ones, ones, first, step, count, out, at)
    return at


@kernel
def _narrow_column(
    words: NDArray[Any],
    ones: NDArray[np.uint8],
    first: int,
    step: int,
    count: int,
    out: NDArray[np.uint8],
    at: int,
) -> int:
    least = np.int64(words[first])
    greatest = least
    for row in range(1, count):
        value = np.int64(words[first + row * step])
        if value < least:
            least = value
        elif value > greatest:
            greatest = value
    code = _unsigned_code(np.uint64(greatest) - np.uint64(least))
    if code == _WIDEST:
        least = np.int64(0)
    least_code = _signed_code(least)
    out[at] = least_code << _CODE_BITS | code
    at = _put(np.uint64(least), least_code, out, at + 1)
    if code == 0:
        return at
    if code == _WIDEST:
        for row in range(count):
            copy_bytes(ones, (first + row * step) * _WORD, _WORD, out, at)
            at += _WORD
        return at
    for row in range(count):
        difference = np.uint64(np.int64(words[first + row * step])) - np.uint64(least)
        at = _put(difference, code, out, at)
    return at


@kernel
def _unsigned_code(greatest: np.uint64) -> Integer:
    if greatest == np.uint64(0):
        return 0
    if greatest < np.uint64(1 << 8):
        return 1
    if greatest < np.uint64(1 << 16):
        return 2
    return 3 if greatest < np.uint64(1 << 32) else 4


@kernel
def _signed_code(value: np.int64) -> Integer:
    if value == 0:
        return 0
    if -(1 << 7) <= value < 1 << 7:
        return 1
    if -(1 << 15) <= value < 1 << 15:
        return 2
    return 3 if -(1 << 31) <= value < 1 << 31 else 4


@kernel
def _put(value: np.uint64, code: int, out: NDArray[np.uint8], at: int) -> int:
    """The low bytes of a number; where they end."""
    for _ in range(WIDTHS[code]):
        out[at] = np.uint8(value & np.uint64(0xFF))
        value >>= np.uint64(8)
        at += 1
    return at


@kernel
def _widen(
    buffer: NDArray[np.uint8],
    at: int,
    ones: NDArray[np.uint8],
    twos: NDArray[np.uint16],
    fours: NDArray[np.int32],
    eights: NDArray[np.int64],
    count: int,
    row_bytes: int,
    fields: NDArray[np.int64],
) -> int:
    """Where the rows end; -1 where they are none."""
    for field in range(len(fields)):
        offset, size = fields[field, 0], fields[field, 1]
        first, step = offset // size, row_bytes // size
        if at >= len(buffer):
            return -1
        least_code, code = np.int64(buffer[at]) >> _CODE_BITS, np.int64(buffer[at]) & _CODE_MASK
        if least_code > _WIDEST or code > _WIDEST:
            return -1
        if WIDTHS[code] > size or at + 1 + WIDTHS[least_code] + count * WIDTHS[code] > len(buffer):
            return -1
        least = _signed(buffer, at + 1, WIDTHS[least_code])
        at += 1 + WIDTHS[least_code]
        if size == 8:
            at = _widen_column(buffer, at, least, WIDTHS[code], eights, ones, first, step, count)
        elif size == 4:
            at = _widen_column(buffer, at, least, WIDTHS[code], fours, ones, first, step, count)
        elif size == 2:
            at = _widen_column(buffer, at, least, WIDTHS[code], twos, ones, first, step, count)
        else:
            at = _widen_column(buffer, at, least, WIDTHS[code], ones, ones, first, step, count)
    return at


@kernel
def _widen_column(
    buffer: NDArray[np.uint8],
    at: int,
    least: np.uint64,
    width: int,
    words: NDArray[Any],
    ones: NDArray[np.uint8],
    first: int,
    step: int,
    count: int,
) -> int:
    if width == _WORD:
        for row in range(count):
            copy_bytes(buffer, at, _WORD, ones, (first + row * step) * _WORD)
            at += _WORD
        return at
    for row in range(count):
        value = least + _unsigned(buffer, at, width)
        words[first + row * step] = np.int64(value)
        at += width
    return at


@kernel
def _unsigned(buffer: NDArray[np.uint8], at: int, width: int) -> np.uint64:
    value = np.uint64(0)
    for byte in range(width):
        value |= np.uint64(buffer[at + byte]) << np.uint64(8 * byte)
    return value


@kernel
def _signed(buffer: NDArray[np.uint8], at: int, width: int) -> np.uint64:
    """A number in two's complement, widened to eight bytes."""
    value = _unsigned(buffer, at, width)
    if 0 < width < _WORD and buffer[at + width - 1] >= 128:
        value |= ~np.uint64(0) << np.uint64(8 * width)
    return value
