"""The demo's count is off here and there; where that can not be, its counters look again."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.demo.book import Book, Fact, Position
from holdfast.demo.counting import COUNTED_NODE, OFF_BY_ONE_IN, StockCount
from holdfast.errors import LedgerLimitReached
from holdfast.values.inventory import Count

FIRST = ("A", COUNTED_NODE)  # of the sheet: found three units off
STOCK: dict[Position, int] = {FIRST: 100} | {
    (f"B-{number:02}", COUNTED_NODE): 7 for number in range(OFF_BY_ONE_IN - 1)
}
NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Server:
    """Everything of A is shipped before the count is entered: it must not have been fewer."""

    def __init__(self, least: int) -> None:
        self._least = least
        self.request_ids: list[str] = []
        self.finds: list[int] = []

    async def status(self) -> Any:
        return SimpleNamespace(ledger_time=NOW)

    async def count(self, counts: list[Count], *, request_id: str, **_: Any) -> Any:
        self.request_ids.append(request_id)
        self.finds.append(next(each.on_hand for each in counts if each.sku == FIRST[0]))
        if self.finds[-1] < self._least:
            metadata = {"sku": FIRST[0], "node": FIRST[1], "limit": "units_per_position_max"}
            raise LedgerLimitReached("below 0", metadata=metadata)
        position = SimpleNamespace(update_time=NOW)
        result = SimpleNamespace(position=position, correction=0, netted_quantity=0)
        return SimpleNamespace(revision=9, results=[result])


class Replay:
    async def quiet(self) -> None:
        """Nothing is under way."""


async def take(least: int) -> tuple[Server, Book]:
    server, book = Server(least), Book()
    replay: Any = Replay()
    client: Any = server
    await StockCount(client, book, STOCK, replay).take()
    return server, book


async def test_units_that_can_not_be_missing_are_counted_again():
    server, book = await take(least=100)
    assert server.finds == [97, 100]
    assert len(set(server.request_ids)) == 2  # another body needs another request_id
    (entry,) = book.entries
    assert entry.fact is Fact.COUNTED
    assert dict(entry.takes) == STOCK


async def test_units_that_can_be_missing_are_missed():
    server, book = await take(least=97)
    assert server.finds == [97]
    assert dict(book.entries[0].takes) == STOCK | {FIRST: 97}


async def test_a_true_count_that_is_refused_is_an_error():
    with pytest.raises(LedgerLimitReached):
        await take(least=101)
