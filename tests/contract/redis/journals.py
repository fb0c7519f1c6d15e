"""Opening, filling and reading journals in Redis, for the tests of this directory."""

from __future__ import annotations

from server.journal.errors import JournalError
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.journal.record import COMMANDS, Entry, JournalRecord

WHO = JournalIdentity(ledger_id="ledger-1")


def entry(number: int, payload: bytes = b"") -> Entry:
    return Entry(number, number, 1_000 + number, number * 7, payload or b"batch %d" % number)


def not_lost(error: JournalError) -> None:
    raise AssertionError(f"ownership was not lost, yet: {error}")


async def claimed(url: str, holder: str = "the test") -> Journal:
    journal = await open_journal(url, WHO)
    await journal.claim(holder, not_lost)
    return journal


async def read_all(journal: Journal) -> list[JournalRecord]:
    cursor = journal.genesis.beginning
    records: list[JournalRecord] = []
    while page := await journal.read(cursor):
        records += page
        cursor = page[-1].cursor
    return records


async def payloads(journal: Journal) -> list[bytes]:
    return [record.payload for record in await read_all(journal) if record.kind == COMMANDS]


def batches(count: int) -> list[bytes]:
    return [b"batch %d" % number for number in range(1, count + 1)]
