"""A channel over `Connection`, with the shape of grpc.aio's: `unary_unary` and `close`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

import grpc
from grpc import aio

from loadtests.light import frames
from loadtests.light.connection import Connection, Ended
from loadtests.light.ending import LATE, Ending, lost

_RECONNECT_S = 0.05
# By these words the client library knows that no server has seen a call.
_NOT_CONNECTED = "failed to connect to all addresses"
# Most calls have the same deadline and metadata as the one before.
_BLOCKS_MAX = 4_096
T = TypeVar("T")


class Channel:
    """One connection at a time, made anew when it was lost; calls wait for it."""

    def __init__(self, target: str) -> None:
        """`target`: HOST:PORT, plaintext."""
        host, _, port = target.rpartition(":")
        self._host, self._port = host, int(port)
        self._connection: Connection | None = None
        self._connecting: asyncio.Future[Connection] | None = None
        self._is_closed = False
        self.connects = 0

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = None,
    ) -> Callable[..., Awaitable[Any]]:
        """The callable of a method, as grpc.aio's: ``await call(request, timeout=, metadata=)``."""
        fixed = b"".join(
            frames.literal(name, value)
            for name, value in (
                (":method", "POST"),
                (":scheme", "http"),
                (":path", method),
                (":authority", f"{self._host}:{self._port}"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            )
        )

        @lru_cache(_BLOCKS_MAX)
        def headers(ms: int | None, metadata: tuple[tuple[str, str], ...]) -> bytes:
            told = metadata if ms is None else (("grpc-timeout", f"{ms}m"), *metadata)
            return fixed + b"".join(frames.literal(name, value) for name, value in told)

        encode = request_serializer or _as_it_is
        decode = response_deserializer or _as_it_is

        async def call(
            request: Any,
            *,
            timeout: float | None = None,  # noqa: ASYNC109 - as grpc.aio has it
            metadata: Iterable[tuple[str, str]] = (),
        ) -> Any:
            ms = None if timeout is None else max(1, math.ceil(timeout * 1e3))
            block = headers(ms, tuple(metadata))
            loop = asyncio.get_running_loop()
            deadline = None if timeout is None else loop.time() + timeout
            connection = self._connection
            if connection is None or not connection.is_open:
                connection = await self._connected(deadline)
            ended: Ended = loop.create_future()
            number = connection.call(block, encode(request), ended, deadline)
            try:
                ending = await ended
            except asyncio.CancelledError:
                connection.cancel(number)
                raise
            if ending.code is grpc.StatusCode.OK:
                return decode(ending.message)
            raise _error(ending)

        return call

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Not here: loads are made of unary calls."""
        raise NotImplementedError(f"{method}: the light transport has unary calls only")

    stream_stream = unary_stream

    async def _connected(self, deadline: float | None) -> Connection:
        """The connection, which all who wait share. Raises AioRpcError when there is none."""
        try:
            async with asyncio.timeout_at(deadline):
                if self._connecting is None:
                    self._connecting = asyncio.ensure_future(self._connect())
                    self._connecting.add_done_callback(self._on_connected)
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            raise _error(LATE) from None
        except OSError as error:
            raise _error(lost(f"{_NOT_CONNECTED}: {error}")) from error

    def _on_connected(self, done: asyncio.Future[Connection]) -> None:
        self._connecting = None
        if not done.cancelled():
            done.exception()  # told to those who waited

    async def _connect(self) -> Connection:
        if self._is_closed:
            raise OSError("the channel is closed")
        loop = asyncio.get_running_loop()
        self.connects += 1
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._on_lost), self._host, self._port
            )
        except OSError:
            await asyncio.sleep(_RECONNECT_S)  # who asks in vain does not ask at once again
            raise
        self._connection = connection
        return connection

    def _on_lost(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None

    def cut(self) -> None:
        """Cut the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.abort()

    async def close(self, grace: float | None = None) -> None:
        """Close; calls under way fail."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()


def _error(ending: Ending) -> aio.AioRpcError:
    return aio.AioRpcError(
        ending.code, aio.Metadata(), aio.Metadata(*ending.trailers), details=ending.details
    )


def _as_it_is(message: bytes) -> bytes:
    return message
