"""A pipelined stream whose calls are answered by futures."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

import holdfast.calls.reservations as calls
from holdfast.binding import Submitting
from holdfast.calls.call import Call
from holdfast.calls.exchange import EXCHANGE, IN_FLIGHT_MAX, ExchangeTable, Settled
from holdfast.errors import HoldfastError, Unavailable
from holdfast.failures import STREAM_ENDED, Failure
from holdfast.retry import Attempts
from holdfast.sync.failing import failure_of

if TYPE_CHECKING:
    from holdfast.sync.client import Client

T = TypeVar("T")


@dataclass(slots=True)
class _Pending:
    future: Future[Any]
    attempts: Attempts


class Exchange:
    """Many calls under way on one stream; leave the ``with`` block to wait for the last of them.

    A thread of its own reads the results. After a break the stream comes back, and whatever had
    no result is sent again under its request_id.
    """

    def __init__(self, client: Client, window: int) -> None:
        if not 1 <= window <= IN_FLIGHT_MAX:
            raise ValueError(f"window must lie between 1 and {IN_FLIGHT_MAX}, not {window}")
        self._client = client
        self._slots = threading.BoundedSemaphore(window)
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._table: ExchangeTable[_Pending] = ExchangeTable()
        self._waiting = 0  # calls without a result, those between two attempts included
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._target = 0  # of the stream that is open
        self._broken: HoldfastError | None = None
        self._closing = False
        self._reader = threading.Thread(target=self._run, name="holdfast-exchange", daemon=True)
        self._reader.start()

    reserve = Submitting(calls.reserve)
    batch_reserve = Submitting(calls.batch_reserve)
    get = Submitting(calls.get)
    confirm = Submitting(calls.confirm)
    cancel = Submitting(calls.cancel)
    extend = Submitting(calls.extend)
    revise = Submitting(calls.revise)
    reassign = Submitting(calls.reassign)
    fulfill = Submitting(calls.fulfill)
    return_ = Submitting(calls.return_)

    def close(self) -> None:
        """Wait for the calls under way, and end the stream."""
        with self._settled:
            self._closing = True
            while self._waiting and self._broken is None:
                self._settled.wait()
            self._outbox.put(None)
        self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _submit(self, call: Call[T]) -> Future[T]:
        """Send `call`; blocks while the window is full."""
        self._slots.acquire()
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # a command that was sent can not be taken back
        pending = _Pending(future, self._client._settings.attempts(call))
        with self._lock:
            try:
                self._check_open()
                self._send(call, pending)
            except BaseException:
                self._slots.release()
                raise
            self._waiting += 1
        return future

    def _check_open(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._closing:
            raise RuntimeError("the exchange is closed")

    def _send(self, call: Call[Any], pending: _Pending) -> None:
        pending.attempts.begin()
        self._outbox.put(self._table.send(call, pending))

    def _run(self) -> None:
        """The reader: one stream after another, until closed or given up."""
        client = self._client
        attempts = client._settings.stream_attempts()
        while True:
            failure = self._read_stream(attempts)
            if self._closing and not self._waiting:
                return
            try:
                client._sleep(client._failed(attempts, failure, self._target))
                attempts.begin()
            except HoldfastError as error:
                self._break(error)
                return

    def _read_stream(self, attempts: Attempts) -> Failure:
        """Read one stream to its end; why it ended."""
        client = self._client
        outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._lock:
            self._outbox = outbox
            for message in self._table.unanswered():
                outbox.put(message)
            if self._closing and not self._waiting:
                outbox.put(None)
        try:
            way = client._open("stream_stream", EXCHANGE)
            self._target = way.target
            stream = way.call(iter(outbox.get, None), metadata=client._settings.metadata)
            for message in stream:
                attempts.renew()
                with self._lock:
                    settled = self._table.settle(message)
                if settled is not None:
                    self._finish(settled)
        except grpc.RpcError as error:
            return failure_of(error)
        finally:
            outbox.put(None)  # lets go of gRPC's thread that waits for the next request
        return STREAM_ENDED

    def _finish(self, settled: Settled[_Pending]) -> None:
        """Hand a result to its caller, or send the call again where that is safe and paid for."""
        pending = settled.handle
        if settled.failure is None:
            pending.attempts.succeeded()
            pending.future.set_result(settled.value)
        else:
            try:
                wait_s = self._client._failed(pending.attempts, settled.failure, self._target)
            except HoldfastError as error:
                pending.future.set_exception(settled.call.named(error))
            else:
                timer = threading.Timer(wait_s, self._again, (settled.call, pending))
                timer.daemon = True
                timer.start()
                return
        self._release()

    def _again(self, call: Call[Any], pending: _Pending) -> None:
        try:
            with self._lock:
                if self._broken is not None:
                    raise self._broken
                self._send(call, pending)
        except HoldfastError as error:
            pending.future.set_exception(call.named(error))
            self._release()

    def _release(self) -> None:
        self._slots.release()
        with self._settled:
            self._waiting -= 1
            self._settled.notify_all()

    def _break(self, error: HoldfastError) -> None:
        """The stream stays away: every call under way fails."""
        with self._lock:
            self._broken = error
            lost = list(self._table.drain())
        for pending, call in lost:
            own = Unavailable(error.message, reason=error.reason, code=error.code)
            pending.future.set_exception(call.named(own))
            self._release()
        with self._settled:
            self._settled.notify_all()
