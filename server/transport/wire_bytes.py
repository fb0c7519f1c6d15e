"""Fields of protobuf messages as bytes, for replies that are the same but for a few numbers.

What each writes is what protobuf's deterministic serialisation writes; tags are given as bytes
(`tag`), values of 0 and empty texts are left out, as proto3 does.
"""

from __future__ import annotations

from typing import Final

_LENGTH_DELIMITED: Final = 2


def _written(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_KNOWN_MAX: Final = 1 << 14
_KNOWN: Final = [_written(value) for value in range(_KNOWN_MAX)]
"""Every whole number of one byte or two."""


def tag(number: int, *, is_number: bool = False) -> bytes:
    """The tag of a field: of a whole number, or of text, bytes or a message."""
    return varint(number << 3 | (0 if is_number else _LENGTH_DELIMITED))


def varint(value: int) -> bytes:
    """A whole number that is not negative."""
    return _KNOWN[value] if value < _KNOWN_MAX else _written(value)


def number(tagged: bytes, value: int) -> bytes:
    """A field of a whole number."""
    if not value:
        return b""
    return tagged + (_KNOWN[value] if value < _KNOWN_MAX else _written(value))


def piece(tagged: bytes, body: bytes) -> bytes:
    """A field of a message, which is there also where it is empty."""
    size = len(body)
    return tagged + (_KNOWN[size] if size < _KNOWN_MAX else _written(size)) + body


def text(tagged: bytes, body: bytes) -> bytes:
    """A field of text."""
    return piece(tagged, body) if body else b""
