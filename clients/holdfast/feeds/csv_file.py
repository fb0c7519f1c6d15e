"""CSV read by the standard library: slower, needs nothing, and takes bad UTF-8 row by row."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from holdfast.feeds.blocks import Block
from holdfast.feeds.problems import FileProblem, RowProblem, shown
from holdfast.feeds.scan import Scan

_ROWS_PER_BLOCK = 20_000


class CsvFile:
    """One CSV file (RFC 4180), its first record the header."""

    def __init__(self, scanned: Scan, delimiter: str = ",") -> None:
        self._scan = scanned
        self._delimiter = delimiter
        self._read_bytes = 0
        self.header = header_of(scanned, delimiter)

    def progress(self) -> float:
        """The part that is read, 0 to 1."""
        return min(1.0, self._read_bytes / self._scan.size_bytes)

    def blocks(self) -> Iterator[Block]:
        """Every row, in order. Raises FileProblem when a record can not be told from the next."""
        with self._scan.path.open(
            encoding="utf-8-sig", errors="surrogateescape", newline=""
        ) as file:
            reader = csv.reader(self._counted(file), delimiter=self._delimiter, strict=True)
            number = 0
            try:
                next(reader)
                number = 1
                while records := list(itertools.islice(reader, _ROWS_PER_BLOCK)):
                    yield self._block(records, number + 1)
                    number += len(records)
            except csv.Error as error:
                raise FileProblem(
                    f"{self._scan.path}: near line {reader.line_num}: {error}"
                ) from error

    def _counted(self, lines: Any) -> Iterator[str]:
        for line in lines:
            self._read_bytes += len(line)  # of text: exact for ASCII, near enough for a bar
            yield line

    def _block(self, records: list[list[str]], first_number: int) -> Block:
        width = len(self.header)
        numbers: list[int] = []
        good: list[list[str]] = []
        problems: list[RowProblem] = []
        for number, record in enumerate(records, first_number):
            if len(record) == width:
                if any(record):
                    numbers.append(number)
                    good.append(record)
            elif record:
                problems.append(
                    width_problem(
                        str(self._scan.path), number, width, len(record), ",".join(record)
                    )
                )
        columns = zip(*good, strict=True) if good else ((),) * width
        return Block(
            np.array(numbers, np.int64),
            dict(zip(self.header, columns, strict=True)),
            tuple(problems),
        )


def header_of(scanned: Scan, delimiter: str) -> tuple[str, ...]:
    """The names in the first record. Raises FileProblem when it is no header."""
    path = scanned.path
    try:
        # The file is decoded ahead of the header: bad bytes of later rows must not count here.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            names = next(csv.reader(file, delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise FileProblem(f"{path}: the header can not be read: {error}") from error
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        raise FileProblem(f"{path}: the header is not UTF-8")
    return tuple(name.strip() for name in names)


def width_problem(file: str, number: int, expected: int, found: int, text: str) -> RowProblem:
    """The problem of a row with too many or too few columns."""
    return RowProblem(
        file,
        number,
        "",
        shown(text),
        "FIELD_INVALID",
        f"{found} columns, but the header has {expected}: {shown(text)!r}",
    )
