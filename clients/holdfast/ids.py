"""Ids that the client makes: UUIDv7 (RFC 9562), so that they sort by the time they were made.

A ``request_id`` is made once for each call and kept over its retries: that is what makes a write
repeatable (AIP-155).
"""

from __future__ import annotations

import os
import time


def made_id(time_ms: int | None = None, random_bits: int | None = None) -> str:
    """A UUIDv7 as text, 36 characters.

    `time_ms` is Unix time in milliseconds (48 bits kept), `random_bits` 74 bits of chance; both
    are drawn here unless given.
    """
    if time_ms is None:
        time_ms = time.time_ns() // 1_000_000
    if random_bits is None:
        random_bits = int.from_bytes(os.urandom(10)) >> 6
    value = (time_ms & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random_bits >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | random_bits & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
