"""Fault 11: bytes of a journal or of a snapshot that are not those that were written."""

from __future__ import annotations

import signal
from pathlib import Path

from holdfast import aio
from server.journal.record import JournalRecord
from tests.robustness.failpoints.server_process import Refused
from tests.robustness.faults.size import Size
from tests.robustness.session import Session
from tests.robustness.traffic.calls import PATIENT
from tests.robustness.validate.journal import read_book

_SLICE_BYTES = 32
_TRIES = 1_000
_EXIT_REFUSED = 2
_SQLITE_FRAME_BYTES = 24 + 8192


async def damage_bytes(session: Session, size: Size) -> None:
    """A flipped byte in a record, in a snapshot, and a torn end; each under what traffic left."""
    for _ in range(size.rounds):
        async with session.traffic(shoppers=size.shoppers) as traffic:
            await traffic.answers(size.answers)
        await _flip_in_a_record(session)
        await _tear_the_end(session, size)
    # Last, and once: what a good snapshot stands for is not read any more, and a second one lets
    # the server forget the journal's beginning, which the judgement needs.
    await _flip_in_a_snapshot(session)


# --- A record ------------------------------------------------------------------------------------


async def _flip_in_a_record(session: Session) -> None:
    """The server refuses to start and names the record; with the byte put right it serves."""
    records = (await read_book(session.url)).records
    await _stop(session)
    path = _journal_file(session)
    record, place = _somewhere(session, path.read_bytes(), records)
    written = path.read_bytes()[place]
    _put(path, place, written ^ 1 << session.chance.randrange(8))
    if session.redis is not None:
        await session.redis.begin()
    try:
        await session.begin()
    except Refused as refused:
        session.findings.need(
            refused.status == _EXIT_REFUSED and f"record {record.record_id}:" in refused.reason,
            f"record {record.record_id} was damaged, the server said {refused}",
        )
    else:
        session.findings.need(False, f"served with a damaged record {record.record_id}")
        await session.server.kill()
    if session.redis is not None:
        await session.redis.trapped.kill()
    _put(path, place, written)
    if session.redis is not None:
        await session.redis.begin()
    await session.begin()


def _somewhere(
    session: Session, body: bytes, records: list[JournalRecord]
) -> tuple[JournalRecord, int]:
    """A byte of some record's payload, where it lies in the file."""
    for _ in range(_TRIES):
        record = session.chance.choice(records)
        if len(record.payload) <= _SLICE_BYTES:
            continue
        at = session.chance.randrange(len(record.payload) - _SLICE_BYTES)
        written = record.payload[at : at + _SLICE_BYTES]
        # A slice of zeros lies everywhere; one over a page's end nowhere.
        if body.count(written) == 1:
            return record, body.index(written) + session.chance.randrange(_SLICE_BYTES)
    raise RuntimeError(f"none of {len(records)} records is found in {len(body)} bytes")


# --- A snapshot ----------------------------------------------------------------------------------


async def _flip_in_a_snapshot(session: Session) -> None:
    """It is not used; the journal behind it still reaches back to the beginning."""
    async with aio.Client(session.server.target, timeout=30.0, retry=PATIENT) as client:
        await client.create_snapshot()
    await session.server.kill()
    if session.redis is not None:
        _flip_in_redis(session)
    else:
        path = max(session.server.data.rglob("*.snapshot"))
        place = session.chance.randrange(path.stat().st_size)
        _put(path, place, path.read_bytes()[place] ^ 0x10)
    await session.begin()


def _flip_in_redis(session: Session) -> None:
    """Change one byte of a snapshot's chunk."""
    assert session.redis is not None
    with session.redis.client() as client:
        chunks = [
            (key, field, value)
            for key in sorted(client.keys("holdfast:*snapshot*"))
            if client.type(key) == b"hash"
            for field, value in sorted(client.hgetall(key).items())
            if len(value) > 1_000
        ]
        session.findings.need(bool(chunks), "no snapshot is found in Redis")
        key, field, value = session.chance.choice(chunks)
        place = session.chance.randrange(len(value))
        client.hset(key, field, value[:place] + bytes([value[place] ^ 0x10]) + value[place + 1 :])


# --- The end -------------------------------------------------------------------------------------


async def _tear_the_end(session: Session, size: Size) -> None:
    """The write that a power cut tore apart: nobody was answered, and it is dropped."""
    async with session.traffic(shoppers=size.shoppers) as traffic:
        await traffic.answers(size.answers // 4)
        await session.server.kill()
        if session.redis is not None:
            await session.redis.trapped.kill()
            record = b"*6\r\n$4\r\nXADD\r\n$28\r\nholdfast:{default:0}:journal\r\n$10\r\nNOMKSTREAM"
            torn = record[: session.chance.randrange(1, len(record))]
            path = session.redis.append_file()
        else:
            path = _journal_file(session).with_name("journal.sqlite3-wal")
            frame = path.read_bytes()[-_SQLITE_FRAME_BYTES:]
            torn = frame[: session.chance.randrange(1, len(frame))]
        with path.open("ab") as file:
            file.write(torn)
        if session.redis is not None:
            await session.redis.begin()
        await session.begin()
        await traffic.answers(size.answers // 4)


async def _stop(session: Session) -> None:
    """End the server so that everything lies in the journal's one file."""
    session.server.trapped.signal(signal.SIGTERM)
    await session.server.until_ended()
    if session.redis is not None:
        await session.redis.trapped.kill()


def _journal_file(session: Session) -> Path:
    if session.redis is not None:
        return session.redis.append_file()
    return session.server.data / "journal.sqlite3"


def _put(path: Path, place: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes([value]))
