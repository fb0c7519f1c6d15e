"""What a file holds, by its header, and how it is opened."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from enum import StrEnum

from holdfast.feeds import stock
from holdfast.feeds.blocks import TableFile
from holdfast.feeds.csv_file import CsvFile
from holdfast.feeds.problems import FileProblem
from holdfast.feeds.records import ITEM_COLUMNS, NODE_COLUMNS
from holdfast.feeds.scan import Scan


class FeedKind(StrEnum):
    """What the rows of a file are, in the order in which files are loaded."""

    NODES = "nodes"
    ITEMS = "items"
    NETWORK = "network"
    STOCK = "stock"


_REQUIRED: dict[FeedKind, tuple[str, ...]] = {
    FeedKind.NODES: ("node",),
    FeedKind.ITEMS: ("sku",),
    FeedKind.STOCK: stock.REQUIRED,
}
_KNOWN: dict[FeedKind, tuple[str, ...]] = {
    FeedKind.NODES: tuple(NODE_COLUMNS),
    FeedKind.ITEMS: tuple(ITEM_COLUMNS),
    FeedKind.STOCK: (*stock.REQUIRED, *stock.OPTIONAL),
}


_TABLES = tuple(kind for kind in FeedKind if kind is not FeedKind.NETWORK)
"""Kinds that are tables; a network file is told by its name."""


def open_table(scanned: Scan, delimiter: str = ",") -> TableFile:
    """Open the file of `scanned`, with pyarrow where it is installed and fits.

    Raises FileProblem when it is Parquet and pyarrow is missing, and when it has no header.
    """
    try:
        from holdfast.feeds.arrow_file import ArrowCsvFile, ParquetFile
    except ImportError:
        if scanned.is_parquet:
            raise FileProblem(
                f"{scanned.path} is Parquet, which needs pyarrow: pip install 'holdfast[parquet]'"
            ) from None
        return CsvFile(scanned, delimiter)
    if scanned.is_parquet:
        return ParquetFile(scanned)
    return ArrowCsvFile(scanned, delimiter) if scanned.is_utf8 else CsvFile(scanned, delimiter)


def kind_of(file: str, header: Sequence[str], wanted: FeedKind | None = None) -> FeedKind:
    """What the rows are. Raises FileProblem when the header does not say, or is not right."""
    kind = wanted or _guess(file, header)
    check_header(file, header, kind, _REQUIRED[kind], _KNOWN[kind])
    return kind


def check_header(
    file: str, header: Sequence[str], kind: str, required: Sequence[str], known: Sequence[str]
) -> None:
    """Raises FileProblem unless the columns are those of a file of this kind."""
    twice = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in required if name not in header]
    unknown = [name for name in header if name not in known]
    complaints = []
    if missing:
        complaints.append(f"{_columns(missing)} missing")
    if unknown:
        complaints.append(f"{_columns(unknown)} not known{_suggestion(unknown, known)}")
    if twice:
        complaints.append(f"{_columns(twice)} there twice")
    if complaints:
        expected = _expectation(kind, required, known)
        raise FileProblem(f"{file}: {'; '.join(complaints)}. {expected}")


def _guess(file: str, header: Sequence[str]) -> FeedKind:
    if "sku" in header and "node" in header:
        return FeedKind.STOCK
    if "sku" in header:
        return FeedKind.ITEMS
    if "node" in header:
        return FeedKind.NODES
    found = ", ".join(header) or "nothing"
    hint = next(
        (
            f" Are its columns separated by {mark!r}? Then add --delimiter {mark!r}."
            for mark in (";", "\t", "|")
            if any(mark in name for name in header)
        ),
        "",
    )
    raise FileProblem(
        f"{file}: the header ({found}) is not that of nodes, items or stock.{hint} "
        + " ".join(_expectation(kind, _REQUIRED[kind], _KNOWN[kind]) for kind in _TABLES)
    )


def _expectation(kind: str, required: Sequence[str], known: Sequence[str]) -> str:
    optional = [name for name in known if name not in required]
    return f"A file of {kind} has {', '.join(required)} and may have {', '.join(optional)}."


def _columns(names: Sequence[str]) -> str:
    quoted = ", ".join(repr(name) for name in names)
    return f"column {quoted} is" if len(names) == 1 else f"columns {quoted} are"


def _suggestion(unknown: Sequence[str], known: Sequence[str]) -> str:
    for name in unknown:
        close = difflib.get_close_matches(name.lower(), known, 1)
        if close:
            return f" (did you mean {close[0]!r}?)"
    return ""
