"""Remembers outside the journal which record was acknowledged last.

SQLite ends its log at the first frame that does not check out: after a crash that is the torn tail,
but it drops everything behind a damaged byte as well, acknowledged or not. The mark tells the two
apart. It is written after the commit and never synced, so it costs microseconds; after a power cut
it may be older than the journal (then it says nothing), but it is never newer.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

from server.journal.record import RecordId

_MARK: Final = struct.Struct("<4sQQI")
_MAGIC: Final = b"HFM1"


class AcknowledgedMark:
    """The mark in `path`, open for writing."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def move(self, record_id: RecordId) -> None:
        """Remember that `record_id` is durable. A failure is no loss: the mark only grows stale."""
        body = _MARK.pack(_MAGIC, *record_id, 0)
        body = _MARK.pack(_MAGIC, *record_id, zlib.crc32(body))
        try:
            os.pwrite(self._descriptor, body, 0)
        except OSError:
            return

    def close(self) -> None:
        """Close the file; the mark stays."""
        os.close(self._descriptor)


def read_mark(path: Path) -> RecordId | None:
    """The last acknowledged record, or None when that is not known."""
    try:
        body = path.read_bytes()
    except OSError:
        return None
    if len(body) != _MARK.size:
        return None
    magic, epoch, sequence, checksum = _MARK.unpack(body)
    if magic != _MAGIC or checksum != zlib.crc32(_MARK.pack(magic, epoch, sequence, 0)):
        return None
    return RecordId(epoch, sequence)
