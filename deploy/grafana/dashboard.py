"""Writes deploy/grafana/dashboards/holdfast.json: ``python deploy/grafana/dashboard.py``.

Panels are told here in a line or two each; what Grafana wants besides is the same for all of them.
Its data source has the uid `prometheus`, as deploy/grafana/provisioning gives it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "dashboards/holdfast.json"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH = 24
_I = '{instance=~"$instance"}'
_GOOD, _WARN, _BAD = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it asks (expression and legend), its unit, and how large it is."""

    title: str
    asks: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    help: str = ""
    steps: Sequence[tuple[str, float | None]] = field(default=())
    """Colours from which value on; None: from the lowest."""
    is_stacked: bool = False
    is_logarithmic: bool = False
    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What a value is called, and its colour."""


def _quantile(metric: str, quantile: str, by: str = "") -> str:
    groups = f"{by}, le" if by else "le"
    return (
        f"histogram_quantile({quantile}, "
        f"sum by ({groups}) (rate({metric}_bucket{_I}[$__rate_interval])))"
    )


def _rate(metric: str, by: str, selector: str = "") -> str:
    inside = f'{{instance=~"$instance"{selector}}}'
    return f"sum by ({by}) (rate({metric}{inside}[$__rate_interval]))"


_ZERO_IS_GOOD = ((_GOOD, None), (_BAD, 1.0))
_SERVES = {"0": ("does not serve", _BAD), "1": ("serves", _GOOD)}

ROWS: list[tuple[str, list[Panel]]] = [
    (
        "Is it well?",
        [
            Panel(
                "Serving",
                [("max(holdfast_serving)", "")],
                kind="stat",
                width=4,
                height=5,
                values=_SERVES,
                help="1 while some server takes commands",
            ),
            Panel(
                "Oversold positions",
                [(f"max(holdfast_oversold_positions{_I})", "")],
                kind="stat",
                width=4,
                height=5,
                steps=_ZERO_IS_GOOD,
                help="Must be 0. Runbook: HoldfastOversold",
            ),
            Panel(
                "Balances that differ",
                [(f"max(holdfast_verification_differences{_I})", "")],
                kind="stat",
                width=4,
                height=5,
                steps=_ZERO_IS_GOOD,
                help="Must be 0. Runbook: HoldfastBalancesDiffer",
            ),
            Panel(
                "Answered, last hour",
                [("1 - job:holdfast_calls_unanswered:ratio_rate1h", "")],
                "percentunit",
                kind="stat",
                width=4,
                height=5,
                steps=((_BAD, None), (_WARN, 0.986), (_GOOD, 0.999)),
                help="Objective 99.9 % over 30 days",
            ),
            Panel(
                "Within 100 ms, last hour",
                [("1 - job:holdfast_calls_slow:ratio_rate1h", "")],
                "percentunit",
                kind="stat",
                width=4,
                height=5,
                steps=((_BAD, None), (_WARN, 0.856), (_GOOD, 0.99)),
                help="Holds, confirms and cancels. Objective 99 % over 30 days",
            ),
            Panel(
                "An answer may still be lost for",
                [(f"max(holdfast_journal_loss_window_seconds{_I})", "")],
                "s",
                kind="stat",
                width=4,
                height=5,
                steps=((_GOOD, None), (_BAD, 0.001)),
                help="In a power cut. 0: the journal syncs before each answer",
            ),
            Panel(
                "Burn rate of the availability budget",
                [
                    (f"job:holdfast_calls_unanswered:ratio_rate{window} / 0.001", window)
                    for window in ("5m", "1h", "6h", "3d")
                ],
                width=12,
                help="1 uses up 0.1 % in just 30 days; 14.4 over 1h and 5m wakes somebody",
            ),
            Panel(
                "Burn rate of the latency budget",
                [
                    (f"job:holdfast_calls_slow:ratio_rate{window} / 0.01", window)
                    for window in ("5m", "1h", "6h", "3d")
                ],
                width=12,
                help="1 uses up 1 % in just 30 days",
            ),
        ],
    ),
    (
        "Calls",
        [
            Panel(
                "Calls a second, by method",
                [(_rate("holdfast_calls_total", "method"), "{{method}}")],
                "reqps",
                is_stacked=True,
                width=12,
            ),
            Panel(
                "Calls a second, by code",
                [(_rate("holdfast_calls_total", "code"), "{{code}}")],
                "reqps",
                is_stacked=True,
                width=12,
            ),
            Panel(
                "p99 inside the server, by method",
                [(_quantile("holdfast_call_seconds", "0.99", "method"), "{{method}}")],
                "s",
                is_logarithmic=True,
                width=12,
            ),
            Panel(
                "Refusals a second, by reason",
                [(_rate("holdfast_refusals_total", "reason"), "{{reason}}")],
                "reqps",
                is_stacked=True,
                width=12,
            ),
            Panel(
                "Calls under way", [(f"sum by (method) (holdfast_calls_open{_I})", "{{method}}")]
            ),
            Panel(
                "Items of streams and bulks a second",
                [(_rate("holdfast_call_items_total", "method"), "{{method}}")],
            ),
            Panel("Watches", [(f"sum by (instance) (holdfast_watches{_I})", "{{instance}}")]),
        ],
    ),
    (
        "The ledger's queue",
        [
            Panel(
                "Age of the oldest waiting command, by class",
                [(f"max by (class) (holdfast_queue_age_seconds{_I})", "{{class}}")],
                "s",
                help="Reservations are refused from 250 ms on",
            ),
            Panel(
                "Commands waiting",
                [(f"sum by (instance) (holdfast_queue_commands{_I})", "{{instance}}")],
            ),
            Panel(
                "Commands in a batch",
                [
                    (_quantile("holdfast_batch_commands", "0.5"), "p50"),
                    (_quantile("holdfast_batch_commands", "0.99"), "p99"),
                ],
                is_logarithmic=True,
            ),
            Panel(
                "Where a batch's time goes, p99",
                [
                    (_quantile("holdfast_queue_seconds", "0.99"), "waiting"),
                    (_quantile("holdfast_apply_seconds", "0.99"), "applying"),
                    (_quantile("holdfast_journal_seconds", "0.99"), "journal"),
                ],
                "s",
                is_logarithmic=True,
            ),
            Panel(
                "Age of the batch on its way into the journal",
                [(f"max by (instance) (holdfast_journal_age_seconds{_I})", "{{instance}}")],
                "s",
            ),
            Panel(
                "Journal, bytes a second",
                [(_rate("holdfast_journal_bytes_total", "instance"), "{{instance}}")],
                "Bps",
            ),
        ],
    ),
    (
        "Overload: what is let in, and what is shed",
        [
            Panel(
                "Calls under way, by class, and the limit",
                [
                    (f"sum by (class) (holdfast_admission_in_flight{_I})", "{{class}}"),
                    (f"max by (instance) (holdfast_admission_limit{_I})", "limit {{instance}}"),
                ],
                width=12,
                help="Each class is let in while all of them fill less than its share of the limit",
            ),
            Panel(
                "Calls shed a second, by class and what stood against it",
                [(_rate("holdfast_shed_total", "class, limit"), "{{class}}: {{limit}}")],
                "reqps",
                is_stacked=True,
                width=12,
                help="Settle (confirm, cancel) should never be here. Runbook: HoldfastConfirmsShed",
            ),
            Panel(
                "Calls let in a second, by class",
                [(_rate("holdfast_admitted_total", "class"), "{{class}}")],
                "reqps",
                is_stacked=True,
            ),
            Panel(
                "Part of the time that the event loop is busy",
                [(f"max by (instance) (holdfast_loop_busy_ratio{_I})", "{{instance}}")],
                "percentunit",
                help="Near 1 gRPC's core sheds before Python sees the call",
            ),
            Panel(
                "Tolerated before the limit falls",
                [(f"max by (instance) (holdfast_admission_tolerated_seconds{_I})", "{{instance}}")],
                "s",
            ),
            Panel(
                "Brown-out",
                [(f"max by (instance) (holdfast_brownout{_I})", "{{instance}}")],
                help="1 while cheaper answers are given",
            ),
            Panel(
                "Answers in their cheaper form a second",
                [
                    (_rate("holdfast_degraded_answers_total", "instance"), "degraded"),
                    (_rate("holdfast_sold_out_early_total", "instance"), "sold out, told early"),
                ],
                "reqps",
            ),
            Panel(
                "Callers of the last seconds",
                [(f"max by (instance) (holdfast_callers{_I})", "{{instance}}")],
            ),
            Panel(
                "Beyond a quota a second, by quota",
                [(_rate("holdfast_quota_refusals_total", "quota"), "{{quota}}")],
                "reqps",
                is_stacked=True,
                width=12,
            ),
            Panel(
                "Certificates read anew, last hour",
                [
                    (f"sum(increase(holdfast_certificate_reloads_total{_I}[1h]))", "taken"),
                    (
                        f"sum(increase(holdfast_certificate_reload_failures_total{_I}[1h]))",
                        "refused",
                    ),
                ],
                width=12,
            ),
        ],
    ),
    (
        "Waiting queues",
        [
            Panel(
                "Places",
                [(f"sum by (queue, state) (holdfast_places{_I})", "{{queue}}: {{state}}")],
                is_stacked=True,
            ),
            Panel(
                "Joined and called a second",
                [
                    (_rate("holdfast_places_joined_total", "queue"), "{{queue}}: joined"),
                    (_rate("holdfast_places_called_total", "queue"), "{{queue}}: called"),
                ],
            ),
            Panel(
                "Ended a second, by how",
                [(_rate("holdfast_places_ended_total", "queue, how"), "{{queue}}: {{how}}")],
                is_stacked=True,
                help="passed: a turn that was not used; abandoned: nobody asked for it",
            ),
            Panel(
                "Streams of places",
                [(f"sum by (queue) (holdfast_place_streams{_I})", "{{queue}}")],
                width=24,
                height=5,
            ),
        ],
    ),
    (
        "Routing",
        [
            Panel(
                "Time in the solver, by method and answer",
                [
                    (
                        _quantile("holdfast_routing_solve_seconds", "0.5", "method, status"),
                        "{{method}} {{status}} p50",
                    ),
                    (
                        _quantile("holdfast_routing_solve_seconds", "0.99", "method, status"),
                        "{{method}} {{status}} p99",
                    ),
                ],
                "s",
                is_logarithmic=True,
                width=12,
            ),
            Panel(
                "Orders solved a second, by method and answer",
                [
                    (
                        _rate("holdfast_routing_solve_seconds_count", "method, status"),
                        "{{method}} {{status}}",
                    )
                ],
                "reqps",
                is_stacked=True,
                width=12,
            ),
            Panel(
                "Promises and replans a second",
                [
                    (_rate("holdfast_routing_promises_total", "instance"), "promised"),
                    (_rate("holdfast_routing_replans_total", "instance"), "planned again"),
                ],
                "reqps",
            ),
            Panel(
                "Conflicts a second, by reason",
                [(_rate("holdfast_routing_conflicts_total", "reason"), "{{reason}}")],
                "reqps",
                is_stacked=True,
                help="A plan could not be held because another order was faster",
            ),
            Panel(
                "Above the cheapest plan at most, p99",
                [(_quantile("holdfast_routing_gap_share", "0.99"), "")],
                "percentunit",
                help="0: every plan was proven to be the cheapest",
            ),
            Panel(
                "Shipments of a promise",
                [
                    (_quantile("holdfast_routing_shipments", "0.5"), "p50"),
                    (_quantile("holdfast_routing_shipments", "0.99"), "p99"),
                ],
            ),
            Panel(
                "Cost of a promise, minor units",
                [
                    (_quantile("holdfast_routing_cost_minor_units", "0.5"), "p50"),
                    (_quantile("holdfast_routing_cost_minor_units", "0.99"), "p99"),
                ],
            ),
            Panel(
                "Orders planned with prices a second, and how much dearer",
                [
                    (
                        _rate("holdfast_routing_priced_orders_total", "changed"),
                        "changed: {{changed}}",
                    ),
                    (
                        _rate("holdfast_routing_priced_dearer_minor_units_total", "instance"),
                        "minor units",
                    ),
                ],
                help="What keeping stock for later orders costs now",
            ),
            Panel(
                "Dual prices solved a second, by what became of them",
                [
                    (
                        _rate("holdfast_routing_price_solve_seconds_count", "outcome"),
                        "{{outcome}}",
                    ),
                    (
                        _rate("holdfast_routing_price_solves_left_out_total", "reason"),
                        "left out: {{reason}}",
                    ),
                ],
                help="Whatever is not SOLVED leaves the prices there are",
            ),
            Panel(
                "Dual prices: seconds a solve, p99, and positions with a price",
                [
                    (
                        _quantile("holdfast_routing_price_solve_seconds", "0.99"),
                        "seconds",
                    ),
                    (f"sum(holdfast_routing_price_positions{_I})", "positions"),
                ],
            ),
            Panel(
                "Where prices are from, and what they do",
                [
                    (
                        f"sum by (mode, source) (holdfast_routing_prices{_I})",
                        "{{source}} {{mode}}",
                    )
                ],
            ),
            Panel(
                "Decisions kept, and findings in the network",
                [
                    (f"sum(holdfast_routing_decisions_kept{_I})", "decisions"),
                    (f"max(holdfast_routing_network_findings{_I})", "findings"),
                ],
                help="Findings should be 0. Runbook: HoldfastNetworkUnusable",
            ),
        ],
    ),
    (
        "Stock and holds",
        [
            Panel("Reservations", [(f"sum by (state) (holdfast_reservations{_I})", "{{state}}")]),
            Panel(
                "Holds that expire a second",
                [(_rate("holdfast_expired_holds_total", "instance"), "{{instance}}")],
            ),
            Panel(
                "How late holds are released",
                [
                    (_quantile("holdfast_expiry_lag_seconds", "0.99"), "p99 of batches"),
                    (f"max(holdfast_expiry_due_seconds{_I})", "the earliest open one"),
                ],
                "s",
            ),
            Panel(
                "Refused for lack of stock a second",
                [(_rate("holdfast_shortage_refusals_total", "instance"), "{{instance}}")],
            ),
            Panel(
                "Units promised and missing",
                [(f"max by (instance) (holdfast_short_units{_I})", "{{instance}}")],
            ),
            Panel("Positions", [(f"max by (instance) (holdfast_positions{_I})", "{{instance}}")]),
        ],
    ),
    (
        "Room",
        [
            Panel(
                "Tables, used",
                [
                    (
                        f"max by (limit) (holdfast_limit_used{_I} / holdfast_limit_maximum{_I})",
                        "{{limit}}",
                    )
                ],
                "percentunit",
                width=12,
                help="Rings and reservations_max are full in normal life",
            ),
            Panel(
                "How far back a repeated request is recognised",
                [(f"min by (instance) (holdfast_idempotency_window_seconds{_I})", "{{instance}}")],
                "s",
                width=12,
            ),
            Panel(
                "Memory",
                [(f"max by (instance) (process_resident_memory_bytes{_I})", "{{instance}}")],
                "bytes",
            ),
            Panel(
                "Processor",
                [(_rate("process_cpu_seconds_total", "instance"), "{{instance}}")],
                help="Cores",
            ),
            Panel("Open files", [(f"max by (instance) (process_open_fds{_I})", "{{instance}}")]),
        ],
    ),
    (
        "Standby and verification",
        [
            Panel(
                "Standby, behind",
                [(f"max by (instance) (holdfast_standby_behind_seconds{_I})", "{{instance}}")],
                "s",
            ),
            Panel(
                "Revision", [(f"max by (instance) (holdfast_revision_total{_I})", "{{instance}}")]
            ),
            Panel(
                "Since the last verification",
                [(f"max by (instance) (holdfast_verification_age_seconds{_I})", "{{instance}}")],
                "s",
            ),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """The whole of it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1},
            }
        )
        y += 1
        x = height = 0
        for panel in row:
            if x + panel.width > _WIDTH:
                x, y, height = 0, y + height, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            panels.append(_panel(panel, len(panels) + 1, place))
            x += panel.width
            height = max(height, panel.height)
        y += height
    return {
        "uid": "holdfast",
        "title": "Holdfast",
        "tags": ["holdfast"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_instances()]},
        "annotations": {"list": [_alerts()]},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps = panel.steps or (((_GOOD, None),) if panel.kind == "stat" else ())
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if steps:
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": colour, "value": value} for colour, value in steps],
        }
    if panel.values:
        defaults["mappings"] = [
            {
                "type": "value",
                "options": {
                    value: {"text": text, "color": colour, "index": at}
                    for at, (value, (text, colour)) in enumerate(panel.values.items())
                },
            }
        ]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend or "__auto",
            }
            for at, (expression, legend) in enumerate(panel.asks)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
    if panel.kind == "stat":
        made["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background",
            "graphMode": "none",
            "textMode": "value",
        }
        return made
    defaults["custom"] = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if panel.is_stacked else 8,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "scaleDistribution": (
            {"type": "log", "log": 10} if panel.is_logarithmic else {"type": "linear"}
        ),
    }
    if panel.is_logarithmic:
        del defaults["min"]
    made["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def _instances() -> dict[str, Any]:
    query = "label_values(holdfast_serving, instance)"
    return {
        "name": "instance",
        "label": "Server",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "instances"},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", alertname=~"Holdfast.*"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}} {{instance}}",
    }


def text() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
