"""What routing counts: solve times, gaps, splits, costs, conflicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from engine.routing.plan import Status
from engine.routing.solver import Strategy
from server.metrics import Histogram
from server.routing.prices.comparison import Opportunity

# Upper bounds: from a look at one node to a search that was cut.
SOLVE_SECONDS: Final = (
    *(0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005),
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
)
GAP_SHARES: Final = (0.0, 0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
COSTS: Final = (250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0, 32000.0)
SHIPMENTS: Final = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)


class RoutingMetrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[Strategy, Status], Histogram] = {}
        self._gap = Histogram(GAP_SHARES)
        self._shipments = Histogram(SHIPMENTS)
        self._cost = Histogram(COSTS)
        self.conflicts: dict[str, int] = {}
        self.replans = 0
        self.promises = 0
        self.priced = {False: 0, True: 0}
        self.priced_dearer_by = 0
        self.decisions_kept = 0
        self.findings = 0

    def solved(
        self, strategy: Strategy, status: Status, nanoseconds: int, gap: float | None
    ) -> None:
        """One order was planned. `gap`: None where there is no plan."""
        seconds = self._seconds.get((strategy, status))
        if seconds is None:
            seconds = self._seconds[strategy, status] = Histogram(SOLVE_SECONDS)
        seconds.observe(nanoseconds / 1e9)
        if gap is not None:
            self._gap.observe(gap)

    def promised(self, shipments: int, cost: int) -> None:
        """A plan is held."""
        self.promises += 1
        self._shipments.observe(shipments)
        self._cost.observe(cost)

    def compared(self, found: Opportunity) -> None:
        """An order was planned with opportunity prices too."""
        self.priced[found.changes_plan] += 1
        self.priced_dearer_by += max(0, found.dearer_by)

    def conflict(self, reason: str) -> None:
        """Another order was faster."""
        self.conflicts[reason] = self.conflicts.get(reason, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """All families as they stand."""
        seconds = HistogramMetricFamily(
            "holdfast_routing_solve_seconds",
            "Time in the solver for one order, by its strategy and by what its answer is.",
            labels=["method", "status"],
        )
        for (strategy, status), histogram in self._seconds.items():
            labels = [strategy.name.lower(), status.value]
            seconds.add_metric(labels, histogram.buckets(), histogram.total)
        yield seconds
        for name, text, histogram in (
            (
                "holdfast_routing_gap_share",
                "How far the best plan may be above the cheapest at most, as a share of it.",
                self._gap,
            ),
            ("holdfast_routing_shipments", "Shipments of a promised order.", self._shipments),
            (
                "holdfast_routing_cost_minor_units",
                "Cost of a promised order in minor units.",
                self._cost,
            ),
        ):
            family = HistogramMetricFamily(name, text)
            family.add_metric([], histogram.buckets(), histogram.total)
            yield family
        conflicts = CounterMetricFamily(
            "holdfast_routing_conflicts",
            "Plans that could not be held because the ledger had moved on, by reason.",
            None,
            ["reason"],
        )
        for reason, count in sorted(self.conflicts.items()):
            conflicts.add_metric([reason], count)
        yield conflicts
        yield CounterMetricFamily(
            "holdfast_routing_promises", "Orders promised or planned anew.", self.promises
        )
        yield CounterMetricFamily(
            "holdfast_routing_replans",
            "Times an order was planned again because of a conflict.",
            self.replans,
        )
        priced = CounterMetricFamily(
            "holdfast_routing_priced_orders",
            "Orders planned with opportunity prices and without, by whether the plans differ.",
            None,
            ["changed"],
        )
        for changed, count in self.priced.items():
            priced.add_metric([str(changed).lower()], count)
        yield priced
        yield CounterMetricFamily(
            "holdfast_routing_priced_dearer_minor_units",
            "What the plans with opportunity prices cost more, prices left out, all together.",
            self.priced_dearer_by,
        )
        yield GaugeMetricFamily(
            "holdfast_routing_decisions_kept",
            "Decisions that can be explained and replayed.",
            self.decisions_kept,
        )
        yield GaugeMetricFamily(
            "holdfast_routing_network_findings",
            "What the network's documents say that routing can not use; the log names each.",
            self.findings,
        )
