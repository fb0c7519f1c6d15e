"""Snapshots by another process while the ledger serves, and inline at its end."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from engine import commands, invariants
from engine.state import Capacity
from server.application.clock import SystemClock
from server.application.flight import BatchReport
from server.application.piece_queue import REPORT
from server.application.recovery import RecoveryReport, recover
from server.application.sequencer import Sequencer
from server.application.snapshots import SnapshotFailed, SnapshotReport, Snapshots
from server.journal.errors import JournalError
from server.journal.genesis import JournalIdentity
from server.journal.record import RecordId
from server.journal.sqlite_journal import SqliteJournal
from tests.simulation.orders import count, create, define

CAPACITY = Capacity.small()


def ignore(_: JournalError) -> None:
    """Ownership is never lost here."""


class Ledgers:
    """One SQLite journal and the servers that open it one after another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: list[SnapshotReport] = []
        self.failures: list[str] = []
        self.report: RecoveryReport
        self.batches: list[BatchReport] = []

    async def start(self, every_commands: int = 1_000_000) -> tuple[Sequencer, Snapshots]:
        journal = await SqliteJournal.open(self.path, JournalIdentity())
        ledger, self.report = await recover(journal, CAPACITY, holder="test", on_lost=ignore)
        sequencer = Sequencer(
            ledger,
            SystemClock(not_before_ms=ledger.state.now_ms),
            on_batch=lambda report: snapshots.note_batch(report),
        )
        snapshots = self.snapshots_of(sequencer, every_commands)
        return sequencer, snapshots

    def snapshots_of(self, sequencer: Sequencer, every_commands: int) -> Snapshots:
        return Snapshots(
            sequencer,
            journal_url=f"sqlite://{self.path}",
            every_commands=every_commands,
            recovered=self.report,
            on_snapshot=self.kept.append,
            on_failure=self.failures.append,
        )


async def stock(sequencer: Sequencer) -> None:
    await sequencer.submit(define(commands.SKU, ["pear"]), priority=REPORT)
    await sequencer.submit(define(commands.NODE, ["berlin"]), priority=REPORT)
    await sequencer.submit(count("pear", "berlin", 1_000), priority=REPORT)


async def sell(sequencer: Sequencer, orders: int) -> None:
    for _ in range(orders):
        await sequencer.submit(create([("pear", "berlin", 1)], ttl_ms=3_600_000))


async def test_another_process_writes_what_the_writer_would_have(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "journal")
    sequencer, snapshots = await ledgers.start()
    await stock(sequencer)
    await sell(sequencer, 20)
    first = await snapshots.now()
    assert first.name.revision == sequencer.state.revision
    assert first.records_trimmed == 0  # with one snapshot the whole journal stays
    await sell(sequencer, 20)
    second, selling = await asyncio.gather(snapshots.now(), sell(sequencer, 5))
    assert selling is None
    assert second.name > first.name
    assert second.records_trimmed == first.name.record_id.sequence + 1
    await sell(sequencer, 5)
    third = await snapshots.now()
    assert await sequencer.journal.snapshots.list() == [third.name, second.name]
    assert ledgers.kept == [first, second, third]
    expected = invariants.state_hash(sequencer.state)
    await sequencer.close()
    sequencer, _ = await ledgers.start()
    assert ledgers.report.snapshot == third.name
    assert ledgers.report.records == 1  # its own start
    assert invariants.state_hash(sequencer.state) == expected
    # Should the newest be damaged, the one before and the journal behind it are still enough.
    await sequencer.close()
    file = SqliteJournal(ledgers.path).snapshots.path(third.name)
    file.write_bytes(file.read_bytes()[:-64])
    sequencer, _ = await ledgers.start()
    assert ledgers.report.snapshot == second.name
    assert invariants.state_hash(sequencer.state) == expected
    await sequencer.close()


