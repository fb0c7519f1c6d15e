"""Redis dies, stalls, loses connections or comes back with less: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio

import pytest

from server.journal.errors import JournalError, JournalGap, JournalUnavailable
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.journal.record import RecordId
from tests.contract.redis.journals import (
    WHO,
    batches,
    claimed,
    entry,
    not_lost,
    payloads,
    read_all,
)
from tests.redis_server import RedisServer, running

IN_FLIGHT = 4


class Load:
    """Appends batch after batch, some in flight, and keeps what was acknowledged."""

    def __init__(self, journal: Journal) -> None:
        self.acknowledged = 0
        self.failed: BaseException | None = None
        self._journal = journal
        self._milestones: list[tuple[int, asyncio.Event]] = []

    async def run(self, until: int = 1_000_000) -> None:
        waiting: list[asyncio.Future[RecordId]] = []
        number = 0
        while self.failed is None and (number < until or waiting):
            if number < until:
                number += 1
                waiting.append(self._journal.append(entry(number)))
            if len(waiting) >= IN_FLIGHT or number == until:
                try:
                    await waiting.pop(0)
                    self.acknowledged += 1
                except JournalError as error:
                    self.failed = error
                for count, event in self._milestones:
                    if self.acknowledged >= count:
                        event.set()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def has_acknowledged(self, count: int) -> None:
        event = asyncio.Event()
        self._milestones.append((count, event))
        await event.wait()


@pytest.mark.parametrize("turn", range(3))
async def test_a_killed_redis_acknowledges_nothing_and_loses_nothing(
    server: RedisServer, turn: int
) -> None:
    journal = await claimed(server.url())
    load = Load(journal)
    running_load = asyncio.ensure_future(load.run())
    await load.has_acknowledged(50 + 37 * turn)
    server.kill()
    await running_load
    assert isinstance(load.failed, JournalUnavailable)
    with pytest.raises(JournalUnavailable):
        await journal.append(entry(9))
    with pytest.raises(JournalUnavailable, match="see whether it runs"):
        await open_journal(server.url(), WHO)
    await journal.close()
    server.start()
    again = await claimed(server.url())
    found = await payloads(again)
    assert load.acknowledged <= len(found) <= load.acknowledged + IN_FLIGHT
    assert found == batches(len(found))
    assert await again.append(entry(1)) == RecordId(2, 1)
    await again.close()


async def test_lost_connections_are_made_again_and_each_batch_is_kept_once(
    server: RedisServer,
) -> None:
    journal = await claimed(server.url())
    load = Load(journal)
    running_load = asyncio.ensure_future(load.run(until=2_000))
    with server.client() as client:
        for cut in range(1, 19):
            await load.has_acknowledged(cut * 100)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await running_load
    assert load.failed is None
    assert load.acknowledged == 2_000
    assert await payloads(journal) == batches(2_000)
    await journal.close()


async def test_a_stalled_redis_acknowledges_nothing(server: RedisServer) -> None:
    journal = await claimed(server.url("timeout_ms=1000"))
    await journal.append(entry(1))
    silent = pytest.raises(JournalUnavailable, match=r"does not answer|is not reached")
    with server.stalled(), silent:
        await journal.append(entry(2))
    await journal.close()
    # What was on its way may arrive late: before the new epoch, or never.
    again = await claimed(server.url())
    found = await payloads(again)
    await again.append(entry(3))
    assert found in (batches(1), batches(2))
    assert await payloads(again) == [*found, b"batch 3"]
    await again.close()


async def test_a_redis_that_came_back_with_less_is_refused(server: RedisServer) -> None:
    journal = await claimed(server.url())
    await journal.append(entry(1))
    kept = server.append_file().read_bytes()
    await journal.append(entry(2))
    await journal.close()
    server.kill()
    server.append_file().write_bytes(kept)
    server.start()
    with pytest.raises(JournalGap, match=r"record 1-2: was acknowledged, .* ends at record 1-1"):
        await open_journal(server.url(), WHO)
    # Who was promised less is told, and goes on.
    relaxed = await claimed(server.url("durability=relaxed"))
    assert await payloads(relaxed) == batches(1)
    await relaxed.close()


async def test_a_writer_notices_that_its_stream_is_gone(server: RedisServer) -> None:
    journal = await claimed(server.url())
    await journal.append(entry(1))
    with server.client() as client:
        (stream,) = client.keys("*journal")
        client.delete(stream)
    with pytest.raises(JournalGap, match="has no stream"):
        await journal.append(entry(2))
    await journal.close()
    with pytest.raises(JournalGap, match="has no stream of records any more"):
        await open_journal(server.url(), WHO)


async def test_batches_that_replicas_hold_survive_their_primary(server: RedisServer) -> None:
    with running(f"replicaof 127.0.0.1 {server.port}") as replica:
        with server.client() as client:
            client.set("holdfast:unrelated", 1)
            assert client.wait(1, 10_000) == 1
        journal = await claimed(server.url("replicas=1&replicas_ms=10000"))
        assert "held by 1 replica" in journal.durability
        await asyncio.gather(*(journal.append(entry(number)) for number in range(1, 101)))
        server.kill()
        await journal.close()
        with replica.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        promoted = await open_journal(replica.url(), WHO)
        await promoted.claim("on the replica", not_lost)
        assert await payloads(promoted) == batches(100)
        assert (await read_all(promoted))[-1].record_id == RecordId(2, 0)
        await promoted.close()
