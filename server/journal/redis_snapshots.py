"""Snapshots in Redis, beside the journal they belong to, so that any machine can take over.

The hash ``snapshots`` is the list: name -> where the bytes are. The bytes lie in a hash of their
own in small chunks, because Redis does nothing else while it takes one in and syncs it. A snapshot
gets its name in one transaction after its last chunk: before, it is not there at all. Until then
its chunks expire, so that those of a process that died go away by themselves.

Callers: `redis_journal`.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from server.journal.errors import JournalUnavailable, SnapshotDamaged
from server.journal.record import RecordId
from server.journal.redis_link import Command, Link
from server.journal.redis_place import RedisPlace
from server.journal.snapshot import Snapshot, SnapshotName, decode, encode

# Taken in and synced in about a millisecond; the writer's batches go between two of them.
CHUNK_BYTES: Final = 256 * 1024
_CHUNKS_AT_ONCE: Final = 16
_ABANDONED_S: Final = 600
_NAME: Final = re.compile(r"(\d{1,19})-(\d{1,19})-r(\d{1,19})")


class RedisSnapshots:
    """The snapshots of one journal."""

    def __init__(self, place: RedisPlace, link: Link) -> None:
        """Uses the journal's connection, in turns with it."""
        self._place = place
        self._link = link
        self._index = place.prefix + "snapshots"

    async def list(self) -> Sequence[SnapshotName]:
        """What is there, newest first."""
        answer = await self._link.call("HGETALL", self._index)
        found = (_NAME.fullmatch(name.decode()) for name in answer[::2])
        names = (SnapshotName(RecordId(int(m[1]), int(m[2])), int(m[3])) for m in found if m)
        return sorted(names, reverse=True)

    async def save(self, snapshot: Snapshot) -> SnapshotName:
        """Write chunk by chunk, then name it. Raises JournalUnavailable."""
        name = SnapshotName(snapshot.header.cursor.record_id, snapshot.header.revision)
        key = f"{self._place.prefix}snapshot:{uuid.uuid4().hex}"
        count = size = 0
        for chunk in _chunks(encode(snapshot)):
            await self._link.calls(
                [("HSET", key, count, chunk), ("EXPIRE", key, _ABANDONED_S)], repeatable=True
            )
            count += 1
            size += len(chunk)
        entry = json.dumps({"key": key, "bytes": size, "chunks": count})
        replaced = await self._link.call("HGET", self._index, _text(name))
        _, *_, answers = await self._link.calls(
            [
                ("MULTI",),
                ("HLEN", key),
                ("PERSIST", key),
                ("HSET", self._index, _text(name), entry),
                ("EXEC",),
            ],
            repeatable=False,
        )
        if answers[0] != count:
            await self._link.call("HDEL", self._index, _text(name))
            raise JournalUnavailable(
                f"snapshot {self._where(name)}: {answers[0]} of {count} chunks were kept; try again"
            )
        if replaced is not None:
            await self._link.call("UNLINK", json.loads(replaced)["key"])
        return name

    async def load(self, name: SnapshotName) -> Snapshot:
        """Fetch and verify; the sections are views of one buffer."""
        where = self._where(name)
        entry = await self._link.call("HGET", self._index, _text(name))
        if entry is None:
            raise JournalUnavailable(f"snapshot {where} is not there")
        try:
            described = json.loads(entry)
            key, size, count = described["key"], described["bytes"], described["chunks"]
            buffer = bytearray(size)
        except (ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise SnapshotDamaged(f"snapshot {where}: its entry can't be read") from error
        at = 0
        for first in range(0, count, _CHUNKS_AT_ONCE):
            wanted = range(first, min(first + _CHUNKS_AT_ONCE, count))
            for number, chunk in zip(
                wanted, await self._link.call("HMGET", key, *wanted), strict=True
            ):
                if chunk is None:
                    raise SnapshotDamaged(f"snapshot {where}: chunk {number} of {count} is missing")
                buffer[at : at + len(chunk)] = chunk
                at += len(chunk)
        snapshot = await asyncio.to_thread(partial(decode, memoryview(buffer), place=where))
        if snapshot.header.cursor.record_id != name.record_id:
            raise SnapshotDamaged(
                f"snapshot {where}: holds the state at record {snapshot.header.cursor.record_id}"
            )
        return snapshot

    async def remove(self, name: SnapshotName) -> None:
        """Forget it. Its memory is given back by Redis in the background."""
        entry = await self._link.call("HGET", self._index, _text(name))
        if entry is None:
            return
        commands: list[Command] = [
            ("HDEL", self._index, _text(name)),
            ("UNLINK", json.loads(entry)["key"]),
        ]
        await self._link.calls(commands)

    def _where(self, name: SnapshotName) -> str:
        return f"{self._place} {self._index} {_text(name)}"


def _text(name: SnapshotName) -> str:
    return f"{name.record_id}-r{name.revision}"


def _chunks(pieces: Iterator[memoryview]) -> Iterator[bytes]:
    """The bytes of `pieces` in chunks of CHUNK_BYTES, the last one shorter."""
    kept = bytearray()
    for piece in pieces:
        at = 0
        while at < len(piece):
            step = min(CHUNK_BYTES - len(kept), len(piece) - at)
            kept += piece[at : at + step]
            at += step
            if len(kept) == CHUNK_BYTES:
                yield bytes(kept)
                kept.clear()
    if kept:
        yield bytes(kept)
