"""The journal's port: what the application needs of any journal, SQLite, Redis or another.

The life of a journal: opened (read-only for everybody), `claim`ed by the one writer, read from
a cursor to the end, appended to, `release`d, closed. A claim begins a new epoch by appending an
EPOCH_START record, and from that moment no writer with a lower epoch can append: the journal itself
compares ids, no clock takes part. So the new writer claims first, then reads to the end, then
serves.

Invariants (the contract suite in tests/contract/journal holds every implementation to them)
1. A record is kept with all records before it or not at all; what was acknowledged is never lost.
2. Appends take effect and complete in the order in which they were called.
3. After one append failed all later ones fail too, until the journal is opened and read again.
4. A reader meets each record once, in order, verified, or an error that names the record; and
   nothing that is not durable, which a snapshot could otherwise remember and a crash forget.
5. `close` after a crash is never needed: opening again is always enough.

Errors: `server.journal.errors`. Callers: `server.application`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from server.journal.errors import JournalError
from server.journal.genesis import Genesis
from server.journal.record import Cursor, Entry, JournalRecord, RecordId
from server.journal.snapshot import SnapshotStore

# A page of `read`: enough to keep a disk or connection busy, small beside the state.
READ_BYTES_DEFAULT: Final = 16 * 1024 * 1024


class Journal(Protocol):
    """One shard's journal. All methods belong to the event loop the journal was opened on."""

    @property
    def place(self) -> str:
        """Where it lies, for messages: a path or a URL without credentials."""
        ...

    @property
    def genesis(self) -> Genesis:
        """Whose journal it is; ``genesis.beginning`` is the cursor before the first record."""
        ...

    @property
    def durability(self) -> str:
        """One sentence: what survives a power cut, and the loss window where there is one."""
        ...

    @property
    def loss_window_ms(self) -> int | None:
        """How old an acknowledged append may be and still be lost in a power cut; 0: none is.

        None: there is no bound, or it is not known.
        """
        ...

    @property
    def size_bytes(self) -> int:
        """Room it takes where it lies, snapshots not counted; 0: not known."""
        ...

    @property
    def appends_in_flight_max(self) -> int:
        """How many appends may usefully be under way at once: 1 where pipelining gains nothing."""
        ...

    @property
    def snapshots(self) -> SnapshotStore:
        """The snapshots that belong to this journal."""
        ...

    async def owner(self) -> str:
        """The living process that writes it, by the name it gave; "" when there is none.

        For those who wait for their turn. It says when a `claim` is worth trying and no more: two
        who see the same may both try, and one of them is refused.
        """
        ...

    async def claim(
        self, holder: str, on_lost: Callable[[JournalError], None], *, by_force: bool = False
    ) -> Cursor:
        """Become the one writer: a new epoch, begun by its EPOCH_START record, which is the tail.

        `holder` names this process in messages and in the record. `on_lost` is called once, on
        the event loop, when the journal notices by itself that ownership is gone.
        Raises JournalOwned while another living process holds it; `by_force` takes it from that
        one where the journal can do so (a lease), and not where it can not (a lock).
        """
        ...

    async def tail(self) -> Cursor:
        """The place after the newest record (its chain is verified only by reading up to it)."""
        ...

    def append(self, entry: Entry) -> asyncio.Future[RecordId]:
        """Append one batch; completes when it is durable. Only after `claim`.

        Fails with JournalFenced when a newer writer has taken over, and with JournalUnavailable
        when the outcome is unknown. Cancelling the future takes nothing back.
        """
        ...

    async def read(
        self, after: Cursor, *, bytes_max: int = READ_BYTES_DEFAULT
    ) -> Sequence[JournalRecord]:
        """The records after `after`: about `bytes_max` bytes, at least one; none at the end.

        Raises JournalCorrupted or JournalGap naming the record.
        """
        ...

    async def trim(self, through: RecordId) -> int:
        """Forget the records up to and including `through`; returns how many.

        The newest record always stays. Appends under way go first.
        """
        ...

    async def release(self) -> Cursor | None:
        """Wait for the appends under way, then give up ownership; reading goes on.

        Whoever waits for it need not wait for what this process still has to do. Gives the place
        after the last record of this writer; None when it was none, or an append has failed.
        """
        ...

    async def close(self) -> None:
        """Release it, and hang up. May be called twice."""
        ...
