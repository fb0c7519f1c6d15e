"""The peer over Redis: ``python -m benchmarks.peers.redis_service PORT``.

Orders that arrive together are sent together: each connection takes what waits and sends it as one
pipeline of EVALSHAs, so Python's system calls and Redis' syncs are shared.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from benchmarks.peers.service import Lines, Short, serve

SCRIPT = (Path(__file__).parent / "reserve.lua").read_text()
EXPIRY = "holds-by-expiry"
_REMEMBERED_S = 86_400
_CONNECTIONS = 4
_SENT_AT_ONCE = 64


def counter(sku: str, node: str) -> str:
    """Key of a place's available units."""
    return f"stock:{sku}@{node}"


class RedisStore:
    """Counters in Redis, one script an order."""

    def __init__(self, port: int) -> None:
        self._connections = [
            redis.Redis(port=port, single_connection_client=True) for _ in range(_CONNECTIONS)
        ]
        self._waiting: deque[tuple[tuple[Any, ...], asyncio.Future[Any]]] = deque()
        self._free: deque[redis.Redis] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._digest = ""

    async def open(self) -> RedisStore:
        """Connect, and give Redis the script."""
        for connection in self._connections:
            await connection.initialize()
            self._digest = await connection.script_load(SCRIPT)
            self._free.append(connection)
        return self

    async def reserve(
        self, reservation_id: uuid.UUID, request_id: str, owner: str, ttl_s: float, lines: Lines
    ) -> str:
        """One order."""
        hold = str(reservation_id)
        keys = (f"request:{request_id}", f"hold:{hold}", EXPIRY)
        counters = [counter(sku, node) for sku, node, _ in lines]
        values = (hold, int((time.time() + ttl_s) * 1e3), _REMEMBERED_S)
        units = [wanted for _, _, wanted in lines]
        count = len(keys) + len(counters)
        status, what = await self._call(
            ("EVALSHA", self._digest, count, *keys, *counters, *values, *units)
        )
        if status == 0:
            raise Short(f"{lines[what - 1][0]}@{lines[what - 1][1]} is short")
        return str(what, "ascii")

    def _call(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._free:
            task = asyncio.ensure_future(self._send(self._free.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return answer

    async def _send(self, connection: redis.Redis) -> None:
        """Send what waits over this connection until nothing waits."""
        await asyncio.sleep(0)  # whatever arrived with the first one goes with it
        while self._waiting:
            count = min(_SENT_AT_ONCE, len(self._waiting))
            sent = [self._waiting.popleft() for _ in range(count)]
            pipeline = connection.pipeline(transaction=False)
            for command, _ in sent:
                pipeline.execute_command(*command)
            try:
                replies = await pipeline.execute(raise_on_error=False)
            except redis.RedisError as error:
                replies = [error] * count
            for (_, answer), reply in zip(sent, replies, strict=True):
                if answer.done():
                    continue
                if isinstance(reply, Exception):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        self._free.append(connection)


if __name__ == "__main__":
    serve(RedisStore(int(sys.argv[1])).open)
