"""The real server as a process under the trap: started, killed, stopped, started again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server.config import load
from tests.robustness.failpoints.trapped import Trapped

# Tables as small as the traffic: a state takes a few milliseconds to make, to hash, to compare.
SMALL = (
    *("--positions-max", "4096", "--names-max", "8192", "--names-bytes-max", "262144"),
    *("--group-members-max", "4096", "--reservations-max", "65536", "--takes-max", "262144"),
    *("--supplies-max", "4096", "--requests-remembered-max", "131072"),
    *("--reply-details-kept-max", "262144", "--movements-kept-max", "65536"),
)
# A journal that keeps every record is one that can be read from its beginning.
KEEPS_ALL = ("--snapshot-commands", "1000000000")


class ServerProcess:
    """``python -m server`` on one address and one journal; its log is read as it comes."""

    def __init__(
        self, *, data: Path, port: int, journal: str = "", flags: Sequence[str] = SMALL
    ) -> None:
        """`journal`: a URL; empty: SQLite in `data`. `flags` count from the next start on."""
        self.data = data
        self.port = port
        self.journal = journal
        self.flags = (*flags, *KEEPS_ALL)
        self.hooks: dict[str, Any] = {}
        """See `launcher`; without any the server runs as it is."""
        self.events: list[dict[str, Any]] = []
        data.mkdir(parents=True, exist_ok=True)
        self.trapped = Trapped(watch=data, files="offsets", on_line=self._hear)
        self._serving = asyncio.Event()

    @property
    def target(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.port}"

    @property
    def _settings(self) -> list[str]:
        told = ["--data", str(self.data), "--listen", self.target, "--metrics-listen", "off"]
        told += ["--log-format", "json", *self.flags]
        return told + (["--journal", self.journal] if self.journal else [])

    @property
    def journal_url(self) -> str:
        """Where its journal lies."""
        return load(self._settings, {}).journal_url

    async def begin(self) -> float:
        """Start it; seconds until it serves. Raises `Refused` when it ends before."""
        started = time.monotonic()
        await self.launch()
        serving = asyncio.ensure_future(self._serving.wait())
        assert self.trapped.ended is not None
        await asyncio.wait((serving, self.trapped.ended), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            serving.cancel()
            status = self.trapped.ended.result()
            await self.trapped.forget()
            raise Refused(status, self.last_reason())
        return time.monotonic() - started

    async def launch(self) -> None:
        """Start it, and do not wait."""
        self._serving.clear()
        self.events.clear()
        program = [sys.executable, "-m", "server"]
        if self.hooks:
            program = [sys.executable, "-m", "tests.robustness.failpoints.launcher"]
            program += ["--hooks", json.dumps(self.hooks)]
        await self.trapped.start([*program, *self._settings])

    def _hear(self, line: str) -> None:
        if not line.startswith("{"):
            return
        event = json.loads(line)
        event["heard_s"] = time.monotonic()
        self.events.append(event)
        if event["event"] == "serving":
            self._serving.set()

    def last_reason(self) -> str:
        """The last reason its log gives, or the log's end."""
        for event in reversed(self.events):
            for key in ("reason", "failed"):
                if event.get(key):
                    return str(event[key])
        return " | ".join(list(self.trapped.lines)[-3:])

    async def kill(self) -> None:
        """kill -9."""
        await self.trapped.kill()

    async def until_ended(self) -> int:
        """Its exit status, once it ends by itself."""
        assert self.trapped.ended is not None
        status = await self.trapped.ended
        await self.trapped.forget()
        return status

    async def end(self) -> None:
        """Kill it, if it runs; its data stays."""
        await self.trapped.forget()


class Refused(Exception):
    """The server did not begin."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"status {status}: {reason}")
        self.status = status
        self.reason = reason
