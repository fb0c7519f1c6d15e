"""What every store of snapshots promises (server/journal/snapshot.py)."""

from __future__ import annotations

import numpy as np
import pytest

from server.journal.errors import SnapshotDamaged
from server.journal.port import Journal
from server.journal.record import Cursor, RecordId
from server.journal.snapshot import PIECE_BYTES, Sections, Snapshot, SnapshotHeader, SnapshotName
from tests.contract.journal.harness import Harness

ROW = np.dtype([("key", "u8"), ("units", "i4", (2,)), ("kind", "u1"), ("id", "S5")], align=True)


def sections() -> Sections:
    rows = np.zeros(1000, ROW)
    rows["key"] = np.arange(1000)
    rows["units"] = np.arange(2000).reshape(1000, 2)
    return [
        ("rows", rows),
        ("matrix", np.arange(12, dtype=np.int32).reshape(3, 4)),
        ("none", np.zeros((0, 64), np.uint8)),
        ("large", np.arange(PIECE_BYTES // 4, dtype=np.int64)),  # more than one piece
        ("every second", np.arange(10)[::2]),
    ]


def snapshot(journal: Journal, sequence: int = 7) -> Snapshot:
    cursor = Cursor(RecordId(2, sequence), bytes(range(16)))
    header = SnapshotHeader(
        genesis=journal.genesis,
        cursor=cursor,
        revision=100 + sequence,
        now_ms=1_700_000_000_000,
        state_hash=bytes(32),
    )
    return Snapshot(header, sections())


async def test_a_snapshot_comes_back_bit_for_bit(harness: Harness) -> None:
    journal = await harness.open()
    saved = snapshot(journal)
    name = await journal.snapshots.save(saved)
    assert name == SnapshotName(RecordId(2, 7), 107)
    loaded = await journal.snapshots.load(name)
    assert loaded.header == saved.header
    assert [section for section, _ in loaded.sections] == [section for section, _ in sections()]
    for (_, before), (_, after) in zip(saved.sections, loaded.sections, strict=True):
        assert after.dtype == before.dtype
        assert after.shape == before.shape
        assert after.tobytes() == np.ascontiguousarray(before).tobytes()
    await journal.close()


async def test_snapshots_are_listed_newest_first_and_survive_the_process(harness: Harness) -> None:
    journal = await harness.open()
    assert await journal.snapshots.list() == []
    names = [await journal.snapshots.save(snapshot(journal, n)) for n in (9, 100, 10)]
    await journal.close()
    harness.kill()
    journal = await harness.open()
    assert await journal.snapshots.list() == [names[1], names[2], names[0]]
    await journal.snapshots.remove(names[2])
    await journal.snapshots.remove(names[2])
    assert await journal.snapshots.list() == [names[1], names[0]]
    await journal.close()


async def test_the_same_place_can_be_saved_again(harness: Harness) -> None:
    journal = await harness.open()
    assert await journal.snapshots.save(snapshot(journal)) == await journal.snapshots.save(
        snapshot(journal)
    )
    assert len(await journal.snapshots.list()) == 1
    await journal.close()


@pytest.mark.parametrize("place", [0, 9, 30, 400, 5_000, -70])
async def test_a_flipped_byte_is_noticed_wherever_it_is(harness: Harness, place: int) -> None:
    journal = await harness.open()
    name = await journal.snapshots.save(snapshot(journal))
    harness.flip_snapshot_byte(name, place)
    with pytest.raises(SnapshotDamaged, match="snapshot "):
        await journal.snapshots.load(name)
    await journal.close()
