"""Snapshots as files in one directory, each written whole before it gets its name.

Names sort by place: ``<epoch>-<sequence>-r<revision>.snapshot``. A file that is being written is
called ``.writing-<pid>``; one that a crash left behind is removed by the next save.

Callers: a journal that keeps its snapshots beside itself.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.journal.errors import JournalUnavailable, SnapshotDamaged
from server.journal.record import RecordId
from server.journal.snapshot import PIECE_BYTES, Snapshot, SnapshotName, decode, encode

_NAME: Final = re.compile(r"(\d{1,19})-(\d{1,19})-r(\d{1,19})\.snapshot")
# A snapshot's hundreds of megabytes must not pile up unwritten: the journal's next fsync would wait
# for them on file systems that order their writes.
_SYNC_EVERY_BYTES: Final = 4 * PIECE_BYTES


class FileSnapshots:
    """The snapshots in `directory`, which is made by the first save."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def list(self) -> Sequence[SnapshotName]:
        """What is there, newest first."""
        try:
            entries = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalUnavailable(f"snapshots in {self.directory}: {error}") from error
        found = (_NAME.fullmatch(entry) for entry in entries)
        names = (SnapshotName(RecordId(int(m[1]), int(m[2])), int(m[3])) for m in found if m)
        return sorted(names, reverse=True)

    async def save(self, snapshot: Snapshot) -> SnapshotName:
        """Write, fsync, name. Raises JournalUnavailable, leaving nothing behind."""
        return await asyncio.to_thread(self.save_now, snapshot)

    async def load(self, name: SnapshotName) -> Snapshot:
        """Map and verify; the sections are views of the file."""
        return await asyncio.to_thread(self.load_now, name)

    async def remove(self, name: SnapshotName) -> None:
        """Forget it."""
        self.path(name).unlink(missing_ok=True)

    def path(self, name: SnapshotName) -> Path:
        """The file of snapshot `name`."""
        epoch, sequence = name.record_id
        return self.directory / f"{epoch}-{sequence}-r{name.revision}.snapshot"

    def save_now(self, snapshot: Snapshot) -> SnapshotName:
        """`save` without an event loop."""
        name = SnapshotName(snapshot.header.cursor.record_id, snapshot.header.revision)
        writing = self.directory / f".writing-{os.getpid()}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for left_behind in self.directory.glob(".writing-*"):
                process = left_behind.name.rpartition("-")[2]
                if not process.isdigit() or not _is_alive(int(process)):
                    left_behind.unlink(missing_ok=True)
            try:
                with writing.open("xb", buffering=0) as file:
                    unsynced_bytes = 0
                    for piece in encode(snapshot):
                        view = piece
                        while view:
                            view = view[file.write(view) :]
                        unsynced_bytes += len(piece)
                        if unsynced_bytes >= _SYNC_EVERY_BYTES:
                            os.fsync(file.fileno())
                            unsynced_bytes = 0
                    os.fsync(file.fileno())
                writing.rename(self.path(name))
            finally:
                writing.unlink(missing_ok=True)
            sync_directory(self.directory)
        except OSError as error:
            raise JournalUnavailable(f"snapshot {self.path(name)}: {error}") from error
        return name

    def load_now(self, name: SnapshotName) -> Snapshot:
        """`load` without an event loop."""
        path = self.path(name)
        try:
            with path.open("rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    raise SnapshotDamaged(f"snapshot {path}: empty file")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise JournalUnavailable(f"snapshot {path}: {error}") from error
        snapshot = decode(memoryview(mapped), place=str(path))
        if snapshot.header.cursor.record_id != name.record_id:
            raise SnapshotDamaged(
                f"snapshot {path}: holds the state at record {snapshot.header.cursor.record_id}"
            )
        return snapshot


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def sync_directory(directory: Path) -> None:
    """Make names in `directory` durable: a file's own fsync does not."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
