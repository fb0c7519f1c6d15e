"""Dual prices, solved anew from the orders that really came: no forecast.

Owns: `DualPrices`.

The last orders are taken as the sample of those still to come: if `n` came in a time, as many come
in as long a time until the horizon, when stock is replenished. Every `every` orders the prices of
what is left are worked out from there (`solving`), beginning at the last ones. This is the dynamic
learning of Agrawal, Wang and Ye (2014) with the re-solving of Jasin and Sinha (2015).

Three guards:
- **Must fill.** Only differences between nodes count: `opportunity_cost` takes the least price of
  an item, over the nodes that have it, from all of its prices.
- **A price has a limit**, `scale`: what shipping from elsewhere costs more.
- **A far horizon counts less.** A price counts for `caution` percent of itself where all of the
  horizon is still to come, for all of itself at its end. At the exact dual prices many orders are
  as cheap by one plan as by another, and a price that is a little too high sends them far for
  nothing: lowering it costs little where it is right, and saves much where it, or the horizon, is
  wrong. Where there is plenty, prices are nothing by themselves.

Orders are kept over a `begin`: the next horizon starts from what is known.

Invariants
1. A price is from 0 to ``scale x FINENESS``.
2. Times never go back.
3. Between two solves an order costs O(1), and reading its prices O(N L).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np

from engine.routing.errors import ProblemError, whole
from engine.routing.prices.duals.counting import beyond_cheapest, part_at
from engine.routing.prices.duals.solving import Sample
from engine.routing.prices.pacing import scale_max
from engine.routing.tariff import Integers
from engine.routing.waves.wave import WaveOrder

sample_max: Final = 5_000
"""Greatest number of orders a sample keeps."""

SAMPLE: Final = 400
EVERY: Final = 50
ROUNDS: Final = 20
CAUTION_PERCENT: Final = 75
"""What docs/decisions/0027 chose; `DualPrices` says what each is."""


class DualPrices:
    """Prices of N nodes x K items; times are the caller's milliseconds."""

    def __init__(
        self,
        nodes: int,
        items: int,
        *,
        scale: int,
        sample: int = SAMPLE,
        every: int = EVERY,
        rounds: int = ROUNDS,
        caution_percent: int = CAUTION_PERCENT,
    ) -> None:
        """`scale`: what shipping from elsewhere costs more at most, about; no price goes above it.

        `sample`: how many of the last orders stand for those to come; `every`: orders between two
        solves; `rounds`: looks at each of the sample in one; `caution_percent`: what counts of a
        price at the beginning of a horizon.
        """
        self._scale = int(whole("scale", scale, dimensions=0, least=1, most=scale_max))
        kept = int(whole("sample", sample, dimensions=0, least=1, most=sample_max))
        self._every = int(whole("every", every, dimensions=0, least=1, most=sample_max))
        self._rounds = int(whole("rounds", rounds, dimensions=0, least=1, most=1_000))
        self._caution = int(
            whole("caution_percent", caution_percent, dimensions=0, least=0, most=100)
        )
        for field, count in (("nodes", nodes), ("items", items)):
            if count < 1:
                raise ProblemError(field, "must be at least 1")
        self._due = np.zeros((nodes, items))
        self.price: Integers = np.zeros((nodes, items), np.int64)
        """(N, K) in 1/`waves.memory.FINENESS` of a minor unit."""
        self._sample: deque[tuple[WaveOrder, int]] = deque(maxlen=kept)
        self._since_ms = self._begin_ms = self._horizon_ms = self._now_ms = 0
        self._new = 0
        self.work_s = 0.0
        """Counted work of all solves; the same for the same orders."""

    def begin(self, now_ms: int, horizon_ms: int) -> None:
        """Stock has come that is to last until `horizon_ms`: no price until the next solve."""
        if horizon_ms <= now_ms:
            raise ProblemError("horizon_ms", f"is {horizon_ms}, not after {now_ms}")
        self._pass(now_ms)
        if not self._sample:
            self._since_ms = now_ms
        self._begin_ms, self._horizon_ms = now_ms, horizon_ms
        self._due[:] = 0
        self.price[:] = 0
        # What is known already may be used with the first order.
        self._new = self._every if self._sample else 0

    def ordered(self, order: WaveOrder, now_ms: int) -> None:
        """An order has come, whatever became of it. O(1).

        Raises ProblemError for one that does not fit the prices or the orders before it.
        """
        self._pass(now_ms)
        if self._sample:
            before = self._sample[0][0].problem.tariff.services
            if order.problem.tariff.services != before:
                raise ProblemError("order", f"has other services than the {before} before it")
        for field, places, most in (
            ("node", order.node, self.price.shape[0]),
            ("item", order.item, self.price.shape[1]),
        ):
            whole(field, places, dimensions=1, most=most - 1)
        if len(self._sample) == self._sample.maxlen:
            # The sample is what came after the one that leaves it.
            self._since_ms = self._sample[0][1]
        self._sample.append((order, now_ms))
        self._new += 1

    @property
    def is_due(self) -> bool:
        """Whether it is time to solve."""
        return self._new >= self._every

    def solve(self, stock: Any, now_ms: int) -> None:
        """Work the prices out for `stock`, (N, K) units left. O(sample x rounds) searches."""
        left = whole("stock", stock, shape=self.price.shape)
        self._pass(now_ms)
        self._new = 0
        to_come_ms, seen_ms = self._horizon_ms - now_ms, now_ms - self._since_ms
        if to_come_ms <= 0 or seen_ms <= 0 or not self._sample:
            self._due[:] = 0
            self.price[:] = 0
            return
        sample = Sample([order for order, _ in self._sample], left)
        self._due = sample.ascend(
            self._due,
            weight=to_come_ms / seen_ms,
            price_max=self._scale,
            rounds=self._rounds,
        )
        self.price = np.rint(self._due).astype(np.int64)
        self.work_s += sample.work_s

    def opportunity_cost(self, node: Any, item: Any, available: Any, now_ms: int) -> Integers:
        """(N, L) what a unit costs beyond the cheapest node of its line, minor units.

        node, item: (N,) and (L,) places of an order's nodes and lines among the prices.
        available: (N, L) units there; a node with none has no price.
        """
        nodes = whole("node", node, dimensions=1, most=self.price.shape[0] - 1)
        items = whole("item", item, dimensions=1, most=self.price.shape[1] - 1)
        there = whole("available", available, shape=(len(nodes), len(items)), least=0) > 0
        return beyond_cheapest(
            self.price[np.ix_(nodes, items)],
            there,
            price_max=self._scale,
            part=part_at(
                now_ms,
                begin_ms=self._begin_ms,
                horizon_ms=self._horizon_ms,
                caution_percent=self._caution,
            ),
        )

    def _pass(self, now_ms: int) -> None:
        if now_ms < self._now_ms:
            raise ProblemError("now_ms", f"is {now_ms}, before {self._now_ms}")
        self._now_ms = now_ms
