"""The embedded journal against real files: bytes flipped anywhere, processes killed, logs lost."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from server.journal.acknowledged_mark import read_mark
from server.journal.errors import (
    JournalCorrupted,
    JournalError,
    JournalGap,
    JournalMismatch,
    JournalOwned,
    JournalRefused,
    JournalUnavailable,
)
from server.journal.genesis import JournalIdentity
from server.journal.record import Entry, JournalRecord, RecordId
from server.journal.sqlite_journal import SqliteJournal

WHO = JournalIdentity(ledger_id="ledger-1")


def ignore(_: JournalError) -> None:
    """Ownership is never lost here."""


async def written(path: Path, records: int, payload_bytes: int) -> SqliteJournal:
    journal = await SqliteJournal.open(path, WHO)
    await journal.claim("test", ignore)
    body = random.Random(7).randbytes(payload_bytes)
    for number in range(1, records + 1):
        await journal.append(Entry(number, number, number, 0, body))
    return journal


async def read_all(journal: SqliteJournal) -> list[JournalRecord]:
    cursor = journal.genesis.beginning
    records: list[JournalRecord] = []
    while page := await journal.read(cursor):
        records += page
        cursor = page[-1].cursor
    return records


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
async def test_a_byte_flipped_anywhere_never_loses_a_record_in_silence(
    tmp_path: Path, closed: bool
) -> None:
    journal = await written(tmp_path / "whole" / "journal", 12, 3_000)
    expected = await read_all(journal)
    if closed:
        await journal.close()
    shutil.copytree(tmp_path / "whole", tmp_path / "master")
    await journal.close()
    chance = random.Random(11)
    names = ["journal"] if closed else ["journal", "journal-wal"]
    noticed = 0
    for trial in range(120):
        copy = tmp_path / f"trial-{trial}"
        shutil.copytree(tmp_path / "master", copy)
        damaged = copy / names[trial % len(names)]
        body = bytearray(damaged.read_bytes())
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(body)
        try:
            opened = await SqliteJournal.open(copy / "journal", WHO)
        except JournalError:
            noticed += 1
        else:
            try:
                assert await read_all(opened) == expected
            except JournalError:
                noticed += 1
            await opened.close()
        shutil.rmtree(copy)
    # Some bytes of a file mean nothing (unused parts of pages); most of these mean something.
    assert noticed > 40


async def test_a_torn_tail_drops_only_what_was_never_acknowledged(tmp_path: Path) -> None:
    journal = await written(tmp_path / "whole" / "journal", 5, 20_000)
    log = tmp_path / "whole" / "journal-wal"
    before = log.stat().st_size
    mark = tmp_path / "whole" / "journal.mark"
    acknowledged = mark.read_bytes()
    await journal.append(Entry(6, 6, 6, 0, bytes(20_000)))
    after = log.stat().st_size
    assert after > before
    for cut in (before, before + 24, (before + after) // 2, after - 1):
        copy = tmp_path / f"cut-{cut}"
        shutil.copytree(tmp_path / "whole", copy)
        os.truncate(copy / "journal-wal", cut)
        (copy / "journal.mark").write_bytes(acknowledged)
        survivor = await SqliteJournal.open(copy / "journal", WHO)
        assert (await read_all(survivor))[-1].record_id == RecordId(1, 5)
        assert (await survivor.claim("after", ignore)).record_id == RecordId(2, 0)
        await survivor.append(Entry(6, 6, 6, 0, b"again"))
        await survivor.close()
    await journal.close()


async def test_a_log_cut_behind_an_acknowledged_record_is_refused(tmp_path: Path) -> None:
    journal = await written(tmp_path / "whole" / "journal", 5, 20_000)
    shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    await journal.close()
    log = tmp_path / "copy" / "journal-wal"
    os.truncate(log, log.stat().st_size - 1)
    with pytest.raises(JournalGap, match=r"1-5: was acknowledged, but .* ends at record 1-4"):
        await SqliteJournal.open(tmp_path / "copy" / "journal", WHO)
    # Looking changed nothing, so the same sentence comes again.
    with pytest.raises(JournalGap, match="record 1-5"):
        await SqliteJournal.open(tmp_path / "copy" / "journal", WHO)


async def test_a_lost_journal_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    await (await written(tmp_path / "journal", 3, 10)).close()
    (tmp_path / "journal").unlink()
    with pytest.raises(JournalRefused, match="is missing, though it once held record 1-3"):
        await SqliteJournal.open(tmp_path / "journal", WHO)
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("content", [b"", b"sku,node,quantity\n", b"SQLite format 3\0" + bytes(84)])
async def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal").write_bytes(content)
    with pytest.raises(JournalMismatch, match="is not a Holdfast journal; point the journal"):
        await SqliteJournal.open(tmp_path / "journal", WHO)
    assert (tmp_path / "journal").read_bytes() == content


async def test_a_database_of_another_program_is_refused_and_untouched(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "shop.sqlite3")
    database.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, record BLOB)")
    database.commit()
    database.close()
    before = (tmp_path / "shop.sqlite3").read_bytes()
    with pytest.raises(JournalMismatch, match="is not a Holdfast journal"):
        await SqliteJournal.open(tmp_path / "shop.sqlite3", WHO)
    assert (tmp_path / "shop.sqlite3").read_bytes() == before


async def test_a_place_where_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(JournalRefused, match="file"):
        await SqliteJournal.open(tmp_path / "file" / "journal", WHO)


async def test_a_half_made_journal_of_a_crash_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "journal.making").write_bytes(b"half a database")
    journal = await SqliteJournal.open(tmp_path / "journal", WHO)
    assert journal.genesis.ledger_id == "ledger-1"
    await journal.close()


async def test_the_mark_follows_the_acknowledged_records(tmp_path: Path) -> None:
    journal = await written(tmp_path / "journal", 3, 10)
    assert read_mark(tmp_path / "journal.mark") == RecordId(1, 3)
    await journal.close()
    (tmp_path / "journal.mark").write_bytes(b"unreadable marks say nothing")
    assert read_mark(tmp_path / "journal.mark") is None
    await (await SqliteJournal.open(tmp_path / "journal", WHO)).close()


async def test_ownership_ends_with_the_process_not_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    program = (
        "import asyncio, sys, pathlib\n"
        "from server.journal.genesis import JournalIdentity\n"
        "from server.journal.record import Entry\n"
        "from server.journal.sqlite_journal import SqliteJournal\n"
        "async def main():\n"
        "    who = JournalIdentity(ledger_id='ledger-1')\n"
        "    journal = await SqliteJournal.open(pathlib.Path(sys.argv[1]), who)\n"
        "    await journal.claim('the victim', lambda error: None)\n"
        "    number = 0\n"
        "    while True:\n"
        "        number += 1\n"
        "        await journal.append(Entry(number, number, number, 0, b'%d' % number))\n"
        "        print(number, flush=True)\n"
        "asyncio.run(main())\n"
    )
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=subprocess.PIPE
    )
    assert victim.stdout is not None
    acknowledged = 0
    while line := await victim.stdout.readline():
        acknowledged = int(line)
        if acknowledged == 1:
            rival = await SqliteJournal.open(path, WHO)
            with pytest.raises(JournalOwned, match=rf"process {victim.pid} .*the victim"):
                await rival.claim("rival", ignore)
            await rival.close()
        if acknowledged == 200:
            victim.send_signal(signal.SIGKILL)
    await victim.wait()
    journal = await SqliteJournal.open(path, WHO)
    assert (await journal.claim("heir", ignore)).record_id == RecordId(2, 0)
    kept = [int(record.payload) for record in await read_all(journal) if record.payload.isdigit()]
    assert kept[:acknowledged] == list(range(1, acknowledged + 1))
    assert len(kept) <= acknowledged + 1
    await journal.close()


async def test_damage_inside_the_tree_names_a_record(tmp_path: Path) -> None:
    await (await written(tmp_path / "journal", 50, 3_000)).close()
    body = bytearray((tmp_path / "journal").read_bytes())
    for page in range(3, len(body) // 8192):
        body[page * 8192 : page * 8192 + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "journal").write_bytes(body)
    with pytest.raises(JournalCorrupted, match="journal record "):
        await read_all(await SqliteJournal.open(tmp_path / "journal", WHO))


async def test_a_failed_commit_is_unavailable_and_keeps_the_journal_whole(tmp_path: Path) -> None:
    journal = await written(tmp_path / "journal", 3, 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log_bytes = (tmp_path / "journal-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (log_bytes, hard))
    try:
        futures = [journal.append(Entry(n, n, n, 0, bytes(9_000))) for n in (4, 5)]
        results = await asyncio.gather(*futures, return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(result) for result in results] == [JournalUnavailable] * 2
    await journal.close()
    again = await SqliteJournal.open(tmp_path / "journal", WHO)
    assert [record.record_id for record in await read_all(again)] == [
        RecordId(1, number) for number in range(4)
    ]
    await again.close()


async def test_a_locked_file_is_not_taken_by_force(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    owner = await SqliteJournal.open(path, WHO)
    await owner.claim("the owner", ignore)
    other = await SqliteJournal.open(path, WHO)
    with pytest.raises(JournalOwned, match="the owner"):
        await other.claim("another", ignore, by_force=True)
    await other.close()
    await owner.close()
