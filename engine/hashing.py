"""Keys of names: words of eight bytes multiplied in, with MurmurHash3's final avalanche.

A 64-bit key stands for a name in commands and indices; a 128-bit one for ids that callers make up
(reservations, requests). Two different names of one kind with the same 64-bit key are refused when
the second is defined (KEY_COLLISION), so a key never stands for two names. No key is 0, which
means "none" in every column.

Source: the multiply-and-fold of FNV-1a (draft-eastlake-fnv) by words; Appleby, MurmurHash3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.words import word_at

_OFFSET = np.uint64(14695981039346656037)
_PRIME = np.uint64(1099511628211)
_OFFSET_2 = np.uint64(0xD6E8FEB86659FD93)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_S33 = np.uint64(33)
_S32 = np.uint64(32)
_S29 = np.uint64(29)
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
def absorb(value: np.uint64, word: np.uint64) -> np.uint64:
    """Take a word into a running hash; `mix` finishes it."""
    value = (np.uint64(value) ^ np.uint64(word)) * _GOLDEN
    return value ^ (value >> _S32)


@kernel
def hash_bytes(buffer: NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """64-bit key of buffer[start:stop]; never 0."""
    value = _OFFSET ^ np.uint64(stop - start)
    for at in range(start, stop, 8):
        value = absorb(value, word_at(buffer, at, stop))
    value = mix(value)
    return value if value != _ZERO else _ONE


@kernel
def begin_wide(size: int) -> tuple[np.uint64, np.uint64]:
    """The running 128-bit hash of a text of `size` bytes, before its first word."""
    return _OFFSET ^ np.uint64(size), _OFFSET_2


@kernel
def absorb_wide(high: np.uint64, low: np.uint64, word: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Take the text's next eight bytes, little-endian, into its running 128-bit hash."""
    low = (low ^ mix(word)) * _PRIME
    return absorb(high, word), low ^ (low >> _S29)


@kernel
def end_wide(high: np.uint64, low: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The 128-bit key once all words are in."""
    high = mix(high)
    return (high if high != _ZERO else _ONE), mix(low)


@kernel
def hash_bytes_wide(
    buffer: NDArray[np.uint8], start: int, stop: int
) -> tuple[np.uint64, np.uint64]:
    """128-bit key of buffer[start:stop] as (hi, lo); never (0, 0)."""
    high, low = begin_wide(stop - start)
    for at in range(start, stop, 8):
        high, low = absorb_wide(high, low, word_at(buffer, at, stop))
    return end_wide(high, low)


def key_of(text: bytes) -> int:
    """64-bit key of a name. O(len)."""
    return int(hash_bytes(np.frombuffer(text, np.uint8), 0, len(text)))


def wide_key_of(text: bytes) -> tuple[int, int]:
    """128-bit key (hi, lo) of an id. O(len)."""
    high, low = hash_bytes_wide(np.frombuffer(text, np.uint8), 0, len(text))
    return int(high), int(low)
