"""Bid prices that pace: each unit sold raises its position's price, time lowers it again.

Owns: `PacedPrices`.

A position's stock is to last until its horizon, when it is replenished. If it sold evenly it would
sell ``available / remaining time`` of it in a unit of time; the price falls as if that much was
sold, and each unit that is sold raises it:

    raise of a unit    step = scale / (evenness x root of what is available)
    fall in a time t   step x available x t / remaining time

so a position that sells faster than its stock lasts becomes dear, and orders that have another
choice leave it to those who have not. This is dual descent with one sample (Talluri and van Ryzin
1998; Balseiro, Lu and Mirrokni 2023): no forecast, no program to solve, O(1) a reservation.

Two guards:
- **Must fill.** Only differences between nodes count: `opportunity_cost` takes the least price of
  an item, over the nodes that have it, from all of its prices. A price never speaks against
  selling at all.
- **A short horizon.** Prices count on the stock lasting for `caution` percent of the horizon only.
  Stock kept for orders that do not come costs more than a price that is too low.

Prices count in 1/FINENESS of a minor unit; what leaves here is whole minor units. All of it whole
numbers: the same reservations, the same prices.

Invariants
1. A price is from 0 to ``scale x FINENESS``.
2. ``updated_ms`` of a position never goes back.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.compiled import Integer, kernel
from engine.routing.errors import ProblemError, whole
from engine.routing.tariff import Integers
from engine.routing.view import View

FINENESS: Final = 256

scale_max: Final = 10_000_000
"""Greatest price of a unit in minor units: times `_AVAILABLE_MOST` it must fit 64 bits."""
_AVAILABLE_MOST: Final = 1_000_000
_SHARE: Final = 20  # bits of a part of the horizon

# Where the settings lie.
_SCALE: Final = 0
_EVENNESS: Final = 1
_CAUTION: Final = 2
_SETTINGS: Final = 3


class PacedPrices:
    """Prices of P positions. The caller knows what is available; times are its milliseconds."""

    def __init__(
        self,
        positions: int,
        *,
        scale: int,
        evenness_percent: int = 400,
        caution_percent: int = 80,
    ) -> None:
        """`scale`: what shipping from elsewhere costs more at most, about; no price goes above it.

        `evenness_percent`: how unevenly orders come; the more, the slower prices move.
        `caution_percent`: part of the horizon that is counted on.
        """
        self.settings = np.array(
            [
                whole("scale", scale, dimensions=0, least=1, most=scale_max),
                whole("evenness_percent", evenness_percent, dimensions=0, least=1, most=10_000),
                whole("caution_percent", caution_percent, dimensions=0, least=1, most=100),
            ],
            np.int64,
        )
        if positions < 1:
            raise ProblemError("positions", "must be at least 1")
        self.price = np.zeros(positions, np.int64)
        self.updated_ms = np.zeros(positions, np.int64)
        self.horizon_ms = np.zeros(positions, np.int64)
        self._view = View(
            {
                "price": self.price,
                "updated_ms": self.updated_ms,
                "horizon_ms": self.horizon_ms,
                "settings": self.settings,
            }
        )

    def begin(self, positions: Any, now_ms: int, horizon_ms: int) -> None:
        """Stock has come that is to last until `horizon_ms`: prices start from nothing."""
        if horizon_ms <= now_ms:
            raise ProblemError("horizon_ms", f"is {horizon_ms}, not after {now_ms}")
        self.price[positions] = 0
        self.updated_ms[positions] = now_ms
        self.horizon_ms[positions] = horizon_ms

    def reserved(self, position: int, units: int, available: int, now_ms: int) -> None:
        """`units` have been taken; `available`: what there was before. O(1)."""
        _reserve(self._view, position, units, available, now_ms)

    def opportunity_cost(self, positions: Any, available: Any, now_ms: int) -> Integers:
        """(N, L) what a unit costs beyond the cheapest node of its line, minor units. O(N L).

        positions: (N, L) rows of the prices, -1 where a node does not know the item.
        available: (N, L) units there.
        """
        rows = whole("positions", positions, dimensions=2, least=-1, most=len(self.price) - 1)
        there = whole("available", available, shape=rows.shape, least=0)
        cost = np.zeros(rows.shape, np.int64)
        _read(self._view, rows, there, cost, now_ms)
        return cost


@kernel
def _root(value: Integer) -> Integer:
    """Whole square root, by Newton's steps."""
    root = value
    better = (value + 1) >> 1
    while better < root:
        root = better
        better = (root + value // root) >> 1
    return root


@kernel
def _step(b: Any, available: Integer) -> Integer:
    """What a unit sold adds to the price."""
    scale = b.settings[_SCALE] * FINENESS
    # The root in hundredths, so that the steps of small stocks differ.
    return scale * 10_000 // (b.settings[_EVENNESS] * _root(10_000 * (1 + available)))


@kernel
def _price_at(b: Any, position: Integer, available: Integer, now_ms: Integer) -> Integer:
    """The price after it has fallen until `now_ms`, in 1/FINENESS of a minor unit."""
    price = b.price[position]
    since = b.updated_ms[position]
    remaining = (b.horizon_ms[position] - since) * b.settings[_CAUTION] // 100
    passed = max(0, now_ms - since)
    if passed >= remaining:
        return 0
    there = min(available, _AVAILABLE_MOST)
    share = (passed << _SHARE) // remaining
    whole_fall = _step(b, there) * there
    return max(0, price - ((whole_fall >> 10) * share >> (_SHARE - 10)))


@kernel
def _reserve(
    b: Any, position: Integer, units: Integer, available: Integer, now_ms: Integer
) -> None:
    there = min(available, _AVAILABLE_MOST)
    price = _price_at(b, position, available, now_ms)
    most = b.settings[_SCALE] * FINENESS
    step = _step(b, there)
    b.price[position] = most if units >= most // step + 1 else min(most, price + units * step)
    b.updated_ms[position] = max(b.updated_ms[position], now_ms)


@kernel
def _read(b: Any, rows: Any, available: Any, cost: Any, now_ms: Integer) -> None:
    for line in range(rows.shape[1]):
        least = -1
        for node in range(rows.shape[0]):
            if rows[node, line] < 0 or available[node, line] == 0:
                continue
            price = _price_at(b, rows[node, line], available[node, line], now_ms)
            cost[node, line] = price
            if least < 0 or price < least:
                least = price
        for node in range(rows.shape[0]):
            if rows[node, line] >= 0 and available[node, line] > 0:
                cost[node, line] = (cost[node, line] - least) // FINENESS
