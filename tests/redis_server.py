"""A Redis server of the tests' own, with the one user that docs/redis.md describes.

Where the binary comes from, and how it is started and ended, is `holdfast.demo.redis_server`: the
demo and the benchmarks use the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from holdfast.demo.redis_server import RedisProcess, binary, free_port
from server.journal import redis_journal
from server.journal.redis_checks import ACL_RULES

__all__ = ["PASSWORD", "USER", "RedisServer", "binary", "free_port", "running"]

USER = "holdfast"
PASSWORD = "correct-horse"


class RedisServer(RedisProcess):
    """One server process; it may be killed, stopped for a while, and started again on its data."""

    def __init__(self, *settings: str) -> None:
        """`settings` are lines of redis.conf, besides or instead of the durable ones."""
        # Its port may have been another server's, whose data must not be missed here.
        redis_journal._acknowledged.clear()
        super().__init__(f"user {USER} on >{PASSWORD} {ACL_RULES}", *settings)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Stopped, not dead."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        """The administrator's own connection."""
        return redis.Redis(port=self.port, socket_timeout=10.0, **options)

    def url(self, options: str = "", *, database: int = 0) -> str:
        """The journal's URL, for a user who may do what docs/redis.md says and no more."""
        tail = f"?{options}" if options else ""
        return f"redis://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}{tail}"

    def append_file(self) -> Path:
        """The file that Redis appends to now."""
        return max(self.directory.glob("appendonlydir/*.incr.aof"), key=lambda path: path.name)


@contextlib.contextmanager
def running(*settings: str) -> Iterator[RedisServer]:
    """A server for the length of a block."""
    with RedisServer(*settings) as server:
        yield server
