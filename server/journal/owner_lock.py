"""One writer per journal file: an operating system lock that dies with its process.

The lock is a convenience for people (two servers started on one file by mistake get a clear
sentence). Safety does not rest on it: the journal compares ids at every append.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from server.journal.errors import JournalOwned, JournalRefused

# Whoever only looks (`owner_of`) holds the lock for some microseconds.
_LOOKER_S: Final = 0.005
_ATTEMPTS: Final = 3


class OwnerLock:
    """Holds ``<journal>.lock`` from `__init__` until `release` or the end of the process."""

    def __init__(self, path: Path, holder: str) -> None:
        """Take the lock and note `holder` in the file. Raises JournalOwned naming the owner."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise JournalRefused(f"{path}: {error.strerror}; make it writable") from error
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt < _ATTEMPTS:
                    time.sleep(_LOOKER_S)
                    continue
                owner = _noted(self._descriptor)
                os.close(self._descriptor)
                raise JournalOwned(
                    f"{path} is held by {owner}; stop that one first, "
                    "or give this server a journal of its own"
                ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{holder}\n".encode(), 0)

    def release(self) -> None:
        """Give it back. The file stays: removing it would let two processes lock two files."""
        os.close(self._descriptor)


def owner_of(path: Path) -> str:
    """Who holds the lock in `path`, as it noted itself; "" when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""  # never taken, or not to be seen: whoever wants it will be told
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _noted(descriptor)
    finally:
        os.close(descriptor)
    return ""


def _noted(descriptor: int) -> str:
    return os.pread(descriptor, 256, 0).decode(errors="replace").strip() or "another process"
