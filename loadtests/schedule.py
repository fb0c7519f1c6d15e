"""When journeys begin: phases of a given rate as moments in time, before anything runs.

The number of arrivals until t is a curve, the running sum of the rate; an arrival process of rate 1
put through its inverse is one of the wanted rate (Cinlar, 1975: inversion). With steps of exactly 1
the arrivals are even, with exponential steps they are Poisson's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some seconds in which the rate goes evenly from `first` to `last` arrivals a second."""

    seconds: float
    first: float
    last: float

    @property
    def arrivals(self) -> float:
        """How many are to be expected."""
        return self.seconds * (self.first + self.last) / 2


def arrival_times(
    stretches: Sequence[Stretch],
    *,
    is_poisson: bool,
    seed: int,
    part: int = 0,
    parts: int = 1,
) -> NDArray[np.float64]:
    """Seconds from the start at which journeys begin, ascending: those of one generator of `parts`.

    Together the parts have the wanted rates: a part of an even process is every `parts`-th arrival,
    a part of a Poisson process is one of a `parts`-th of the rate.
    """
    total = sum(stretch.arrivals for stretch in stretches)
    if is_poisson:
        chance = np.random.default_rng([seed, part])
        mean = total / parts
        # Six deviations more than are needed on average: the last one lies beyond the end.
        most = int(mean + 6 * np.sqrt(mean) + 16)
        counts = np.cumsum(chance.exponential(parts, most))
        while counts[-1] < total:
            counts = np.concatenate([counts, counts[-1] + np.cumsum(chance.exponential(parts, 64))])
    else:
        counts = np.arange(part, total, parts, dtype=np.float64)
    return inverse(stretches, counts[counts < total])


def inverse(stretches: Sequence[Stretch], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The moments at which the running number of arrivals reaches `counts`, ascending."""
    times = np.empty(len(counts))
    at = 0.0
    begun = 0.0
    for stretch in stretches:
        end = begun + stretch.arrivals
        mine = (counts >= begun) & (counts < end)
        wanted = counts[mine] - begun
        slope = (stretch.last - stretch.first) / stretch.seconds
        if slope == 0:
            times[mine] = at + wanted / (stretch.first or 1.0)
        else:
            # first * t + slope * t^2 / 2 = wanted, solved for t without cancellation.
            root = np.sqrt(np.maximum(stretch.first**2 + 2 * slope * wanted, 0.0))
            times[mine] = at + 2 * wanted / np.maximum(stretch.first + root, 1e-12)
        at += stretch.seconds
        begun = end
    return times
