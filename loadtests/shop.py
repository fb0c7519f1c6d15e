"""The shop of a scenario, put into a running server: nodes, items, stock."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast import aio
from holdfast.calls.feed import FeedChunk
from holdfast.values.network import Item, Node
from loadtests.scenario import Shop
from loadtests.shoppers import node_name, sku_name

_RESOURCES_PER_CALL = 5_000
_ROWS_PER_CHUNK = 10_000


async def open_shop(target: str, shop: Shop) -> None:
    """Define everything and count it in. Raises RuntimeError when not all of it was taken."""
    async with aio.Client(target) as client:
        await client.nodes.upsert_all([Node(node_name(row)) for row in range(shop.nodes)])
        for first in range(0, shop.skus, _RESOURCES_PER_CALL):
            rows = range(first, min(first + _RESOURCES_PER_CALL, shop.skus))
            told = await client.items.upsert_all([Item(sku_name(row)) for row in rows])
            if told.errors:
                raise RuntimeError(f"an item was refused: {told.errors[0]}")
        applied = 0
        async for result in client.ingest("opening", chunks(shop, shop.skus * shop.nodes)):
            applied += result.applied_rows
        if applied != shop.skus * shop.nodes:
            raise RuntimeError(f"{applied} of {shop.skus * shop.nodes} positions were taken")


def chunks(shop: Shop, rows: int, *, first: int = 0) -> Iterator[FeedChunk]:
    """Counts of `rows` positions, over and over, from position `first` on."""
    for begin in range(first, first + rows, _ROWS_PER_CHUNK):
        positions = [
            at % (shop.skus * shop.nodes)
            for at in range(begin, min(begin + _ROWS_PER_CHUNK, first + rows))
        ]
        yield FeedChunk(
            [sku_name(at // shop.nodes) for at in positions],
            [node_name(at % shop.nodes) for at in positions],
            [shop.units] * len(positions),
        )
