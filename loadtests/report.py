"""Writes what a run came to: one page that needs nothing else, and the same as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from loadtests.charts import charts
from loadtests.measures import MEASURES
from loadtests.plots import legend
from loadtests.recording import ANSWERED, FAILED, HELD_BACK, LATE, REFUSED
from loadtests.result import Result, answered_in, latencies_of

_HERE = Path(__file__).parent
_PERCENTILES = (50, 90, 99, 99.9)
_REASONS_SHOWN = 14


def write(result: Result, folder: Path) -> Path:
    """Write report.html and report.json into `folder`; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    page.write_text(html(result))
    (folder / "report.json").write_text(json.dumps(as_json(result), indent=1) + "\n")
    return page


def html(result: Result) -> str:
    """The page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((_HERE / "report.html.j2").read_text())
    missed = result.missed()
    bars = len(result.scenario.bars)
    when = datetime.fromtimestamp(result.start_unix_s, UTC)
    return template.render(
        result=result,
        # Our own file and our own drawings: markup, not text.
        style=Markup((_HERE / "report.css").read_text()),
        missed=missed,
        verdict=f"{len(missed)} of {bars} bars missed" if missed else f"all {bars} bars reached",
        when=f"{when:%Y-%m-%d %H:%M} UTC",
        cards=_cards(result),
        bars=_bars(result),
        charts=[
            {
                "title": chart.title,
                "drawing": Markup(chart.svg()),
                "legend": Markup(legend(chart.series)),
            }
            for chart in charts(result)
        ],
        phases=_phases(result),
        percentiles=_PERCENTILES,
        latencies=_latencies(result),
        reasons=_reasons(result),
        verdict_lines=_verdict_lines(result),
        measures=[
            {"name": name, "value": each.show(result.measured[name]), "meaning": each.meaning}
            for name, each in MEASURES.items()
        ],
        again=f"make load SCENARIO={result.scenario.name}"
        + (" LOAD_ARGS=--quick" * result.is_quick),
    )


def as_json(result: Result) -> dict[str, Any]:
    """The same for programs."""
    return {
        **result.line(),
        "title": result.scenario.title,
        "is_quick": result.is_quick,
        "machine": result.machine,
        "start_unix_s": result.start_unix_s,
        "acknowledged": result.verdict.acknowledged,
        "commands": result.verdict.commands,
        "measured": result.measured,
        "bars": _bars(result),
        "phases": _phases(result),
        "latencies_ms": _latencies(result),
        "reasons": _reasons(result),
        "notes": result.notes,
        "faults": result.verdict.faults,
        "series": {
            chart.title: {series.name: list(series.points) for series in chart.series}
            for chart in charts(result)
        },
        "histograms": {
            f"{result.scenario.phases[phase].name}/{step}": latencies.encode()
            for (phase, step), latencies in result.recording.by_phase.items()
            if phase < len(result.scenario.phases)
        },
    }


def _cards(result: Result) -> list[dict[str, str]]:
    told = result.measured
    recording = result.recording
    ended = recording.outcomes()
    answered = sum(ended[outcome] for outcome in ANSWERED)
    cards = [
        ("calls answered", f"{answered:,}", f"of {ended.total():,} that were due"),
    ]
    if told["peak_goodput"] is not None:
        hint = f"calls; {told['capacity'] or 0:,.0f} where callers wait for each other"
        cards.append(("peak", f"{told['peak_goodput']:,.0f}/s", hint))
    if told["goodput_10x"] is not None:
        hint = f"goodput at 10x; the generators made {told['offered_multiple_max'] or 0:.1f}x"
        cards.append(("at ten times", f"{told['goodput_10x']:.0%}", hint))
    heard = f"from when they were due{', by the witness' if result.witness else ''}"
    for name, key, form, hint in (
        ("p99 of holds served", "admitted_p99_ms", "{:,.0f} ms", heard),
        ("recovered after", "recovery_seconds", "{:.0f} s", "of the last overload"),
        ("confirms", "confirm_success", "{:.2%}", "of holds that had not expired"),
        ("sold", "sold_share", "{:.2%}", "of the hot SKU"),
    ):
        value = told[key]
        if value is not None and not (key == "sold_share" and result.scenario.shop.units > 10**6):
            cards.append((name, form.format(value), hint))
    cards.append(("oversold", f"{told['oversold_units'] or 0:,.0f}", "units"))
    cards.append(
        ("answers lost", f"{told['lost_acknowledgements'] or 0:,.0f}", "held to the journal")
    )
    return [{"name": name, "value": value, "hint": hint} for name, value, hint in cards]


def _bars(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "measure": bar.measure,
            "measured": MEASURES[bar.measure].show(result.measured[bar.measure]),
            "wanted": bar.wanted(),
            "is_reached": bar.is_reached(result.measured[bar.measure]),
            "meaning": MEASURES[bar.measure].meaning,
        }
        for bar in result.scenario.bars
    ]


def _phases(result: Result) -> list[dict[str, Any]]:
    recording = result.recording
    rows = []
    for at, (phase, planned) in enumerate(
        zip(result.scenario.phases, result.stretches, strict=True)
    ):
        seconds, first, last = planned
        outcomes = recording.outcomes({at})
        answered = answered_in(recording, {at}) / seconds
        lag = recording.lag_by_phase.get(at)
        peak = result.measured["peak_goodput"] if result.capacity else 0.0
        cores = _cores_in_use(result, at)
        begun, used_us = recording.begun_by_phase[at], recording.core_us_by_phase[at]
        rate = f"{first:,.0f}" + ("" if first == last else f" to {last:,.0f}")
        rows.append(
            {
                "name": phase.name,
                "cells": [
                    f"{seconds:g}",
                    rate,
                    f"{begun / seconds:,.0f}",
                    f"{answered:,.0f}",
                    f"{answered / peak:.0%}" if peak else "",
                    f"{outcomes[REFUSED] / seconds:,.0f}",
                    f"{outcomes[HELD_BACK] / seconds:,.0f}",
                    f"{(outcomes[LATE] + outcomes[FAILED]) / seconds:,.0f}",
                    f"{lag.ms(99):,.1f}" if lag else "",
                    f"{cores:.2f}",
                    f"{cores / answered * 1e6:,.0f}" if answered else "",
                    f"{used_us / seconds / 1e6:.2f}" if used_us else "",
                    f"{used_us / begun:,.0f}" if used_us and begun else "",
                ],
            }
        )
    return rows


def _cores_in_use(result: Result, phase: int) -> float:
    """Cores that the servers had on average; one that was started in between counts from then."""
    starts = result.scenario.starts_s()
    begin = starts[result.scenario.phases[phase].name]
    end = begin + result.stretches[phase][0]
    seen = [sample for sample in result.samples if begin <= sample.at_s <= end]
    pairs = list(pairwise(seen))
    used = sum(max(0.0, after.core_seconds - before.core_seconds) for before, after in pairs)
    return used / sum(after.at_s - before.at_s for before, after in pairs) if pairs else 0.0


def _latencies(result: Result) -> list[dict[str, Any]]:
    rows = []
    for at, phase in enumerate(result.scenario.phases):
        for step in sorted({step for number, step in result.recording.by_phase if number == at}):
            for who, latencies in latencies_of(result, at, step):
                values = [f"{latencies.ms(each):,.1f}" for each in (*_PERCENTILES, 100)]
                rows.append(
                    {
                        "phase": phase.name,
                        "step": f"{step} ({who})" if who else step,
                        "cells": [f"{len(latencies):,}", *values],
                    }
                )
    return rows


def _reasons(result: Result) -> list[dict[str, str]]:
    return [
        {
            "step": step,
            "outcome": outcome.replace("_", " "),
            "reason": reason,
            "count": f"{count:,}",
        }
        for (step, outcome, reason), count in result.recording.reasons.most_common(_REASONS_SHOWN)
    ]


def _verdict_lines(result: Result) -> dict[str, str]:
    verdict = result.verdict
    return {
        "journal": f"The journal was replayed: {verdict.commands:,} commands to revision "
        f"{verdict.revision:,}.",
        "acknowledged": f"{verdict.acknowledged:,} reservations that callers were told of were "
        f"looked up in it: {verdict.lost_acknowledgements:,} missing or otherwise.",
        "refused": f"{verdict.refused_for_stock:,} holds were refused for lack of stock: "
        f"{verdict.unsold_while_refused:,} of them while there was enough.",
        "verified": f"The running server recomputed every balance: "
        f"{result.verification_differences:,} differ. Clients retried "
        f"{result.recording.retries:,} calls; {result.recording.asked_again:,} confirms were asked "
        "once more.",
    }
