"""What verifications of the ledger lead to: metrics, log lines, the end of a shard that fails one.

A difference means that the state in memory is not what its own records say. Nothing may be sold by
it any more: the shard stops for good, and a state read anew from the journal takes over.

Callers: `server.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from server import logs
from server.application.gateway import Gateway
from server.application.sequencer import Sequencer
from server.application.verifier import VerificationReport, Verifier, state_of
from server.metrics import SECONDS, Histogram, Metrics
from server.transport.names import Names

_log = logs.get("verification")

_DIFFERENCES_LOGGED = 20


class Verifications:
    """The verifications of this server's ledger."""

    def __init__(self, gateway: Gateway, metrics: Metrics, *, interval_ms: int) -> None:
        """`interval_ms` lies between two passes; 0: only those that are asked for."""
        self._gateway = gateway
        self._interval_ms = interval_ms
        self._finished = 0
        self._not_finished = 0
        self._differences = 0
        self._seconds = 0.0
        self._fresh_ms = gateway.now_ms()
        self._pauses = Histogram(SECONDS)
        metrics.add_gauges(self.families)

    def begin(self, sequencer: Sequencer) -> None:
        """The ledger serves: verify it from now on, the first time at once."""
        verifier = Verifier(
            partial(state_of, sequencer),
            interval_ms=self._interval_ms,
            on_report=lambda report: self._heard(sequencer, report),
            on_failure=self._failed,
            on_slice=self._pauses.observe,
        )
        self._fresh_ms = self._gateway.now_ms()
        self._gateway.verifier = verifier
        verifier.start()

    async def close(self) -> None:
        """End what is under way."""
        if self._gateway.verifier is not None:
            await self._gateway.verifier.close()

    def _failed(self, reason: str) -> None:
        self._not_finished += 1
        _log.warning("verification not finished", reason=reason)

    def _heard(self, sequencer: Sequencer, report: VerificationReport) -> None:
        self._finished += 1
        self._differences = len(report.differences)
        self._seconds = report.seconds
        self._fresh_ms = self._gateway.now_ms()
        if not report.differences:
            return  # a line for each sound pass would tell nobody anything; metrics count them
        names = Names(report.state)
        for each in report.differences[:_DIFFERENCES_LOGGED]:
            _log.error(
                "a balance is not what its sources say",
                position=names.position(each.position).label,
                field=each.field,
                stored=each.stored,
                recomputed=each.recomputed,
                revision=report.revision,
            )
        first = report.differences[0]
        sequencer.violate(
            f"INVARIANT_VIOLATED: {first.field} of {names.position(first.position).label} is "
            f"{first.stored}, recomputed {first.recomputed}; balances that are not what their "
            f"sources say: {len(report.differences)}"
        )

    def families(self) -> Iterator[Metric]:
        """Everything about verifications."""
        yield CounterMetricFamily(
            "holdfast_verifications", "Verifications that came to their end.", float(self._finished)
        )
        yield CounterMetricFamily(
            "holdfast_verification_failures",
            "Verifications that did not: they were overtaken, or found what a second look did not.",
            float(self._not_finished),
        )
        yield GaugeMetricFamily(
            "holdfast_verification_differences",
            "Balances that the last verification found not to be what their sources say. Must be "
            "0: the server stops when it is not.",
            float(self._differences),
        )
        age_s = 0.0
        if self._interval_ms and self._gateway.verifier is not None:
            age_s = (self._gateway.now_ms() - self._fresh_ms) / 1e3
        yield GaugeMetricFamily(
            "holdfast_verification_age_seconds",
            "How long ago the last verification ended, or the server began to serve; 0 where none "
            "is scheduled.",
            age_s,
        )
        yield GaugeMetricFamily(
            "holdfast_verification_seconds", "How long the last verification took.", self._seconds
        )
        pauses = HistogramMetricFamily(
            "holdfast_verification_pause_seconds",
            "How long each slice of a verification kept the ledger from other work.",
        )
        pauses.add_metric([], self._pauses.buckets(), self._pauses.total)
        yield pauses