async def test_a_snapshot_begins_by_itself_after_so_many_commands(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "journal")
    sequencer, snapshots = await ledgers.start(every_commands=30)
    await stock(sequencer)
    await sell(sequencer, 26)
    assert snapshots._task is None
    await sell(sequencer, 2)
    assert snapshots._task is not None
    await asyncio.wait([snapshots._task])
    assert [report.name.revision >= 30 for report in ledgers.kept] == [True]
    await snapshots.close()
    await sequencer.close()


async def test_a_clean_end_leaves_nothing_to_replay(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "journal")
    for _ in range(3):
        sequencer, _ = await ledgers.start()
        assert ledgers.report.records == 1
        snapshots = ledgers.snapshots_of(sequencer, every_commands=40)
        await stock(sequencer)
        await sell(sequencer, 40)
        await sequencer.drain()
        end = await sequencer.journal.release()
        assert end is not None
        report = await snapshots.at_the_end(end)
        assert report is not None
        assert report.name.revision == sequencer.state.revision
        assert await snapshots.at_the_end(end) is None  # nothing has happened since
        await sequencer.close()
    names = await SqliteJournal(ledgers.path).snapshots.list()
    # Trimming is left to the next process that reads them back.
    assert [name.record_id.epoch for name in names] == [3, 2, 1]


async def test_a_short_ledger_ends_without_a_snapshot(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "journal")
    sequencer, snapshots = await ledgers.start()
    await stock(sequencer)
    await sequencer.drain()
    assert await snapshots.at_the_end(await sequencer.journal.tail()) is None
    await sequencer.close()


async def test_a_failed_snapshot_says_why_and_trims_nothing(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "journal")
    sequencer, snapshots = await ledgers.start(every_commands=5)
    (tmp_path / "journal.snapshots").write_bytes(b"a file where the directory should be")
    await stock(sequencer)
    await sell(sequencer, 2)
    task = snapshots._task
    assert task is not None
    await asyncio.wait([task])
    with pytest.raises(SnapshotFailed, match=r"status 1: snapshots in .*journal.snapshots"):
        task.result()
    assert len(ledgers.failures) == 1
    assert (await sequencer.journal.tail()).record_id >= RecordId(1, 5)
    await sequencer.close()
    (tmp_path / "journal.snapshots").unlink()
    sequencer, _ = await ledgers.start()
    assert ledgers.report.snapshot is None
    await sequencer.close()


async def test_a_damaged_older_snapshot_does_not_fail_the_next(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "journal")
    sequencer, snapshots = await ledgers.start()
    await stock(sequencer)
    first = await snapshots.now()
    await sell(sequencer, 2)
    damaged = await snapshots.now()
    file = SqliteJournal(ledgers.path).snapshots.path(damaged.name)
    file.write_bytes(file.read_bytes()[:-64])
    await sell(sequencer, 2)
    third = await snapshots.now()
    # What may be relied on is the new one and the first: the records behind the first stay.
    assert third.records_trimmed == 0
    assert await sequencer.journal.snapshots.list() == [third.name, damaged.name, first.name]
    await sell(sequencer, 2)
    fourth = await snapshots.now()
    assert await sequencer.journal.snapshots.list() == [fourth.name, third.name]
    await sequencer.close()


async def test_closing_ends_the_other_process(tmp_path: Path) -> None:
    ledgers = Ledgers(tmp_path / "journal")
    sequencer, snapshots = await ledgers.start(every_commands=3)
    await stock(sequencer)
    assert snapshots._task is not None
    await snapshots.close()
    assert snapshots._task is None
    assert ledgers.kept == []
    await sequencer.close()


async def test_the_program_refuses_a_journal_of_somebody_else(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path / "journal", JournalIdentity(tenant="acme"))
    await journal.close()
    request = {
        "journal": f"sqlite://{tmp_path / 'journal'}",
        "identity": {"tenant": "other"},
        "capacity": {},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "server.application.snapshot_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaint = await process.communicate(json.dumps(request).encode())
    assert (process.returncode, printed) == (1, b"")
    assert b"journal of tenant 'acme', this server is configured for tenant 'other'" in complaint
