"""Frames of protobuf: a message as field 1 of the message around it."""

from __future__ import annotations

_FIELD_1 = b"\x0a"


def varint(value: int) -> bytes:
    """A number as protobuf writes it. `value` is not negative."""
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


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
    return _FIELD_1 + varint(len(message)) + message


def read_frame(raw: bytes, at: int) -> tuple[bytes, int] | None:
    """(the message in field 1 at `at`, place after it); None when there is none."""
    if raw[at : at + 1] != _FIELD_1:
        return None
    size, start = read_varint(raw, at + 1)
    if not 0 <= size <= len(raw) - start:
        return None
    return raw[start : start + size], start + size
