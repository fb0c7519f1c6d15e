"""What the contract suite needs of a journal besides its port: crashes, damage, full disks."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from server.journal.genesis import Genesis, JournalIdentity
from server.journal.port import Journal
from server.journal.record import RecordId
from server.journal.redis_journal import RedisJournal
from server.journal.redis_place import RedisPlace
from server.journal.redis_snapshots import CHUNK_BYTES
from server.journal.snapshot import SnapshotName
from server.journal.sqlite_journal import SqliteJournal
from tests.redis_server import RedisServer
from tests.simulation.memory_journal import MemoryDisk, MemoryJournal

WHO = JournalIdentity(tenant="acme", shard=3, ledger_id="ledger-1")


class Harness(Protocol):
    """One place where a journal lies, and hands that can hurt it."""

    async def open(self, identity: JournalIdentity = WHO) -> Journal: ...

    def kill(self) -> None:
        """As kill -9 of every process that has it open: only what lies on the disk is left."""

    def forget_owner(self) -> None:
        """The lease is lost while its holder lives on."""

    def set_genesis(self, genesis: bytes) -> None: ...

    def flip_byte(self, record_id: RecordId) -> None: ...

    def remove(self, record_id: RecordId) -> None: ...

    def swap(self, left: RecordId, right: RecordId) -> None: ...

    def flip_snapshot_byte(self, name: SnapshotName, at: int) -> None: ...

    def no_space(self) -> contextlib.AbstractContextManager[None]: ...


class MemoryHarness:
    """The verified fake."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.journals: list[MemoryJournal] = []

    async def open(self, identity: JournalIdentity = WHO) -> Journal:
        self.journals.append(await MemoryJournal.open(self.disk, identity))
        return self.journals[-1]

    def kill(self) -> None:
        for journal in self.journals:
            journal.die()
        self.disk.crash(random.Random(1))

    def forget_owner(self) -> None:
        self.disk.owner = ""

    def set_genesis(self, genesis: bytes) -> None:
        self.disk.genesis = genesis

    def _index(self, record_id: RecordId) -> int:
        key = record_id.epoch.to_bytes(8, "little") + record_id.sequence.to_bytes(8, "little")
        return next(at for at, body in enumerate(self.disk.records) if body[8:24] == key)

    def flip_byte(self, record_id: RecordId) -> None:
        at = self._index(record_id)
        self.disk.records[at] = _flipped(self.disk.records[at], -1)

    def remove(self, record_id: RecordId) -> None:
        del self.disk.records[self._index(record_id)]

    def swap(self, left: RecordId, right: RecordId) -> None:
        records, first, second = self.disk.records, self._index(left), self._index(right)
        # In their places, as a journal keyed by id would hold them.
        records[first], records[second] = (
            records[first][:8] + records[first][8:24] + records[second][24:],
            records[second][:8] + records[second][8:24] + records[first][24:],
        )

    def flip_snapshot_byte(self, name: SnapshotName, at: int) -> None:
        self.disk.snapshots[name] = _flipped(self.disk.snapshots[name], at)

    @contextlib.contextmanager
    def no_space(self) -> Iterator[None]:
        self.disk.full = True
        yield
        self.disk.full = False


