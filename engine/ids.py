"""Reservation ids the ledger makes: UUID version 7 from ledger time and revision.

Deterministic, so that a replayed journal makes the same ids. Source: RFC 9562, 5.7. The text is
made eight characters at a time, as one number: the ledger needs an id's key with every create, its
text only in replies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.hashing import absorb_wide, begin_wide, end_wide, mix

ID_BYTES = 36
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DASH = np.uint64(ord("-"))
_DIGITS = np.uint64(0x3030303030303030)  # "00000000"
_SIXES = np.uint64(0x0606060606060606)
_ONES = np.uint64(0x0101010101010101)
_TO_LETTER = np.uint64(ord("a") - ord("0") - 10)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x00FF00FF00FF00FF)
_PAIRS = np.uint64(0x0000FFFF0000FFFF)
_LOW_32 = np.uint64(0xFFFFFFFF)
_LOW_16 = np.uint64(0xFFFF)
_S4 = np.uint64(4)
_S8 = np.uint64(8)
_S16 = np.uint64(16)
_S24 = np.uint64(24)
_S32 = np.uint64(32)
_S40 = np.uint64(40)
_S48 = np.uint64(48)
_S52 = np.uint64(52)
_S56 = np.uint64(56)


@kernel
def _hex(value: np.uint64) -> np.uint64:
    """The eight hexadecimal characters of a 32-bit number, the first in the lowest byte."""
    spread = ((value & _LOW_16) << _S16) | ((value >> _S16) & _LOW_16)
    spread = ((spread & np.uint64(0x00FF00FF)) << _S8) | ((spread >> _S8) & np.uint64(0x00FF00FF))
    spread = (spread | (spread << _S16)) & _PAIRS
    spread = (spread | (spread << _S8)) & _BYTES
    spread = ((spread >> _S4) | (spread << _S8)) & _NIBBLES
    letters = ((spread + _SIXES) >> _S4) & _ONES
    return spread + _DIGITS + letters * _TO_LETTER


@kernel
def _words(
    now_ms: int, revision: int, ledger_seed: int
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """The 36 characters as four numbers of eight bytes and one of four, little-endian."""
    spread = mix(np.uint64(revision) * _GOLDEN + mix(np.uint64(ledger_seed)))
    high = (np.uint64(now_ms) << _S16) | np.uint64(0x7000)
    high |= (spread >> _S52) & np.uint64(0x0FFF)
    low = (spread & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    times = _hex(high & _LOW_32)
    first = _hex(low >> _S32)
    last = _hex(low & _LOW_32)
    return (
        _hex(high >> _S32),
        _DASH
        | ((times & _LOW_32) << _S8)
        | (_DASH << _S40)
        | (((times >> _S32) & _LOW_16) << _S48),
        (times >> _S48) | (_DASH << _S16) | ((first & _LOW_32) << _S24) | (_DASH << _S56),
        (first >> _S32) | ((last & _LOW_32) << _S32),
        last >> _S32,
    )


@kernel
def made_key(now_ms: int, revision: int, ledger_seed: int) -> tuple[np.uint64, np.uint64]:
    """128-bit key (hi, lo) of the id made at (now_ms, revision): that of its text."""
    words = _words(now_ms, revision, ledger_seed)
    high, low = begin_wide(ID_BYTES)
    for word in words:
        high, low = absorb_wide(high, low, word)
    return end_wide(high, low)


@kernel
def write_made_id(
    out: NDArray[np.uint8], start: int, now_ms: int, revision: int, ledger_seed: int
) -> None:
    """Write the 36 characters of the id made at (now_ms, revision) to out[start:]."""
    at = start
    for word in _words(now_ms, revision, ledger_seed):
        rest = word
        for _ in range(min(8, start + ID_BYTES - at)):
            out[at] = np.uint8(rest & np.uint64(0xFF))
            rest >>= _S8
            at += 1


def made_id(now_ms: int, revision: int, ledger_seed: int = 0) -> str:
    """The id of the reservation that the command with this revision made at ledger time now_ms."""
    out = np.zeros(ID_BYTES, np.uint8)
    write_made_id(out, 0, now_ms, revision, ledger_seed)
    return out.tobytes().decode()
