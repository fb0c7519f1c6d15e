"""Reading texts by words gives what reading them by bytes gives."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import words
from engine.compiled import kernel
from engine.words import copy_bytes, is_printable, word_at

_INTERPRETED: Any = word_at
_INTERPRETED = _INTERPRETED.py_func


@kernel
def _copied(source: Any, at: int, size: int, target: Any, to: int) -> None:
    copy_bytes(source, at, size, target, to)


def _texts(seed: int) -> list[tuple[NDArray[np.uint8], int, int]]:
    """Buffers of many kinds of bytes with a range in each, at both ends and in the middle."""
    draw = random.Random(seed)
    kinds = (lambda: draw.randrange(256), lambda: draw.randrange(30, 36), lambda: 65)
    cases = []
    for _ in range(400):
        size = draw.randrange(1, 40)
        buffer = np.frombuffer(bytes(draw.choice(kinds)() for _ in range(size)), np.uint8)
        start = draw.choice((0, draw.randrange(size)))
        cases.append((buffer, start, draw.choice((size, draw.randrange(start + 1, size + 1)))))
    return cases


@pytest.mark.parametrize("read", [word_at, _INTERPRETED], ids=["compiled", "interpreted"])
def test_a_word_is_the_next_eight_bytes_little_endian(read: Any) -> None:
    for buffer, start, stop in _texts(seed=1):
        text = buffer[start : min(stop, start + words.WORD_BYTES)].tobytes()
        with np.errstate(over="ignore"):
            assert int(read(buffer, start, stop)) == int.from_bytes(text, "little")


def test_printable_means_every_byte_is() -> None:
    verdicts = set()
    for buffer, start, stop in _texts(seed=2):
        expected = all(32 <= byte <= 126 for byte in buffer[start:stop].tolist())
        assert is_printable(buffer, start, stop) == expected
        verdicts.add(expected)
    assert verdicts == {True, False}
    assert is_printable(np.zeros(0, np.uint8), 0, 0)


def test_each_byte_that_is_not_printable_is_found_at_each_place() -> None:
    for size in (1, 7, 8, 9, 17):
        for place in range(size):
            for byte in (0, 31, 127, 128, 255):
                text = np.full(size, 126, np.uint8)
                assert is_printable(text, 0, size)
                text[place] = byte
                assert not is_printable(text, 0, size)


def test_a_copy_touches_its_bytes_alone() -> None:
    for buffer, start, stop in _texts(seed=3):
        target = np.full(50, 7, np.uint8)
        expected = target.copy()
        expected[3 : 3 + stop - start] = buffer[start:stop]
        _copied(buffer, start, stop - start, target, 3)
        assert (target == expected).all()
