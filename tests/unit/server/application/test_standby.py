"""A standby keeps up, takes over when it is its turn and not before, and refuses what is not whole.

The journal is in memory, its writer in the same event loop: a test lets the standby run until
something is so, and nothing here waits for a clock but the standby itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from engine import commands, invariants, reads, tables
from engine.reads import Cause
from engine.state import Capacity
from server.application.ledger import Ledger
from server.application.piece_queue import REPORT
from server.application.recovery import RecoveryReport, Replayed, recover, take_snapshot
from server.application.sequencer import Sequencer
from server.application.standby import Event, Standby
from server.journal.errors import (
    JournalDiverged,
    JournalError,
    JournalGap,
    JournalOwned,
    JournalRefused,
    JournalUnavailable,
)
from server.journal.genesis import Genesis, JournalIdentity
from server.journal.port import Journal
from server.journal.record import Cursor, Entry, JournalRecord, RecordId
from tests import columns
from tests.columns import Line
from tests.simulation.manual_clock import ManualClock
from tests.simulation.memory_journal import MemoryDisk, MemoryJournal
from tests.simulation.orders import count, create, define

WHO = JournalIdentity()
CAPACITY = Capacity.small()


def ignore(_: JournalError) -> None:
    """Ownership is never lost here."""


class Primary:
    """The writer: a sequencer on the disk's journal."""

    def __init__(self, disk: MemoryDisk, sequencer: Sequencer) -> None:
        self.disk = disk
        self.sequencer = sequencer
        self._made = 0

    @staticmethod
    async def start(disk: MemoryDisk, holder: str = "the primary") -> Primary:
        journal = await MemoryJournal.open(disk, WHO)
        ledger, _ = await recover(journal, CAPACITY, holder=holder, on_lost=ignore)
        clock = ManualClock(max(ManualClock().now_ms(), ledger.state.now_ms))
        primary = Primary(disk, Sequencer(ledger, clock))
        await primary.sequencer.submit(define(commands.SKU, ["pear"]), priority=REPORT)
        await primary.sequencer.submit(define(commands.NODE, ["berlin"]), priority=REPORT)
        await primary.sequencer.submit(count("pear", "berlin", 1_000), priority=REPORT)
        return primary

    @property
    def journal(self) -> MemoryJournal:
        journal = self.sequencer.journal
        assert isinstance(journal, MemoryJournal)
        return journal

    async def hold(self, times: int = 1) -> None:
        for _ in range(times):
            self._made += 1
            name = f"{id(self)}-{self._made}"
            await self.sequencer.submit(create([("pear", "berlin", 1)], reservation_id=name))

    def die(self) -> None:
        """The process ends: its connection, and with it the ownership, is gone."""
        self.journal.die()
        self.disk.owner = ""


