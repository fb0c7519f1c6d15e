"""Who asks."""

from __future__ import annotations

import numpy as np

from engine import limits


class Caller:
    """A caller's name as the kernels that read requests want it: in front of a zero byte and room
    for a request_id."""

    __slots__ = ("buffer", "size", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.size = len(text)
        self.buffer = np.zeros(len(text) + 1 + limits.request_id_bytes_max, np.uint8)
        self.buffer[: len(text)] = np.frombuffer(text, np.uint8)
