"""A problem's arrays in few bytes: each column as its least value and what every row is above it.

One byte says how many bytes the least value has (upper half) and how many each difference has
(lower half; 0: all rows are alike), then the least value plus 1, then the differences, all
little-endian. Most columns of a problem are alike from row to row, so an order over 80 nodes takes
some 2 kB, in a few microseconds.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.compiled import Integer, kernel
from server.wire_fields import put_bytes

MAGIC: Final = b"HFP2"
"""Begins a problem; one of version 1 begins as a zlib stream does."""
SHAPE: Final = struct.Struct("<IIIIII")
"""Behind it: nodes, lines, services, bytes of the text behind it, and room."""
HEAD_BYTES: Final = len(MAGIC) + SHAPE.size
_MAGIC: Final = int.from_bytes(MAGIC, "little")


@kernel
def _width(value: int) -> Integer:
    """Bytes of a number that is not negative."""
    width: Integer = np.int64(0)
    while value > 0:
        value >>= 8
        width += 1
    return width


@kernel
def put_word(out: NDArray[np.uint8], at: int, value: Any, width: int) -> Integer:
    """A number in so many bytes, little-endian."""
    for place in range(width):
        out[at + place] = (value >> (8 * place)) & 255
    return at + width


@kernel
def _vector(out: NDArray[np.uint8], at: Any, values: NDArray[np.int64]) -> Integer:
    rows = values.shape[0]
    least: Integer = values[0] if rows > 0 else np.int64(-1)
    most: Integer = least
    for row in range(rows):
        least = min(least, values[row])
        most = max(most, values[row])
    wide, width = _width(least + 1), _width(most - least)
    out[at] = wide << 4 | width
    at = put_word(out, at + 1, least + 1, wide)
    if width == 1:
        for row in range(rows):
            out[at + row] = values[row] - least
        return at + rows
    if width > 0:
        for row in range(rows):
            at = put_word(out, at, values[row] - least, width)
    return at


@kernel
def _columns(out: NDArray[np.uint8], at: Any, values: NDArray[np.int64]) -> Integer:
    for column in range(values.shape[1]):
        at = _vector(out, at, values[:, column])
    return at


@kernel
def pack(
    p: Any, nodes: NDArray[np.int64], text: NDArray[np.uint8], out: NDArray[np.uint8], at: Integer
) -> Integer:
    """Write a problem without its tariff, and the numbers of its nodes, behind `at`; the place
    behind it. `text`: see `server.routing.decisions.text_of`.

    Values are -1 or more. `out` has room for nine bytes a number and column, `HEAD_BYTES`, and the
    text.
    """
    at = put_word(out, at, _MAGIC, len(MAGIC))
    at = put_word(out, at, nodes.shape[0], 4)
    at = put_word(out, at, p.quantity.shape[0], 4)
    at = put_word(out, at, p.zone.shape[1], 4)
    at = put_word(out, at, text.shape[0], 4)
    at = put_word(out, at, 0, 8)
    at = put_bytes(out, at, text, 0, text.shape[0])
    at = _vector(out, at, nodes)
    at = _vector(out, at, p.quantity)
    at = _vector(out, at, p.unit_weight_g)
    at = _vector(out, at, p.unit_volume_cm3)
    at = _vector(out, at, p.carried_by)
    at = _vector(out, at, p.group)
    at = _vector(out, at, p.node_open)
    at = _vector(out, at, p.pick_capacity)
    at = _vector(out, at, p.shipment_cost)
    at = _vector(out, at, p.unit_cost)
    at = _vector(out, at, p.distance)
    at = _vector(out, at, p.priority)
    at = _columns(out, at, p.stock)
    at = _columns(out, at, p.opportunity_cost)
    at = _columns(out, at, p.zone)
    at = _columns(out, at, p.service_open)
    at = _columns(out, at, p.service_cost)
    at = _columns(out, at, p.slots)
    at = _columns(out, at, p.ready_day)
    return _vector(out, at, p.terms)
