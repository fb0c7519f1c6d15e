"""What a caller sends on a stream, read ahead a little; ends when the server begins to drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from server.application.gateway import Gateway


class Inbox:
    """Iterate over it for the messages. Use as an asynchronous context manager."""

    def __init__(self, requests: AsyncIterator[bytes], gateway: Gateway, *, ahead: int) -> None:
        """`ahead`: messages read before they are asked for; then gRPC's flow control holds."""
        self._requests = requests
        self._gateway = gateway
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(ahead)
        self._task: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._forget = gateway.on_drain(self._drained.set)

    async def __aenter__(self) -> Inbox:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._forget()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self) -> None:
        drained = asyncio.create_task(self._drained.wait())
        reading = asyncio.create_task(self._read_all())
        try:
            await asyncio.wait([drained, reading], return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
            reading.cancel()
            await asyncio.wait([reading])
        # What was read before still counts: the end comes behind it.
        await self._queue.put(None)

    async def _read_all(self) -> None:
        async for raw in self._requests:
            await self._queue.put(raw)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[bytes]:
        while (raw := await self._queue.get()) is not None:
            yield raw
        if self._drained.is_set():
            raise self._gateway.draining()
