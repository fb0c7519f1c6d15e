"""Starts other processes without stopping this one, through a small process made for that.

Starting a process stops the thread that does it until the new one has begun, and on uvloop, which
forks, also for as long as the system copies the page tables of all that memory. Measured with
1.3 GiB in use: 15 ms of work and 50 to 1,000 ms by the wall clock on a busy machine, in which the
writer did nothing. So a small process is started while nothing is in memory yet
(`launcher_process`), and starts the others when it is told to.

Callers: `server.lifecycle` (start and end), `snapshots`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROGRAM: Final = Path(__file__).with_name("launcher_process.py")
_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that was started and has ended."""

    status: int
    output: str
    complaint: str
    """What it wrote on its standard error."""


class Launcher:
    """One small process, and one at a time that it starts."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the small process, unless it runs. Early, and it costs nothing later."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                # Isolated and without site-packages: it needs the standard library alone.
                *(sys.executable, "-I", "-S", str(_PROGRAM)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_ANSWER_BYTES_MAX,
            )

    async def run(self, command: Sequence[str], input_text: str) -> Ended:
        """Run `command` to its end. Cancelling ends it. Raises OSError when it can not be run."""
        await self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps({"command": list(command), "input": input_text})
        try:
            self._process.stdin.write(request.encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        except BaseException:
            await self.close()
            raise
        if not line:
            raise OSError(f"the process that starts others has ended ({await self.close()})")
        return Ended(**json.loads(line))

    async def close(self) -> int:
        """End the small process, and the one that it has started. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.terminate()
        return await process.wait()
