"""What would be on the disk if the power went now: files, and the writes no sync has covered yet.

An `Image` is one file: its `durable` bytes, and the writes since. A sync that works makes them
durable. A sync that fails forgets them: Linux marks the pages clean, so that no later sync writes
them, although nobody knows whether they arrived. When the power goes, any part of what was not
covered may have arrived: nothing, the first so many, or any of them, the last one torn.

Callers: `trap`, which tells it of every call; its tests.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_SECTOR_BYTES = 512


@dataclass(slots=True)
class Image:
    """One file that is written at offsets."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes) written; (length, None) cut to a length."""

    def write(self, offset: int, body: bytes) -> None:
        """`body` went to `offset`, and is not synced."""
        self.pending.append((offset, body))

    def truncate(self, length: int) -> None:
        """The file was cut, or stretched, to `length`."""
        self.pending.append((length, None))

    def synced(self) -> None:
        """Everything written before is on the disk. O(bytes written)."""
        apply(self.durable, self.pending)
        self.pending.clear()

    def sync_failed(self) -> None:
        """The kernel believes that everything is on the disk, and it is not."""
        self.pending.clear()

    def after_power_cut(self, chance: random.Random) -> bytes:
        """What the file holds after the power is back."""
        left = bytearray(self.durable)
        apply(left, survivors(self.pending, chance))
        return bytes(left)


def survivors(
    pending: list[tuple[int, bytes | None]], chance: random.Random
) -> list[tuple[int, bytes | None]]:
    """Which of the writes that no sync covered reached the disk."""
    how = chance.random()
    if how < 0.4 or not pending:
        return []
    if how < 0.7:
        kept = pending[: chance.randrange(len(pending) + 1)]
    else:
        kept = [write for write in pending if chance.random() < 0.5]
    if kept and chance.random() < 0.5:
        offset, body = kept[-1]
        if body:
            sectors = chance.randrange(len(body) // _SECTOR_BYTES + 1)
            kept[-1] = (offset, body[: sectors * _SECTOR_BYTES])
    return kept


def apply(after: bytearray, writes: list[tuple[int, bytes | None]]) -> None:
    """Do `writes` to a file's bytes, in their order."""
    for offset, body in writes:
        if offset > len(after):
            after.extend(bytes(offset - len(after)))
        if body is None:
            del after[offset:]
        else:
            after[offset : offset + len(body)] = body


@dataclass(slots=True)
class AppendedFile:
    """One file that only grows: how much of it is durable says everything."""

    durable_bytes: int = 0

    def after_power_cut(self, held: bytes, chance: random.Random) -> bytes:
        """What is left of `held`, the bytes that the kernel was given."""
        kept = self.durable_bytes
        if len(held) > kept and chance.random() < 0.6:
            kept += chance.randrange(len(held) - kept + 1)
        return held[:kept]
