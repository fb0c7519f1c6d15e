"""Ids that the server makes for callers who give none."""

from __future__ import annotations

import os


def made_id(now_ms: int) -> str:
    """A UUID version 7 (RFC 9562), of this moment of the ledger."""
    chance = int.from_bytes(_chance(), "big")
    value = (now_ms & ((1 << 48) - 1)) << 80 | chance
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


_DRAWN = 410
_left = bytearray()


def _chance() -> bytes:
    """Ten bytes by chance; the system is asked for many at once, which takes it as long."""
    if not _left:
        _left.extend(os.urandom(10 * _DRAWN))
    drawn = bytes(_left[-10:])
    del _left[-10:]
    return drawn
