"""Frames of protobuf: a message as field 1 of the message around it."""

from __future__ import annotations

from server.transport.wire_bytes import piece, tag

_FIELD_1 = tag(1)


def read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """(value, place after it); (-1, at) when it is cut off or too long."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            return -1, at
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    return -1, at


def framed(message: bytes) -> bytes:
    """`message` as field 1."""
    return piece(_FIELD_1, message)


def read_frame(raw: bytes, at: int) -> tuple[bytes, int] | None:
    """(the message in field 1 at `at`, place after it); None when there is none."""
    if raw[at : at + 1] != _FIELD_1:
        return None
    size, start = read_varint(raw, at + 1)
    if not 0 <= size <= len(raw) - start:
        return None
    return raw[start : start + size], start + size
