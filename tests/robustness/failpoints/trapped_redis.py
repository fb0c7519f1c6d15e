"""A Redis of a run's own, under the trap."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import redis.asyncio as redis
from redis.exceptions import RedisError

from server.journal.redis_checks import ACL_RULES
from tests.redis_server import PASSWORD, USER, RedisServer, binary, free_port
from tests.robustness.failpoints.trapped import Trapped

_PAUSE_S = 0.01


class TrappedRedis(RedisServer):
    """Configured as `RedisServer`, which knows its URLs and files, but started by `begin`."""

    def __init__(self, *settings: str) -> None:
        """`settings` are lines of redis.conf, besides or instead of the durable ones."""
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-robust-redis-"))
        self.port = free_port()
        self.log = []
        self._settings = (f"user {USER} on >{PASSWORD} {ACL_RULES}", *settings)
        self._process = None
        self.trapped = Trapped(
            watch=self.directory, files="appended", on_line=lambda line: self.log.append(line)
        )

    @property
    def pid(self) -> int:
        return self.trapped.pid

    async def begin(self) -> None:
        """Start it on what lies in its directory; returns when it answers."""
        await self.trapped.start([binary(), str(self.configuration())])
        async with redis.Redis(port=self.port) as client:
            while self.trapped.is_running:
                try:
                    if await client.ping():
                        return
                except (RedisError, OSError):  # not there yet, or still loading
                    await asyncio.sleep(_PAUSE_S)
        raise RuntimeError("redis does not start: " + " | ".join(self.log[-5:]))

    async def end(self) -> None:
        """Kill it, forget its data."""
        await self.trapped.forget()
        shutil.rmtree(self.directory, ignore_errors=True)
