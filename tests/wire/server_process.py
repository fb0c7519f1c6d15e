"""A server as a process of its own, whose log is heard while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import grpc

from tests.redis_server import free_port

SMALL = (
    *("--positions-max", "4096", "--reservations-max", "65536", "--takes-max", "131072"),
    *("--requests-remembered-max", "65536", "--reply-details-kept-max", "131072"),
)


class ServerProcess:
    """``python -m server`` with some flags, always on the same port. Ends with its `async with`."""

    def __init__(self, *flags: str) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        self.log: list[dict[str, Any]] = []
        """Events of the process that runs, or ran last."""
        self._flags = ("--listen", self.target, "--metrics-listen", "off", "--log-format", "json")
        self._flags += (*SMALL, *flags)
        self._heard = asyncio.Condition()
        self._listening: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, until: str) -> None:
        """Start it, and wait for this event of its log."""
        self.log = []
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", *self._flags),
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        assert self._process.stderr is not None
        self._listening = asyncio.create_task(self._listen(self._process.stderr))
        await self.until(until)

    async def until(self, event: str) -> None:
        """Wait until its log has said so; AssertionError when it ends without."""
        assert self._listening is not None
        async with self._heard:
            await self._heard.wait_for(lambda: event in self.events or self._has_ended())
        assert event in self.events, self.log

    async def end(self) -> int:
        """Wait for its end; the exit status."""
        assert self._process is not None
        assert self._listening is not None
        await self._listening
        return await self._process.wait()

    @property
    def events(self) -> list[str]:
        return [event["event"] for event in self.log]

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(
            self.target, options=[("grpc.use_local_subchannel_pool", 1)]
        )

    def _has_ended(self) -> bool:
        return bool(self.log) and self.log[-1]["event"] == "(end)"

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            if line.startswith(b"{"):
                await self._note(json.loads(line))
        await self._note({"event": "(end)"})

    async def _note(self, event: dict[str, Any]) -> None:
        async with self._heard:
            self.log.append(event)
            self._heard.notify_all()

    async def __aenter__(self) -> ServerProcess:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self.end()
