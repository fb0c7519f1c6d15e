"""Feed files of the catalogue: nodes, items, and a row of stock for every position."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.catalogue import Catalogue
from benchmarks.names import Names, numbered_texts

_ROWS_AT_A_TIME = 200_000
_UNITS = 1_000_000


def write_nodes(path: Path, shop: Catalogue) -> None:
    """CSV with the column node."""
    _write_names(path, b"node\n", shop.nodes)


def write_items(path: Path, shop: Catalogue) -> None:
    """CSV with the column sku."""
    _write_names(path, b"sku\n", shop.skus)


def write_stock_csv(path: Path, shop: Catalogue) -> None:
    """CSV with the columns sku, node, on_hand, SKU by SKU."""
    nodes = len(shop.nodes)
    with path.open("wb") as file:
        file.write(b"sku,node,on_hand\n")
        for first in range(0, shop.positions, _ROWS_AT_A_TIME):
            rows = np.arange(first, min(first + _ROWS_AT_A_TIME, shop.positions))
            columns = [
                shop.skus.texts[rows // nodes],
                _column(",", len(rows)),
                shop.nodes.texts[rows % nodes],
                numbered_texts(",", len(rows), digits=8, first=_UNITS + first),
                _column("\n", len(rows)),
            ]
            file.write(np.concatenate(columns, axis=1).tobytes())


def write_stock_parquet(path: Path, shop: Catalogue) -> None:
    """The same as Parquet. Raises ImportError without pyarrow."""
    import pyarrow
    import pyarrow.parquet

    rows = np.arange(shop.positions)
    nodes = len(shop.nodes)
    table = pyarrow.table(
        {
            "sku": pyarrow.array(_strings(shop.skus)).take(pyarrow.array(rows // nodes)),
            "node": pyarrow.array(_strings(shop.nodes)).take(pyarrow.array(rows % nodes)),
            "on_hand": pyarrow.array(_UNITS + rows),
        }
    )
    pyarrow.parquet.write_table(table, path)


def _write_names(path: Path, header: bytes, names: Names) -> None:
    rows = np.concatenate((names.texts, _column("\n", len(names))), axis=1)
    path.write_bytes(header + rows.tobytes())


def _column(text: str, rows: int) -> np.ndarray:
    return np.full((rows, 1), ord(text), np.uint8)


def _strings(names: Names) -> list[str]:
    return [names.text(row) for row in range(len(names))]
