"""Every format ever written is read: each `format-N` is what a version of that format left."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from engine import commands, invariants, machine
from server.application.journal_audit import verify
from server.application.ledger import outcome_checksum
from server.application.recovery import recover, replay, take_snapshot
from server.journal.errors import JournalMismatch
from server.journal.genesis import FORMAT_VERSION
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.journal.record import Entry
from server.journal.redis_appends import FIELD
from server.journal.redis_place import RedisPlace
from tests import columns
from tests.contract.upgrade.make import WHO, lost, told_of
from tests.property.pair import ROOM
from tests.redis_server import running

HERE = Path(__file__).parent
FORMATS = sorted(path.name for path in HERE.glob("format-*"))


@pytest.fixture(params=FORMATS)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what that version left behind."""
    return Path(shutil.copytree(HERE / request.param, tmp_path / "data"))


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, left: Path) -> Iterator[str]:
    """That journal, in SQLite as it was left or its genesis and records in a Redis."""
    if request.param == "sqlite":
        yield f"sqlite://{left}/journal.sqlite3"
        return
    with running() as server:
        place = RedisPlace.parse(server.url())
        with sqlite3.connect(left / "journal.sqlite3") as source:
            (genesis,) = source.execute("SELECT * FROM genesis").fetchone()[-1:]
            records = source.execute("SELECT id, record FROM records ORDER BY id").fetchall()
        with redis.Redis(port=place.port, password=place.password or None) as store:
            store.set(place.prefix + "genesis", genesis)
            for number, record in records:
                name = f"{number >> 40}-{number & (1 << 40) - 1}"
                store.xadd(place.stream, {FIELD: record}, id=name)
            store.set(place.prefix + "epoch", records[-1][0] >> 40)
        yield server.url()


def test_the_format_in_force_is_among_them() -> None:
    assert f"format-{FORMAT_VERSION}" in FORMATS


async def test_replay_comes_to_what_that_version_came_to(url: str, left: Path) -> None:
    journal = await open_journal(url, WHO)
    replayed, report = await replay(journal)
    expected = json.loads((left / "expected.json").read_text())
    told = told_of(replayed.state)
    assert {name: told[name] for name in expected} == expected
    assert invariants.check(replayed.state) == []
    assert (report.snapshot is not None) == url.startswith("sqlite")
    await journal.close()


async def test_snapshot_and_records_agree(left: Path) -> None:
    url = f"sqlite://{left}/journal.sqlite3"
    journal = await open_journal(url, WHO)
    with_snapshot, _ = await replay(journal)
    verdict = await verify(journal)
    assert verdict.faults == []
    assert len(verdict.snapshots_agreeing) == 1
    for name in await journal.snapshots.list():
        await journal.snapshots.remove(name)
    without, report = await replay(journal)
    assert report.snapshot is None
    assert invariants.state_hash(with_snapshot.state) == invariants.state_hash(without.state)
    await journal.close()


async def test_the_ledger_goes_on_in_it(url: str) -> None:
    """What was not kept stays empty, what was is there, what comes is kept; and so it is again
    after a restart, from the records and from a snapshot."""
    journal: Journal = await open_journal(url, WHO)
    before, _ = await replay(journal)
    ledger, _ = await recover(journal, ROOM, holder="a later version", on_lost=lost)
    state = ledger.state
    known = told_of(state)
    assert known == told_of(before.state)
    assert state.format_number == FORMAT_VERSION
    revision = state.revision
    pears = columns.command(
        commands.COUNT, [columns.Line("pear", "berlin", quantity=5)], request_id="q", reference="n"
    )
    answered = machine.apply(state, state.now_ms, pears)
    assert answered.rows["code"].tolist() == [0]
    assert state.revision == revision + 1
    checksum = outcome_checksum(answered)
    entry = Entry(revision + 1, state.revision, state.now_ms, checksum, pears.to_bytes())
    await journal.append(entry)
    told, wanted = told_of(state), invariants.state_hash(state)
    assert told["causes"] == [*known["causes"], ["q", "", "n"]]
    await journal.close()

    for is_restored in (False, True):
        journal = await open_journal(url, WHO)
        again, report = await replay(journal)
        assert told_of(again.state) == told
        assert invariants.check(again.state) == []
        assert invariants.state_hash(again.state) == wanted
        assert (report.records == 0) == is_restored
        await take_snapshot(again, journal)
        await journal.close()
    journal = await open_journal(url, WHO)
    assert (await verify(journal)).faults == []
    await journal.close()


@pytest.mark.parametrize("name", ["format-1", "format-2"])
async def test_older_formats_have_references_and_no_more(name: str, tmp_path: Path) -> None:
    shutil.copytree(HERE / name, tmp_path / "data")
    journal = await open_journal(f"sqlite://{tmp_path}/data/journal.sqlite3", WHO)
    replayed, _ = await replay(journal)
    assert replayed.state.format_number == 0
    told = told_of(replayed.state)
    assert not any(request or supply for request, supply, _ in told["causes"])
    assert not any(told["sources"])
    await journal.close()


async def test_a_format_of_the_future_is_refused_by_name(left: Path) -> None:
    with sqlite3.connect(left / "journal.sqlite3") as store:
        names = [row[1] for row in store.execute("PRAGMA table_info(genesis)")]
        (body,) = store.execute(f"SELECT {names[-1]} FROM genesis").fetchone()
        newer = json.loads(body) | {"format_version": FORMAT_VERSION + 1}
        text = json.dumps(newer, sort_keys=True, separators=(",", ":")).encode()
        store.execute(f"UPDATE genesis SET {names[-1]} = ?", (text,))
    with pytest.raises(JournalMismatch, match=f"is a journal of format {FORMAT_VERSION + 1}"):
        await open_journal(f"sqlite://{left}/journal.sqlite3", WHO)
