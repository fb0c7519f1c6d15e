"""Keys of names: FNV-1a with a final avalanche (MurmurHash3's fmix64).

A 64-bit key stands for a name in commands and indices; a 128-bit one for ids that callers make up
(reservations, requests). Two different names of one kind with the same 64-bit key are refused when
the second is defined (KEY_COLLISION), so a key never stands for two names. No key is 0, which
means "none" in every column.

Source: Fowler, Noll, Vo, draft-eastlake-fnv; Appleby, MurmurHash3 finaliser.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel

_OFFSET = np.uint64(14695981039346656037)
_PRIME = np.uint64(1099511628211)
_OFFSET_2 = np.uint64(0x9E3779B97F4A7C15)
_PRIME_2 = np.uint64(0x100000001B3 * 0x2D + 2)  # odd, independent of the first
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_S33 = np.uint64(33)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel
def mix(value: np.uint64) -> np.uint64:
    """MurmurHash3's fmix64: every input bit reaches every output bit."""
    value = np.uint64(value)
    value ^= value >> _S33
    value *= _M1
    value ^= value >> _S33
    value *= _M2
    value ^= value >> _S33
    return value


@kernel
def combine(left: np.uint64, right: np.uint64) -> np.uint64:
    """One key out of two, order kept apart."""
    return mix((np.uint64(left) * _PRIME + _GOLDEN) ^ mix(np.uint64(right) + _GOLDEN))


@kernel
def hash_bytes(buffer: NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """64-bit key of buffer[start:stop]; never 0."""
    value = _OFFSET
    for at in range(start, stop):
        value = (value ^ np.uint64(buffer[at])) * _PRIME
    value = mix(value)
    return value if value != _ZERO else _ONE


@kernel
def hash_bytes_wide(
    buffer: NDArray[np.uint8], start: int, stop: int
) -> tuple[np.uint64, np.uint64]:
    """128-bit key of buffer[start:stop] as (hi, lo); never (0, 0)."""
    high = _OFFSET
    low = _OFFSET_2
    for at in range(start, stop):
        byte = np.uint64(buffer[at])
        high = (high ^ byte) * _PRIME
        low = (low ^ byte) * _PRIME_2
        low ^= low >> _S33
    high = mix(high)
    low = mix(low ^ np.uint64(stop - start))
    return (high if high != _ZERO else _ONE), low


def key_of(text: bytes) -> int:
    """64-bit key of a name. O(len)."""
    return int(hash_bytes(np.frombuffer(text, np.uint8), 0, len(text)))


def wide_key_of(text: bytes) -> tuple[int, int]:
    """128-bit key (hi, lo) of an id. O(len)."""
    high, low = hash_bytes_wide(np.frombuffer(text, np.uint8), 0, len(text))
    return int(high), int(low)
