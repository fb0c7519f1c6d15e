"""Texts as arrays of numbers, which is all that goes to and from a solver's process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def packed(parts: Sequence[bytes]) -> tuple[Numbers, Bytes]:
    """(sizes, everything in one row)."""
    sizes = np.fromiter(map(len, parts), np.int64, len(parts))
    return sizes, np.frombuffer(b"".join(parts), np.uint8)


def unpacked(sizes: Numbers, whole: Bytes) -> list[bytes]:
    """Read what `packed` made. Raises ValueError where the two do not fit together."""
    if (sizes < 0).any() or int(sizes.sum()) != len(whole):
        raise ValueError(f"{len(whole)} bytes are there, {int(sizes.sum())} are announced")
    ends = np.cumsum(sizes).tolist()
    data = whole.tobytes()
    return [data[end - size : end] for size, end in zip(sizes.tolist(), ends, strict=True)]