class Follower:
    """A standby that runs, and what it has told."""

    def __init__(self, standby: Standby) -> None:
        self.standby = standby
        self.told: list[tuple[Event, str]] = []
        self._step = asyncio.Condition()
        self.run: asyncio.Task[tuple[Ledger, RecoveryReport]]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let it run until that is so. Raises what the standby ends with."""
        while not is_so():
            if self.run.done():
                self.run.result()
                raise AssertionError("it has taken over")
            await asyncio.sleep(0)

    async def keeps_up_with(self, primary: Primary) -> None:
        wanted = primary.sequencer.state.revision
        await self.until(lambda: self.standby.state.revision == wanted)


@contextlib.asynccontextmanager
async def following(
    disk: MemoryDisk,
    open_journal: Callable[[], object] | None = None,
    *,
    capacity: Capacity = CAPACITY,
) -> AsyncIterator[Follower]:
    async def opened() -> Journal:
        return await MemoryJournal.open(disk, WHO)

    told: list[tuple[Event, str]] = []
    standby = await Standby.open(
        open_journal or opened,  # type: ignore[arg-type]
        capacity,
        on_event=lambda event, reason: told.append((event, reason)),
    )
    follower = Follower(standby)
    follower.told = told
    follower.run = asyncio.ensure_future(standby.run("the standby", ignore))
    try:
        yield follower
    finally:
        follower.run.cancel()
        await asyncio.wait([follower.run])
        await standby.close()


def same(left: object, right: object) -> bool:
    return invariants.state_hash(left) == invariants.state_hash(right)  # type: ignore[arg-type]


async def test_it_follows_record_by_record_and_owns_nothing() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk) as follower:
        for _ in range(5):
            await primary.hold(3)
            await follower.keeps_up_with(primary)
            assert same(follower.standby.state, primary.sequencer.state)
        assert follower.standby.owner == "the primary"
        assert disk.owner == "the primary"
        assert not follower.run.done()
        assert follower.told == []
    await primary.sequencer.close()


async def test_it_takes_over_when_the_owner_is_gone_with_everything_that_was_acknowledged() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk) as follower:
        await follower.keeps_up_with(primary)
        await primary.hold(20)
        primary.die()
        ledger, report = await follower.run
        assert same(ledger.state, primary.sequencer.state)
        assert report.revision == ledger.state.revision
        assert disk.owner == "the standby"
        assert [event for event, _ in follower.told] == [Event.TURN]
        # The ledger goes on where the other one left it.
        sequencer = Sequencer(ledger, ManualClock(ledger.state.now_ms))
        await sequencer.submit(create([("pear", "berlin", 1)], reservation_id="after"))
        assert invariants.check(ledger.state) == []
        await sequencer.close()


async def test_it_takes_over_at_once_when_a_drained_owner_gives_its_journal_up() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk) as follower:
        await primary.hold(5)
        await primary.sequencer.drain()
        end = await primary.journal.release()
        ledger, _ = await follower.run
        assert end is not None
        assert same(ledger.state, primary.sequencer.state)
        # The snapshot of the one before comes late, and is as good as any.
        await take_snapshot(Replayed(primary.sequencer.state, end), primary.journal)
        await primary.sequencer.close()
        assert disk.owner == "the standby"


async def test_it_takes_over_when_asked_and_the_owner_appends_nothing_more() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk) as follower:
        await follower.keeps_up_with(primary)
        follower.standby.take_over()
        ledger, _ = await follower.run
        with pytest.raises(Exception, match="without this writer"):
            await primary.hold()
        sequencer = Sequencer(ledger, ManualClock(ledger.state.now_ms))
        await sequencer.submit(create([("pear", "berlin", 1)], reservation_id="after"))
        await primary.sequencer.close()
        assert disk.owner == "the standby"
        await sequencer.close()


async def test_of_two_standbys_one_takes_over_and_the_other_follows_it() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk) as left, following(disk) as right:
        await left.keeps_up_with(primary)
        await right.keeps_up_with(primary)
        primary.die()
        done, waiting = await asyncio.wait(
            [left.run, right.run], return_when=asyncio.FIRST_COMPLETED
        )
        assert (len(done), len(waiting)) == (1, 1)
        ledger, _ = done.pop().result()
        other = right if left.run.done() else left
        sequencer = Sequencer(ledger, ManualClock(ledger.state.now_ms))
        await sequencer.submit(create([("pear", "berlin", 1)], reservation_id="after"))
        await other.until(lambda: other.standby.state.revision == ledger.state.revision)
        assert same(other.standby.state, ledger.state)
        await sequencer.close()


class Flaky(MemoryJournal):
    """A journal that can be out of reach, or claimed by somebody faster."""

    away = False
    read_fails_after_claim = 0
    append_fails = 0
    faster = 0

    async def read(self, after: Cursor, **options: int) -> list[JournalRecord]:
        if type(self).away:
            raise JournalUnavailable("memory is out of reach")
        if self._claimed is not None and type(self).read_fails_after_claim:
            type(self).read_fails_after_claim -= 1
            raise JournalUnavailable("memory broke off")
        return list(await super().read(after, **options))

    def append(self, entry: Entry) -> asyncio.Future[RecordId]:
        if type(self).append_fails:
            type(self).append_fails -= 1
            self.fail(JournalUnavailable("memory broke off"))
        return super().append(entry)

    async def claim(self, *arguments: object, **options: object) -> Cursor:
        if type(self).faster:
            type(self).faster -= 1
            raise JournalOwned("memory is held by somebody faster")
        return await super().claim(*arguments, **options)  # type: ignore[arg-type]


@pytest.fixture
def flaky() -> type[Flaky]:
    class Own(Flaky):
        pass

    return Own


async def test_a_journal_out_of_reach_is_waited_for(flaky: type[Flaky]) -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk, lambda: flaky.open(disk, WHO)) as follower:
        await follower.keeps_up_with(primary)
        flaky.away = True
        await follower.until(lambda: bool(follower.told))
        await primary.hold(3)
        before = follower.standby.behind_s()
        await follower.until(lambda: follower.standby.behind_s() > before)
        flaky.away = False
        await follower.keeps_up_with(primary)
        await follower.until(lambda: len(follower.told) == 2)
        assert [event for event, _ in follower.told] == [Event.AWAY, Event.BACK]
    await primary.sequencer.close()


async def test_a_takeover_that_breaks_off_is_begun_again(flaky: type[Flaky]) -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk, lambda: flaky.open(disk, WHO)) as follower:
        await follower.keeps_up_with(primary)
        flaky.faster, flaky.read_fails_after_claim = 1, 2
        primary.die()
        ledger, _ = await follower.run
        assert same(ledger.state, primary.sequencer.state)
        events = [event for event, _ in follower.told]
        assert events.count(Event.TURN) == 4
        assert Event.REFUSED in events
        assert flaky.read_fails_after_claim == 0
        await ledger.journal.close()


async def test_records_trimmed_while_it_slept_are_read_from_a_snapshot(flaky: type[Flaky]) -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk, lambda: flaky.open(disk, WHO)) as follower:
        await follower.keeps_up_with(primary)
        flaky.away = True
        await follower.until(lambda: bool(follower.told))
        await primary.hold(10)
        end = await primary.journal.tail()
        await take_snapshot(Replayed(primary.sequencer.state, end), primary.journal)
        await primary.hold(1)
        del disk.records[:-1]
        old = follower.standby.state
        flaky.away = False
        await follower.until(lambda: follower.standby.state is not old)
        await follower.keeps_up_with(primary)
        await follower.until(lambda: len(follower.told) == 3)
        assert same(follower.standby.state, primary.sequencer.state)
        assert follower.standby.is_sound
        assert [event for event, _ in follower.told] == [Event.AWAY, Event.ANEW, Event.BACK]
    await primary.sequencer.close()


class Durable(MemoryJournal):
    """One that promises to lose nothing."""

    loss_window_ms = 0


async def test_a_durable_journal_that_came_back_with_less_is_refused() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    await primary.hold(5)
    async with following(disk, lambda: Durable.open(disk, WHO)) as follower:
        await follower.keeps_up_with(primary)
        primary.die()
        del disk.records[-2:]
        with pytest.raises(JournalGap, match="was read here before, but memory ends at record 1-6"):
            await follower.run


async def test_one_that_promises_less_is_followed_from_what_it_has() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    await primary.hold(5)
    async with following(disk) as follower:
        await follower.keeps_up_with(primary)
        known = follower.standby.state.revision
        primary.die()
        del disk.records[-2:]
        ledger, _ = await follower.run
        assert ledger.state.revision == known - 2
        assert [event for event, _ in follower.told][:2] == [Event.ANEW, Event.TURN]


async def test_a_record_that_is_decided_otherwise_ends_it() -> None:
    """It is another version than the one that serves: nobody may be served from its state."""
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk) as follower:
        await follower.keeps_up_with(primary)
        follower.standby.state.positions["on_hand"][:1] = 0
        await primary.hold()
        with pytest.raises(JournalDiverged):
            await follower.run
    await primary.sequencer.close()


LARGER = replace(CAPACITY, positions=2 * CAPACITY.positions)


async def test_its_own_table_sizes_become_the_ledger_s_when_it_takes_over() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    await primary.hold(5)
    async with following(disk, capacity=LARGER) as follower:
        await follower.keeps_up_with(primary)
        assert follower.standby.state.capacity == CAPACITY
        primary.die()
        ledger, _ = await follower.run
        assert ledger.state.capacity == LARGER
        live = invariants.state_hash(ledger.state)
        await ledger.journal.close()
    again, _ = await recover(
        await MemoryJournal.open(disk, WHO), LARGER, holder="after", on_lost=ignore
    )
    assert invariants.state_hash(again.state) == live


async def test_a_ledger_of_an_older_format_becomes_one_of_this_version_s() -> None:
    """Not before it is its turn: until then the other version writes, and knows its own alone."""
    disk = MemoryDisk()
    old = Genesis(format_version=2, ledger_id="old", tenant=WHO.tenant, shard=WHO.shard)
    disk.genesis = old.to_bytes()
    writer = await MemoryJournal.open(disk, WHO)
    await writer.claim("the old version", ignore)
    async with following(disk) as follower:
        assert follower.standby.state.format_number == 0
        disk.owner = ""
        ledger, _ = await follower.run
        assert ledger.state.format_number == tables.FORMAT
        sequencer = Sequencer(ledger, ManualClock(ledger.state.now_ms))
        for kind, name in ((commands.SKU, "pear"), (commands.NODE, "berlin")):
            await sequencer.submit(define(kind, [name]), priority=REPORT)
        lines = [Line("pear", "berlin", quantity=5)]
        counted = columns.command(commands.COUNT, lines, request_id="q")
        await sequencer.submit(counted, priority=REPORT)
        live = invariants.state_hash(ledger.state)
        await sequencer.close()
    again, _ = await recover(
        await MemoryJournal.open(disk, WHO), CAPACITY, holder="after", on_lost=ignore
    )
    assert invariants.state_hash(again.state) == live
    assert reads.movement_cause(again.state, 0) == Cause("q", "", "")


async def test_sizes_that_did_not_reach_the_journal_are_forgotten(flaky: type[Flaky]) -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk, lambda: flaky.open(disk, WHO), capacity=LARGER) as follower:
        await follower.keeps_up_with(primary)
        followed = follower.standby.state
        flaky.append_fails = 1
        primary.die()
        ledger, _ = await follower.run
        assert ledger.state is not followed
        assert ledger.state.capacity == LARGER
        live = invariants.state_hash(ledger.state)
        await ledger.journal.close()
    again, _ = await recover(
        await MemoryJournal.open(disk, WHO), LARGER, holder="after", on_lost=ignore
    )
    assert invariants.state_hash(again.state) == live


async def test_tables_too_small_are_refused_before_anything_is_claimed() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    small = replace(CAPACITY, names=1)
    with pytest.raises(JournalRefused, match="names is 1, 2 are in use"):
        async with following(disk, capacity=small):
            pass
    assert disk.owner == "the primary"
    await primary.sequencer.close()


async def test_documents_that_change_are_noticed() -> None:
    disk = MemoryDisk()
    primary = await Primary.start(disk)
    async with following(disk) as follower:
        await primary.hold(2)
        await follower.keeps_up_with(primary)
        assert follower.standby.documents_changed == 0
        batch = define(commands.NODE, ["lyon"])
        batch.headers["kind"] = commands.PUT_DOCUMENT
        batch.headers["amount"] = 7
        await primary.sequencer.submit(batch, priority=REPORT)
        await follower.keeps_up_with(primary)
        assert follower.standby.documents_changed == 1
        assert follower.standby.state.documents == primary.sequencer.state.documents
    await primary.sequencer.close()
