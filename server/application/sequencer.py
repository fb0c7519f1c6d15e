"""The one writer: drains what waits, applies it, journals it once, answers all of it.

Everything runs in callbacks of one event loop and never blocks it: `submit` queues a piece, `_pump`
makes one batch of what waits and hands it to the journal, `_settled` answers its callers. While
the journal keeps one batch the next one collects, so batches grow with the load by themselves.

Invariants
1. What was applied was handed to the journal in the same step, in the same order; no cancellation,
   deadline or error comes in between.
2. A caller is answered only after the journal holds its batch and all batches before (MEMORY pieces
   excepted: they asked to be answered at once).
3. The state of a failed shard is never served: after a journal error or an exception in the engine
   nothing is answered from it, and the state is rebuilt from the journal.
4. Commands that are due to expire go first in a batch, and are bounded in it.

A batch costs nearly the same whatever is in it. Where the event loop has no time left (`linger_s`)
a few commands wait for others, a set of creates above all, instead of going as a batch of their
own.

Callers: the transport (`submit`, `barrier`, `state`), `server.lifecycle` (the rest).
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import machine
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import State
from server.application.clock import Clock
from server.application.commit_estimate import CommitEstimate
from server.application.expiry_pulse import ExpiryPulse
from server.application.flight import BatchReport, Flight
from server.application.ledger import Engine, Ledger, outcome_checksum
from server.application.piece_queue import RESERVE, Piece, PieceQueue, QueueLimits
from server.application.sequencer_errors import NotServing, OutcomeUnknown
from server.journal.errors import JournalError, JournalFenced, JournalUnavailable
from server.journal.port import Journal
from server.journal.record import Entry, RecordId

_REBUILD_WAIT_MS_MIN: Final = 50
# A journal that is back is noticed this soon. An attempt on one that is not is a refused connection
# or a failed write: four of them a second cost nothing.
_REBUILD_WAIT_MS_MAX: Final = 250
# So many commands are a batch worth its price.
_WORTHWHILE: Final = 16


class Durability(enum.Enum):
    """When a piece is answered."""

    JOURNALED = 1  # after the journal holds it
    MEMORY = 2  # once applied: a crash before the next sync forgets it


class Status(enum.Enum):
    """What the shard does with a new piece."""

    SERVING = "serving"
    DRAINING = "draining"  # finishes what waits, takes nothing in
    REBUILDING = "rebuilding"  # the journal or the engine failed; the state is being read anew
    STOPPED = "stopped"  # for good: fenced, damaged, or closed


class Sequencer:
    """One shard's writer. Made on a running event loop, with a recovered ledger."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        limits: QueueLimits | None = None,
        expire_holds_max: int = 2_000,
        engine: Engine = machine,
        rebuild: Callable[[], Awaitable[Ledger]] | None = None,
        on_batch: Callable[[BatchReport], None] | None = None,
        on_status: Callable[[Status, str], None] | None = None,
        linger_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`linger_s` says how long a few commands may wait for others now.

        `rebuild` opens, claims and reads the journal again; without it a failure is final.

        `expire_holds_max` bounds the EXPIRE of one batch: 2,000 three-line holds take under 2 ms,
        so those who reserve while a million holds run out hardly notice.
        `on_status` hears every change with one sentence why; `on_batch` hears of durable batches.
        """
        self._loop = asyncio.get_running_loop()
        self._ledger = ledger
        self._clock = clock
        self._queue = PieceQueue(limits or QueueLimits())
        self._engine = engine
        self._expire = engine.expire_command(expire_holds_max)
        self._rebuild = rebuild
        self._on_batch = on_batch
        self._on_status = on_status
        self._linger_s = linger_s
        self._lingering: asyncio.TimerHandle | None = None
        self._on_change: list[Callable[[int, NDArray[np.int32]], None]] = []
        self._pulse = ExpiryPulse(clock, self._schedule)
        self._estimate = CommitEstimate()
        self._flights: deque[Flight] = deque()
        self._scheduled = False
        self._is_wanted = False  # as soon as the journal takes another batch
        self._status = Status.SERVING
        self._violation = ""
        self._reason = ""
        self._giving_back: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._rebuilding: asyncio.Task[None] | None = None
        self._rebuild_wait_ms = 0  # before the next rebuild: 0 once a batch has been durable
        self._pulse.aim(engine.next_expiry_ms(ledger.state))

    # --- For callers -----------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The live state, perhaps ahead of the journal: `barrier` before answering from it.

        Ask anew after every await: a rebuild puts another one in its place.
        """
        return self._ledger.state

    @property
    def journal(self) -> Journal:
        """The claimed journal."""
        return self._ledger.journal

    @property
    def epoch(self) -> int:
        """The number of this writer of the journal."""
        return self._ledger.epoch

    @property
    def status(self) -> Status:
        """Whether pieces are taken in."""
        return self._status

    @property
    def violation(self) -> str:
        """Which check of the ledger failed, so that the shard stopped; "" while none did."""
        return self._violation

    @property
    def reason(self) -> str:
        """Why the status is what it is; "" when it is SERVING."""
        return self._reason

    @property
    def commands_waiting(self) -> int:
        """Commands in the queue."""
        return self._queue.commands

    def queue_ages_s(self) -> list[float]:
        """How long the oldest piece of each priority class has waited."""
        return self._queue.age_s(self._clock.elapsed_s())

    def flight_age_s(self) -> float:
        """How long the oldest batch has been on its way into the journal; 0 when none is."""
        if not self._flights:
            return 0.0
        return self._clock.elapsed_s() - self._flights[0].applied_s

    def on_change(self, callback: Callable[[int, NDArray[np.int32]], None]) -> Callable[[], None]:
        """Call `callback(revision, rows of changed positions)` after each durable batch that
        changed some; the function returned ends that.
        """
        self._on_change.append(callback)
        return lambda: self._on_change.remove(callback)

    def submit(
        self,
        batch: CommandBatch,
        *,
        priority: int = RESERVE,
        deadline_ms: int | None = None,
        durability: Durability = Durability.JOURNALED,
    ) -> asyncio.Future[Outcomes]:
        """Queue `batch` as one piece; the future gives its outcomes once they are durable.

        `deadline_ms` is ledger time. The outcomes' ``changed`` is that of the whole batch it went
        with. Raises NotServing and Overloaded at once, ValueError when the piece is too large; the
        future raises DeadlinePassed, NotServing or OutcomeUnknown.
        Cancelling the future before its turn takes the piece back; afterwards it changes nothing.
        """
        if self._status is not Status.SERVING:
            raise NotServing(f"the shard is {self._status.value}")
        future: asyncio.Future[Outcomes] = self._loop.create_future()
        piece = Piece(
            batch,
            future,
            deadline_ms=deadline_ms,
            answers_early=durability is Durability.MEMORY,
            enqueued_s=self._clock.elapsed_s(),
        )
        self._queue.push(piece, priority)
        self._schedule_soon()
        return future

    async def barrier(self) -> None:
        """Wait until everything applied so far is durable.

        What was read from `state` before the call may then be told. Raises OutcomeUnknown.
        """
        if not self._flights:
            if self._status is Status.REBUILDING or self._status is Status.STOPPED:
                raise NotServing(f"the shard is {self._status.value}")
            return
        durable: asyncio.Future[None] = self._loop.create_future()
        self._flights[-1].barriers.append(durable)
        await durable

    # --- For the life of the server ----------------------------------------------------------

    async def drain(self) -> None:
        """Take nothing in any more, finish what waits. The journal stays open for a snapshot."""
        if self._status is Status.SERVING:
            self._change_status(Status.DRAINING, "draining")
        while self._status is Status.DRAINING and (len(self._queue) or self._flights):
            self._idle = self._loop.create_future()
            self._schedule()
            await self._idle

    async def close(self) -> None:
        """Drain, stop, close the journal."""
        await self.drain()
        if self._rebuilding is not None:
            self._rebuilding.cancel()
            await asyncio.wait([self._rebuilding])
        self._stop(Status.STOPPED, "closed", NotServing("the shard is closed"))
        if self._giving_back is not None:
            await self._giving_back
        await self._ledger.journal.close()

    def lose(self, error: JournalError) -> None:
        """Ownership of the journal is gone: stop for good. The journal's `claim` gets this."""
        self._stop(Status.STOPPED, str(error), OutcomeUnknown(str(error)))

    def violate(self, reason: str) -> None:
        """A check of the ledger failed: stop for good, and give the journal back at once, so that
        a state read anew from it may serve, here or elsewhere."""
        if self._status is Status.STOPPED:
            return
        self._violation = reason
        self._stop(Status.STOPPED, reason, OutcomeUnknown(reason))
        self._giving_back = self._loop.create_task(self._ledger.journal.close())

    # --- Drain, apply, journal ---------------------------------------------------------------

    def _schedule(self) -> None:
        self._stop_lingering()
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _schedule_soon(self) -> None:
        """At once, or when a few commands have waited for others."""
        if self._queue.commands >= _WORTHWHILE:
            self._schedule()
        elif self._lingering is None and not self._scheduled:
            linger_s = self._linger_s()
            if linger_s > 0:
                self._lingering = self._loop.call_later(linger_s, self._schedule)
            else:
                self._schedule()

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def _pump(self) -> None:
        """Make one batch of what waits, apply it, hand it to the journal."""
        self._scheduled = False
        journal = self._ledger.journal
        self._is_wanted = len(self._flights) >= journal.appends_in_flight_max
        if self._is_wanted or self._status not in _WORKING:
            return
        state = self._ledger.state
        started_s = self._clock.elapsed_s()
        now_ms = max(self._clock.now_ms(), state.now_ms)
        due_ms = self._engine.next_expiry_ms(state)
        if due_ms > now_ms:
            due_ms = -1
        pieces = self._queue.take(now_ms, commit_ms=self._estimate.commit_ms(started_s))
        if not pieces and due_ms < 0:
            self._pulse.aim(self._engine.next_expiry_ms(state))
            self._tell_idle()
            return
        batches = [piece.batch for piece in pieces]
        if due_ms >= 0:
            batches.insert(0, self._expire)
        batch = CommandBatch.join(batches)
        first_revision = state.revision + 1
        try:
            outcomes = self._engine.apply(state, now_ms, batch)
        except Exception as error:  # noqa: BLE001 - a bug of any kind leaves the state undefined
            self._fail_engine(pieces, error)
            return
        applied_s = self._clock.elapsed_s()
        # From here on the batch has happened: it goes to the journal whatever comes.
        payload = batch.to_bytes()
        journaled = journal.append(
            Entry(first_revision, state.revision, now_ms, outcome_checksum(outcomes), payload)
        )
        flight = Flight(
            pieces=pieces,
            outcomes=outcomes,
            journaled=journaled,
            revision=state.revision,
            now_ms=now_ms,
            due_ms=due_ms,
            record_bytes=len(payload),
            started_s=started_s,
            applied_s=applied_s,
        )
        self._flights.append(flight)
        journaled.add_done_callback(self._settled)
        if any(piece.answers_early for piece in pieces):
            self._answer(flight, early=True)
        if len(self._queue) or due_ms >= 0:
            self._schedule()
        else:
            self._pulse.aim(self._engine.next_expiry_ms(state))

    # --- Answer ------------------------------------------------------------------------------

    def _settled(self, journaled: asyncio.Future[RecordId]) -> None:
        """The journal is done with the oldest flight: answer it, or stop."""
        if not self._flights or self._flights[0].journaled is not journaled:
            return  # its shard has been stopped meanwhile
        error = journaled.exception()
        if error is not None:
            self._fail_journal(error)
            return
        self._rebuild_wait_ms = 0
        flight = self._flights.popleft()
        self._answer(flight, early=False)
        for durable in flight.barriers:
            if not durable.done():
                durable.set_result(None)
        outcomes = flight.outcomes
        now_s = self._clock.elapsed_s()
        self._estimate.note(now_s, now_s - flight.applied_s)
        if len(outcomes.changed):
            for callback in tuple(self._on_change):
                callback(flight.revision, outcomes.changed)
        if self._on_batch is not None:
            self._on_batch(flight.report(now_s))
        # Whoever was just answered speaks first; then everything that waited goes together. Where
        # nothing did, what comes next may linger.
        if self._is_wanted or self._idle is not None:
            self._schedule()

    def _answer(self, flight: Flight, *, early: bool) -> None:
        """Give each piece its slice of the outcomes. O(pieces)."""
        outcomes = flight.outcomes
        rows, details, changed = outcomes.rows, outcomes.details, outcomes.changed
        ends = rows["detail_count"].cumsum(dtype=np.int64).tolist()
        row = 1 if flight.due_ms >= 0 else 0
        detail = ends[row - 1] if row else 0
        for piece in flight.pieces:
            row_end = row + piece.count
            detail_end = ends[row_end - 1] if piece.count else detail
            if piece.answers_early == early and not piece.future.done():
                piece.future.set_result(
                    Outcomes(rows[row:row_end], details[detail:detail_end], changed)
                )
            row = row_end
            detail = detail_end

    def _tell_idle(self) -> None:
        if self._idle is not None and not self._flights and not len(self._queue):
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None

    # --- Failure -----------------------------------------------------------------------------

    def _fail_journal(self, error: BaseException) -> None:
        fenced = isinstance(error, JournalFenced)
        self._stop(
            Status.STOPPED if fenced or self._rebuild is None else Status.REBUILDING,
            str(error),
            OutcomeUnknown(f"the journal failed while it was being kept: {error}"),
        )

    def _fail_engine(self, pieces: list[Piece], error: Exception) -> None:
        reason = f"the engine failed: {error!r}"
        for piece in pieces:
            if not piece.future.done():
                piece.future.set_exception(OutcomeUnknown(reason))
        self._stop(
            Status.STOPPED if self._rebuild is None else Status.REBUILDING,
            reason,
            OutcomeUnknown(reason),
        )

    def _stop(self, status: Status, reason: str, unknown: Exception) -> None:
        """Answer nothing any more; rebuild when `status` says so."""
        if self._status is Status.STOPPED:
            return
        self._pulse.stop()
        self._stop_lingering()
        flights, self._flights = list(self._flights), deque()
        for flight in flights:
            flight.journaled.add_done_callback(_heard)
            waiting: list[asyncio.Future[Any]] = [piece.future for piece in flight.pieces]
            for waiter in (*waiting, *flight.barriers):
                if not waiter.done():
                    waiter.set_exception(unknown)
        for piece in self._queue.clear():
            if not piece.future.done():
                piece.future.set_exception(NotServing(f"the shard is {status.value}"))
        self._change_status(status, reason)
        self._tell_idle()
        if status is Status.REBUILDING and self._rebuilding is None:
            self._rebuilding = self._loop.create_task(self._rebuild_until_served())

    async def _rebuild_until_served(self) -> None:
        assert self._rebuild is not None
        while self._status is Status.REBUILDING:
            wait_ms = self._rebuild_wait_ms
            self._rebuild_wait_ms = min(
                max(2 * wait_ms, _REBUILD_WAIT_MS_MIN), _REBUILD_WAIT_MS_MAX
            )
            if wait_ms:
                woken = self._loop.create_future()
                self._clock.call_at(self._clock.now_ms() + wait_ms, partial(_wake, woken))
                await woken
            try:
                await self._ledger.journal.close()
                self._ledger = await self._rebuild()
                break
            except JournalUnavailable as error:
                self._change_status(Status.REBUILDING, str(error))
            except Exception as error:  # noqa: BLE001 - anything else will not pass by waiting
                self._rebuilding = None
                self._stop(Status.STOPPED, str(error), OutcomeUnknown(str(error)))
                return
        self._rebuilding = None
        if self._status is Status.REBUILDING:
            self._change_status(Status.SERVING, "rebuilt from the journal")
            self._schedule()

    def _change_status(self, status: Status, reason: str) -> None:
        self._status = status
        self._reason = "" if status is Status.SERVING else reason
        if self._on_status is not None:
            self._on_status(status, reason)


_WORKING: Final = frozenset({Status.SERVING, Status.DRAINING})


def _heard(journaled: asyncio.Future[RecordId]) -> None:
    """Nobody awaits an append of a stopped shard: take its error, so that none is reported."""
    if not journaled.cancelled():
        journaled.exception()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