class SqliteHarness:
    """The embedded journal. A killed process is a copy of the files as they lie on the disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lives = 0
        self.path = directory / "life-0" / "journal.sqlite3"

    async def open(self, identity: JournalIdentity = WHO) -> Journal:
        return await SqliteJournal.open(self.path, identity)

    def kill(self) -> None:
        self._lives += 1
        after = self._directory / f"life-{self._lives}"
        shutil.copytree(self.path.parent, after)
        self.path = after / self.path.name

    def forget_owner(self) -> None:
        self.path.with_name(self.path.name + ".lock").unlink()

    def _execute(self, statement: str, *values: object) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.execute(statement, values)
            connection.commit()

    def _record(self, record_id: RecordId) -> bytes:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            statement = "SELECT record FROM records WHERE id = ?"
            body: bytes = connection.execute(statement, (_row(record_id),)).fetchone()[0]
            return body

    def set_genesis(self, genesis: bytes) -> None:
        self._execute("UPDATE genesis SET body = ?", genesis)

    def flip_byte(self, record_id: RecordId) -> None:
        body = _flipped(self._record(record_id), -1)
        self._execute("UPDATE records SET record = ? WHERE id = ?", body, _row(record_id))

    def remove(self, record_id: RecordId) -> None:
        self._execute("DELETE FROM records WHERE id = ?", _row(record_id))

    def swap(self, left: RecordId, right: RecordId) -> None:
        first, second = self._record(left), self._record(right)
        self._execute("UPDATE records SET record = ? WHERE id = ?", second, _row(left))
        self._execute("UPDATE records SET record = ? WHERE id = ?", first, _row(right))

    def flip_snapshot_byte(self, name: SnapshotName, at: int) -> None:
        directory = self.path.with_name(self.path.name + ".snapshots")
        (file,) = directory.glob(f"{name.record_id}-*.snapshot")
        file.write_bytes(_flipped(file.read_bytes(), at))

    @contextlib.contextmanager
    def no_space(self) -> Iterator[None]:
        """No file of this process may grow: the kernel refuses the write, as on a full disk."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        log = self.path.with_name(self.path.name + "-wal")
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class RedisHarness:
    """The journal of production, as a user who may do only what the manual says.

    A killed process is a killed Redis here: started again, it has what its file holds, and every
    connection to it is gone, as those of a killed writer are.
    """

    _numbers = itertools.count()

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        options = f"tenant=test-{next(self._numbers)}&shard=3"
        self.place = RedisPlace.parse(server.url(options))

    async def open(self, identity: JournalIdentity = WHO) -> Journal:
        return await RedisJournal.open(self.place, identity)

    def kill(self) -> None:
        self._server.kill()
        self._server.start()

    def forget_owner(self) -> None:
        self._execute("DEL", self.place.prefix + "lease")

    def _execute(self, *command: str | bytes | int) -> Any:
        with contextlib.closing(self._server.client()) as client:
            return client.execute_command(*command)

    def set_genesis(self, genesis: bytes) -> None:
        self._execute("SET", self.place.prefix + "genesis", genesis)

    def _rewrite(self, changed: dict[RecordId, bytes]) -> None:
        """The same stream with other bytes in some entries: Redis itself changes none."""
        with contextlib.closing(self._server.client()) as client:
            entries = client.xrange(self.place.stream)
            client.delete(self.place.stream)
            for name, values in entries:
                epoch, _, sequence = name.decode().partition("-")
                body = changed.get(RecordId(int(epoch), int(sequence)), values[b"r"])
                client.xadd(self.place.stream, {b"r": body}, id=name)

    def _record(self, record_id: RecordId) -> bytes:
        with contextlib.closing(self._server.client()) as client:
            ((_, values),) = client.xrange(self.place.stream, str(record_id), str(record_id))
        body: bytes = values[b"r"]
        return body

    def flip_byte(self, record_id: RecordId) -> None:
        self._rewrite({record_id: _flipped(self._record(record_id), -1)})

    def remove(self, record_id: RecordId) -> None:
        self._execute("XDEL", self.place.stream, str(record_id))

    def swap(self, left: RecordId, right: RecordId) -> None:
        self._rewrite({left: self._record(right), right: self._record(left)})

    def flip_snapshot_byte(self, name: SnapshotName, at: int) -> None:
        text = f"{name.record_id}-r{name.revision}"
        entry = json.loads(self._execute("HGET", self.place.prefix + "snapshots", text))
        number, offset = divmod(at % entry["bytes"], CHUNK_BYTES)
        chunk = self._execute("HGET", entry["key"], number)
        self._execute("HSET", entry["key"], number, _flipped(chunk, offset))

    @contextlib.contextmanager
    def no_space(self) -> Iterator[None]:
        """Redis may take no more memory, and throws nothing away."""
        self._execute("CONFIG", "SET", "maxmemory", 1)
        try:
            yield
        finally:
            self._execute("CONFIG", "SET", "maxmemory", 0)


def genesis_of(who: JournalIdentity, *, format_version: int) -> bytes:
    """The genesis a program of another format version would have written."""
    return Genesis(
        format_version=format_version,
        ledger_id=who.ledger_id or "",
        tenant=who.tenant,
        shard=who.shard,
    ).to_bytes()


def _row(record_id: RecordId) -> int:
    return record_id.epoch << 40 | record_id.sequence


def _flipped(body: bytes, at: int) -> bytes:
    changed = bytearray(body)
    changed[at] ^= 0x10
    return bytes(changed)
