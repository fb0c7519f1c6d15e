"""Gauges of the ledger, read when Prometheus asks; and the rolling check for oversell.

Checking every position at every scrape would cost more than it tells. Each scrape looks at the next
slice instead, so that a ledger of a million positions is gone through every few minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from engine import tables
from engine.compiled import Integer, kernel
from engine.positions import available
from engine.state import State
from server.application.flight import BatchReport
from server.application.gateway import Gateway
from server.application.memory_claim import MemoryClaim
from server.application.piece_queue import CLASS_NAMES
from server.application.watch import WatchHub
from server.metrics import Metrics
from server.transport.scan import movements_untold
from server.transport.table_use import table_use

_CHECKED_AT_ONCE = 200_000


@kernel
def _oversold(st: Any, start: int, stop: int) -> Integer:
    found = 0
    for row in range(start, stop):
        if available(st, row) < 0 and not st.positions[row].flags & tables.SHORT:
            found += 1
    return found


def count_oversold(state: State, start: int, stop: int) -> int:
    """Positions that promise more than they have, without a count that revealed it."""
    return int(_oversold(state.tables, start, stop))


def idempotency_window_ms(state: State) -> int:
    """Ledger time since the oldest answer that is still remembered; 0 when there is none."""
    oldest, following = (int(state.meta[name][0]) for name in ("request_oldest", "request_next"))
    if oldest == following:
        return 0
    answers = state.arrays["request_outcomes"]
    return state.now_ms - int(answers["now_ms"][oldest & (len(answers) - 1)])


class LedgerMetrics:
    """What the ledger tells Prometheus."""

    def __init__(
        self, gateway: Gateway, hub: WatchHub, metrics: Metrics, memory_claim: MemoryClaim
    ) -> None:
        self._gateway = gateway
        self._memory_claim = memory_claim
        self._hub = hub
        self._metrics = metrics
        self._checked_row = 0
        self._checked = 0
        self._oversold = 0
        self._passed = 0
        metrics.add_gauges(self.families)

    def note_batch(self, report: BatchReport) -> None:
        """Count a durable batch."""
        metrics = self._metrics
        metrics.batch_commands.observe(report.commands)
        metrics.batch_bytes += report.record_bytes
        metrics.queue_seconds.observe(report.queue_ms / 1e3)
        metrics.apply_seconds.observe(report.apply_ms / 1e3)
        metrics.journal_seconds.observe(report.journal_ms / 1e3)
        if report.expired:
            metrics.expiry_lag_seconds.observe(report.expiry_lag_ms / 1e3)

    def _check(self, state: State) -> None:
        """Look at the next slice of positions."""
        count = int(state.meta["position_count"][0])
        start = self._checked_row if self._checked_row < count else 0
        stop = min(count, start + _CHECKED_AT_ONCE)
        if start == 0:
            self._oversold, self._passed = 0, self._oversold
        self._oversold += count_oversold(state, start, stop)
        self._checked += stop - start
        self._checked_row = stop

    def families(self) -> Iterator[Metric]:
        """Everything about the ledger, as it stands."""
        sequencer = self._gateway.sequencer
        phase = GaugeMetricFamily(
            "holdfast_serving", "1 while the server takes commands, 0 otherwise."
        )
        serving = sequencer is not None and sequencer.status.value == "serving"
        phase.add_metric([], float(serving and self._gateway.phase.value == "serving"))
        yield phase
        standby = self._gateway.standby
        yield GaugeMetricFamily(
            "holdfast_standby",
            "1 while the server follows the journal of another one, 0 otherwise.",
            float(standby is not None),
        )
        if standby is not None:
            yield GaugeMetricFamily(
                "holdfast_standby_behind_seconds",
                "How long ago a standby had applied all of the journal.",
                standby.behind_s(),
            )
            yield GaugeMetricFamily(
                "holdfast_standby_behind_records",
                "Records of the journal that a standby had not applied when it last asked.",
                float(standby.records_behind),
            )
        yield GaugeMetricFamily(
            "holdfast_memory_claim_left_bytes",
            "Memory of the tables that claim_memory is still to ask the system for.",
            float(self._memory_claim.left_bytes),
        )
        yield GaugeMetricFamily(
            "holdfast_watches", "Streams of WatchAvailability.", float(len(self._hub))
        )
        if sequencer is None:
            if standby is not None:
                yield from self._of_state(standby.state)
            return
        yield GaugeMetricFamily(
            "holdfast_queue_commands",
            "Commands that wait for the ledger.",
            float(sequencer.commands_waiting),
        )
        age = GaugeMetricFamily(
            "holdfast_queue_age_seconds",
            "How long the oldest waiting command has waited.",
            labels=["class"],
        )
        for name, seconds in zip(CLASS_NAMES, sequencer.queue_ages_s(), strict=True):
            age.add_metric([name], seconds)
        yield age
        yield GaugeMetricFamily(
            "holdfast_journal_age_seconds",
            "How long the oldest batch has been on its way into the journal.",
            sequencer.flight_age_s(),
        )
        window_ms = sequencer.journal.loss_window_ms
        yield GaugeMetricFamily(
            "holdfast_journal_loss_window_seconds",
            "How old an answer may be and still be lost in a power cut; 0: none, +Inf: no bound.",
            float("inf") if window_ms is None else window_ms / 1e3,
        )
        yield from self._of_state(sequencer.state)

    def _of_state(self, state: State) -> Iterator[Metric]:
        meta = state.meta[0]
        self._check(state)
        yield CounterMetricFamily("holdfast_revision", "Commands applied.", float(state.revision))
        yield GaugeMetricFamily(
            "holdfast_ledger_time_seconds", "The ledger's time.", state.now_ms / 1e3
        )
        yield GaugeMetricFamily(
            "holdfast_idempotency_window_seconds",
            "Age of the oldest answer still remembered: how far back a repeat is recognised.",
            idempotency_window_ms(state) / 1e3,
        )
        yield GaugeMetricFamily(
            "holdfast_movements_untold",
            "Movements that are kept, but whose request_id and reference are forgotten.",
            float(movements_untold(state)),
        )
        reservations = GaugeMetricFamily(
            "holdfast_reservations", "Reservations kept, by state.", labels=["state"]
        )
        reservations.add_metric(["held"], float(meta["held_count"]))
        reservations.add_metric(["confirmed"], float(meta["confirmed_count"]))
        reservations.add_metric(["ended"], float(meta["terminal_count"]))
        yield reservations
        yield GaugeMetricFamily(
            "holdfast_positions", "Positions recorded.", float(meta["position_count"])
        )
        yield GaugeMetricFamily(
            "holdfast_expiry_due_seconds",
            "How long the earliest open hold is past its time; 0 when none is.",
            _due_ms(state, self._gateway.now_ms()) / 1e3,
        )
        yield GaugeMetricFamily(
            "holdfast_oversold_positions",
            "Positions that promise more than they have, unexplained by any count. Must be 0.",
            float(max(self._oversold, self._passed)),
        )
        yield GaugeMetricFamily(
            "holdfast_short_units",
            "Units promised that a count or a supply later found missing.",
            float(meta["short_units"]),
        )
        use = GaugeMetricFamily(
            "holdfast_limit_used", "Use of the ledger's tables.", labels=["limit"]
        )
        most = GaugeMetricFamily(
            "holdfast_limit_maximum", "Room of the ledger's tables.", labels=["limit"]
        )
        for name, maximum, used in table_use(state):
            use.add_metric([name], float(used))
            most.add_metric([name], float(maximum))
        yield from (use, most)
        for name, text, value in (
            ("expired_holds", "Holds that expired.", meta["expired_count"]),
            ("shortage_refusals", "Creates refused for lack of something.", meta["shortage_count"]),
            (
                "evicted_reservations",
                "Ended reservations whose room was needed.",
                meta["evicted_count"],
            ),
            ("oversell_checks", "Positions looked at by the rolling check.", self._checked),
        ):
            yield CounterMetricFamily(f"holdfast_{name}", text, float(value))


def _due_ms(state: State, now_ms: int) -> int:
    if state.meta["heap_count"][0] == 0:
        return 0
    return max(0, now_ms - int(state.arrays["heap"]["expire_ms"][0]))
