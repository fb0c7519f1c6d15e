"""From the bytes of a feed's chunk to columns, names hashed on the way: IngestInventoryRequest.

As in `decode`, the compiled reader knows what is usual. A name that is not plain ASCII of the right
length gets key 0 and is looked at again as text; a chunk that is written in another way (numbers
not packed, unknown fields) is read by protobuf. Both give the same `FeedChunk`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import limits
from engine.compiled import Integer, kernel
from engine.hashing import hash_bytes
from holdfast.v1 import inventory_service_pb2 as messages
from server.transport.columns import name_key
from server.transport.malformed import read

_SKU_MAX = limits.sku_bytes_max
_NODE_MAX = limits.node_bytes_max
_NAME_BYTES_MIN = 3  # tag, length, one byte

NAME = np.dtype([("key", "u8"), ("at", "i4"), ("size", "i4")])

# Places in `totals`.
SKUS, NODES, NUMBERS, QUANTITIES, TIMES, FEED_AT, FEED_BYTES, SEQUENCE, POLICY = range(9)


@kernel
def _varint(buffer: NDArray[np.uint8], at: int, stop: int) -> tuple[Integer, Integer]:
    """(value, place after it); the place is -1 when it is cut off or too long."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while at < stop and shift < np.uint64(70):
        byte = np.uint64(buffer[at])
        at += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return value, at
        shift += np.uint64(7)
    return value, -1


@kernel
def _packed(
    buffer: NDArray[np.uint8], at: int, stop: int, out: NDArray[np.int64], count: int
) -> Integer:
    """Read packed varints behind the `count` there are; the new count, -1 when they are broken."""
    while at < stop:
        value, at = _varint(buffer, at, stop)
        if at < 0 or count >= out.shape[0]:
            return -1
        out[count] = np.int64(value)
        count += 1
    return count


@kernel
def _name(buffer: NDArray[np.uint8], at: int, size: int, most: int, name: Any) -> None:
    plain = 0 < size <= most and buffer[at] != 32 and buffer[at + size - 1] != 32
    if plain:
        for i in range(at, at + size):
            plain &= (buffer[i] >= 32) & (buffer[i] < 127)
    name.at = at
    name.size = size
    name.key = hash_bytes(buffer, at, at + size) if plain else np.uint64(0)


@kernel
def _decode(
    buffer: NDArray[np.uint8],
    skus: NDArray[np.void],
    nodes: NDArray[np.void],
    numbers: NDArray[np.int64],
    quantities: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    totals: NDArray[np.int64],
) -> bool:
    """Read the whole chunk. False when it is written in another way than usual."""
    at = 0
    stop = buffer.shape[0]
    while at < stop:
        tag = buffer[at]
        value, at = _varint(buffer, at + 1, stop)
        if at < 0:
            return False
        if tag == 16:
            totals[SEQUENCE] = np.int64(value)
            continue
        if tag == 64:
            totals[POLICY] = np.int64(value)
            continue
        if value > np.uint64(stop - at):
            return False
        size = np.int64(value)
        if tag == 34:
            if totals[SKUS] >= skus.shape[0]:
                return False
            _name(buffer, at, size, _SKU_MAX, skus[totals[SKUS]])
            totals[SKUS] += 1
        elif tag == 42:
            if totals[NODES] >= nodes.shape[0]:
                return False
            _name(buffer, at, size, _NODE_MAX, nodes[totals[NODES]])
            totals[NODES] += 1
        elif tag == 10:
            totals[FEED_AT] = at
            totals[FEED_BYTES] = size
        else:
            place = NUMBERS
            column = numbers
            if tag == 50:
                place = QUANTITIES
                column = quantities
            elif tag == 58:
                place = TIMES
                column = times_ms
            elif tag != 26:
                return False
            count = _packed(buffer, at, at + size, column, totals[place])
            if count < 0:
                return False
            totals[place] = count
        at += size
    return True


@dataclass(frozen=True, slots=True)
class FeedChunk:
    """One chunk as columns. Key 0: a name that is not usual, or not given."""

    feed_id: str
    sequence: int
    policy: int
    skus: NDArray[np.void]
    nodes: NDArray[np.void]
    row_numbers: NDArray[np.int64]
    quantities: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    text: bytes
    """What the places of `skus` and `nodes` point into."""

    def name(self, place: np.void) -> bytes:
        """A name's bytes."""
        start = int(place["at"])
        return self.text[start : start + int(place["size"])]


def decode_feed(raw: bytes) -> FeedChunk:
    """The chunk in `raw`. Raises Refused for bytes that are no such message. O(bytes)."""
    buffer = np.frombuffer(raw, np.uint8)
    most = min(len(raw) // _NAME_BYTES_MIN + 1, limits.rows_per_ingest_chunk_max + 1)
    skus, nodes = np.empty(most, NAME), np.empty(most, NAME)
    most = min(len(raw) + 1, limits.rows_per_ingest_chunk_max + 1)
    numbers, quantities, times_ms = (np.empty(most, np.int64) for _ in range(3))
    totals = np.zeros(9, np.int64)
    if not _decode(buffer, skus, nodes, numbers, quantities, times_ms, totals):
        return _from_message(read(messages.IngestInventoryRequest, raw))
    feed_at, feed_bytes = int(totals[FEED_AT]), int(totals[FEED_BYTES])
    try:
        feed_id = raw[feed_at : feed_at + feed_bytes].decode()
    except UnicodeDecodeError:
        return _from_message(read(messages.IngestInventoryRequest, raw))
    return FeedChunk(
        feed_id,
        int(totals[SEQUENCE].view(np.uint64)),
        int(totals[POLICY]),
        skus[: totals[SKUS]],
        nodes[: totals[NODES]],
        numbers[: totals[NUMBERS]],
        quantities[: totals[QUANTITIES]],
        times_ms[: totals[TIMES]],
        raw,
    )


def _from_message(message: messages.IngestInventoryRequest) -> FeedChunk:
    texts: list[bytes] = []
    at = 0
    columns = []
    for names in (message.skus, message.nodes):
        column = np.zeros(len(names), NAME)
        for index, text in enumerate(names):
            encoded = text.encode()
            texts.append(encoded)
            key = name_key(encoded) if _is_usual(text, encoded) else 0
            column[index] = (key, at, len(encoded))
            at += len(encoded)
        columns.append(column)
    return FeedChunk(
        message.feed_id,
        message.sequence,
        message.shortfall_policy,
        columns[0],
        columns[1],
        np.array(message.row_numbers, np.uint64).view(np.int64),
        np.array(message.quantities, np.int64),
        np.array(message.as_of_times_ms, np.int64),
        b"".join(texts),
    )


def _is_usual(text: str, encoded: bytes) -> bool:
    return (
        0 < len(encoded) <= min(_SKU_MAX, _NODE_MAX)
        and text.isascii()
        and text.isprintable()
        and text == text.strip(" ")
    )
