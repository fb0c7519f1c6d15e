"""Names by the hundred thousand, with their keys: fixed width, so that they are one array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.hashing import hash_bytes

_TEN = np.uint64(10)


@dataclass(frozen=True, slots=True)
class Names:
    """Shapes: texts (names, bytes of one) uint8, keys (names,) uint64."""

    texts: NDArray[np.uint8]
    keys: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.keys)

    def text(self, row: int) -> str:
        """One name."""
        return self.texts[row].tobytes().decode()


@kernel
def _write_numbers(texts: NDArray[np.uint8], start: int, first: int) -> None:
    """Row i gets first + i in decimal, from column `start` on, padded with zeros."""
    for row in range(texts.shape[0]):
        number = np.uint64(first + row)
        for at in range(texts.shape[1] - 1, start - 1, -1):
            texts[row, at] = np.uint8(48 + number % _TEN)
            number //= _TEN


@kernel
def _keys(texts: NDArray[np.uint8], keys: NDArray[np.uint64]) -> None:
    for row in range(texts.shape[0]):
        keys[row] = hash_bytes(texts[row], 0, texts.shape[1])


def numbered_texts(
    prefix: str, count: int, *, digits: int = 9, first: int = 0
) -> NDArray[np.uint8]:
    """`count` texts: the prefix, then a number from `first` on. Shape (count, bytes) uint8."""
    texts = np.empty((count, len(prefix) + digits), np.uint8)
    texts[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    _write_numbers(texts, len(prefix), first)
    return texts


def numbered(prefix: str, count: int, *, digits: int = 9, first: int = 0) -> Names:
    """`count` names and their keys."""
    texts = numbered_texts(prefix, count, digits=digits, first=first)
    keys = np.empty(count, np.uint64)
    _keys(texts, keys)
    return Names(texts, keys)
