"""Two writers on one journal: at most one appends, whoever believes what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from server.journal.errors import JournalError, JournalFenced, JournalOwned, JournalUnavailable
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.journal.record import EPOCH_START, RecordId
from tests.contract.redis.journals import WHO, claimed, entry, not_lost, payloads, read_all
from tests.contract.redis.writer_process import FENCED
from tests.redis_server import RedisServer

WRITER = Path(__file__).with_name("writer_process.py")
ROOT = Path(__file__).parents[3]


class Writer:
    """A writer process, spoken to in lines."""

    def __init__(self, url: str, holder: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WRITER), url, holder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


@contextlib.contextmanager
def writer(url: str, holder: str) -> Iterator[Writer]:
    made = Writer(url, holder)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def until_exists(client: redis.Redis, key: bytes) -> None:
    while not client.exists(key):
        pass


async def claim_when_free(journal: Journal, holder: str) -> int:
    """Claim again and again, as a standby does; returns how often it was refused."""
    refused = 0
    while True:
        try:
            await journal.claim(holder, not_lost)
        except JournalOwned:
            refused += 1
        else:
            return refused


async def test_a_stalled_writer_is_refused_its_first_append_after_another_took_over(
    server: RedisServer,
) -> None:
    url = server.url("lease_ms=500")
    with writer(url, "old") as old:
        assert old.hear() == "claimed"
        old.ask("one")
        assert old.hear() == "durable"
        os.kill(old.process.pid, signal.SIGSTOP)
        journal = await open_journal(url, WHO)
        # Its connection stays while it is stopped, so the lease has to run out.
        assert await claim_when_free(journal, "new") > 0
        await journal.append(entry(2, b"new: two"))
        old.ask("from the past")
        os.kill(old.process.pid, signal.SIGCONT)
        heard = [old.hear() for _ in range(2)]
        assert "durable" not in heard
        assert "fenced" in heard
        assert old.process.wait() == FENCED
        await journal.append(entry(3, b"new: three"))
        assert await payloads(journal) == [b"old: one", b"new: two", b"new: three"]
        await journal.close()


async def test_a_killed_writer_s_lease_is_void_at_once(server: RedisServer) -> None:
    url = server.url("lease_ms=600000")
    with writer(url, "old") as old:
        assert old.hear() == "claimed"
        journal = await open_journal(url, WHO)
        with pytest.raises(JournalOwned, match="is written by old; stop that one first"):
            await journal.claim("new", not_lost)
        old.process.kill()
        old.process.wait()
        # No ten minutes: Redis has seen the connection end.
        await claim_when_free(journal, "new")
        await journal.append(entry(1))
        await journal.close()


async def test_a_writer_hears_that_its_lease_was_taken(server: RedisServer) -> None:
    url = server.url("lease_ms=500")
    old = await open_journal(url, WHO)
    lost: asyncio.Future[JournalError] = asyncio.get_running_loop().create_future()
    await old.claim("old", lost.set_result)
    with server.client() as client:
        for key in client.keys("*lease"):
            client.delete(key)
    new = await claimed(url, "new")
    assert isinstance(await lost, JournalFenced)
    with pytest.raises(JournalFenced):
        await old.append(entry(1))
    await old.close()
    # The old one's farewell leaves the new one's lease alone.
    third = await open_journal(url, WHO)
    with pytest.raises(JournalOwned, match="is written by new"):
        await third.claim("third", not_lost)
    await third.close()
    await new.close()


async def test_a_lease_that_ran_out_unnoticed_is_taken_again(server: RedisServer) -> None:
    url = server.url("lease_ms=500")
    journal = await claimed(url)
    with server.client() as client:
        (key,) = client.keys("*lease")
        client.delete(key)
        await asyncio.to_thread(until_exists, client, key)
    await journal.append(entry(1))
    await journal.close()


async def test_a_claim_amid_appends_leaves_an_unbroken_chain(server: RedisServer) -> None:
    """The old writer's records on their way come before the new epoch, or not at all."""
    url = server.url("lease_ms=600000")
    expected: list[bytes] = []
    journal = await claimed(url, "writer 0")
    for turn in range(1, 11):
        futures = [
            journal.append(entry(number, b"%d: %d" % (turn, number))) for number in range(1, 51)
        ]
        with server.client() as client:
            for key in client.keys("*lease"):
                client.delete(key)
        successor, *outcomes = await asyncio.gather(
            claimed(url, f"writer {turn}"), *futures, return_exceptions=True
        )
        kept = [outcome for outcome in outcomes if isinstance(outcome, RecordId)]
        assert outcomes[: len(kept)] == kept
        assert all(isinstance(outcome, JournalFenced) for outcome in outcomes[len(kept) :])
        expected += [b"%d: %d" % (turn, number) for number in range(1, len(kept) + 1)]
        await journal.close()
        assert not isinstance(successor, BaseException)
        journal = successor
        assert await payloads(journal) == expected
    await journal.close()


async def test_contenders_get_an_epoch_each(server: RedisServer) -> None:
    url = server.url("lease_ms=600000")
    first = await claimed(url, "first")
    journals = [await open_journal(url, WHO) for _ in range(5)]
    await first.close()
    outcomes = await asyncio.gather(
        *(journal.claim(f"contender {n}", not_lost) for n, journal in enumerate(journals)),
        return_exceptions=True,
    )
    assert [isinstance(outcome, JournalOwned) for outcome in outcomes].count(False) == 1
    starts = [record for record in await read_all(journals[0]) if record.kind == EPOCH_START]
    assert [record.record_id.epoch for record in starts] == [1, 2]
    for journal in journals:
        await journal.close()


async def test_what_replicas_must_hold_is_not_durable_without_them(server: RedisServer) -> None:
    journal = await open_journal(server.url("replicas=1&replicas_ms=20"), WHO)
    with pytest.raises(JournalUnavailable, match="0 of 1 replicas confirmed"):
        await journal.claim("alone", not_lost)
    await journal.close()


async def test_a_lease_may_be_taken_by_force(server: RedisServer) -> None:
    url = server.url("lease_ms=600000")
    old = await claimed(url, "the old one")
    await old.append(entry(1))
    new = await open_journal(url, WHO)
    with pytest.raises(JournalOwned, match="is written by the old one"):
        await new.claim("the new one", not_lost)
    assert (await new.claim("the new one", not_lost, by_force=True)).record_id == RecordId(2, 0)
    assert await new.owner() == "the new one"
    with pytest.raises(JournalFenced):
        await old.append(entry(2))
    await old.close()
    assert await new.owner() == "the new one"
    await new.close()
