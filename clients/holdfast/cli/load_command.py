"""The command ``holdfast load``: files of nodes, items, stock and the rest of the network."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from holdfast.cli import exits
from holdfast.cli.connecting import Session, connected
from holdfast.cli.printing import complain
from holdfast.feeds.kinds import FeedKind
from holdfast.feeds.loading import LoadReport, PreparedFile, load, prepare
from holdfast.feeds.problems import FileProblem, RowProblem
from holdfast.feeds.stock import ROWS_PER_CHUNK
from holdfast.values.inventory import ShortfallPolicy

PROBLEMS_SHOWN = 20


@connected
def load_files(
    session: Session,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            show_default=False,
            help="CSV or Parquet, the header says what it is; YAML for the network.",
        ),
    ],
    kind: Annotated[
        FeedKind | None, typer.Option(help="What the files hold; default: by their header.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help="What separates the columns of CSV.")] = ",",
    shortfall_policy: Annotated[
        ShortfallPolicy,
        typer.Option(case_sensitive=False, help="What to do with promises a count does not cover."),
    ] = ShortfallPolicy.REPORT,
    again: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="Load a file once more that was loaded before, as a count of its own.",
        ),
    ] = "",
    problems: Annotated[
        Path | None,
        typer.Option(help="Write every refused row here, as CSV, instead of showing the first."),
    ] = None,
    rows_per_chunk: Annotated[int, typer.Option(min=1, max=50_000, hidden=True)] = ROWS_PER_CHUNK,
) -> None:
    """Load nodes, items and stock from CSV or Parquet, carriers, channels and rules from YAML.

    Good rows land, bad ones are named by file, row and field (exit code 6). A load that broke off
    goes on where it stopped when it is started again; a file that is already there is not counted
    twice. Nodes: node, display_name, type, country_code, postal_code, ... Items: sku,
    display_name, weight_grams, ... Stock: sku, node, on_hand and, if you like, as_of_time.
    """
    separator = delimiter.replace("\\t", "\t")
    if len(separator) != 1:
        raise typer.BadParameter("the delimiter is one character", param_hint="--delimiter")
    if len(again.encode()) > 16:
        raise typer.BadParameter("at most 16 bytes", param_hint="--again")
    try:
        prepared = [prepare(path, kind=kind, delimiter=separator) for path in files]
        # Stock and the network name nodes and items: these come first, whatever the order of the
        # arguments.
        prepared.sort(key=lambda file: list(FeedKind).index(file.kind))
        with _ProblemList(problems) as complaints:
            reports = [
                _load_one(session, file, complaints, shortfall_policy, rows_per_chunk, again)
                for file in prepared
            ]
    except FileProblem as problem:
        complain(str(problem))
        raise typer.Exit(exits.USAGE) from None
    if session.printer.as_json:
        session.printer.json(
            {
                "files": [report for report, _ in reports],
                "seconds": [round(seconds, 3) for _, seconds in reports],
                "problems": complaints.shown,
            }
        )
    else:
        _summarize(session, reports, complaints)
    if complaints.total:
        raise typer.Exit(exits.ROWS_REFUSED)


class _ProblemList:
    """Collects refused rows: the first for the screen, all of them into a file if asked."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.total = 0
        self.shown: list[RowProblem] = []

    def __enter__(self) -> _ProblemList:
        import csv

        self._file = self.path.open("w", newline="", encoding="utf-8") if self.path else None
        self._writer = csv.writer(self._file) if self._file else None
        if self._writer:
            self._writer.writerow(["file", "row", "field", "value", "reason", "message"])
        return self

    def add(self, problem: RowProblem) -> None:
        """Note one."""
        self.total += 1
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(problem)
        if self._writer:
            self._writer.writerow(
                [
                    problem.file,
                    problem.row,
                    problem.field,
                    problem.value,
                    problem.reason,
                    problem.message,
                ]
            )

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def _load_one(
    session: Session,
    prepared: PreparedFile,
    complaints: _ProblemList,
    shortfall_policy: ShortfallPolicy,
    rows_per_chunk: int,
    again: str,
) -> tuple[LoadReport, float]:
    started = time.perf_counter()
    report = LoadReport(str(prepared.path), prepared.kind)
    with _bar(prepared, quiet=session.printer.as_json) as advance:
        for report in load(
            session.client,
            prepared,
            report_problem=complaints.add,
            shortfall_policy=shortfall_policy,
            rows_per_chunk=rows_per_chunk,
            again=again,
        ):
            advance(report)
    return report, time.perf_counter() - started


class _bar:
    """A progress bar on standard error, when a person looks at it."""

    def __init__(self, prepared: PreparedFile, *, quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task(prepared.path.name, total=1.0, rows=0)

    def __enter__(self) -> Callable[[LoadReport], None]:
        self._progress.start()
        return self._advance

    def _advance(self, report: LoadReport) -> None:
        self._progress.update(self._task, completed=report.done, rows=report.rows_applied)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _summarize(
    session: Session, reports: list[tuple[LoadReport, float]], complaints: _ProblemList
) -> None:
    for report, seconds in reports:
        text = f"{report.file}: {report.rows_applied:,} rows of {report.kind} applied"
        if report.rows_refused:
            text += f", {report.rows_refused:,} refused"
        if report.chunks_skipped and not report.rows_applied:
            text += " (the server has this file already; --again WORD counts it anew)"
        elif report.chunks_skipped:
            text += f", {report.chunks_skipped:,} chunks of an earlier run kept"
        if report.shortfall_rows:
            text += f"; {report.shortfall_rows:,} positions promise more than was counted"
        rate = report.rows_applied / seconds if seconds > 0 else 0.0
        session.printer.line(f"{text} in {seconds:.1f} s ({rate:,.0f} rows/s)")
    for problem in complaints.shown:
        complain(str(problem))
    if complaints.total > len(complaints.shown):
        rest = complaints.total - len(complaints.shown)
        where = f"; all are in {complaints.path}" if complaints.path else "; see --problems FILE"
        complain(f"and {rest:,} more refused rows{where}")
