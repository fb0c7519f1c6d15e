"""Stock rows: counts of SKUs at nodes, checked in columns, as chunks of a feed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.calls.feed import ROWS_PER_CHUNK_MAX, FeedChunk
from holdfast.feeds import fields
from holdfast.feeds.blocks import Block, TableFile
from holdfast.feeds.duplicates import SeenKeys
from holdfast.feeds.fields import FieldProblem
from holdfast.feeds.problems import RowProblem, shown

REQUIRED = ("sku", "node", "on_hand")
OPTIONAL = ("as_of_time",)
ROWS_PER_CHUNK = 20_000


@dataclass(slots=True)
class _Rows:
    """Sound rows as columns; `as_of_ms` is empty where the file has no such column."""

    numbers: list[int] = field(default_factory=list)
    skus: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    on_hand: list[int] = field(default_factory=list)
    as_of_ms: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: int) -> _Rows:
        """Remove and return the first `rows`."""
        taken = self.chosen(slice(rows))
        for column in (self.numbers, self.skus, self.nodes, self.on_hand, self.as_of_ms):
            del column[:rows]
        return taken

    def chosen(self, part: slice) -> _Rows:
        """The rows of `part`."""
        return _Rows(
            self.numbers[part],
            self.skus[part],
            self.nodes[part],
            self.on_hand[part],
            self.as_of_ms[part],
        )

    def without(self, rows: set[int]) -> _Rows:
        """All but the rows of these indices."""
        kept = [index not in rows for index in range(len(self))]
        return _Rows(
            list(compress(self.numbers, kept)),
            list(compress(self.skus, kept)),
            list(compress(self.nodes, kept)),
            list(compress(self.on_hand, kept)),
            list(compress(self.as_of_ms, kept)),
        )

    def extend(self, more: _Rows) -> None:
        """Append `more`."""
        self.numbers += more.numbers
        self.skus += more.skus
        self.nodes += more.nodes
        self.on_hand += more.on_hand
        self.as_of_ms += more.as_of_ms


@dataclass(slots=True)
class StockRows:
    """The rows of one stock file: chunks of good ones, and problems of the others."""

    table: TableFile
    file: str
    rows_per_chunk: int = ROWS_PER_CHUNK
    problems: list[RowProblem] = field(default_factory=list)
    """Found so far; the reader may take them away."""
    _seen: SeenKeys = field(default_factory=SeenKeys)
    _numbers: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.rows_per_chunk <= ROWS_PER_CHUNK_MAX:
            raise ValueError(
                f"rows_per_chunk must lie between 1 and {ROWS_PER_CHUNK_MAX}, "
                f"not {self.rows_per_chunk}"
            )

    def chunks(self) -> Iterator[FeedChunk]:
        """The good rows, `rows_per_chunk` at a time: the same chunks whenever the file is read."""
        waiting = _Rows()
        sequence = 0
        for block in self.table.blocks():
            self.problems += block.problems
            if len(block):
                waiting.extend(self._checked(block))
            while len(waiting) >= self.rows_per_chunk:
                sequence += 1
                yield self._chunk(sequence, waiting.take(self.rows_per_chunk))
        if len(waiting):
            yield self._chunk(sequence + 1, waiting)

    def row_number(self, sequence: int, index: int) -> int:
        """The number in the file of a row of chunk `sequence`, which was not `forgotten`."""
        return self._numbers[sequence][index]

    def forget(self, sequence: int) -> None:
        """The chunks up to `sequence` are answered."""
        for answered in [number for number in self._numbers if number <= sequence]:
            del self._numbers[answered]

    def _chunk(self, sequence: int, rows: _Rows) -> FeedChunk:
        self._numbers[sequence] = rows.numbers
        return FeedChunk(rows.skus, rows.nodes, rows.on_hand, as_of_times_ms=rows.as_of_ms)

    def _checked(self, block: Block) -> _Rows:
        rows = _fast(block) or self._slow(block)
        again, first_at = self._seen.add(
            zip(rows.skus, rows.nodes, strict=True), np.array(rows.numbers, np.int64)
        )
        return self._without(rows, again, first_at) if len(again) else rows

    def _slow(self, block: Block) -> _Rows:
        """Row by row, so that each bad one can be named."""
        rows = _Rows()
        columns = block.columns
        nothing: Sequence[Any] = [None] * len(block)
        given = "as_of_time" in columns
        for number, sku, node, on_hand, as_of in zip(
            block.numbers.tolist(),
            _plain(columns["sku"]),
            _plain(columns["node"]),
            _plain(columns["on_hand"]),
            _plain(columns.get("as_of_time", nothing)),
            strict=True,
        ):
            name, value = "", None
            try:
                name, value = "sku", sku
                sku_text = fields.text(sku)
                name, value = "node", node
                node_text = fields.text(node)
                name, value = "on_hand", on_hand
                units = fields.whole_number(on_hand)
                name, value = "as_of_time", as_of
                if given:
                    rows.as_of_ms.append(fields.time_ms(as_of))
            except FieldProblem as problem:
                self._refuse(number, name, value, problem.reason, str(problem))
                continue
            rows.numbers.append(number)
            rows.skus.append(sku_text)
            rows.nodes.append(node_text)
            rows.on_hand.append(units)
        return rows

    def _without(self, rows: _Rows, again: NDArray[np.int64], first_at: NDArray[np.int64]) -> _Rows:
        """`rows` without those whose position came before."""
        for index, first in zip(again.tolist(), first_at.tolist(), strict=True):
            self._refuse(
                rows.numbers[index],
                "sku",
                rows.skus[index],
                "FIELD_INVALID",
                f"{rows.skus[index]} at {rows.nodes[index]} stands in row {first} already",
            )
        return rows.without(set(again.tolist()))

    def _refuse(self, number: int, name: str, value: Any, reason: str, message: str) -> None:
        self.problems.append(RowProblem(self.file, number, name, shown(value), reason, message))


def _fast(block: Block) -> _Rows | None:
    """The whole block at once, when it is pyarrow's text and nothing in it needs a closer look."""
    columns: list[Any] = [block.columns[name] for name in REQUIRED]
    sku, node, on_hand = columns
    if "as_of_time" in block.columns or not hasattr(on_hand, "cast"):
        return None
    # Only here: without pyarrow no column has a cast.
    import pyarrow as arrow
    import pyarrow.compute as compute

    from holdfast.feeds.arrow_file import all_digits

    if not (arrow.types.is_integer(on_hand.type) and not on_hand.null_count):
        if not all_digits(on_hand) or compute.max(compute.binary_length(on_hand)).as_py() > 18:
            return None
        on_hand = on_hand.cast(arrow.int64())
    for column in (sku, node):
        if not arrow.types.is_string(column.type) or column.null_count:
            return None
        if compute.min(compute.binary_length(column)).as_py() == 0:
            return None
    return _Rows(
        block.numbers.tolist(), sku.to_pylist(), node.to_pylist(), on_hand.to_numpy().tolist()
    )


def _plain(column: Sequence[Any]) -> Sequence[Any]:
    """A column as Python values."""
    return column.to_pylist() if hasattr(column, "to_pylist") else column
