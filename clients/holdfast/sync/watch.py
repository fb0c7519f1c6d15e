"""A watch whose caller waits for the next event."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from holdfast.calls.availability import WATCH, WatchProgress
from holdfast.failures import STREAM_ENDED
from holdfast.sync.failing import failure_of
from holdfast.values.availability import AvailabilityEvent

if TYPE_CHECKING:
    from holdfast.sync.client import Client


class Watch(Iterator[AvailabilityEvent]):
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
        """End the watch; may be called from another thread."""
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()

    def __next__(self) -> AvailabilityEvent:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> Iterator[AvailabilityEvent]:
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
                for message in self._stream:
                    attempts.renew()
                    yield from self._progress.take(message)
            except grpc.RpcError as error:
                failure = failure_of(error)
            if self._closed:
                return
            if not self._progress.starts_anew(failure):
                client._sleep(client._failed(attempts, failure, way.target))
