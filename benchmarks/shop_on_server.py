"""The catalogue, put into a running server over the wire, as a shop would."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.catalogue import UNITS_PER_POSITION, Catalogue
from holdfast import Client
from holdfast.calls.feed import FeedChunk
from holdfast.values.network import Item, Node

_RESOURCES_PER_BATCH = 5_000
_ROWS_PER_CHUNK = 20_000


def define(client: Client, shop: Catalogue) -> None:
    """Make its nodes and items known."""
    client.nodes.upsert_all([Node(shop.nodes.text(row)) for row in range(len(shop.nodes))])
    for first in range(0, len(shop.skus), _RESOURCES_PER_BATCH):
        rows = range(first, min(first + _RESOURCES_PER_BATCH, len(shop.skus)))
        result = client.items.upsert_all([Item(shop.skus.text(row)) for row in rows])
        if result.errors:
            raise RuntimeError(f"an item was refused: {result.errors[0]}")


def stock(client: Client, shop: Catalogue) -> None:
    """Count every position in."""
    applied = sum(result.applied_rows for result in client.ingest("catalogue", _chunks(shop)))
    if applied != shop.positions:
        raise RuntimeError(f"{applied} of {shop.positions} rows were applied")


def _chunks(shop: Catalogue) -> Iterator[FeedChunk]:
    skus = [shop.skus.text(row) for row in range(len(shop.skus))]
    nodes = [shop.nodes.text(row) for row in range(len(shop.nodes))]
    for first in range(0, shop.positions, _ROWS_PER_CHUNK):
        rows = np.arange(first, min(first + _ROWS_PER_CHUNK, shop.positions)).tolist()
        yield FeedChunk(
            [skus[row // len(nodes)] for row in rows],
            [nodes[row % len(nodes)] for row in rows],
            [UNITS_PER_POSITION] * len(rows),
        )
