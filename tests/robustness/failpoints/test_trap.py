"""The trap knows what a real process has synced, and can make its calls fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.robustness.failpoints.trapped import NeedsTrap, Trapped

WRITER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(file, b"a" * 512, 0)
os.fdatasync(file)
os.pwrite(file, b"b" * 512, 512)
print("written", file=sys.stderr, flush=True)
try:
    os.fsync(file)
except OSError as error:
    print(error.strerror, file=sys.stderr, flush=True)
"""


async def started(directory: Path, *, fail: str = "", kill_at_sync: int = 0) -> Trapped:
    """The writer, from its first call on under what was ordered."""
    # A program that waits until it is told to begin, so that the orders are there before it is.
    gate = directory.parent / "gate"
    program = f"while not __import__('os').path.exists({str(gate)!r}): pass\n{WRITER}"
    trapped = Trapped(watch=directory, files="offsets")
    await trapped.start([sys.executable, "-c", program, str(directory / "file")])
    try:
        if fail:
            await trapped.order("fail", call="sync", error=fail)
        if kill_at_sync:
            await trapped.order("cut_at", call="sync", count=kill_at_sync, seed=1)
    except NeedsTrap as reason:
        await trapped.forget()
        pytest.skip(str(reason))
    gate.touch()
    return trapped


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    made.mkdir()
    return made


async def test_a_power_cut_between_two_calls_leaves_what_was_synced(disk: Path) -> None:
    trapped = await started(disk, kill_at_sync=2)
    assert trapped.cut is not None
    told = await trapped.cut
    assert told["call"] == "fsync"
    assert told["bytes_not_synced"] == 512
    await trapped.forget()
    assert (disk / "file").read_bytes() in (b"a" * 512, b"a" * 512 + b"b" * 512)


async def test_a_sync_fails_as_the_kernel_would_fail_it(disk: Path) -> None:
    trapped = await started(disk, fail="EIO")
    assert trapped.ended is not None
    assert await trapped.ended == 1  # its first sync raised
    await trapped.forget()
    assert any("Input/output error" in line for line in trapped.lines)


async def test_a_killed_program_keeps_what_the_kernel_had(disk: Path) -> None:
    trapped = await started(disk)
    assert trapped.ended is not None
    assert await trapped.ended == 0
    await trapped.forget()
    assert (disk / "file").read_bytes() == b"a" * 512 + b"b" * 512
