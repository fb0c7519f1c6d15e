"""``holdfast route orders.csv``: orders planned together; and promised orders planned anew."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.cli import exits
from holdfast.cli.connecting import Session
from holdfast.cli.money import money, share
from holdfast.cli.printing import complain
from holdfast.cli.wave_page import wave_page
from holdfast.feeds.orders import OrderFile, read_orders
from holdfast.feeds.problems import FileProblem, RowProblem, shown
from holdfast.values.routing import (
    PlanStatus,
    WaveOrderResult,
    WavePlans,
    WaveProgress,
    WaveSource,
    WaveSummary,
)

ORDERS_SHOWN = 20
PROBLEMS_SHOWN = 20
_SOURCES = {
    WaveSource.UNSPECIFIED: "nothing to plan",
    WaveSource.SOLVER: "planned together",
    WaveSource.INTERRUPTED: "planned together until the solver ended",
    WaveSource.SEQUENTIAL: "planned one after another: no solver was free",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveWish:
    """What the command was told."""

    hold: bool
    ttl: float | None
    budget: float
    work: float | None
    seed: int
    gap: float
    delimiter: str
    request_id: str | None
    replan_nodes: Sequence[str]
    replan_services: Sequence[str]
    reevaluate: Sequence[str]
    saving_min: int
    plot: Path | None


def is_file_of_orders(lines: Sequence[str]) -> bool:
    """Whether the arguments are a file, and not SKUs."""
    return len(lines) == 1 and Path(lines[0]).suffix.lower() in (".csv", ".tsv", ".txt", ".parquet")


def route_wave(session: Session, file: str, wish: WaveWish) -> None:
    """Plan the wave, show it, and leave with ROWS_REFUSED where some of it has no plan. `file`: of
    new orders; "" for none."""
    if wish.plot is not None and wish.plot.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--plot {wish.plot}: a wave is drawn as one HTML file; name it .html")
    found = OrderFile(Path(file))
    if file:
        try:
            found = read_orders(Path(file), delimiter=wish.delimiter.replace("\\t", "\t"))
        except FileProblem as problem:
            complain(str(problem))
            raise typer.Exit(exits.USAGE) from None
    with _Bar(wish.budget, quiet=session.printer.as_json) as advance:
        planned = session.client.plan_orders(
            found.orders,
            budget=wish.budget,
            hold=wish.hold,
            ttl=wish.ttl,
            seed=wish.seed,
            work=wish.work,
            gap_enough=wish.gap / 100,
            reservation_ids=wish.reevaluate,
            replan_nodes=wish.replan_nodes,
            replan_carrier_services=wish.replan_services,
            saving_min_minor_units=wish.saving_min,
            progress=advance,
            progress_interval=0.2,
            request_id=wish.request_id,
        )
    problems = [*found.problems, *_without_plan(found, planned)]
    if wish.plot is not None:
        places = {node.node: node.place for node in session.client.nodes.list()}
        page = wave_page(planned, [order.destination for order in found.orders], places)
        wish.plot.write_text(page, encoding="utf-8")
    if session.printer.as_json:
        session.printer.json(
            {
                "summary": planned.summary,
                "results": [_plain(result) for result in planned.results],
                "problems": problems,
                "request_id": planned.request_id,
            }
        )
    else:
        _show(session, planned, wish)
        for one in problems[:PROBLEMS_SHOWN]:
            complain(str(one))
        if len(problems) > PROBLEMS_SHOWN:
            complain(f"and {len(problems) - PROBLEMS_SHOWN:,} more; --json tells all of them")
    if problems:
        raise typer.Exit(exits.ROWS_REFUSED)


def _without_plan(found: OrderFile, planned: WavePlans) -> list[RowProblem]:
    """Orders that were refused, by the row they begin in."""
    made = []
    for result in planned.results:
        if result.error is None:
            continue
        is_new = result.order < len(found.rows)
        row = found.rows[result.order] if is_new else 0
        field = f"order {shown(result.reservation_id)}"
        message = str(result.error)
        file = str(found.path) if is_new else "promised"
        made.append(RowProblem(file, row, field, "", result.error.reason, message))
    return made


def _plain(result: WaveOrderResult) -> dict[str, object]:
    error = result.error
    return {
        "order": result.order,
        "reservation_id": result.reservation_id,
        "plan": result.plan,
        "error": None
        if error is None
        else {
            "reason": error.reason,
            "message": error.message,
            "metadata": dict(error.metadata),
        },
        "rule_outcomes": result.rule_outcomes,
        "hold_for_review": result.hold_for_review,
        "held": result.held,
        "kept": result.kept,
        "replans": result.replans,
        "previous_cost_minor_units": result.previous_cost_minor_units,
        "previous_shipments": result.previous_shipments,
    }


class _Bar:
    """How far a wave is, on standard error, when a person looks at it."""

    def __init__(self, budget_s: float, *, quiet: bool) -> None:
        self._budget_ms = budget_s * 1_000
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task("reading", total=1.0, told="")

    def __enter__(self) -> Callable[[WaveProgress], None]:
        self._progress.start()
        return self._advance

    def _advance(self, made: WaveProgress) -> None:
        told = f"{made.orders_planned:,} of {made.orders:,} orders"
        if made.cost_minor_units:
            told += f", cost {money(made.cost_minor_units, '').strip()}"
        if made.bound_minor_units:
            told += f", at most {share(made.gap_ppm)} above the least"
        done = min(1.0, made.elapsed_ms / self._budget_ms)
        if made.phase == "holding" and made.orders:
            done = made.orders_planned / made.orders
        self._progress.update(self._task, description=made.phase, completed=done, told=told)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _show(session: Session, planned: WavePlans, wish: WaveWish) -> None:
    currency = planned.summary.currency_code
    shown_ones = [one for one in planned.results if one.plan is not None]
    session.printer.table(
        ("order", "from", "services", "parcels", "arrives by", "cost", "was", ""),
        [_row(one, currency) for one in shown_ones[:ORDERS_SHOWN]],
        title=f"The first {ORDERS_SHOWN} orders" if len(shown_ones) > ORDERS_SHOWN else "Orders",
    )
    for line in summary_lines(planned.summary, wish.hold):
        session.printer.line(line)
    if wish.hold and planned.request_id:
        session.printer.line(f"repeatable under --request-id {planned.request_id}")
    if wish.plot is not None:
        session.printer.line(f"drawn in {wish.plot}")


def _row(result: WaveOrderResult, currency: str) -> tuple[object, ...]:
    plan = result.plan
    assert plan is not None
    notes = [
        word
        for word, is_so in (
            ("held", result.held),
            (f"planned {result.replans + 1} times", bool(result.replans)),
            ("for review", result.hold_for_review),
        )
        if is_so
    ]
    return (
        result.reservation_id or result.order,
        " + ".join(
            f"{one.node} ({', '.join(f'{line.quantity} x {line.sku}' for line in one.lines)})"
            for one in plan.shipments
        ),
        ", ".join(dict.fromkeys(one.carrier_service or "pickup" for one in plan.shipments)),
        sum(len(one.parcels) for one in plan.shipments),
        plan.delivery_window.end_time,
        money(plan.cost_minor_units, currency),
        money(result.previous_cost_minor_units or None, currency),
        ", ".join(notes),
    )


def summary_lines(summary: WaveSummary, hold: bool) -> list[str]:
    """A wave in a few lines for people."""
    currency = summary.currency_code
    lines = [
        f"{summary.orders_planned:,} of {summary.orders:,} orders in {summary.shipments:,} "
        f"shipments for {money(summary.cost_minor_units, currency)}; {_SOURCES[summary.source]} "
        f"in {summary.elapsed_ms / 1000:.1f} s"
    ]
    if summary.status is PlanStatus.OPTIMAL:
        lines.append("proven: no plan of the wave is cheaper")
    elif summary.bound_minor_units:
        lines.append(f"at most {share(summary.gap_ppm)} above the cheapest there is")
    saved = summary.sequential_cost_minor_units - summary.wave_cost_minor_units
    if saved > 0:
        part = 1_000_000 * saved // max(1, summary.sequential_cost_minor_units)
        lines.append(
            f"one after another they would cost {money(saved, currency)} ({share(part)}) more"
        )
    if summary.orders_later:
        lines.append(f"{summary.orders_later:,} were planned after the wave, also on later days")
    if summary.orders_moved or summary.saving_minor_units:
        verb = "moved" if hold else "could move"
        lines.append(
            f"{summary.orders_moved:,} promised orders {verb}, saving "
            f"{money(summary.saving_minor_units, currency)} and {summary.shipments_saved} shipments"
        )
    if hold:
        lines.append(
            f"{summary.orders_held:,} held in {summary.holding_ms / 1000:.1f} s; "
            f"{summary.conflicts:,} times another order was faster"
        )
    return lines
