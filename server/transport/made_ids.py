"""Ids that the server makes for callers who give none."""

from __future__ import annotations

import os
from functools import lru_cache


def made_id(now_ms: int) -> str:
    """A UUID version 7 (RFC 9562), of this moment of the ledger."""
    chance = _chance()
    variant = _VARIANTS[int(chance[3], 16) & 3]
    return f"{_beginning(now_ms)}{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


_VARIANTS = "89ab"


@lru_cache(maxsize=16)
def _beginning(now_ms: int) -> str:
    """The time and the version: the same for all of a moment."""
    digits = f"{now_ms & ((1 << 48) - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}-7"


_DIGITS = 20
_DRAWN = 410
_left: list[str] = []


def _chance() -> str:
    """Twenty hexadecimal digits by chance; the system is asked for many at once, which takes it as
    long."""
    if not _left:
        drawn = os.urandom(_DIGITS // 2 * _DRAWN).hex()
        _left.extend(drawn[at : at + _DIGITS] for at in range(0, len(drawn), _DIGITS))
    return _left.pop()
