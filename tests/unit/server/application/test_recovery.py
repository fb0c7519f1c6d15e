"""Back from a journal to the very same state, or one sentence why not."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from engine import commands, invariants, machine
from engine.commands import CommandBatch
from engine.state import Capacity, State
from server.application.ledger import Ledger
from server.application.piece_queue import REPORT, SETTLE
from server.application.recovery import Replayed, recover, replay, take_snapshot
from server.application.sequencer import Sequencer
from server.journal.errors import (
    JournalCorrupted,
    JournalDiverged,
    JournalError,
    JournalGap,
    JournalRefused,
)
from server.journal.genesis import JournalIdentity
from server.journal.port import Journal
from server.journal.record import Entry, RecordId
from tests.simulation.manual_clock import ManualClock
from tests.simulation.memory_journal import MemoryDisk, MemoryJournal
from tests.simulation.orders import cancel, confirm, count, create, define

WHO = JournalIdentity()
CAPACITY = Capacity.small()


def ignore(_: JournalError) -> None:
    """Ownership is never lost here."""


async def opened(disk: MemoryDisk) -> MemoryJournal:
    return await MemoryJournal.open(disk, WHO)


async def traded(disk: MemoryDisk, turns: int, seed: int = 1) -> Sequencer:
    """A ledger that has seen `turns` busy moments since it was last opened."""
    chance = random.Random(seed)
    journal = await opened(disk)
    ledger, _ = await recover(journal, CAPACITY, holder="test", on_lost=ignore)
    clock = ManualClock(max(ManualClock().now_ms(), ledger.state.now_ms))
    sequencer = Sequencer(ledger, clock)
    await sequencer.submit(define(commands.SKU, ["pear", "plum"]), priority=REPORT)
    await sequencer.submit(define(commands.NODE, ["berlin"]), priority=REPORT)
    await sequencer.submit(count("pear", "berlin", 40), priority=REPORT)
    for turn in range(turns):
        clock.advance(chance.randrange(500))
        wanted = [("pear", "berlin", chance.randint(1, 3))]
        await asyncio.gather(
            sequencer.submit(create(wanted, ttl_ms=2_000, reservation_id=f"{seed}-{turn}")),
            sequencer.submit(confirm(f"{seed}-{turn - 1}"), priority=SETTLE),
            sequencer.submit(cancel(f"{seed}-{turn - 3}"), priority=SETTLE),
        )
    return sequencer


async def snapshot_of(sequencer: Sequencer) -> None:
    journal = sequencer.journal
    await take_snapshot(Replayed(sequencer.state, await journal.tail()), journal)


async def test_a_recovery_gives_the_same_state_with_and_without_snapshots() -> None:
    disk = MemoryDisk()
    hashes = []
    for round_ in range(3):
        sequencer = await traded(disk, 20, seed=round_)
        hashes.append(invariants.state_hash(sequencer.state))
        if round_:
            await snapshot_of(sequencer)
        await sequencer.close()
    plain = MemoryDisk(genesis=disk.genesis, records=list(disk.records))
    for place, snapshots in ((disk, True), (plain, False)):
        ledger, report = await recover(
            await opened(place), CAPACITY, holder="after", on_lost=ignore
        )
        assert invariants.state_hash(ledger.state) == hashes[-1]
        assert invariants.check(ledger.state) == []
        assert (report.snapshot is not None) == snapshots
        assert report.records == (1 if snapshots else len(plain.records))
        assert report.revision == ledger.state.revision
        assert report.positions == 1
        assert report.open_holds == int(ledger.state.meta["held_count"][0])
        assert report.commands == (0 if snapshots else report.commands)


async def test_a_damaged_snapshot_is_passed_over_while_the_journal_reaches_back() -> None:
    disk = MemoryDisk()
    for round_ in range(2):
        sequencer = await traded(disk, 10, seed=round_)
        await snapshot_of(sequencer)
        await sequencer.close()
    expected = invariants.state_hash(sequencer.state)
    newest, older = sorted(disk.snapshots, reverse=True)
    damaged = bytearray(disk.snapshots[newest])
    damaged[-100] ^= 1
    disk.snapshots[newest] = bytes(damaged)
    ledger, report = await recover(await opened(disk), CAPACITY, holder="x", on_lost=ignore)
    assert invariants.state_hash(ledger.state) == expected
    assert report.snapshot == older
    assert len(report.snapshots_skipped) == 1
    assert "checksum" in report.snapshots_skipped[0]


async def test_damage_that_the_journal_cannot_make_up_for_refuses_to_serve() -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 10)
    await snapshot_of(sequencer)
    await traded_on(sequencer, 5)
    await sequencer.journal.trim((await sequencer.journal.tail()).record_id)
    await sequencer.close()
    (name,) = disk.snapshots
    damaged = bytearray(disk.snapshots[name])
    damaged[len(damaged) // 2] ^= 1
    disk.snapshots[name] = bytes(damaged)
    with pytest.raises(JournalGap, match=r"records are missing\. Not usable: snapshot .*checksum"):
        await recover(await opened(disk), CAPACITY, holder="x", on_lost=ignore)


async def traded_on(sequencer: Sequencer, turns: int) -> None:
    for turn in range(turns):
        await sequencer.submit(create([("pear", "berlin", 1)], reservation_id=f"on-{turn}"))


async def test_a_snapshot_of_another_ledger_is_not_taken() -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 5)
    await snapshot_of(sequencer)
    expected = invariants.state_hash(sequencer.state)
    await sequencer.close()
    other = MemoryDisk()
    stranger = await MemoryJournal.open(other, replace(WHO, ledger_id="another"))
    await take_snapshot(Replayed(State.create(CAPACITY), stranger.genesis.beginning), stranger)
    (name,) = other.snapshots
    disk.snapshots[type(name)(RecordId(1, 2), 999)] = other.snapshots[name]
    ledger, report = await recover(await opened(disk), CAPACITY, holder="x", on_lost=ignore)
    assert invariants.state_hash(ledger.state) == expected
    assert ledger.state.revision > 0
    assert report.snapshots_skipped in ((), ("snapshot at record 1-2: belongs to another ledger",))


async def test_a_journal_older_than_its_snapshot_is_refused() -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 10)
    await snapshot_of(sequencer)
    await sequencer.close()
    del disk.records[-3:]
    with pytest.raises(JournalGap, match="is in a snapshot, but memory ends at record"):
        await replay(await opened(disk))


async def test_a_state_that_does_not_fit_is_refused_not_cut() -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 3)
    await snapshot_of(sequencer)
    await sequencer.close()
    journal = await opened(disk)
    with pytest.raises(JournalRefused, match=r"names is 1, \d+ are in use\. Configure"):
        await recover(journal, replace(CAPACITY, names=1), holder="x", on_lost=ignore)
    await journal.close()
    ledger, _ = await recover(await opened(disk), CAPACITY, holder="x", on_lost=ignore)
    assert ledger.state.revision == sequencer.state.revision


async def test_other_table_sizes_are_a_command_of_the_journal() -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 20)
    before = sequencer.state.revision
    await sequencer.close()
    other = replace(CAPACITY, requests=CAPACITY.requests * 2, movements=16)
    ledger, _ = await recover(await opened(disk), other, holder="x", on_lost=ignore)
    assert (ledger.state.capacity, ledger.state.revision) == (other, before)
    replayed, _ = await replay(await opened(disk))
    assert replayed.state.capacity == other
    assert invariants.state_hash(replayed.state) == invariants.state_hash(ledger.state)


class _Generous:
    """An engine of another version: it finds a pear more than there was."""

    def __init__(self, engine: object) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def apply(self, state: State, now_ms: int, batch: CommandBatch) -> object:
        generous = CommandBatch(batch.headers, batch.lines.copy(), batch.text)
        generous.lines["quantity"][batch.lines["quantity"] == 40] = 41
        return self._engine.apply(state, now_ms, generous)  # type: ignore[attr-defined]


async def test_a_replay_that_decides_otherwise_stops_at_the_record() -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 0)
    for turn, quantity in enumerate((20, 20, 1)):
        await sequencer.submit(create([("pear", "berlin", quantity)], reservation_id=str(turn)))
    await sequencer.close()
    with pytest.raises(JournalDiverged, match="record 1-6: replay decides otherwise"):
        await replay(await opened(disk), engine=_Generous(machine))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "error", "sentence"),
    [
        (Entry(99, 99, 0, 0, b""), JournalDiverged, "begins at revision 99, replay has come to"),
        (Entry(4, 9, 0, 0, b"noise"), JournalCorrupted, "command batch: 5 bytes"),
        (
            Entry(4, 9, 0, 0, count("pear", "berlin", 1).to_bytes()),
            JournalDiverged,
            "ended at revision 9, replay ends it at 4",
        ),
    ],
)
async def test_a_record_that_does_not_fit_the_state_is_named(
    entry: Entry, error: type[JournalError], sentence: str
) -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 0)
    await sequencer.drain()
    record_id = await sequencer.journal.append(entry)
    await sequencer.close()
    with pytest.raises(error, match=sentence) as caught:
        await replay(await opened(disk))
    assert str(record_id) in str(caught.value)


async def test_a_replay_stops_at_the_revision_asked_for() -> None:
    disk = MemoryDisk()
    sequencer = await traded(disk, 4)
    middle = sequencer.state.revision
    expected = invariants.state_hash(sequencer.state)
    await traded_on(sequencer, 5)
    await snapshot_of(sequencer)
    await sequencer.close()
    replayed, report = await replay(await opened(disk), to_revision=middle)
    assert (report.revision, report.snapshot) == (middle, None)
    assert invariants.state_hash(replayed.state) == expected


class _Behind(MemoryJournal):
    """A journal that hides its newest record from readers."""

    async def read(self, *args: object, **options: object) -> object:  # type: ignore[override]
        records = await super().read(*args, **options)  # type: ignore[arg-type]
        newest = (await self.tail()).record_id
        return [record for record in records if record.record_id != newest]


async def test_a_writer_that_does_not_see_its_own_start_serves_nothing() -> None:
    journal: Journal = _Behind((await opened(MemoryDisk()))._disk)
    with pytest.raises(JournalGap, match="this writer's own start"):
        await recover(journal, CAPACITY, holder="x", on_lost=ignore)


async def test_a_ledger_is_its_state_and_its_journal() -> None:
    journal = await opened(MemoryDisk())
    ledger, report = await recover(journal, CAPACITY, holder="x", on_lost=ignore)
    assert ledger == Ledger(ledger.state, journal)
    assert (report.revision, report.records, report.snapshot) == (0, 1, None)
