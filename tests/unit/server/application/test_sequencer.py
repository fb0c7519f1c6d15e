"""The one writer: what it promises to callers, to the journal, and when things break."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine import commands, invariants, machine, outcomes, reads
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import Capacity, State
from server.application.flight import BatchReport
from server.application.ledger import Ledger
from server.application.piece_queue import REPORT, RESERVE, SETTLE, QueueLimits
from server.application.recovery import recover, replay
from server.application.sequencer import Durability, Sequencer, Status
from server.application.sequencer_errors import (
    DeadlinePassed,
    NotServing,
    OutcomeUnknown,
    Overloaded,
)
from server.journal.errors import JournalFenced, JournalUnavailable
from server.journal.genesis import JournalIdentity
from server.journal.record import COMMANDS, JournalRecord
from tests.simulation.manual_clock import START_MS, ManualClock
from tests.simulation.memory_journal import MemoryDisk, MemoryJournal
from tests.simulation.orders import adjust, cancel, confirm, count, create, define

WHO = JournalIdentity()
CAPACITY = Capacity.small()


class Shard:
    """A sequencer on a memory journal, with stock of five pears in Berlin."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.reports: list[BatchReport] = []
        self.statuses: list[tuple[Status, str]] = []
        self.sync: asyncio.Event | None = None
        self.journal: MemoryJournal
        self.sequencer: Sequencer

    async def start(self, engine: Any = machine, **options: Any) -> Shard:
        ledger = await self.recover()
        self.sequencer = Sequencer(
            ledger,
            self.clock,
            engine=engine,
            on_batch=self.reports.append,
            on_status=lambda status, why: self.statuses.append((status, why)),
            **options,
        )
        return self

    async def recover(self) -> Ledger:
        self.journal = await MemoryJournal.open(self.disk, WHO)
        ledger, _ = await recover(self.journal, CAPACITY, holder="test", on_lost=lambda error: None)
        return ledger

    async def stocked(self, engine: Any = machine, **options: Any) -> Shard:
        await self.start(engine, **options)
        for batch in (
            define(commands.SKU, ["pear", "plum"]),
            define(commands.NODE, ["berlin"]),
            count("pear", "berlin", 5),
        ):
            (code,) = (await self.sequencer.submit(batch, priority=REPORT)).rows["code"]
            assert code == outcomes.OK
        self.reports.clear()
        return self

    def available(self) -> int:
        state = self.sequencer.state
        return reads.available(state, reads.position_row(state, "pear", "berlin"))

    async def records(self) -> list[JournalRecord]:
        reader = await MemoryJournal.open(self.disk, WHO)
        return [r for r in await reader.read(reader.genesis.beginning) if r.kind == COMMANDS]


def pears(quantity: int = 1, **options: Any) -> CommandBatch:
    return create([("pear", "berlin", quantity)], **options)


def codes(answer: Outcomes) -> list[int]:
    return [int(code) for code in answer.rows["code"]]


