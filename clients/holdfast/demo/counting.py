"""The stock count in the middle: one warehouse is counted while its orders go on.

What is on the shelf is known from the shop's own book. So that the count has something to say,
every fiftieth position is found a few units off, as real counts do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast import aio
from holdfast.demo.book import Book, Entry, Fact, Position, milliseconds
from holdfast.demo.ledger import Ledger
from holdfast.demo.replay import Replay
from holdfast.errors import LedgerLimitReached
from holdfast.ids import made_id
from holdfast.values.inventory import Count

COUNTED_NODE = "WAREHOUSE-1"
OFF_BY_ONE_IN = 50
COUNTS_PER_REQUEST = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StockCount:
    """One count of one warehouse."""

    def __init__(
        self, client: aio.Client, book: Book, stock: dict[Position, int], replay: Replay
    ) -> None:
        self._client = client
        self._book = book
        self._stock = stock
        self._replay = replay
        self._there: dict[Position, int] = {}
        """What is really at each position that was counted."""
        self.positions = 0
        self.corrections = 0
        self.netted = 0
        """Units of shipments and returns between the count and its entry, as the server says."""

    async def take(self) -> None:
        """Count, write the sheet, enter it. Orders go on all the while."""
        status = await self._client.status()
        assert status.ledger_time is not None
        as_of_ms = milliseconds(status.ledger_time) - 1
        # What was under way at that moment may have moved units before it: wait for its answers.
        await self._replay.quiet()
        sheet = self._sheet(as_of_ms)
        self.positions = len(sheet)
        as_of = _EPOCH + timedelta(milliseconds=as_of_ms)
        for start in range(0, len(sheet), COUNTS_PER_REQUEST):
            batch = tuple(sheet[start : start + COUNTS_PER_REQUEST])
            await self._enter(batch, as_of, as_of_ms)

    def _sheet(self, as_of_ms: int) -> list[tuple[Position, int]]:
        """What the counters find at each position of the warehouse."""
        ledger = Ledger.opening(self._stock)
        ledger.replay(list(self._book.entries))
        sheet: list[tuple[Position, int]] = []
        positions = sorted(place for place in self._stock if place[1] == COUNTED_NODE)
        for number, position in enumerate(positions):
            there = self._there[position] = ledger.on_hand_at(position, as_of_ms)
            off = 0
            if number % OFF_BY_ONE_IN == 0:
                off = (-3, 2, -1)[number // OFF_BY_ONE_IN % 3]
            sheet.append((position, max(0, there + off)))
        return sheet

    async def _enter(
        self, batch: tuple[tuple[Position, int], ...], as_of: datetime, as_of_ms: int
    ) -> None:
        counts = [Count(sku, node, units, as_of) for (sku, node), units in batch]
        request_id = made_id()
        try:
            change = await self._client.count(counts, request_id=request_id, timeout=60.0)
        except LedgerLimitReached as refusal:
            # More was shipped since than the counters say was there: they look again.
            wrong = refusal.metadata["sku"], refusal.metadata["node"]
            found = dict(batch)
            if found[wrong] == self._there[wrong]:
                raise
            found[wrong] = self._there[wrong]
            await self._enter(tuple(found.items()), as_of, as_of_ms)
            return
        self.corrections += sum(1 for result in change.results if result.correction)
        self.netted += sum(result.netted_quantity for result in change.results)
        times = [milliseconds(result.position.update_time) for result in change.results]
        self._book.entries.append(
            Entry(change.revision, max(times), Fact.COUNTED, takes=batch, as_of_ms=as_of_ms)
        )
