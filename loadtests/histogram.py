"""Latencies as HDR histograms: small, exact to three digits, and merged without loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

_LEAST_US, _MOST_US, _DIGITS = 1, 600_000_000, 3


class Latencies:
    """A histogram of microseconds, 1 us to 10 minutes; what lies beyond counts as the bound."""

    def __init__(self, encoded: str = "") -> None:
        self._histogram = (
            HdrHistogram.decode(encoded) if encoded else HdrHistogram(_LEAST_US, _MOST_US, _DIGITS)
        )

    @staticmethod
    def of(seconds: Sequence[float] | NDArray[np.float64]) -> Latencies:
        """The histogram of some latencies in seconds."""
        made = Latencies()
        micros = np.clip(np.rint(np.asarray(seconds) * 1e6), _LEAST_US, _MOST_US).astype(np.int64)
        for value, count in zip(*np.unique(micros, return_counts=True), strict=True):
            made._histogram.record_value(int(value), int(count))
        return made

    def add(self, other: Latencies) -> None:
        """Take over all of another one's."""
        self._histogram.add(other._histogram)

    def __len__(self) -> int:
        return int(self._histogram.get_total_count())

    def ms(self, percentile: float) -> float | None:
        """The value that `percentile` of 100 do not pass, in ms; None of an empty one."""
        if not len(self):
            return None
        return float(self._histogram.get_value_at_percentile(percentile)) / 1e3

    def encode(self) -> str:
        """As text, for `Latencies(text)`; the standard form of HdrHistogram's log files."""
        encoded: bytes = self._histogram.encode()
        return encoded.decode("ascii")
