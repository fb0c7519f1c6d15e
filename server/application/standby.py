"""Keeps up with a journal that another process writes, ready to take that one's place.

The state is in memory, applied up to the journal's end a few hundredths of a second ago; nothing
is owned. When no living process owns the journal, or an operator asks for it, this one claims it,
reads what is left, and the ledger is served: there is nothing to load any more.

Invariants
1. Only records that are durable are applied, each verified as in a recovery: a state that is read
   here was true, and stays part of the ledger's past.
2. Nobody is served as an owner before the claim's own record was read at the end.
3. What was read once must stay: a durable journal that comes back with less is refused.
4. The same object follows again after everything that may pass: a journal out of reach, another
   contender who was faster. Anything else is raised.

Callers: `server.lifecycle` (`run`), the gateway (stale reads), metrics.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import numpy as np

from engine import commands, machine
from engine.resize import too_small
from engine.state import Capacity, State
from server.application.ledger import Engine, Ledger
from server.application.recovery import (
    RecoveryReport,
    Replayed,
    apply_record,
    is_ready,
    make_ready,
    replay,
)
from server.journal.errors import (
    JournalError,
    JournalGap,
    JournalOwned,
    JournalRefused,
    JournalUnavailable,
)
from server.journal.port import Journal
from server.journal.record import HEADER_BYTES, JournalRecord

# At the journal's end: how long until it is looked at again. Answers from here are as old at most.
_PAUSE_S: Final = 0.02
# How often it is asked whether the owner lives: a part of every takeover.
_OWNER_S: Final = 0.05
# How often the end is asked for, to tell how far away it is. It costs reading the newest record.
_TAIL_S: Final = 1.0
# While the journal can not be reached.
_AWAY_S: Final = 0.05
# Applied in one go, so that those who read from here wait a few milliseconds at most.
_PAGE_BYTES: Final = 1 << 20
_DOCUMENTS: Final = (commands.PUT_DOCUMENT, commands.DELETE_DOCUMENT)


class Event(enum.Enum):
    """What an operator may want to know of; values are those of the log."""

    AWAY = "journal out of reach"
    BACK = "journal is read again"
    ANEW = "reading the journal anew"
    REFUSED = "takeover refused"
    TURN = "taking over"


class Standby:
    """One process that waits for its turn. Made by `open`, on a running event loop."""

    def __init__(
        self,
        journal: Journal,
        replayed: Replayed,
        report: RecoveryReport,
        *,
        reopen: Callable[[], Awaitable[Journal]],
        capacity: Capacity,
        engine: Engine = machine,
        on_event: Callable[[Event, str], None] | None = None,
    ) -> None:
        """Use `open`."""
        self.journal = journal
        self.owner = ""
        """Who writes the journal, as last seen; "" when nobody did."""
        self.documents_changed = 0
        """Grows with every record that changed documents: what was read of them is out of date."""
        self.records_behind = 0
        """Records of the journal that were not applied when its end was last asked for."""
        self._replayed = replayed
        self._report = report
        self._reopen = reopen
        self._capacity = capacity
        self._engine = engine
        self._on_event = on_event
        self.is_sound = True
        """Whether the state may be read: not while its tables are changed, or it is read anew."""
        self._asked = asyncio.Event()
        self._is_open = True
        self._at_end_s = time.monotonic()
        self._owner_s = self._tail_s = 0.0

    @staticmethod
    async def open(
        open_journal: Callable[[], Awaitable[Journal]],
        capacity: Capacity,
        *,
        engine: Engine = machine,
        on_event: Callable[[Event, str], None] | None = None,
    ) -> Standby:
        """Read the journal to its end, as a recovery does, but own nothing.

        `on_event` hears of events with one sentence each. Raises what `recovery.replay` does.
        """
        journal = await open_journal()
        try:
            replayed, report = await replay(journal, engine=engine)
            _check_room(replayed.state, capacity, journal)
        except BaseException:
            await journal.close()
            raise
        return Standby(
            journal,
            replayed,
            report,
            reopen=open_journal,
            capacity=capacity,
            engine=engine,
            on_event=on_event,
        )

    @property
    def state(self) -> State:
        """The state followed so far. Ask anew after every await: it may be read anew."""
        return self._replayed.state

    def behind_s(self) -> float:
        """How long ago, in seconds, this was the whole of the journal."""
        return time.monotonic() - self._at_end_s

    def take_over(self) -> None:
        """Take the journal from whoever owns it, as soon as may be."""
        self._asked.set()

    async def close(self) -> None:
        """Follow no longer; `run` has ended, or is cancelled."""
        if self._is_open:
            await self.journal.close()

    # --- The life of a standby ---------------------------------------------------------------

    async def run(
        self,
        holder: str,
        on_lost: Callable[[JournalError], None],
        *,
        on_step: Callable[[], None] | None = None,
    ) -> tuple[Ledger, RecoveryReport]:
        """Follow until it is this one's turn, claim, read to the end: the ledger to serve.

        `holder` and `on_lost` are those of `Journal.claim`; `on_step` is called after each look at
        the journal. Raises a JournalError that says why this process can not be a standby.
        """
        is_away = False
        while True:
            pause_s = _PAUSE_S
            try:
                if not self._is_open:
                    self.journal = await self._reopen()
                    self._is_open = True
                if not self.is_sound:
                    await self._read_anew()
                at_end = await self._step()
                if is_away:
                    is_away = False
                    self._tell(Event.BACK, f"{self.journal.place} is read again")
                if await self._is_our_turn():
                    return await self._take_over(holder, on_lost)
                if not at_end:
                    pause_s = 0.0
            except JournalOwned as error:
                self._asked.clear()
                self._tell(Event.REFUSED, str(error))
            except JournalUnavailable as error:
                pause_s = _AWAY_S
                if not is_away:
                    is_away = True
                    self._tell(Event.AWAY, str(error))
            except JournalGap as gap:
                if not self.is_sound:
                    raise  # from the newest snapshot on, too
                # What comes next was trimmed while this process slept, or was replaced.
                self._tell(Event.ANEW, str(gap))
                self.is_sound = False
            if on_step is not None:
                on_step()
            await self._pause(pause_s)

    async def _step(self) -> bool:
        """Apply the next page; whether it was all there was when it was asked for."""
        began_s = time.monotonic()
        if began_s - self._tail_s >= _TAIL_S:
            self._tail_s = began_s
            await self._look_at_tail()
        page = await self.journal.read(self._replayed.cursor, bytes_max=_PAGE_BYTES)
        for record in page:
            self._apply(record)
        if sum(len(record.payload) + HEADER_BYTES for record in page) >= _PAGE_BYTES:
            return False
        self._at_end_s = began_s
        self.records_behind = 0
        return True

    async def _look_at_tail(self) -> None:
        """How many records are missing; those of epochs that are not seen yet can not be counted,
        but for the newest one's."""
        tail, here = (await self.journal.tail()).record_id, self._replayed.cursor.record_id
        before = here.sequence if tail.epoch == here.epoch else -1
        self.records_behind = max(0, tail.sequence - before) if tail > here else 0

    def _apply(self, record: JournalRecord) -> None:
        batch = apply_record(self._replayed, record, engine=self._engine)
        if batch is not None and np.isin(batch.headers["kind"], _DOCUMENTS).any():
            self.documents_changed += 1

    async def _is_our_turn(self) -> bool:
        """Whether nobody alive owns the journal, or an operator has asked."""
        now_s = time.monotonic()
        if now_s - self._owner_s >= _OWNER_S:
            self._owner_s = now_s
            self.owner = await self.journal.owner()
            return not self.owner or self._asked.is_set()
        return self._asked.is_set()

    async def _take_over(
        self, holder: str, on_lost: Callable[[JournalError], None]
    ) -> tuple[Ledger, RecoveryReport]:
        journal, known = self.journal, self._replayed.cursor.record_id
        newest = (await journal.tail()).record_id
        if newest < known:
            raise JournalGap(str(known), f"was read, but {journal.place} ends at record {newest}")
        _check_room(self.state, self._capacity, journal)
        self._tell(Event.TURN, "it was asked for" if self._asked.is_set() else "nobody serves")
        start = await journal.claim(holder, on_lost, by_force=self._asked.is_set())
        try:
            while page := await journal.read(self._replayed.cursor):
                for record in page:
                    self._apply(record)
            if self._replayed.cursor != start:
                raise JournalGap(
                    str(start.record_id),
                    "is this writer's own start, but reading ended at record "
                    f"{self._replayed.cursor.record_id}",
                )
            if not is_ready(self.state, self._capacity):
                # Until the journal has it, this is the state of no journal.
                self.is_sound = False
                await make_ready(self.state, journal, self._capacity, self._engine)
                self.is_sound = True
            report = await self._report_of_takeover()
        except BaseException:
            # Whatever it was, this object of the journal has been a writer's.
            self._is_open = False
            await journal.close()
            raise
        replayed, epoch = self._replayed, start.record_id.epoch
        return Ledger(replayed.state, journal, replayed.origins, epoch), report

    async def _report_of_takeover(self) -> RecoveryReport:
        """What was loaded at the beginning, and the newest snapshot there is by now."""
        names = await self.journal.snapshots.list()
        meta = self.state.meta[0]
        return replace(
            self._report,
            revision=self.state.revision,
            positions=int(meta["position_count"]),
            open_holds=int(meta["held_count"]),
            snapshot=names[0] if names else None,
        )

    async def _read_anew(self) -> None:
        known = self._replayed.cursor.record_id
        replayed, self._report = await replay(self.journal, engine=self._engine)
        found = replayed.cursor.record_id
        if found < known and self.journal.loss_window_ms == 0:
            raise JournalGap(
                str(known),
                f"was read here before, but {self.journal.place} ends at record {found} now: it "
                "came back with older data. Bring back what it held; a new process accepts what "
                "is there now",
            )
        self._replayed = replayed
        self.is_sound = True
        self._at_end_s = time.monotonic()

    async def _pause(self, seconds: float) -> None:
        """Wait for a while, or until an operator asks."""
        if self._asked.is_set() or not seconds:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return

    def _tell(self, event: Event, reason: str) -> None:
        if self._on_event is not None:
            self._on_event(event, reason)


def _check_room(state: State, capacity: Capacity, journal: Journal) -> None:
    """Raise JournalRefused where the ledger would not fit: before anything is claimed."""
    problems = too_small(state, capacity)
    if problems:
        raise JournalRefused(
            f"{journal.place} does not fit into the tables configured: {'; '.join(problems)}. "
            "Configure at least as much room as the server that serves"
        )
