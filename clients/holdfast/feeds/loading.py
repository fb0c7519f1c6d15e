"""Loads files into a server: nodes and items in batches, stock as a resumable feed, the rest of the
network one resource after another.

Invariants
1. Good rows land whatever is wrong with others; every other row is reported exactly once.
2. A load that is repeated, after a crash or on purpose, applies nothing twice: batches and chunks
   are named after the file's digest and their number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.calls.feed import ChunkResult
from holdfast.errors import FailedPrecondition, InvalidRequest, NotFound
from holdfast.feeds.kinds import FeedKind, kind_of, open_table
from holdfast.feeds.network_file import SUFFIXES, NetworkFile
from holdfast.feeds.problems import FileProblem, RowProblem, shown
from holdfast.feeds.records import ITEM_COLUMNS, NODE_COLUMNS, Records, item_of, node_of
from holdfast.feeds.scan import Scan, scan
from holdfast.feeds.stock import ROWS_PER_CHUNK, StockRows
from holdfast.sync.client import Client
from holdfast.sync.resources import Resources
from holdfast.values.inventory import RowError, ShortfallPolicy

_RESOURCES_PER_BATCH = 2_000

# What the columns of a file are called in a feed's chunks.
_COLUMNS = {
    "skus": "sku",
    "nodes": "node",
    "quantities": "on_hand",
    "as_of_times_ms": "as_of_time",
}


@dataclass(slots=True)
class LoadReport:
    """What became of one file."""

    file: str
    kind: FeedKind
    rows_applied: int = 0
    rows_refused: int = 0
    chunks_skipped: int = 0
    """Chunks that an earlier run of the same file had brought already."""
    shortfall_rows: int = 0
    """Rows after which more is promised than is there."""
    revision: int = 0
    done: float = 0.0
    """The part of the file that is dealt with, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file whose header is right."""

    path: Path
    kind: FeedKind
    scanned: Scan
    table: Any = field(repr=False)


def prepare(path: Path, *, kind: FeedKind | None = None, delimiter: str = ",") -> PreparedFile:
    """Look at the file at `path`. Raises FileProblem when it can not be loaded at all."""
    scanned = scan(path)
    if path.suffix.lower() in SUFFIXES or kind is FeedKind.NETWORK:
        if kind not in (None, FeedKind.NETWORK):
            raise FileProblem(f"{path} is YAML, which is a network file, not one of {kind}")
        network = NetworkFile(path, lambda one: open_table(one, delimiter))
        return PreparedFile(path, FeedKind.NETWORK, scanned, network)
    table = open_table(scanned, delimiter)
    if not any(table.header):
        raise FileProblem(f"{path}: the first line is blank: a header is needed")
    return PreparedFile(path, kind_of(str(path), table.header, kind), scanned, table)


def load(
    client: Client,
    prepared: PreparedFile,
    *,
    report_problem: Callable[[RowProblem], None],
    shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED,
    rows_per_chunk: int = ROWS_PER_CHUNK,
    again: str = "",
) -> Iterator[LoadReport]:
    """Load one file, yielding its report as it grows; bad rows go to `report_problem`.

    `again`, any text, makes a feed of its own of a file that was loaded before. Raises
    FileProblem when the file breaks off or has no rows, and what the client raises.
    """
    report = LoadReport(str(prepared.path), prepared.kind)

    def refuse(problem: RowProblem) -> None:
        report.rows_refused += 1
        report_problem(problem)

    if prepared.kind is FeedKind.STOCK:
        steps = _load_stock(
            client, prepared, report, refuse, shortfall_policy, rows_per_chunk, again
        )
    elif prepared.kind is FeedKind.NETWORK:
        steps = _load_network(client, prepared.table, report, refuse, again)
    elif prepared.kind is FeedKind.NODES:
        nodes = Records(prepared.table, str(prepared.path), NODE_COLUMNS, node_of)
        steps = _load_records(client.nodes, nodes, prepared, report, refuse, again)
    else:
        items = Records(prepared.table, str(prepared.path), ITEM_COLUMNS, item_of)
        steps = _load_records(client.items, items, prepared, report, refuse, again)
    for _ in steps:
        yield report
    if not report.rows_applied and not report.rows_refused and not report.chunks_skipped:
        what = "names nothing"
        if prepared.kind is not FeedKind.NETWORK:
            what = "has a header but no rows"
        raise FileProblem(f"{prepared.path} {what}")
    report.done = 1.0
    yield report


def feed_id(prepared: PreparedFile, rows_per_chunk: int, again: str) -> str:
    """The feed's name, at most 64 bytes: the digest, how it is cut, and the caller's word."""
    return f"{prepared.scanned.digest[:40]}:{rows_per_chunk}:{again}"


def _load_stock(
    client: Client,
    prepared: PreparedFile,
    report: LoadReport,
    refuse: Callable[[RowProblem], None],
    shortfall_policy: ShortfallPolicy,
    rows_per_chunk: int,
    again: str,
) -> Iterator[None]:
    rows = StockRows(prepared.table, str(prepared.path), rows_per_chunk)
    sent = itertools.count(1)
    results = client.ingest(
        feed_id(prepared, rows_per_chunk, again),
        (chunk for chunk, _ in zip(rows.chunks(), sent, strict=False)),
        shortfall_policy=shortfall_policy,
    )
    answered = 0
    for result in results:
        if not answered:
            report.chunks_skipped = result.sequence - 1
        answered += 1
        _refuse_all(rows.problems, refuse)
        _take(result, rows, report, refuse)
        report.done = prepared.table.progress()
        yield
    if not answered:
        report.chunks_skipped = next(sent) - 1
    _refuse_all(rows.problems, refuse)


def _take(
    result: ChunkResult,
    rows: StockRows,
    report: LoadReport,
    refuse: Callable[[RowProblem], None],
) -> None:
    for error in result.errors:
        number = rows.row_number(result.sequence, error.row)
        refuse(_problem(report.file, number, error))
    rows.forget(result.sequence)
    report.rows_applied += result.applied_rows
    report.shortfall_rows += result.shortfall_rows
    report.revision = result.revision


def _load_records(
    resources: Resources[Any],
    records: Records[Any],
    prepared: PreparedFile,
    report: LoadReport,
    refuse: Callable[[RowProblem], None],
    again: str,
) -> Iterator[None]:
    numbered = records.resources()
    for batch in itertools.count(1):
        rows = list(itertools.islice(numbered, _RESOURCES_PER_BATCH))
        _refuse_all(records.problems, refuse)
        if not rows:
            return
        result = resources.upsert_all(
            [resource for _, resource in rows],
            request_id=f"{prepared.scanned.digest[:40]}:{batch}:{again}",
        )
        for error in result.errors:
            refuse(_problem(report.file, rows[error.row][0], error))
        report.rows_applied += result.applied_rows
        report.revision = result.revision
        report.done = prepared.table.progress()
        yield


def _load_network(
    client: Client,
    network: NetworkFile,
    report: LoadReport,
    refuse: Callable[[RowProblem], None],
    again: str,
) -> Iterator[None]:
    """One resource after another: each may name those before it."""
    entries = list(network.entries())
    _refuse_all(network.problems, refuse)
    for number, entry in enumerate(entries, 1):
        resources: Resources[Any] = getattr(client, entry.section)
        try:
            resources.upsert(entry.resource, request_id=f"{network.digest[:36]}:{number}:{again}")
            report.rows_applied += 1
        except InvalidRequest as refused:
            for violation in refused.fields:
                refuse(entry.problem(violation))
        except (NotFound, FailedPrecondition) as refused:
            refuse(RowProblem(*entry.origin, "", "", refused.reason, str(refused)))
        report.done = number / len(entries)
        yield


def _problem(file: str, number: int, error: RowError) -> RowProblem:
    name = _COLUMNS.get(error.field, error.field)
    return RowProblem(file, number, name, shown(error.value), error.reason, error.message)


def _refuse_all(problems: list[RowProblem], refuse: Callable[[RowProblem], None]) -> None:
    for problem in problems:
        refuse(problem)
    problems.clear()
