"""What opportunity prices count: where they are from, and what became of the solves they need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from server.metrics import Histogram
from server.routing.prices.source import PriceSettings

SOLVED: Final = "SOLVED"
OUTCOMES: Final = (SOLVED, "CRASHED", "HUNG", "UNSERVED")
"""Of a solve; those that failed are `server.application.solver_pool.NotPriced`."""
SOLVE_SECONDS: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class PriceMetrics:
    """Counters of one process."""

    def __init__(self, settings: PriceSettings) -> None:
        self._settings = settings
        self.seconds = {outcome: Histogram(SOLVE_SECONDS) for outcome in OUTCOMES}
        self.browned_out = 0
        """Solves that were due in a brown-out."""
        self.behind = 0
        """Solves left out because a newer one was due before they could begin."""
        self.positions = 0
        """Nodes and SKUs with a dual price."""

    def solved(self, outcome: str, seconds: float) -> None:
        """A solve has ended."""
        self.seconds[outcome].observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """All families as they stand."""
        settings = self._settings
        source = GaugeMetricFamily(
            "holdfast_routing_prices",
            "Always 1: what opportunity prices do, and where they are from.",
            labels=["mode", "source"],
        )
        source.add_metric([settings.mode.value, settings.source.value], 1)
        yield source
        seconds = HistogramMetricFamily(
            "holdfast_routing_price_solve_seconds",
            "Time from when dual prices were due until they were there, or not, by why.",
            labels=["outcome"],
        )
        for outcome, histogram in self.seconds.items():
            seconds.add_metric([outcome], histogram.buckets(), histogram.total)
        yield seconds
        left_out = CounterMetricFamily(
            "holdfast_routing_price_solves_left_out",
            "Solves of dual prices that were due and not begun, by why.",
            labels=["reason"],
        )
        left_out.add_metric(["browned_out"], self.browned_out)
        left_out.add_metric(["behind"], self.behind)
        yield left_out
        yield GaugeMetricFamily(
            "holdfast_routing_price_positions",
            "Nodes and SKUs that have a dual price.",
            self.positions,
        )
