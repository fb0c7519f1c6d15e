"""Processes started by a small process: their ends are told, and they end with it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from server.application.launcher import Launcher

ECHO = "import sys; print(sys.stdin.read().upper()); sys.stderr.write('so'); sys.exit(3)"


async def test_it_tells_how_each_process_ended() -> None:
    launcher = Launcher()
    for text in ("one", "two\nlines, ünlike"):
        ended = await launcher.run((sys.executable, "-c", ECHO), text)
        assert (ended.status, ended.output.strip(), ended.complaint) == (3, text.upper(), "so")
    assert await launcher.close() != 0
    assert await launcher.close() == 0
    # It may be used again: then it is started anew.
    assert (await launcher.run((sys.executable, "-c", ""), "")).status == 0
    await launcher.close()


async def test_cancelling_ends_the_process(tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    program = (
        "import signal, sys; f = open(sys.argv[1], 'w', 1); print('here', file=f); signal.pause()"
    )
    launcher = Launcher()
    running = asyncio.ensure_future(launcher.run((sys.executable, "-c", program, str(told)), ""))
    pipe = await asyncio.to_thread(told.open)
    assert await asyncio.to_thread(pipe.readline) == "here\n"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # The pipe's end: nobody holds it open any more.
    assert await asyncio.to_thread(pipe.read) == ""
    pipe.close()


async def test_a_launcher_that_was_killed_is_a_failure_and_the_next_run_starts_another() -> None:
    launcher = Launcher()
    await launcher.start()
    assert launcher._process is not None
    launcher._process.kill()
    with pytest.raises(OSError, match=r"has ended|Connection|Broken pipe"):
        await launcher.run((sys.executable, "-c", ""), "")
    assert (await launcher.run((sys.executable, "-c", ""), "")).status == 0
    await launcher.close()
