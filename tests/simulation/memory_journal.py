"""A journal in memory that crashes like a disk: the verified fake of the journal's port.

`MemoryDisk` is what survives a process; `MemoryJournal` is one process's view of it. Records are
kept as the same bytes as everywhere else. What was appended but not yet synced is lost by `crash`,
from a random record on, and the first lost record may stay as a torn tail.

It passes the same contract suite as the real journals (tests/contract/journal).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from server.journal.errors import (
    JournalCorrupted,
    JournalError,
    JournalFenced,
    JournalOwned,
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
from server.journal.snapshot import Snapshot, SnapshotName, decode, encode


@dataclass
class MemoryDisk:
    """What is left when a process dies."""

    genesis: bytes = b""
    records: list[bytes] = field(default_factory=list)
    """Everything appended, in order; the last `unsynced` of them could still be lost."""
    unsynced: int = 0
    owner: str = ""
    full: bool = False
    trimmed: list[bytes] = field(default_factory=list)
    """What trims forgot, for validators that want the whole story."""
    snapshots: dict[SnapshotName, bytes] = field(default_factory=dict)

    def crash(self, chance: random.Random) -> int:
        """Lose some of what was not synced; returns how many records. The owner is dead."""
        kept = chance.randint(0, self.unsynced)
        lost = self.unsynced - kept
        if lost:
            torn = self.records[len(self.records) - lost]
            del self.records[len(self.records) - lost :]
            if chance.random() < 0.5:
                self.records.append(torn[: chance.randrange(len(torn))])
        self.unsynced = 0
        self.owner = ""
        return lost


class MemorySnapshots:
    """The snapshots on a `MemoryDisk`."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk

    async def list(self) -> Sequence[SnapshotName]:
        return sorted(self._disk.snapshots, reverse=True)

    async def save(self, snapshot: Snapshot) -> SnapshotName:
        name = SnapshotName(snapshot.header.cursor.record_id, snapshot.header.revision)
        self._disk.snapshots[name] = b"".join(encode(snapshot))
        return name

    async def load(self, name: SnapshotName) -> Snapshot:
        if name not in self._disk.snapshots:
            raise JournalUnavailable(f"snapshot {name} is not there")
        return decode(memoryview(self._disk.snapshots[name]), place=f"memory:{name.record_id}")

    async def remove(self, name: SnapshotName) -> None:
        self._disk.snapshots.pop(name, None)


