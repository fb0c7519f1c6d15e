"""A pipelined stream for asyncio: many calls under way on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

import holdfast.calls.reservations as calls
from holdfast.aio.failing import failure_of
from holdfast.binding import Awaiting
from holdfast.calls.call import Call
from holdfast.calls.exchange import EXCHANGE, IN_FLIGHT_MAX, ExchangeTable, Settled
from holdfast.errors import DeadlineExceeded, HoldfastError, Unavailable
from holdfast.failures import STREAM_ENDED, Failure
from holdfast.retry import Attempts

if TYPE_CHECKING:
    from holdfast.aio.client import Client

T = TypeVar("T")


@dataclass(slots=True)
class _Pending:
    future: asyncio.Future[Any]
    attempts: Attempts


class Exchange:
    """Calls of many tasks on one stream; each awaits its own result.

    After a break the stream comes back, and whatever had no result is sent again under its
    request_id. Every call still ends within its timeout.
    """

    def __init__(self, client: Client, window: int) -> None:
        if not 1 <= window <= IN_FLIGHT_MAX:
            raise ValueError(f"window must lie between 1 and {IN_FLIGHT_MAX}, not {window}")
        self._client = client
        self._slots = asyncio.Semaphore(window)
        self._table: ExchangeTable[_Pending] = ExchangeTable()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._target = 0  # of the stream that is open
        self._broken: HoldfastError | None = None
        self._closing = False
        self._reader: asyncio.Task[None] | None = None

    reserve = Awaiting(calls.reserve)
    batch_reserve = Awaiting(calls.batch_reserve)
    get = Awaiting(calls.get)
    confirm = Awaiting(calls.confirm)
    cancel = Awaiting(calls.cancel)
    extend = Awaiting(calls.extend)
    revise = Awaiting(calls.revise)
    reassign = Awaiting(calls.reassign)
    fulfill = Awaiting(calls.fulfill)
    return_ = Awaiting(calls.return_)

    async def close(self) -> None:
        """End the stream; calls still under way fail."""
        self._closing = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        self._fail_all(Unavailable("the exchange was closed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _await(self, call: Call[T]) -> T:
        settings = self._client._settings
        timeout_s = settings.timeout_s_of(call)
        try:
            async with asyncio.timeout(timeout_s):
                async with self._slots:
                    return await self._answer(call, settings.attempts(call))
        except TimeoutError:
            error = DeadlineExceeded(f"no answer within {timeout_s:g} s")
            raise call.named(error) from None
        except HoldfastError as error:
            raise call.named(error) from error.__cause__

    async def _answer(self, call: Call[T], attempts: Attempts) -> T:
        """Send `call`, again where that is safe and paid for, and await its result."""
        while True:
            attempts.begin()
            settled = await self._send(call, attempts)
            if settled.failure is None:
                attempts.succeeded()
                value: T = settled.value
                return value
            client = self._client
            await client._sleep(client._failed(attempts, settled.failure, self._target))

    async def _send(self, call: Call[Any], attempts: Attempts) -> Settled[_Pending]:
        if self._broken is not None:
            raise self._broken
        if self._closing:
            raise RuntimeError("the exchange is closed")
        if self._reader is None:
            self._reader = asyncio.create_task(self._run(), name="holdfast-exchange")
        pending = _Pending(asyncio.get_running_loop().create_future(), attempts)
        message = self._table.send(call, pending)
        self._outbox.put_nowait(message)
        try:
            settled: Settled[_Pending] = await pending.future
        except asyncio.CancelledError:
            self._table.give_up(message)
            raise
        return settled

    async def _run(self) -> None:
        """The reader: one stream after another, until closed or given up."""
        attempts = self._client._settings.stream_attempts()
        while True:
            failure = await self._read_stream(attempts)
            try:
                client = self._client
                await client._sleep(client._failed(attempts, failure, self._target))
                attempts.begin()
            except HoldfastError as error:
                self._broken = error
                self._fail_all(error)
                return

    async def _read_stream(self, attempts: Attempts) -> Failure:
        """Read one stream to its end; why it ended."""
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        for message in self._table.unanswered():
            outbox.put_nowait(message)
        self._outbox = outbox
        way = self._client._open("stream_stream", EXCHANGE)
        self._target = way.target
        stream = way.call(_messages(outbox), metadata=self._client._settings.metadata)
        try:
            async for message in stream:
                attempts.renew()
                settled = self._table.settle(message)
                if settled is not None and not settled.handle.future.done():
                    settled.handle.future.set_result(settled)
        except grpc.RpcError as error:
            return failure_of(error)
        finally:
            stream.cancel()
        return STREAM_ENDED

    def _fail_all(self, error: HoldfastError) -> None:
        for pending, _ in self._table.drain():
            if not pending.future.done():
                own = Unavailable(error.message, reason=error.reason, code=error.code)
                pending.future.set_exception(own)


async def _messages(outbox: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while True:
        yield await outbox.get()
