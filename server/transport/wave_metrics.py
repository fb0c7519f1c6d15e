"""What waves count: answers by where they are from, times, gaps, orders; and the solvers' fates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from server.application.solver_pool import Solved, SolverPool, Source
from server.metrics import Histogram
from server.routing.metrics import GAP_SHARES

WAVE_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


class WaveMetrics:
    """Counters of one process."""

    def __init__(self, pool: SolverPool) -> None:
        self._pool = pool
        self._seconds = {source: Histogram(WAVE_SECONDS) for source in Source}
        self._gap = Histogram(GAP_SHARES)
        self._orders = dict.fromkeys(("planned", "held", "moved", "refused"), 0)
        self.under_way = 0
        self.refused = 0
        """Waves that were more than may be under way."""
        self._conflicts = 0

    def solved(self, solved: Solved, seconds: float) -> None:
        """A wave was planned."""
        self._seconds[solved.source].observe(seconds)
        if solved.answer.bound:
            self._gap.observe(solved.answer.gap)

    def ended(self, summary: Any) -> None:
        """A wave has ended with this WaveSummary."""
        self._orders["planned"] += summary.orders_planned
        self._orders["held"] += summary.orders_held
        self._orders["moved"] += summary.orders_moved
        self._orders["refused"] += summary.orders - summary.orders_planned
        self._conflicts += summary.conflicts

    def collect(self) -> Iterable[Metric]:
        """All families as they stand."""
        counts = self._pool.counts
        seconds = HistogramMetricFamily(
            "holdfast_wave_solve_seconds",
            "Time until a wave's answer, by where it is from.",
            labels=["source"],
        )
        for source, histogram in self._seconds.items():
            seconds.add_metric([source.value], histogram.buckets(), histogram.total)
        yield seconds
        gap = HistogramMetricFamily(
            "holdfast_wave_gap_share",
            "How far a wave's answer may be above the cheapest at most, as a share of the bound.",
        )
        gap.add_metric([], self._gap.buckets(), self._gap.total)
        yield gap
        orders = CounterMetricFamily(
            "holdfast_wave_orders", "Orders of waves, by what became of them.", labels=["outcome"]
        )
        for outcome, count in self._orders.items():
            orders.add_metric([outcome], count)
        yield orders
        ends = CounterMetricFamily(
            "holdfast_solver_ends",
            "Solvers' processes that were replaced, by why.",
            labels=["reason"],
        )
        for reason in ("crashed", "hung", "recycled"):
            ends.add_metric([reason], getattr(counts, reason))
        yield ends
        without = CounterMetricFamily(
            "holdfast_waves_without_solver",
            "Waves that no solver worked on, by why.",
            labels=["reason"],
        )
        for reason in ("unserved", "browned_out"):
            without.add_metric([reason], getattr(counts, reason))
        yield without
        for name, text, value in (
            (
                "holdfast_wave_conflicts",
                "Plans of waves that could not be held at first because the ledger had moved on.",
                self._conflicts,
            ),
            (
                "holdfast_waves_refused",
                "Waves refused because as many as may be were under way.",
                self.refused + counts.refused,
            ),
            ("holdfast_solver_starts", "Solvers' processes started.", counts.started),
        ):
            yield CounterMetricFamily(name, text, value)
        for name, text, value in (
            ("holdfast_waves_under_way", "Waves being read, planned or held.", self.under_way),
            ("holdfast_waves_waiting", "Waves that wait for a solver.", self._pool.waiting),
            (
                "holdfast_solvers",
                "Solvers' processes that are ready or at work.",
                len(self._pool.pids),
            ),
            ("holdfast_solvers_idle", "Solvers' processes that wait for a wave.", self._pool.idle),
        ):
            yield GaugeMetricFamily(name, text, value)
