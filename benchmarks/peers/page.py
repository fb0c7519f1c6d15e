"""Puts the table of a run into docs/performance.md, between its two marks."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

from benchmarks.peers.results import UNIFORM, WORKLOADS, Results

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
OURS = ("holdfast_sqlite", "holdfast_redis")
THEIRS = ("service_redis", "service_postgres")


def table(results: Results) -> list[str]:
    """The table, a row each, in Markdown."""
    lines = [
        "| | " + " | ".join(f"orders/s, {w} | p50 ms | p99 ms | core-ms" for w in WORKLOADS) + " |",
        "|---|" + "--:|--:|--:|--:|" * len(WORKLOADS),
    ]
    for name in (*OURS, *THEIRS):
        cells = [results.titles[name]]
        for workload in WORKLOADS:
            speed = results.orders_per_second(name, workload)
            cells += [
                speed.show(",.0f"),
                f"{results.median(name, workload, 'p50_ms'):.1f}",
                f"{results.median(name, workload, 'p99_ms'):.1f}",
                f"{results.median(name, workload, 'core_ms_per_order'):.2f}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def ratios(results: Results) -> list[str]:
    """How ours stand to theirs, round by round."""
    lines = [
        "| times as many | "
        + " | ".join(f"orders/s, {w} | per core, {w}" for w in WORKLOADS)
        + " |",
        "|---|" + "--:|--:|" * len(WORKLOADS),
    ]
    for ours in OURS:
        for theirs in THEIRS:
            cells = [f"{results.titles[ours]} : {results.titles[theirs]}"]
            for workload in WORKLOADS:
                cells.append(results.ratio(ours, theirs, workload).show(".1f"))
                cells.append(results.core_ratio(ours, theirs, workload).show(".1f"))
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def section(
    results: Results, *, rounds: int, seconds: float, load: float, figures: dict[str, float]
) -> str:
    """All that stands between the marks. `load` is the machine's load average before the run."""
    journals = results.ratio("holdfast_redis", "holdfast_sqlite", UNIFORM)
    direct = figures.get("journal_redis_bulk_reservations_per_second")
    lines = [
        BEGIN,
        "",
        f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} by `make bench-peers`: "
        f"{_machine()}; load average {load:.1f} before the run. Driver and servers share the "
        f"cores; {rounds} rounds of {seconds:g} s each, all contestants in turn. The median round, "
        "and in brackets the least and the greatest. Core-ms: processor time of an order in all "
        "processes of the server, store included. Most of it is gRPC, in Python, which all four "
        "have alike.",
        "",
        "![Orders a second, uniform and on one hot SKU](img/peers.svg)",
        "",
        *table(results),
        "",
        *ratios(results),
        "",
        *(f"- {results.titles[name]}: {results.described[name]}" for name in results.titles),
        "",
        f"`CreateReservation` with the journal in Redis reaches {journals.show('.2f')} of what it "
        "does with SQLite (target 0.80).",
    ]
    if direct is not None:
        lines.append(
            f"Fed directly, without gRPC, the writer made {direct:,.0f} reservations a second "
            "durable in Redis in its best round (target 150,000; `benchmarks.journal`)."
        )
    return "\n".join([*lines, "", END])


def write(page: Path, text: str) -> None:
    """Put `text` in the place of what stands between the marks; make the page if there is none."""
    if not page.exists():
        page.write_text(f"# Performance\n\n## Against what a shop would build\n\n{BEGIN}\n{END}\n")
    before = page.read_text()
    if BEGIN not in before or END not in before:
        raise RuntimeError(f"{page} has no {BEGIN} ... {END}")
    head, _, rest = before.partition(BEGIN)
    page.write_text(head + text + rest.partition(END)[2])


def _machine() -> str:
    name = "a processor unknown"
    told = Path("/proc/cpuinfo")
    if told.exists():
        lines = [line for line in told.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return (
        f"{os.cpu_count()} cores of {name}, {platform.system()}, Python {platform.python_version()}"
    )
