"""MemoryClaim: the memory of the tables is there before it is used, and what is in it stays."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import mmap
import os
import threading

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from engine.state import State
from server.application import memory_claim
from server.application.memory_claim import MemoryClaim

_PAGE = mmap.PAGESIZE
_ROWS = np.dtype([("key", "u8"), ("units", "i4"), ("line", "i4")])


def table(rows: int) -> NDArray[np.void]:
    """Rows in pages that nothing has used before."""
    pages = mmap.mmap(-1, rows * _ROWS.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, _ROWS)


def missing_pages(array: NDArray[np.void]) -> int:
    """Those of the whole pages inside an array that are not in memory."""
    first = -(-array.ctypes.data // _PAGE) * _PAGE
    pages = (array.ctypes.data + array.nbytes - first) // _PAGE
    told = (ctypes.c_ubyte * pages)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mincore(ctypes.c_void_p(first), ctypes.c_size_t(pages * _PAGE), told) == 0
    return sum(not each & 1 for each in told)


async def until_claimed(claim: MemoryClaim) -> None:
    assert claim._under_way is not None
    await asyncio.to_thread(claim._under_way.join)


async def test_all_pages_are_there_and_what_was_written_stays() -> None:
    large, other = table(5 << 20), table(1 << 20)
    large["key"][::100_000] = 7
    assert missing_pages(large)
    claim = MemoryClaim()
    claim.begin({"large": large, "other": other, "small": table(10)})
    await until_claimed(claim)
    assert claim.left_bytes == 0
    assert missing_pages(large) == missing_pages(other) == 0
    assert large["key"].sum() == 7 * len(range(0, len(large), 100_000))


async def test_a_table_that_nothing_is_written_to_any_more_takes_no_memory() -> None:
    rows, texts = table(1 << 20), table(1 << 20)
    whole = missing_pages(texts)
    claim = MemoryClaim()
    claim.begin({"rows": rows, "movement_text": texts})
    await until_claimed(claim)
    assert claim.left_bytes == 0
    assert missing_pages(rows) == 0
    assert missing_pages(texts) == whole > 0
    state = State.create()
    assert state.arrays["movement_text"].nbytes
    assert state.used_rows()["movement_text"] == 0


async def test_nothing_is_left_where_nothing_was_claimed() -> None:
    claim = MemoryClaim()
    assert claim.left_bytes == 0
    await claim.close()


async def test_the_end_of_the_server_ends_it_after_the_slice_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = MemoryClaim()
    has_begun = threading.Event()
    slices: list[int] = []

    def populate(address: int, end: int) -> None:
        assert has_begun.wait(60)
        slices.append(end - address)
        assert claim._under_way is not None
        claim._under_way.stop()

    monkeypatch.setattr(memory_claim, "_populate", populate)
    rows = table(8 << 20)
    claim.begin({"rows": rows})
    has_begun.set()
    await claim.close()
    assert len(slices) == 1
    assert claim.left_bytes == rows.nbytes - slices[0]


async def test_a_new_state_takes_the_place_of_the_one_before() -> None:
    claim = MemoryClaim()
    claim.begin({"rows": table(4 << 20)})
    following = table(3 << 20)
    claim.begin({"rows": following})
    await until_claimed(claim)
    assert claim.left_bytes == 0
    assert missing_pages(following) == 0


async def test_a_system_that_can_not_is_told_of_once_and_the_ledger_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(address: int, end: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(memory_claim, "_populate", refuse)
    claim = MemoryClaim()
    rows = table(1 << 20)
    with capture_logs() as logged:
        claim.begin({"rows": rows, "more": table(1 << 20)})
        await until_claimed(claim)
    (line,) = logged
    assert line["log_level"] == "warning"
    assert line["event"] == "memory is not claimed ahead"
    assert "Invalid argument" in line["reason"]
    assert claim.left_bytes == rows.nbytes * 2
