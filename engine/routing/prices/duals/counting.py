"""What dual prices count for in the cost of an order's plans.

Only differences between the nodes of an item count, so that no price speaks against selling; and
the farther the end of the horizon, the less of them (`engine.routing.prices.duals.prices` says
why). Whole numbers throughout: the same prices, the same cost.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.routing.tariff import Integers
from engine.routing.waves.memory import FINENESS

_PART: Final = 20  # bits of a part of a price


def part_at(now_ms: int, *, begin_ms: int, horizon_ms: int, caution_percent: int) -> int:
    """What counts of a price, in 2^-20: `caution_percent` of it at the beginning of a horizon, all
    of it at the end, nothing after it."""
    if now_ms >= horizon_ms:
        return 0
    passed, horizon = max(0, now_ms - begin_ms), horizon_ms - begin_ms
    return ((caution_percent * (horizon - passed) + 100 * passed) << _PART) // (100 * horizon)


def beyond_cheapest(
    price: Integers, there: NDArray[np.bool_], *, price_max: int, part: int
) -> Integers:
    """(N, L) what a unit costs beyond the cheapest node of its line, minor units.

    price: (N, L) in 1/`waves.memory.FINENESS` of a minor unit, none above `price_max` minor units.
    there: (N, L) whether a node has units; one that has none costs nothing. part: see `part_at`.
    """
    least = np.where(there, price, price_max * FINENESS).min(axis=0)
    cost: Integers = np.where(there, price - least, 0) * part // (FINENESS << _PART)
    return cost
