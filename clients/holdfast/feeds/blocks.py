"""A file as blocks of columns, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from holdfast.feeds.problems import RowProblem


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file.

    `numbers` has each row's number in the file (header 1); each column has an entry for each row:
    text from CSV, where bad UTF-8 shows as lone surrogates, and typed values from Parquet.
    """

    numbers: NDArray[np.int64]
    columns: dict[str, Sequence[Any]]
    problems: tuple[RowProblem, ...] = ()
    """Rows that are in no block, because they have too many or too few columns."""

    def __len__(self) -> int:
        return len(self.numbers)


class TableFile(Protocol):
    """An open file of rows."""

    header: tuple[str, ...]

    def blocks(self) -> Iterator[Block]:
        """Every row, in order. Raises FileProblem when the file breaks off."""

    def progress(self) -> float:
        """The part that is read, 0 to 1."""
