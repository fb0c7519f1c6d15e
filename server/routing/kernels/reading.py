"""From the bytes of PlanFulfillmentRequest and PromiseOrderRequest to places in them.

Reads what is usual: an order of reservation_id, owner, channel, destination and lines of SKU and
quantity; of a promise also request_id and ttl. Fields lie in the order of their numbers, each once,
none with its default, as protobuf writes them; names are printable ASCII within their limits. At
anything else it says no, and protobuf reads the request: it accepts it or says what is wrong. So
what is read here has one spelling, and its bytes are those of its deterministic serialisation.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import limits
from engine.compiled import Integer, kernel
from engine.hashing import hash_bytes, hash_bytes_wide
from engine.words import copy_bytes, is_printable
from server.routing.limits import order_quantity_max

LINES_MAX: Final = 16
"""Lines of a usual order."""

# Places in `spans`: (start, size) of each, then what the lines say.
REQUEST_ID: Final = 0
ORDER: Final = 2
TTL: Final = 4
RESERVATION_ID: Final = 6
OWNER: Final = 8
CHANNEL: Final = 10
DESTINATION: Final = 12
# 128-bit keys of a promise: of the caller's request_id, and of the whole request.
REQUEST_KEY: Final = 14
FINGERPRINT: Final = 16
FIRST_LINE: Final = 18
# Of a line.
SKU_AT: Final = 0
SKU_BYTES: Final = 1
QUANTITY: Final = 2
SKU_KEY: Final = 3
LINE: Final = 4
SPANS: Final = FIRST_LINE + LINES_MAX * LINE

_REQUEST_ID_MAX: Final = limits.request_id_bytes_max
_RESERVATION_ID_MAX: Final = limits.reservation_id_bytes_max
_OWNER_MAX: Final = limits.owner_bytes_max
_CHANNEL_MAX: Final = limits.channel_bytes_max
_SKU_MAX: Final = limits.sku_bytes_max


@kernel
def _size(buffer: NDArray[np.uint8], at: int, stop: int) -> tuple[Integer, Integer]:
    """(a varint of at most four bytes, as short as it can be; the place after it), or (-1, at)."""
    value = np.int64(0)
    shift = np.int64(0)
    while at < stop and shift < 28:
        byte = np.int64(buffer[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if byte == 0:
                return np.int64(-1), at  # a default, or longer than need be
            return value, at
        shift += 7
    return np.int64(-1), at


@kernel
def _is_name(buffer: NDArray[np.uint8], at: int, size: int, most: int) -> bool:
    if size > most or buffer[at] == 32 or buffer[at + size - 1] == 32:
        return False
    return bool(is_printable(buffer, at, at + size))


@kernel
def _line(
    buffer: NDArray[np.uint8], at: int, stop: int, spans: NDArray[np.int64], line: int
) -> Integer:
    """Read a RoutingLine; its units, or 0 where it is not a usual one."""
    if at >= stop or buffer[at] != 10:
        return np.int64(0)
    size, at = _size(buffer, at + 1, stop)
    if size < 0 or size > stop - at or not _is_name(buffer, at, size, _SKU_MAX):
        return np.int64(0)
    spans[line + SKU_AT] = at
    spans[line + SKU_BYTES] = size
    spans[line + SKU_KEY] = np.int64(hash_bytes(buffer, at, at + size))
    at += size
    if at >= stop or buffer[at] != 16:
        return np.int64(0)
    units, at = _size(buffer, at + 1, stop)
    if units < 0 or at != stop:
        return np.int64(0)
    spans[line + QUANTITY] = units
    return units


@kernel
def _order(buffer: NDArray[np.uint8], at: int, stop: int, spans: NDArray[np.int64]) -> Integer:
    """Read a RoutingOrder; the number of its lines, or -1."""
    lines: Integer = np.int64(0)
    total = np.int64(0)
    last: Integer = 0
    while at < stop:
        tag = np.int64(buffer[at])
        size, at = _size(buffer, at + 1, stop)
        if size < 0 or size > stop - at or tag < last or (tag == last and tag != 42):
            return np.int64(-1)
        last = tag
        if tag == 42:
            if lines == LINES_MAX:
                return np.int64(-1)
            here = FIRST_LINE + lines * LINE
            units = _line(buffer, at, at + size, spans, here)
            total += units
            if units < 1 or total > order_quantity_max:
                return np.int64(-1)
            for other in range(FIRST_LINE, here, LINE):
                if spans[other + SKU_KEY] == spans[here + SKU_KEY]:
                    return np.int64(-1)
            lines += 1
        else:
            if tag == 10 and _is_name(buffer, at, size, _RESERVATION_ID_MAX):
                place = RESERVATION_ID
            elif tag == 18 and _is_name(buffer, at, size, _OWNER_MAX):
                place = OWNER
            elif tag == 26 and _is_name(buffer, at, size, _CHANNEL_MAX):
                place = CHANNEL
            elif tag == 34:
                place = DESTINATION
            else:
                return np.int64(-1)
            spans[place] = at
            spans[place + 1] = size
        at += size
    if lines == 0 or spans[DESTINATION + 1] == 0:
        return np.int64(-1)
    return lines


@kernel
def _fill_keys(
    buffer: NDArray[np.uint8],
    caller: NDArray[np.uint8],
    caller_bytes: int,
    spans: NDArray[np.int64],
) -> None:
    size = spans[REQUEST_ID + 1]
    if size > 0:
        copy_bytes(buffer, spans[REQUEST_ID], size, caller, caller_bytes + 1)
        high, low = hash_bytes_wide(caller, 0, caller_bytes + 1 + size)
        spans[REQUEST_KEY], spans[REQUEST_KEY + 1] = np.int64(high), np.int64(low)
    high, low = hash_bytes_wide(buffer, 0, buffer.shape[0])
    spans[FINGERPRINT], spans[FINGERPRINT + 1] = np.int64(high), np.int64(low)


@kernel
def read_request(
    buffer: NDArray[np.uint8],
    is_promise: bool,
    caller: NDArray[np.uint8],
    caller_bytes: int,
    spans: NDArray[np.int64],
) -> Integer:
    """Fill `spans`; the number of lines, or -1 where protobuf must read it. O(bytes).

    `caller` holds who asks, a zero byte, and room for the longest request_id.
    """
    for place in range(FIRST_LINE):
        spans[place] = 0
    stop = buffer.shape[0]
    lines: Integer = np.int64(-1)
    at: Any = 0
    last: Integer = 0
    while at < stop:
        tag = np.int64(buffer[at])
        size, at = _size(buffer, at + 1, stop)
        if size < 0 or size > stop - at or tag <= last:
            return np.int64(-1)
        last = tag
        if tag == (18 if is_promise else 10):
            place = ORDER
            lines = _order(buffer, at, at + size, spans)
            if lines < 0:
                return np.int64(-1)
        elif is_promise and tag == 10 and _is_name(buffer, at, size, _REQUEST_ID_MAX):
            place = REQUEST_ID
        elif is_promise and tag == 26:
            place = TTL
        else:
            return np.int64(-1)
        spans[place] = at
        spans[place + 1] = size
        at += size
    if is_promise and lines > 0:
        _fill_keys(buffer, caller, caller_bytes, spans)
    return lines
