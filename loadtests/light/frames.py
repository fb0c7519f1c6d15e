"""HTTP/2 frames (RFC 9113, section 4 and 6), as far as unary gRPC calls need them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS = 0x0, 0x1, 0x3, 0x4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x6, 0x7, 0x8, 0x9

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20

HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 0x1, 0x3, 0x4, 0x5
TRUE_BINARY_METADATA = 0xFE03
"""Of gRPC: values of headers in -bin come as they are, not in base64."""
WINDOW_BYTES_DEFAULT: Final = 65_535
FRAME_BYTES_MAX: Final = 16_384
"""What either side may always send in one frame."""

HEAD = struct.Struct(">HBBBI")
"""Of a frame: its size in two parts (8 bits more than 16), kind, flags, stream."""
HEAD_BYTES: Final = HEAD.size
_DATA_HEAD = struct.Struct(">HBBBIBI")  # with that of a gRPC message: not compressed, so long
PREFIX_BYTES: Final = _DATA_HEAD.size - HEAD_BYTES


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame. `payload` below 16 MiB."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def request(stream: int, headers: bytes, message: bytes) -> bytes:
    """All of a unary call: its headers, an HPACK block, and its one message."""
    size = len(headers)
    begun = HEAD.pack(size >> 8, size & 0xFF, HEADERS, END_HEADERS, stream) + headers
    size = len(message) + PREFIX_BYTES
    if size <= FRAME_BYTES_MAX:
        return begun + (
            _DATA_HEAD.pack(size >> 8, size & 0xFF, DATA, END_STREAM, stream, 0, len(message))
            + message
        )
    body = struct.pack(">BI", 0, len(message)) + message
    pieces = [begun]
    for at in range(0, size, FRAME_BYTES_MAX):
        piece = body[at : at + FRAME_BYTES_MAX]
        last = END_STREAM if at + len(piece) == size else 0
        pieces.append(frame(DATA, last, stream, piece))
    return b"".join(pieces)


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *item) for item in values.items()))


def read_settings(payload: bytes) -> dict[int, int]:
    """What a SETTINGS frame says."""
    return dict(struct.iter_unpack(">HI", payload))


def window_update(stream: int, by: int) -> bytes:
    """Let the other side send `by` bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", by))


def reset(stream: int, code: int) -> bytes:
    """An RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def literal(name: str, value: str) -> bytes:
    """A header field for HPACK that is never indexed, without Huffman (RFC 7541, 6.2.2)."""
    return b"\0" + _text(name.encode()) + _text(value.encode())


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    coded = bytearray((127,))
    size -= 127
    while size >= 128:
        coded.append(size % 128 + 128)
        size //= 128
    coded.append(size)
    return bytes(coded) + text


class Reader:
    """Cuts frames out of the bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """(kind, flags, stream, payload) of each frame that is whole by now."""
        data = self._rest + data if self._rest else data
        at = 0
        end = len(data)
        try:
            while end - at >= HEAD_BYTES:
                high, low, kind, flags, stream = HEAD.unpack_from(data, at)
                stop = at + HEAD_BYTES + (high << 8 | low)
                if stop > end:
                    break
                payload = data[at + HEAD_BYTES : stop]
                at = stop
                yield kind, flags, stream & 0x7FFFFFFF, payload
        finally:
            self._rest = data[at:]