async def settle() -> None:
    """Let everything that is ready happen."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- Batches ------------------------------------------------------------------------------


async def test_what_waits_together_is_one_record_and_each_gets_its_own_answer() -> None:
    shard = await Shard().stocked()
    before = len(await shard.records())
    futures = [
        shard.sequencer.submit(pears(2, reservation_id="a")),
        shard.sequencer.submit(CommandBatch.join([pears(2), pears(2), pears(1)])),
        shard.sequencer.submit(pears(1)),
    ]
    first, bulk, last = await asyncio.gather(*futures)
    assert codes(first) == [outcomes.OK]
    assert codes(bulk) == [outcomes.OK, outcomes.INSUFFICIENT_STOCK, outcomes.OK]
    assert codes(last) == [outcomes.INSUFFICIENT_STOCK]
    assert [len(answer.details) for answer in (first, bulk, last)] == [1, 3, 1]
    assert int(last.details["available"][0]) == 0
    assert int(bulk.details["quantity"][0]) == 2
    assert first.rows["revision"][0] + 1 == bulk.rows["revision"][0]
    records = await shard.records()
    assert len(records) == before + 1
    assert (records[-1].first_revision, records[-1].last_revision) == (4, 8)
    assert shard.reports[-1].pieces == 3
    assert shard.reports[-1].commands == 5
    assert shard.reports[-1].record_bytes == len(records[-1].payload)


async def test_urgent_classes_go_first_and_order_holds_within_a_class() -> None:
    shard = await Shard().stocked()
    await shard.sequencer.submit(pears(5, reservation_id="all"))
    late = shard.sequencer.submit(adjust("pear", "berlin", 1), priority=REPORT)
    first = shard.sequencer.submit(pears(3), priority=RESERVE)
    second = shard.sequencer.submit(pears(3), priority=RESERVE)
    urgent = shard.sequencer.submit(cancel("all"), priority=SETTLE)
    answers = await asyncio.gather(urgent, first, second, late)
    assert [codes(a)[0] for a in answers] == [0, 0, outcomes.INSUFFICIENT_STOCK, 0]
    revisions = [int(answer.rows["revision"][0]) for answer in answers]
    assert revisions == sorted(revisions)


async def test_batches_are_bounded_but_a_large_piece_still_goes_whole() -> None:
    limits = QueueLimits(batch_commands_max=4)
    shard = await Shard().stocked(limits=limits)
    small = [shard.sequencer.submit(pears()) for _ in range(3)]
    large = shard.sequencer.submit(CommandBatch.join([pears() for _ in range(6)]))
    tail = shard.sequencer.submit(pears())
    await asyncio.gather(*small, large, tail)
    assert [report.commands for report in shard.reports] == [3, 6, 1]


async def test_an_empty_piece_is_answered_empty() -> None:
    shard = await Shard().stocked()
    nothing = CommandBatch(pears().headers[:0], pears().lines[:0], pears().text[:0])
    empty, full = await asyncio.gather(
        shard.sequencer.submit(nothing), shard.sequencer.submit(pears())
    )
    assert (len(empty.rows), len(empty.details), codes(full)) == (0, 0, [0])


async def test_nobody_is_answered_before_the_journal_holds_the_batch() -> None:
    shard = await Shard().stocked()
    await shard.sequencer.drain()
    shard = await restarted(shard, sync_delay_s=lambda: 3600.0)
    journaled = shard.sequencer.submit(pears())
    early = shard.sequencer.submit(pears(), durability=Durability.MEMORY)
    await settle()
    assert shard.available() == 3  # both applied
    assert codes(early.result()) == [outcomes.OK]
    assert not journaled.done()
    barrier = asyncio.ensure_future(shard.sequencer.barrier())
    await settle()
    assert not barrier.done()
    shard.journal._synced(shard.journal._waiting[-1][0])
    await settle()
    assert codes(journaled.result()) == [outcomes.OK]
    assert barrier.done()


async def restarted(
    shard: Shard, *, sync_delay_s: Callable[[], float], in_flight: int = 2, **options: Any
) -> Shard:
    """The same ledger in a new process whose journal takes its time."""
    again = Shard()
    again.disk, again.clock = shard.disk, shard.clock
    again.disk.owner = ""
    again.journal = await MemoryJournal.open(
        again.disk, WHO, sync_delay_s=sync_delay_s, appends_in_flight_max=in_flight
    )
    ledger, _ = await recover(again.journal, CAPACITY, holder="test", on_lost=lambda _: None)
    again.sequencer = Sequencer(
        ledger,
        again.clock,
        on_batch=again.reports.append,
        on_status=lambda status, why: again.statuses.append((status, why)),
        **options,
    )
    return again


async def test_while_batches_are_in_flight_the_next_one_collects() -> None:
    shard = await restarted(await Shard().stocked(), sync_delay_s=lambda: 3600.0, in_flight=2)
    futures = []
    for _ in range(6):
        futures.append(shard.sequencer.submit(pears()))
        await settle()
    assert len(shard.journal._waiting) == 2
    assert shard.sequencer.commands_waiting == 4
    shard.journal._synced(shard.journal._waiting[0][0])
    await settle()
    assert [future.done() for future in futures] == [True] + [False] * 5
    assert shard.sequencer.commands_waiting == 0
    while shard.journal._waiting:
        shard.journal._synced(shard.journal._waiting[0][0])
    await settle()
    assert [report.commands for report in shard.reports] == [1, 1, 4]


# --- Callers that go away -----------------------------------------------------------------


async def test_where_the_loop_is_busy_a_few_commands_wait_for_others_and_many_do_not() -> None:
    busy = False
    shard = await Shard().stocked(linger_s=lambda: 3_600.0 if busy else 0.0)
    busy = True
    few = [shard.sequencer.submit(pears(reservation_id=name)) for name in "abc"]
    await settle()
    assert not shard.reports
    many = shard.sequencer.submit(CommandBatch.join([pears()] * 16))
    assert codes(await many) == [outcomes.OK] * 2 + [outcomes.INSUFFICIENT_STOCK] * 14
    assert [codes(await one) for one in few] == [[outcomes.OK]] * 3
    assert [(each.pieces, each.commands) for each in shard.reports] == [(4, 19)]


async def test_a_few_commands_wait_no_longer_than_they_are_told_nor_through_a_drain() -> None:
    shard = await Shard().stocked(linger_s=lambda: 0.001)
    assert codes(await shard.sequencer.submit(pears())) == [outcomes.OK]
    busy = False
    shard = await Shard().stocked(linger_s=lambda: 3_600.0 if busy else 0.0)
    busy = True
    waiting = shard.sequencer.submit(pears())
    await settle()
    assert not waiting.done()
    await shard.sequencer.drain()
    assert codes(await waiting) == [outcomes.OK]


async def test_a_cancelled_piece_that_waits_never_happens() -> None:
    shard = await Shard().stocked()
    future = shard.sequencer.submit(pears(5))
    future.cancel()
    assert codes(await shard.sequencer.submit(pears(5))) == [outcomes.OK]
    assert shard.sequencer.commands_waiting == 0


async def test_a_cancelled_piece_that_was_applied_is_journaled_all_the_same() -> None:
    shard = await restarted(await Shard().stocked(), sync_delay_s=lambda: 3600.0)
    before = len(await shard.records())
    future = shard.sequencer.submit(pears(5))
    await settle()
    future.cancel()
    shard.journal._synced(shard.journal._waiting[-1][0])
    await settle()
    assert len(await shard.records()) == before + 1
    reader = await MemoryJournal.open(shard.disk, WHO)
    replayed, _ = await replay(reader)
    assert invariants.state_hash(replayed.state) == invariants.state_hash(shard.sequencer.state)


async def test_a_passed_deadline_drops_the_piece_before_it_is_applied() -> None:
    shard = await Shard().stocked()
    revision = shard.sequencer.state.revision
    late = shard.sequencer.submit(pears(5), deadline_ms=START_MS)
    good = shard.sequencer.submit(pears(5), deadline_ms=START_MS + 1)
    with pytest.raises(DeadlinePassed):
        await late
    assert codes(await good) == [outcomes.OK]
    assert shard.sequencer.state.revision == revision + 1


async def test_a_deadline_that_a_commit_would_miss_is_refused_early() -> None:
    shard = await Shard().stocked()
    shard.sequencer._estimate.note(shard.clock.elapsed_s(), 0.050)
    for _ in range(8):
        shard.sequencer._estimate.note(shard.clock.elapsed_s(), 0.050)
    soon = shard.sequencer.submit(pears(), deadline_ms=START_MS + 40)
    with pytest.raises(DeadlinePassed):
        await soon
    # A stall is forgotten after a second, or the shard would refuse for ever.
    shard.clock.advance(2_000)
    again = shard.sequencer.submit(pears(), deadline_ms=START_MS + 2_040)
    assert codes(await again) == [outcomes.OK]


# --- Limits -------------------------------------------------------------------------------


async def test_a_full_queue_refuses_reservations_before_confirmations() -> None:
    limits = QueueLimits(queue_commands_max=10, class_shares=(1.0, 0.9, 0.5, 0.3))
    shard = await Shard().stocked(limits=limits)
    held = [shard.sequencer.submit(pears(reservation_id=f"r{n}")) for n in range(5)]
    with pytest.raises(Overloaded, match="queue_commands_max is reached") as caught:
        shard.sequencer.submit(pears())
    assert caught.value.retry_after_ms >= 10
    settled = [shard.sequencer.submit(confirm(f"r{n}"), priority=SETTLE) for n in range(5)]
    with pytest.raises(Overloaded):
        shard.sequencer.submit(confirm("r0"), priority=SETTLE)
    await asyncio.gather(*held, *settled)
    assert codes(await shard.sequencer.submit(pears())) == [outcomes.INSUFFICIENT_STOCK]


async def test_a_class_that_waits_too_long_takes_no_more_in() -> None:
    limits = QueueLimits(queue_age_ms_max=(0, 0, 100, 0))
    shard = await restarted(
        await Shard().stocked(), sync_delay_s=lambda: 3600.0, in_flight=1, limits=limits
    )
    futures = [shard.sequencer.submit(pears())]
    await settle()
    futures.append(shard.sequencer.submit(pears()))
    shard.clock.advance(100)
    futures.append(shard.sequencer.submit(pears()))
    shard.clock.advance(1)
    with pytest.raises(Overloaded, match="queue_age_ms_max"):
        shard.sequencer.submit(pears())
    futures.append(shard.sequencer.submit(cancel("x"), priority=SETTLE))
    assert shard.sequencer.queue_ages_s() == [0.0, 0.0, 0.101, 0.0]
    assert shard.sequencer.flight_age_s() == 0.101
    while not all(future.done() for future in futures):
        shard.journal._synced(shard.journal._waiting[-1][0])
        await settle()


async def test_a_piece_beyond_the_limit_is_refused_by_name() -> None:
    shard = await Shard().stocked(limits=QueueLimits(piece_bytes_max=1000))
    with pytest.raises(ValueError, match="piece_bytes_max is 1000"):
        shard.sequencer.submit(CommandBatch.join([pears()] * 20))


# --- Expiry -------------------------------------------------------------------------------


async def test_a_hold_expires_on_time_with_nobody_calling() -> None:
    shard = await Shard().stocked()
    await shard.sequencer.submit(pears(5, ttl_ms=10_000))
    await settle()
    shard.clock.advance(9_999)
    await settle()
    assert shard.available() == 0
    shard.clock.advance(1)
    await settle()
    assert shard.available() == 5
    assert (shard.reports[-1].expired, shard.reports[-1].pieces) == (1, 0)
    assert shard.reports[-1].expiry_lag_ms == 0


async def test_an_expired_hold_is_free_for_the_very_batch_that_finds_it() -> None:
    shard = await Shard().stocked()
    await shard.sequencer.submit(pears(5, ttl_ms=10_000, reservation_id="old"))
    shard.clock._now_ms += 10_000  # time passes, the timer has not fired yet
    old = shard.sequencer.submit(confirm("old"), priority=SETTLE)
    new = shard.sequencer.submit(pears(5))
    assert codes(await old) == [outcomes.RESERVATION_EXPIRED]
    assert codes(await new) == [outcomes.OK]
    assert shard.reports[-1].expired == 1


async def test_a_flood_of_expiries_is_released_in_bounded_batches() -> None:
    shard = await Shard().stocked(expire_holds_max=10)
    await shard.sequencer.submit(adjust("pear", "berlin", 20), priority=REPORT)
    await shard.sequencer.submit(CommandBatch.join([pears(ttl_ms=1_000) for _ in range(25)]))
    shard.reports.clear()
    shard.clock.advance(1_000)
    await settle()
    assert [report.expired for report in shard.reports] == [10, 10, 5]
    assert shard.available() == 25
    assert shard.clock.armed == []


# --- Change -------------------------------------------------------------------------------


async def test_changes_are_told_once_they_are_durable() -> None:
    shard = await restarted(await Shard().stocked(), sync_delay_s=lambda: 3600.0)
    told: list[tuple[int, list[int]]] = []
    end = shard.sequencer.on_change(lambda revision, rows: told.append((revision, rows.tolist())))
    shard.sequencer.submit(pears())
    await settle()
    assert told == []
    shard.journal._synced(shard.journal._waiting[-1][0])
    await settle()
    row = reads.position_row(shard.sequencer.state, "pear", "berlin")
    assert told == [(4, [row])]
    end()
    shard.sequencer.submit(pears())
    await settle()
    shard.journal._synced(shard.journal._waiting[-1][0])
    await settle()
    assert len(told) == 1


# --- Failure ------------------------------------------------------------------------------


async def test_after_a_journal_failure_nothing_is_answered_from_the_lost_state() -> None:
    shard = await Shard().stocked()
    reopened = asyncio.Event()

    async def rebuild() -> Ledger:
        await reopened.wait()
        return await shard.recover()

    shard = await restarted(shard, sync_delay_s=lambda: 3600.0, rebuild=lambda: rebuild())
    memory = shard.sequencer.submit(pears(1), durability=Durability.MEMORY)
    unknown = shard.sequencer.submit(pears(1, request_id="again"))
    await settle()
    waiting = asyncio.ensure_future(shard.sequencer.barrier())
    await settle()
    queued = [shard.sequencer.submit(pears(1)) for _ in range(3)]
    # What was in flight never reached the disk.
    del shard.disk.records[-shard.disk.unsynced :]
    shard.disk.unsynced = 0
    shard.journal.fail(JournalUnavailable("the disk is full"))
    await settle()
    assert codes(memory.result()) == [outcomes.OK]
    with pytest.raises(OutcomeUnknown, match="the disk is full"):
        await unknown
    with pytest.raises(OutcomeUnknown):
        await waiting
    for future in queued:
        with pytest.raises((NotServing, OutcomeUnknown)):
            await future
    assert shard.sequencer.status is Status.REBUILDING
    assert shard.sequencer.reason == shard.statuses[-1][1] != ""
    with pytest.raises(NotServing, match="rebuilding"):
        shard.sequencer.submit(pears())
    with pytest.raises(NotServing):
        await shard.sequencer.barrier()
    shard.disk.owner = ""
    reopened.set()
    await settle()
    assert shard.sequencer.status is Status.SERVING
    assert shard.sequencer.reason == ""
    assert shard.available() == 5
    assert codes(await shard.sequencer.submit(pears(5, request_id="again"))) == [outcomes.OK]
    assert [status for status, _ in shard.statuses] == [Status.REBUILDING, Status.SERVING]


async def test_a_rebuild_is_tried_again_until_the_journal_is_back() -> None:
    shard = await Shard().stocked()
    tries: list[int] = []

    async def rebuild() -> Ledger:
        tries.append(shard.clock.now_ms())
        if len(tries) < 6:
            raise JournalUnavailable("still full")
        shard.disk.owner = ""
        return await shard.recover()

    shard.sequencer._rebuild = rebuild
    shard.disk.full = True
    with pytest.raises(OutcomeUnknown, match="full"):
        await shard.sequencer.submit(pears())
    shard.disk.full = False
    for _ in range(12):
        await settle()
        shard.clock.advance(100)
    # After 50, 100, 200 and then always 250 ms: whoever is back is noticed soon.
    assert [at - tries[0] for at in tries] == [0, 100, 200, 400, 700, 1_000]
    assert shard.sequencer.status is Status.SERVING


async def test_a_deposed_writer_stops_for_good() -> None:
    shard = await Shard().stocked()

    async def rebuild() -> Ledger:
        raise AssertionError("a deposed writer must not come back")

    shard.sequencer._rebuild = rebuild
    shard.disk.owner = ""
    usurper = await MemoryJournal.open(shard.disk, WHO)
    await usurper.claim("usurper", lambda error: None)
    with pytest.raises(OutcomeUnknown, match="epoch 1"):
        await shard.sequencer.submit(pears())
    assert shard.sequencer.status is Status.STOPPED
    with pytest.raises(NotServing, match="stopped"):
        shard.sequencer.submit(pears())


async def test_losing_the_lease_stops_without_an_append() -> None:
    shard = await restarted(await Shard().stocked(), sync_delay_s=lambda: 3600.0)
    unknown = shard.sequencer.submit(pears())
    await settle()
    shard.sequencer.lose(JournalFenced("the lease is gone"))
    with pytest.raises(OutcomeUnknown, match="the lease is gone"):
        await unknown
    assert shard.sequencer.status is Status.STOPPED
    assert shard.statuses == [(Status.STOPPED, "the lease is gone")]
    shard.journal._synced(shard.journal._waiting[-1][0])
    await settle()


class _Failing:
    """An engine with a bug: it breaks in the middle of applying a certain command."""

    next_expiry_ms = staticmethod(machine.next_expiry_ms)
    expire_command = staticmethod(machine.expire_command)

    @staticmethod
    def apply(state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
        answer = machine.apply(state, now_ms, batch)
        if (batch.headers["ttl_ms"] == 666).any():
            raise IndexError("row out of range")
        return answer


async def test_a_bug_in_the_engine_leaves_no_trace_and_the_shard_serves_on() -> None:
    shard = await Shard().stocked(engine=_Failing())

    async def rebuild() -> Ledger:
        return await shard.recover()

    shard.sequencer._rebuild = rebuild
    before = len(await shard.records())
    with pytest.raises(OutcomeUnknown, match="IndexError"):
        await shard.sequencer.submit(pears(5, ttl_ms=666))
    await settle()
    assert shard.sequencer.status is Status.SERVING
    assert len(await shard.records()) == before
    assert codes(await shard.sequencer.submit(pears(5))) == [outcomes.OK]
    assert invariants.check(shard.sequencer.state) == []


# --- Ends ---------------------------------------------------------------------------------


async def test_draining_finishes_what_waits_and_takes_nothing_in() -> None:
    shard = await restarted(await Shard().stocked(), sync_delay_s=lambda: 0.0, in_flight=1)
    futures = [shard.sequencer.submit(pears()) for _ in range(4)]
    draining = asyncio.ensure_future(shard.sequencer.drain())
    await asyncio.sleep(0)
    with pytest.raises(NotServing, match="draining"):
        shard.sequencer.submit(pears())
    await draining
    assert all(codes(future.result()) == [outcomes.OK] for future in futures)
    await shard.sequencer.close()
    assert shard.disk.owner == ""
    assert shard.sequencer.status is Status.STOPPED


async def test_closing_twice_and_draining_an_idle_shard_end_at_once() -> None:
    shard = await Shard().stocked()
    ends: list[Callable[[], Awaitable[None]]] = [
        shard.sequencer.drain,
        shard.sequencer.close,
        shard.sequencer.close,
        shard.sequencer.drain,
    ]
    for end in ends:
        await end()
    assert shard.sequencer.status is Status.STOPPED


# --- Replay -------------------------------------------------------------------------------


async def test_a_replay_of_the_journal_gives_the_same_state() -> None:
    shard = await Shard().stocked()
    for turn in range(30):
        shard.clock.advance(700)
        await asyncio.gather(
            shard.sequencer.submit(pears(1 + turn % 3, ttl_ms=2_000, request_id=f"q{turn % 7}")),
            shard.sequencer.submit(pears(1, ttl_ms=2_000, reservation_id=f"r{turn}")),
            shard.sequencer.submit(confirm(f"r{turn - 1}"), priority=SETTLE),
            shard.sequencer.submit(cancel(f"r{turn - 2}"), priority=SETTLE),
        )
    assert invariants.check(shard.sequencer.state) == []
    reader = await MemoryJournal.open(shard.disk, WHO)
    replayed, _ = await replay(reader)
    assert invariants.state_hash(replayed.state) == invariants.state_hash(shard.sequencer.state)
