"""A watch whose caller awaits the next event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from holdfast.aio.failing import failure_of
from holdfast.calls.availability import WATCH, WatchProgress
from holdfast.failures import STREAM_ENDED
from holdfast.values.availability import AvailabilityEvent

if TYPE_CHECKING:
    from holdfast.aio.client import Client


class Watch(AsyncIterator[AvailabilityEvent]):
    """Iterates over events until it is closed; comes back by itself after a break.

    Raises what the server refuses the watch with, and Unavailable when it stays away.
    """

    def __init__(self, client: Client, progress: WatchProgress) -> None:
        self._client = client
        self._progress = progress
        self._stream: Any = None
        self._closed = False
        self._events = self._run()

    @property
    def resume_token(self) -> str:
        """Give it to another watch to go on after the events received so far."""
        return self._progress.resume_token

    def close(self) -> None:
        """End the watch."""
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()

    async def __anext__(self) -> AvailabilityEvent:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _run(self) -> AsyncIterator[AvailabilityEvent]:
        client = self._client
        attempts = client._settings.stream_attempts()
        while not self._closed:
            attempts.begin()
            failure = STREAM_ENDED
            way = client._open("unary_stream", WATCH)
            self._stream = way.call(
                self._progress.next_request(), metadata=client._settings.metadata
            )
            try:
                async for message in self._stream:
                    attempts.renew()
                    for event in self._progress.take(message):
                        yield event
            except grpc.RpcError as error:
                failure = failure_of(error)
            except asyncio.CancelledError:
                if not self._closed:  # the caller's task is cancelled, not this watch
                    raise
            if self._closed:
                return
            if not self._progress.starts_anew(failure):
                await client._sleep(client._failed(attempts, failure, way.target))
