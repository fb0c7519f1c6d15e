"""A program under the trap, from the side of those who do things to it.

`Trapped` starts `trap` with the program, and gives it orders. Where the kernel does not allow the
trap the program runs without it, `has_trap` is false, and what needs it says so (`NeedsTrap`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


class NeedsTrap(Exception):
    """This machine does not allow a process to be stopped at its system calls."""


class Trapped:
    """One program; start it again as often as it was ended."""

    has_trap = True
    """Of this machine, as far as it was tried."""

    def __init__(
        self,
        *,
        watch: Path,
        files: str,
        full_disk: bool = False,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`watch`: the directory that is its disk. `on_line` hears what the program prints."""
        self._watch = watch
        self._files = files
        self.full_disk = full_disk
        self._on_line = on_line
        self._trap: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.pid = 0
        self.ended: asyncio.Future[int] | None = None
        """Its exit status, once it has one; negative: the signal that killed it."""
        self.cut: asyncio.Future[dict[str, Any]] | None = None
        """What `cut_at` did, once it has."""
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.lines: deque[str] = deque(maxlen=40)

    async def start(self, program: list[str]) -> None:
        """Start it. Raises RuntimeError when it can not be."""
        loop = asyncio.get_running_loop()
        self.ended, self.cut = loop.create_future(), loop.create_future()
        self._answers = asyncio.Queue()
        options = ["--watch", str(self._watch), "--files", self._files]
        options += ["--full-disk"] if self.full_disk else []
        options += [] if Trapped.has_trap else ["--plain"]
        self._trap = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.robustness.failpoints.trap", *options, "--", *program),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
            limit=1 << 20,
        )
        self._tasks = [asyncio.ensure_future(self._hear()), asyncio.ensure_future(self._listen())]
        event = await self._answers.get()
        if event["event"] == "unsupported":
            Trapped.has_trap = False
            await self.start(program)
        elif event["event"] != "started":
            raise RuntimeError(f"{program[0]} can not be started: {' '.join(self.lines)}")
        else:
            self.pid = event["pid"]

    async def _hear(self) -> None:
        """The events of the trap, until it ends."""
        assert self._trap is not None
        assert self._trap.stdout is not None
        assert self.ended is not None
        assert self.cut is not None
        async for line in self._trap.stdout:
            event = json.loads(line)
            if event["event"] == "ended":
                self.ended.set_result(event["status"])
            elif event["event"] == "cut":
                self.cut.set_result(event)
            else:
                self._answers.put_nowait(event)
        self._answers.put_nowait({"event": "gone"})
        if not self.ended.done():
            self.ended.set_result(-1)

    async def _listen(self) -> None:
        """What the program prints."""
        assert self._trap is not None
        assert self._trap.stderr is not None
        async for line in self._trap.stderr:
            text = line.decode(errors="replace").rstrip()
            self.lines.append(text)
            self._on_line(text)

    async def order(self, what: str, **details: Any) -> dict[str, Any]:
        """Give an order and wait until it is obeyed. Raises NeedsTrap."""
        if what != "kill" and not Trapped.has_trap:
            raise NeedsTrap("the kernel does not allow the trap here")
        assert self._trap is not None
        assert self._trap.stdin is not None
        self._trap.stdin.write(json.dumps({"do": what, **details}).encode() + b"\n")
        return await self._answers.get()

    async def kill(self) -> None:
        """kill -9; what it wrote stays in the kernel's memory."""
        await self.order("kill")
        await self.forget()

    async def cut_power(self, seed: int) -> dict[str, Any]:
        """kill -9, and what no sync covered is gone, as far as `seed` lets it."""
        told = await self.order("cut", seed=seed)
        await self.forget()
        return told

    async def forget(self) -> None:
        """End the trap; the program with it, if it still runs."""
        if self._trap is None:
            return
        assert self._trap.stdin is not None
        self._trap.stdin.close()
        await self._trap.wait()
        await asyncio.gather(*self._tasks)
        self._trap, self.pid = None, 0

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT, SIGTERM, ..."""
        os.kill(self.pid, number)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._trap is not None and self.ended is not None and not self.ended.done()


def environment() -> dict[str, str]:
    """That of this process, without the settings of somebody's own server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