class MemoryJournal:
    """See `server.journal.port.Journal`. `sync_delay_s()` is how long the next sync takes."""

    place = "memory"
    durability = "nothing survives this process"
    loss_window_ms: int | None = None
    size_bytes = 0

    def __init__(
        self,
        disk: MemoryDisk,
        *,
        sync_delay_s: Callable[[], float] = lambda: 0.0,
        appends_in_flight_max: int = 2,
    ) -> None:
        self._disk = disk
        self._sync_delay_s = sync_delay_s
        self.appends_in_flight_max = appends_in_flight_max
        self._loop = asyncio.get_running_loop()
        self._snapshots = MemorySnapshots(disk)
        self._holder = ""
        self._claimed: Cursor | None = None
        self._broken: JournalError | None = None
        self._on_lost: Callable[[JournalError], None] | None = None
        self._waiting: list[tuple[RecordId, asyncio.Future[RecordId]]] = []
        self._dead = False
        self._closed = False

    def _require_open(self) -> None:
        if self._closed:
            raise JournalUnavailable("memory: the journal is closed")

    @classmethod
    async def open(
        cls,
        disk: MemoryDisk,
        identity: JournalIdentity,
        *,
        sync_delay_s: Callable[[], float] = lambda: 0.0,
        appends_in_flight_max: int = 2,
    ) -> Self:
        if not disk.genesis:
            genesis = Genesis(
                format_version=FORMAT_VERSION,
                ledger_id=identity.ledger_id or "memory-ledger",
                tenant=identity.tenant,
                shard=identity.shard,
            )
            disk.genesis = genesis.to_bytes()
        Genesis.from_bytes(disk.genesis, place="memory").check(identity, place="memory")
        if disk.records and not disk.owner:
            try:
                unseal(disk.records[-1])
            except JournalCorrupted:
                # The torn tail of a crash: no sync covered it, so nobody was told of it.
                disk.records.pop()
        return cls(disk, sync_delay_s=sync_delay_s, appends_in_flight_max=appends_in_flight_max)

    @property
    def genesis(self) -> Genesis:
        return Genesis.from_bytes(self._disk.genesis, place="memory")

    @property
    def snapshots(self) -> MemorySnapshots:
        return self._snapshots

    async def owner(self) -> str:
        return self._disk.owner

    async def claim(
        self, holder: str, on_lost: Callable[[JournalError], None], *, by_force: bool = False
    ) -> Cursor:
        self._require_open()
        if self._broken is not None:
            raise self._broken
        if self._claimed is not None:
            raise JournalRefused("memory: claimed already by this process")
        if self._disk.owner and not by_force:
            raise JournalOwned(f"memory is held by {self._disk.owner}; stop that one first")
        if self._disk.full:
            raise JournalUnavailable("memory: the disk is full")
        self._disk.owner = self._holder = holder
        self._on_lost = on_lost
        self._disk.unsynced = 0  # what an earlier writer left unsynced is synced before it counts
        tail = await self.tail()
        record_id = RecordId(tail.record_id.epoch + 1, 0)
        start = seal(tail, record_id, Entry(0, 0, 0, 0, holder.encode()), kind=EPOCH_START)
        self._disk.records.append(start.buffer)
        self._claimed = start.cursor
        return start.cursor

    async def tail(self) -> Cursor:
        self._require_open()
        visible = self._visible()
        return unseal(visible[-1]).cursor if visible else self.genesis.beginning

    def _visible(self) -> list[bytes]:
        """A reader sees what is durable; the writer also what is on its way."""
        records = self._disk.records
        return records if self._claimed else records[: len(records) - self._disk.unsynced]

    def append(self, entry: Entry) -> asyncio.Future[RecordId]:
        future: asyncio.Future[RecordId] = self._loop.create_future()
        try:
            record_id = self._append(entry)
        except (JournalError, ValueError) as error:
            future.set_exception(error)
            return future
        self._waiting.append((record_id, future))
        self._loop.call_later(self._sync_delay_s(), self._synced, record_id)
        return future

    def _append(self, entry: Entry) -> RecordId:
        self._require_open()
        if self._broken is not None:
            raise self._broken
        if self._claimed is None:
            raise JournalRefused("memory: not claimed; nothing may be appended")
        last = self._claimed.record_id
        newest = unseal(self._disk.records[-1]).record_id
        if newest != last:
            self._broken = JournalFenced(
                f"memory has gone on to record {newest} without this writer of epoch {last.epoch}"
            )
            raise self._broken
        if self._disk.full:
            self._fail(JournalUnavailable("memory: the disk is full"))
            raise JournalUnavailable("memory: the disk is full")
        sealed = seal(self._claimed, RecordId(last.epoch, last.sequence + 1), entry)
        self._disk.records.append(sealed.buffer)
        self._disk.unsynced += 1
        self._claimed = sealed.cursor
        return sealed.cursor.record_id

    def _synced(self, through: RecordId) -> None:
        """A sync keeps everything appended before it, hence answers leave in order."""
        if self._dead:
            return
        while self._waiting and self._waiting[0][0] <= through:
            record_id, future = self._waiting.pop(0)
            self._disk.unsynced -= 1
            if not future.done():
                future.set_result(record_id)

    def _fail(self, error: JournalError) -> None:
        self._broken = error
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def fail(self, error: JournalError) -> None:
        """For tests: the journal breaks now; what is in flight has no known outcome."""
        self._fail(error)

    def die(self) -> None:
        """For tests: this process is dead: no timer of it touches the disk, no future completes."""
        self._dead = True
        self._broken = JournalUnavailable("memory: this process is dead")
        self._waiting.clear()

    async def read(
        self, after: Cursor, *, bytes_max: int = READ_BYTES_DEFAULT
    ) -> Sequence[JournalRecord]:
        self._require_open()
        records: list[JournalRecord] = []
        read_bytes = 0
        for buffer in self._visible():
            name = RecordId(
                int.from_bytes(buffer[8:16], "little"), int.from_bytes(buffer[16:24], "little")
            )
            if name <= after.record_id:
                continue
            record = unseal(buffer, name)
            check_follows(after, record)
            records.append(record)
            after = record.cursor
            read_bytes += len(buffer)
            if read_bytes >= bytes_max:
                break
        return records

    async def trim(self, through: RecordId) -> int:
        self._require_open()
        if self._claimed is None:
            raise JournalRefused("memory: not claimed; nothing may be trimmed")
        if self._broken is not None:
            raise self._broken
        records = self._disk.records
        count = 0
        while count < len(records) - 1 and unseal(records[count]).record_id <= through:
            count += 1
        self._disk.trimmed += records[:count]
        del records[:count]
        return count

    async def release(self) -> Cursor | None:
        for _, future in self._waiting:
            if not future.done():
                await asyncio.wait([future])
        if self._claimed is not None and not self._dead and self._disk.owner == self._holder:
            self._disk.owner = ""
        end = self._claimed if self._broken is None else None
        self._claimed = None
        return end

    async def close(self) -> None:
        await self.release()
        self._closed = True
