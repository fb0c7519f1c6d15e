"""Reservation ids the ledger makes: UUID version 7 from ledger time and revision.

Deterministic, so that a replayed journal makes the same ids. Source: RFC 9562, 5.7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.hashing import mix

ID_BYTES = 36
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_DASH = np.uint8(ord("-"))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel
def write_made_id(
    out: NDArray[np.uint8], start: int, now_ms: int, revision: int, ledger_seed: int
) -> None:
    """Write the 36 characters of the id made at (now_ms, revision) to out[start:]."""
    spread = mix(np.uint64(revision) * _GOLDEN + mix(np.uint64(ledger_seed)))
    high = (np.uint64(now_ms) << np.uint64(16)) | np.uint64(0x7000)
    high |= (spread >> np.uint64(52)) & np.uint64(0x0FFF)
    low = (spread & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    at = start
    for digit in range(32):
        if digit == 8 or digit == 12 or digit == 16 or digit == 20:
            out[at] = _DASH
            at += 1
        word = high if digit < 16 else low
        shift = np.uint64(60 - 4 * (digit & 15))
        out[at] = _HEX[np.int64((word >> shift) & np.uint64(15))]
        at += 1


def made_id(now_ms: int, revision: int, ledger_seed: int = 0) -> str:
    """The id of the reservation that the command with this revision made at ledger time now_ms."""
    out = np.zeros(ID_BYTES, np.uint8)
    write_made_id(out, 0, now_ms, revision, ledger_seed)
    return out.tobytes().decode()
