"""One journal record: a batch of commands as it was applied, and the bytes that keep it.

Layout (little-endian): a fixed header, then the payload.

    magic "HFJ1" | kind u8 | flags u8 | 0 u16 | epoch u64 | sequence u64
    | first_revision i64 | last_revision i64 | now_ms i64 | outcome_checksum u32 | 0 u32
    | payload_bytes u64 | previous_chain 16 bytes | checksum 16 bytes

Invariants
1. ``checksum = SHA-256(header without checksum, payload)``, its first 128 bits: it shows damage
   inside a record and can be checked without the records before it, hence in parallel. (SHA-256
   because processors have instructions for it: two to three times as fast as BLAKE2 here.)
2. ``chain = blake2b-128(previous_chain, checksum)``: it shows missing, added and swapped records.
3. Ids only grow: a writer's records are ``(epoch, 0), (epoch, 1), ...`` without a gap, and a new
   writer's epoch is higher than every earlier one. Record 0 of an epoch is its EPOCH_START.

Payloads are narrow by themselves (`engine.narrow`) and not compressed: zlib at its fastest level
takes several times as long as keeping all of the bytes does. ``flags`` leaves room for another
choice.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Final, NamedTuple

from server.journal.errors import JournalCorrupted, JournalGap

MAGIC: Final = b"HFJ1"
CHAIN_BYTES: Final = 16
CHECKSUM_BYTES: Final = 16
# One record must fit comfortably in memory and in one SQLite value (1e9) or Redis field (512 MiB).
RECORD_BYTES_MAX: Final = 256 * 1024 * 1024

EPOCH_START: Final = 1
COMMANDS: Final = 2

_HEADER: Final = struct.Struct("<4sBBHQQqqqIIQ16s")
HEADER_BYTES: Final = _HEADER.size + CHECKSUM_BYTES


class RecordId(NamedTuple):
    """Place of a record; also its Redis stream id. Sorts in the order of writing."""

    epoch: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"


class Cursor(NamedTuple):
    """A place in the journal: the last record read, and the chain hash up to it."""

    record_id: RecordId
    chain: bytes


class Entry(NamedTuple):
    """What the sequencer appends: one applied batch.

    ``last_revision`` is ``first_revision - 1`` when no command used one (all were replays).
    ``outcome_checksum`` lets a replay notice that it decided otherwise than the live engine did.
    """

    first_revision: int
    last_revision: int
    now_ms: int
    outcome_checksum: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """A record as read back: its checksum and its place in the chain have been verified."""

    record_id: RecordId
    kind: int
    first_revision: int
    last_revision: int
    now_ms: int
    outcome_checksum: int
    payload: bytes
    previous_chain: bytes
    chain: bytes

    @property
    def cursor(self) -> Cursor:
        """The place right after this record."""
        return Cursor(self.record_id, self.chain)


class SealedRecord(NamedTuple):
    """A record's bytes, ready to be kept, and the cursor after it."""

    buffer: bytes
    cursor: Cursor


def seal(tail: Cursor, record_id: RecordId, entry: Entry, *, kind: int = COMMANDS) -> SealedRecord:
    """The record that follows `tail`. Raises ValueError when the payload is too large. O(bytes)."""
    payload_bytes = len(entry.payload)
    if payload_bytes > RECORD_BYTES_MAX - HEADER_BYTES:
        raise ValueError(
            f"journal record: {payload_bytes} bytes, "
            f"record_bytes_max leaves {RECORD_BYTES_MAX - HEADER_BYTES}"
        )
    header = _HEADER.pack(
        MAGIC,
        kind,
        0,
        0,
        record_id.epoch,
        record_id.sequence,
        entry.first_revision,
        entry.last_revision,
        entry.now_ms,
        entry.outcome_checksum,
        0,
        payload_bytes,
        tail.chain,
    )
    checksum = _checksum(header, entry.payload)
    buffer = b"".join((header, checksum, entry.payload))
    return SealedRecord(buffer, Cursor(record_id, link(tail.chain, checksum)))


def _checksum(header: bytes | memoryview, payload: bytes | memoryview) -> bytes:
    digest = sha256(header)
    digest.update(payload)
    return digest.digest()[:CHECKSUM_BYTES]


def link(chain: bytes, checksum: bytes) -> bytes:
    """The chain hash after a record with `checksum`."""
    return blake2b(chain + checksum, digest_size=CHAIN_BYTES).digest()


def unseal(buffer: bytes, expected: RecordId | None = None) -> JournalRecord:
    """The record in `buffer`, by itself: its place in the chain is not checked yet.

    Raises JournalCorrupted naming the record: `expected` where the place says which one it is.
    """
    name = str(expected) if expected is not None else "(id unreadable)"
    if len(buffer) < HEADER_BYTES:
        raise JournalCorrupted(name, f"{len(buffer)} bytes, a header alone has {HEADER_BYTES}")
    (
        magic,
        kind,
        flags,
        _,
        epoch,
        sequence,
        first_revision,
        last_revision,
        now_ms,
        outcome_checksum,
        _,
        payload_bytes,
        previous_chain,
    ) = _HEADER.unpack_from(buffer)
    view = memoryview(buffer)
    checksum = _checksum(view[: _HEADER.size], view[HEADER_BYTES:])
    if checksum != buffer[_HEADER.size : HEADER_BYTES]:
        raise JournalCorrupted(name, "its checksum does not fit its bytes")
    # From here on the bytes are what a writer wrote.
    record_id = RecordId(epoch, sequence)
    if expected is not None and record_id != expected:
        raise JournalCorrupted(name, f"record {record_id} lies in its place")
    if magic != MAGIC or flags or kind not in (EPOCH_START, COMMANDS):
        raise JournalCorrupted(
            name, f"format {magic!r}, kind {kind}, flags {flags} are unknown to this version"
        )
    if payload_bytes != len(buffer) - HEADER_BYTES:
        raise JournalCorrupted(
            name, f"payload of {len(buffer) - HEADER_BYTES} bytes, {payload_bytes} declared"
        )
    return JournalRecord(
        record_id=record_id,
        kind=kind,
        first_revision=first_revision,
        last_revision=last_revision,
        now_ms=now_ms,
        outcome_checksum=outcome_checksum,
        payload=buffer[HEADER_BYTES:],
        previous_chain=previous_chain,
        chain=link(previous_chain, checksum),
    )


def check_follows(tail: Cursor, record: JournalRecord) -> None:
    """Raise JournalGap or JournalCorrupted unless `record` is the one right after `tail`."""
    epoch, sequence = tail.record_id
    starts_epoch = record.kind == EPOCH_START
    if starts_epoch != (record.record_id.sequence == 0):
        raise JournalCorrupted(str(record.record_id), "only record 0 of an epoch may start it")
    in_order = (
        record.record_id.epoch > epoch
        if starts_epoch
        else record.record_id == (epoch, sequence + 1)
    )
    if record.previous_chain != tail.chain or not in_order:
        raise JournalGap(
            str(record.record_id), f"does not follow record {tail.record_id}: records are missing"
        )
