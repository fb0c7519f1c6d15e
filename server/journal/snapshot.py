"""Snapshots: the whole state at one place of the journal, so that a restart replays only the rest.

A snapshot is a list of named arrays (`engine.state.State.sections`) and a header. Its bytes:

    magic "HFSN0001" | manifest_bytes u64 | checksum of the manifest, 16 bytes | manifest (JSON)
    | the sections one after another, each at a multiple of 64

The manifest holds the header and, for every section, its dtype, shape, offset and one checksum per
8 MiB piece (the first 128 bits of its SHA-256). Pieces are checked in parallel: hashing releases
the interpreter's lock.

Invariants
1. What `decode` returns is bit for bit what `encode` was given, or SnapshotDamaged is raised.
2. The header names the ledger, the record and the chain hash, so that a snapshot of another ledger
   or of another past is noticed.

Callers: the stores (`snapshot_files`), `server.application.recovery` and `.snapshots`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.lib import format as array_format
from numpy.typing import NDArray

from server.journal.errors import SnapshotDamaged
from server.journal.genesis import Genesis
from server.journal.record import CHECKSUM_BYTES, Cursor, RecordId

SNAPSHOT_FORMAT: Final = 1
MAGIC: Final = b"HFSN0001"
PIECE_BYTES: Final = 8 * 1024 * 1024
_PREFIX: Final = struct.Struct("<8sQ16s")
_ALIGNMENT: Final = 64
# Hashing is the work; more threads than this wait for memory.
_THREADS: Final = 4

Sections = Sequence[tuple[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotHeader:
    """Where in the journal the state was taken, and how to recognise it. Times in ms."""

    genesis: Genesis
    cursor: Cursor
    revision: int
    now_ms: int
    state_hash: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state and its place."""

    header: SnapshotHeader
    sections: Sections


class SnapshotName(NamedTuple):
    """One stored snapshot. Sorts by its place in the journal."""

    record_id: RecordId
    revision: int


class SnapshotStore(Protocol):
    """Where a journal's snapshots are kept."""

    async def list(self) -> Sequence[SnapshotName]:
        """What is there, newest first. Nothing is read or checked yet."""
        ...

    async def save(self, snapshot: Snapshot) -> SnapshotName:
        """Keep `snapshot` durably: afterwards it is there whole, and before not at all."""
        ...

    async def load(self, name: SnapshotName) -> Snapshot:
        """Read and verify it. Raises SnapshotDamaged; JournalUnavailable when it can't be read."""
        ...

    async def remove(self, name: SnapshotName) -> None:
        """Forget it. Nothing happens when it is not there."""
        ...


def encode(snapshot: Snapshot) -> Iterator[memoryview]:
    """The snapshot's bytes in pieces of at most `PIECE_BYTES`; no large copy is made. O(bytes)."""
    bodies = [_bytes_of(array) for _, array in snapshot.sections]
    with ThreadPoolExecutor(_THREADS) as pool:
        checksums = [[item.hex() for item in pool.map(_checksum, _pieces(body))] for body in bodies]
    described: list[dict[str, Any]] = []
    offset = 0
    for (name, array), body, section_checksums in zip(
        snapshot.sections, bodies, checksums, strict=True
    ):
        described.append(
            {
                "name": name,
                "dtype": array_format.dtype_to_descr(array.dtype),
                "shape": list(array.shape),
                "offset": offset,
                "bytes": len(body),
                "checksums": section_checksums,
            }
        )
        offset += _aligned(len(body))
    header = snapshot.header
    manifest = json.dumps(
        {
            "format": SNAPSHOT_FORMAT,
            "genesis": asdict(header.genesis),
            "record": list(header.cursor.record_id),
            "chain": header.cursor.chain.hex(),
            "revision": header.revision,
            "now_ms": header.now_ms,
            "state_hash": header.state_hash.hex(),
            "sections": described,
            "sections_bytes": offset,
        }
    ).encode()
    padding = bytes(_aligned(_PREFIX.size + len(manifest)) - _PREFIX.size - len(manifest))
    prefix = _PREFIX.pack(MAGIC, len(manifest), _checksum(memoryview(manifest)))
    yield memoryview(b"".join((prefix, manifest, padding)))
    for body in bodies:
        yield from _pieces(body)
        yield memoryview(bytes(_aligned(len(body)) - len(body)))


def decode(buffer: memoryview, *, place: str) -> Snapshot:
    """Read what `encode` gave; sections are views of `buffer`. Raises SnapshotDamaged. O(bytes)."""
    if len(buffer) < _PREFIX.size:
        raise SnapshotDamaged(f"snapshot {place}: {len(buffer)} bytes are no snapshot")
    magic, manifest_bytes, checksum = _PREFIX.unpack_from(buffer)
    if magic != MAGIC:
        raise SnapshotDamaged(f"snapshot {place}: format {magic!r}, this version reads {MAGIC!r}")
    manifest_body = buffer[_PREFIX.size : _PREFIX.size + manifest_bytes]
    if _checksum(manifest_body) != checksum:
        raise SnapshotDamaged(f"snapshot {place}: the checksum of its manifest does not fit")
    # From here on the manifest is what a writer wrote.
    manifest = json.loads(bytes(manifest_body))
    if manifest["format"] != SNAPSHOT_FORMAT:
        raise SnapshotDamaged(
            f"snapshot {place}: format {manifest['format']}, this version reads {SNAPSHOT_FORMAT}"
        )
    start = _aligned(_PREFIX.size + manifest_bytes)
    if len(buffer) != start + manifest["sections_bytes"]:
        raise SnapshotDamaged(
            f"snapshot {place}: {len(buffer)} bytes, {start + manifest['sections_bytes']} declared"
        )
    sections: list[tuple[str, NDArray[Any]]] = []
    work: list[tuple[str, memoryview, str]] = []
    for section in manifest["sections"]:
        body = buffer[start + section["offset"] :][: section["bytes"]]
        work += [
            (section["name"], piece, expected)
            for piece, expected in zip(_pieces(body), section["checksums"], strict=True)
        ]
        dtype = array_format.descr_to_dtype(_tuples(section["dtype"]))
        sections.append((section["name"], np.frombuffer(body, dtype).reshape(section["shape"])))
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(_checksum, (piece for _, piece, _ in work))
        for (name, _, expected), actual in zip(work, found, strict=True):
            if actual.hex() != expected:
                raise SnapshotDamaged(
                    f"snapshot {place}: the checksum of section {name!r} does not fit"
                )
    header = SnapshotHeader(
        genesis=Genesis(**manifest["genesis"]),
        cursor=Cursor(RecordId(*manifest["record"]), bytes.fromhex(manifest["chain"])),
        revision=manifest["revision"],
        now_ms=manifest["now_ms"],
        state_hash=bytes.fromhex(manifest["state_hash"]),
    )
    return Snapshot(header, sections)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")


def _pieces(body: memoryview) -> Iterable[memoryview]:
    return (body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES))


def _checksum(piece: memoryview) -> bytes:
    return sha256(piece).digest()[:CHECKSUM_BYTES]


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _tuples(description: Any) -> Any:
    """JSON knows no tuples, numpy's dtype descriptions need them inside their lists."""
    if isinstance(description, str):
        return description
    return [
        (field[0], _tuples(field[1]), *(tuple(shape) for shape in field[2:]))
        for field in description
    ]
