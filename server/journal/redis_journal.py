"""The journal of production: one Redis stream per shard, one entry per batch.

Keys, all beginning with ``holdfast:{TENANT:SHARD}:``
  ``genesis``  whose journal it is; made once        ``journal``   the stream of records
  ``epoch``    the newest epoch that was begun       ``lease``     who writes it now
  ``touched``  rewritten to force a sync             ``snapshots`` see `redis_snapshots`

How the port's promises are kept
1. Durable: with ``appendonly yes`` and ``appendfsync always`` Redis syncs before it answers. What
   it is set to is read at every connecting (`redis_checks`), and less is refused.
2. One writer: by the ids of the stream's entries (`redis_appends`). A claim looks at the newest
   entry and adds the next epoch's first in one transaction, which fails when an entry came between.
3. After an error nothing more is written through this object; opening again reads what is there,
   and the claim's own record makes durable what was found (`write_through`).
4. Damage: every record is verified when it is read. Redis' own file has no checksums; a flipped
   byte in it comes back as a record that does not fit its checksum. An end that fell behind what
   this process was answered is refused for as long as the process lives.

Measured with two cores shared by client and server: see docs/performance.md.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from server.journal.errors import (
    JournalCorrupted,
    JournalError,
    JournalGap,
    JournalMismatch,
    JournalRefused,
    JournalUnavailable,
)
from server.journal.genesis import FORMAT_VERSION, Genesis, JournalIdentity
from server.journal.port import READ_BYTES_DEFAULT
from server.journal.record import (
    EPOCH_START,
    Cursor,
    Entry,
    JournalRecord,
    RecordId,
    check_follows,
    seal,
    unseal,
)
from server.journal.redis_appends import (
    FIELD,
    Appends,
    entry_of,
    newest_record,
    write_through,
)
from server.journal.redis_checks import RedisSetup, judge, look
from server.journal.redis_lease import Lease, living_holder
from server.journal.redis_link import Link
from server.journal.redis_place import DURABLE, RedisPlace
from server.journal.redis_snapshots import RedisSnapshots
from server.journal.snapshot import SnapshotStore
from server.journal.snapshot_files import FileSnapshots

_CONNECT_AFTER_S: Final = (0.0, 0.05, 0.1)
_CONTENDERS_MAX: Final = 100
_TRIM_SLICE_RECORDS: Final = 64
_PAGE_RECORDS_MAX: Final = 4096
# Keys looked at to see whether a database is somebody else's.
_KEYS_LOOKED_AT: Final = 1_000

# The newest record each journal acknowledged to this process: a rebuild must find it again.
_acknowledged: dict[tuple[str, str], RecordId] = {}


class RedisJournal:
    """A journal in one Redis. Made by `open`; see `server.journal.port.Journal`."""

    appends_in_flight_max = 2

    def __init__(self, place: RedisPlace) -> None:
        """Use `open`."""
        self._place = place
        self._link = Link(place, on_connect=self._inspect)
        self._snapshots: SnapshotStore = (
            FileSnapshots(Path(place.snapshots))
            if place.snapshots
            else RedisSnapshots(place, self._link)
        )
        self._setup: RedisSetup | None = None
        self._genesis: Genesis | None = None
        self._lease: Lease | None = None
        self._appends: Appends | None = None
        self._closed = False
        self._record_bytes = 64 * 1024  # of the last page's mean record: what to ask for next

    @staticmethod
    async def open(
        place: RedisPlace, identity: JournalIdentity, *, make: bool = True
    ) -> RedisJournal:
        """Open the journal in `place` for reading; `make` it when there is none.

        Raises JournalRefused when it is not ours or Redis is not fit, JournalUnavailable when it is
        not reached, JournalGap when it lost what was acknowledged.
        """
        journal = RedisJournal(place)
        try:
            await journal._connect()
            await journal._open(identity, make=make)
        except BaseException:
            await journal.close()
            raise
        return journal

    @property
    def place(self) -> str:
        """The URL without credentials."""
        return f"{self._place} {self._place.prefix}"

    @property
    def genesis(self) -> Genesis:
        """Whose journal it is."""
        assert self._genesis is not None
        return self._genesis

    @property
    def setup(self) -> RedisSetup:
        """What Redis said of itself at the last connecting."""
        assert self._setup is not None
        return self._setup

    @property
    def durability(self) -> str:
        """What was found, with the loss window where there is one."""
        return self.setup.durability(self._place.replicas)

    @property
    def size_bytes(self) -> int:
        """Not known: Redis tells it of all its data, or by reading the whole stream."""
        return 0

    @property
    def loss_window_ms(self) -> int | None:
        """See `RedisSetup.loss_window_ms`; for health and metrics."""
        return self.setup.loss_window_ms

    @property
    def snapshots(self) -> SnapshotStore:
        """In Redis, or in the directory the URL names."""
        return self._snapshots

    async def owner(self) -> str:
        """Who holds the lease and has its connection still."""
        self._check_usable()
        return await self._link.exclusively(self._look_for_owner, repeatable=True)

    async def claim(
        self, holder: str, on_lost: Callable[[JournalError], None], *, by_force: bool = False
    ) -> Cursor:
        """Take the lease, begin an epoch."""
        self._check_usable()
        if self._appends is not None:
            raise JournalRefused(f"{self.place} is claimed already by this process")
        lease = Lease(self._place)
        try:
            await lease.take(holder, by_force=by_force)
            for _ in range(_CONTENDERS_MAX):
                start = await self._link.exclusively(partial(self._begin_epoch, holder))
                if start is not None:
                    break
            else:
                raise JournalUnavailable(f"{self.place}: too many writers contend; try again")
        except BaseException:
            await lease.release()
            raise
        lease.keep(on_lost)
        self._lease = lease
        self._note(start.record_id)
        self._appends = Appends(self._place, start, self._note)
        return start

    async def tail(self) -> Cursor:
        """The place after the newest record."""
        self._check_usable()
        newest = await self._link.exclusively(self._newest, repeatable=True)
        return self._tail(newest)

    def append(self, entry: Entry) -> asyncio.Future[RecordId]:
        """One entry; completes when Redis has answered it and all before it."""
        if self._appends is None:
            future: asyncio.Future[RecordId] = asyncio.get_running_loop().create_future()
            future.set_exception(
                JournalUnavailable(f"{self.place} is closed")
                if self._closed
                else JournalRefused(f"{self.place} has not been claimed; nothing may be appended")
            )
            return future
        return self._appends.append(entry)

    async def read(
        self, after: Cursor, *, bytes_max: int = READ_BYTES_DEFAULT
    ) -> Sequence[JournalRecord]:
        """The next records, verified on another thread."""
        self._check_usable()
        entries: list[tuple[RecordId, bytes]] = []
        read_bytes = 0
        begin = after.record_id
        # How long records are is only known once they are here: each step at most doubles the page.
        ask_max = 1
        while read_bytes < bytes_max:
            wanted = (bytes_max - read_bytes) // self._record_bytes
            count = max(1, min(wanted, ask_max, _PAGE_RECORDS_MAX))
            answer = await self._link.call(
                "XRANGE", self._place.stream, f"({begin}", "+", "COUNT", count
            )
            page = [entry_of(each) for each in answer]
            if page:
                page_bytes = sum(len(body) for _, body in page)
                self._record_bytes = max(256, page_bytes // len(page))
                read_bytes += page_bytes
                begin = page[-1][0]
                entries += page
                ask_max = 2 * len(entries)
            if len(page) < count:
                break
        return await asyncio.to_thread(_verified, after, entries, bytes_max)

    async def trim(self, through: RecordId) -> int:
        """Forget records in small slices, so that appends slip in between."""
        self._check_usable()
        if self._appends is None:
            raise JournalRefused(f"{self.place} has not been claimed; nothing may be trimmed")
        newest = (await self.tail()).record_id
        # Entries with a lower id than this one go; the newest stays.
        end = min(RecordId(through.epoch, through.sequence + 1), newest)
        removed = 0
        while True:
            answer = await self._link.call("XRANGE", self._place.stream, "-", "+", "COUNT", 1)
            first = entry_of(answer[0])[0] if answer else end
            if first >= end:
                return removed
            while first < end:
                first = min(RecordId(first.epoch, first.sequence + _TRIM_SLICE_RECORDS), end)
                count = await self._link.call("XTRIM", self._place.stream, "MINID", str(first))
                removed += count
                if count < _TRIM_SLICE_RECORDS:
                    break  # the epoch's end was passed: look where the next one begins

    async def release(self) -> Cursor | None:
        """Finish the appends, give the lease back."""
        appends, lease = self._appends, self._lease
        end = await appends.close() if appends is not None else None
        if end is not None:  # after a failure nothing is read through this object either
            self._appends = None
        if lease is not None:
            self._lease = None
            await lease.release()
        return end

    async def close(self) -> None:
        """Release it, hang up."""
        if self._closed:
            return
        self._closed = True
        await self.release()
        await self._link.close()

    # --- On the connection -------------------------------------------------------------------

    async def _inspect(self, link: Link) -> None:
        """After each connecting: what is it that answers there?"""
        self._setup = await look(link)
        judge(self._setup, self._place)

    async def _connect(self) -> None:
        """Reach Redis; a few quick attempts, for one that is just coming up."""
        lost: JournalUnavailable | None = None
        for pause_s in _CONNECT_AFTER_S:
            await asyncio.sleep(pause_s)
            try:
                await self._link.connect()
            except JournalUnavailable as error:
                lost = error
            else:
                return
        assert lost is not None
        raise lost

    async def _open(self, identity: JournalIdentity, *, make: bool) -> None:
        body = await self._link.call("GET", self._place.prefix + "genesis")
        if body is None:
            if not make:
                raise JournalRefused(f"{self.place} is not there; name the journal of a server")
            body = await self._create(identity)
        self._genesis = Genesis.from_bytes(body, place=self.place)
        self._genesis.check(identity, place=self.place)
        known = self._known
        newest = await self._link.exclusively(self._newest, repeatable=True)
        if newest is None and await self._link.call("EXISTS", self._place.prefix + "epoch"):
            raise JournalGap(
                "1-0",
                f"was written, but {self.place} has no stream of records any more; bring it back "
                "from a backup, or remove all its keys to begin an empty ledger",
            )
        self._check_acknowledged(known, newest)

    async def _create(self, identity: JournalIdentity) -> bytes:
        """Write the genesis record into a database where nothing else lies."""
        place = self._place
        if await self._link.call("EXISTS", place.stream):
            raise JournalMismatch(
                f"{self.place} has a stream of records but no genesis record; bring that back from "
                "a backup, or give the journal a database of its own"
            )
        _, keys = await self._link.call("SCAN", 0, "COUNT", _KEYS_LOOKED_AT)
        foreign = sorted(key for key in keys if not key.startswith(b"holdfast:"))
        if foreign:
            raise JournalMismatch(
                f"{place} holds data that is not Holdfast's (for example the key "
                f"{foreign[0][:80].decode(errors='replace')!r}); give the journal a database of "
                "its own, the number at the end of the URL, or better a Redis of its own"
            )
        genesis = Genesis(
            format_version=FORMAT_VERSION,
            ledger_id=identity.ledger_id or uuid.uuid4().hex,
            tenant=identity.tenant,
            shard=identity.shard,
        )
        key = place.prefix + "genesis"
        _, body = await self._link.calls(
            [("SET", key, genesis.to_bytes(), "NX"), ("GET", key)], repeatable=False
        )
        assert isinstance(body, bytes)
        return body

    async def _look_for_owner(self, link: Link) -> str:
        return await living_holder(link, self._place, self.setup.run_id)

    async def _newest(self, link: Link) -> tuple[RecordId, bytes] | None:
        return await newest_record(link, self._place)

    def _tail(self, newest: tuple[RecordId, bytes] | None) -> Cursor:
        if newest is None:
            return self.genesis.beginning
        return unseal(newest[1], newest[0]).cursor

    async def _begin_epoch(self, holder: str, link: Link) -> Cursor | None:
        """Append the EPOCH_START right after the newest entry; None when another one came first."""
        stream = self._place.stream
        epoch_key = self._place.prefix + "epoch"
        known = self._known
        await link.ask(("WATCH", stream))
        newest = await newest_record(link, self._place)
        self._check_acknowledged(known, newest)
        tail = self._tail(newest)
        record_id = RecordId(tail.record_id.epoch + 1, 0)
        entry = Entry(0, 0, 0, 0, holder.encode())
        start = seal(tail, record_id, entry, kind=EPOCH_START)
        answers = await link.ask(
            ("MULTI",),
            ("XADD", stream, str(record_id), FIELD, start.buffer),
            ("SET", epoch_key, record_id.epoch),
            ("EXEC",),
        )
        if answers[-1] is None:
            return None
        for answer in answers[-1]:
            if isinstance(answer, Exception):
                raise JournalUnavailable(f"{self.place}: {answer}") from answer
        await write_through(link, self._place)
        return start.cursor

    # --- What was acknowledged -----------------------------------------------------------------

    def _note(self, record_id: RecordId) -> None:
        _acknowledged[self.place, self.genesis.ledger_id] = record_id

    @property
    def _known(self) -> RecordId | None:
        """To be asked before Redis is: a writer of this process may go on meanwhile."""
        return _acknowledged.get((self.place, self.genesis.ledger_id))

    def _check_acknowledged(
        self, known: RecordId | None, newest: tuple[RecordId, bytes] | None
    ) -> None:
        found = newest[0] if newest is not None else RecordId(0, 0)
        if known is not None and found < known and self._place.durability == DURABLE:
            raise JournalGap(
                str(known),
                f"was acknowledged, but {self.place} ends at record {found}: it came back with "
                "older data. Bring back what it held, or the replica that has it; a new process "
                "accepts what is there now",
            )

    def _check_usable(self) -> None:
        if self._closed:
            raise JournalUnavailable(f"{self.place} is closed")
        if self._appends is not None and self._appends.broken is not None:
            raise self._appends.broken


def _verified(
    after: Cursor, entries: Sequence[tuple[RecordId, bytes]], bytes_max: int
) -> list[JournalRecord]:
    """The records in `entries`, up to `bytes_max`. Raises JournalCorrupted, JournalGap."""
    records: list[JournalRecord] = []
    read_bytes = 0
    for record_id, body in entries:
        if not body:
            raise JournalCorrupted(str(record_id), "is a stream entry that Holdfast did not write")
        record = unseal(body, record_id)
        check_follows(after, record)
        records.append(record)
        after = record.cursor
        read_bytes += len(body)
        if read_bytes >= bytes_max:
            break
    return records
