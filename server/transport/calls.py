"""From a gRPC call to a handler and back: reading, errors, metrics and identity in one place.

Every method gets the raw bytes and gives raw bytes (no serializers are registered), so malformed
messages are answered from the one table of errors instead of gRPC's own words, and the fast paths
need no second door. This is also why there are no interceptors: each costs a frame a call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from engine import limits
from server.admission.scopes import scope_of
from server.application.gateway import Gateway, NotDone, Why
from server.caller import Caller
from server.logs import get
from server.metrics import MethodStats, Metrics
from server.transport.admission import Admission
from server.transport.errors import Case, Fault, Refusal, Refused, refusal
from server.transport.identity import caller_of, nobody
from server.transport.malformed import read
from server.transport.validation import Checker

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Q = TypeVar("Q", bound=Message)

_log = get("transport")
_CANCELLED = grpc.StatusCode.CANCELLED.value[0]
_PACKAGE = "holdfast.v1."
_MESSAGE_MAX = limits.unary_message_bytes_max

_FAULTS = {
    Why.OVERLOADED: Fault.OVERLOADED,
    Why.DEADLINE_NOT_MET: Fault.DEADLINE_NOT_MET,
    Why.JOURNAL_UNAVAILABLE: Fault.JOURNAL_UNAVAILABLE,
    Why.SHARD_MOVED: Fault.SHARD_MOVED,
    Why.DRAINING: Fault.DRAINING,
    Why.RECOVERING: Fault.SHARD_RECOVERING,
    Why.INVARIANT_VIOLATED: Fault.INVARIANT_VIOLATED,
}


class Call:
    """One call: who asks, and until when the answer is worth having."""

    __slots__ = ("caller", "context")

    def __init__(self, context: Context, caller: Caller) -> None:
        self.context = context
        self.caller = caller

    def remaining_s(self) -> float | None:
        """How long the caller still waits, in seconds; None: for ever."""
        remaining: float | None = self.context.time_remaining()
        return remaining


RawHandler = Callable[[bytes, Call], Awaitable[bytes]]
Handler = Callable[[Q, Call], Awaitable[Message]]


def with_messages(request: type[Q], handler: Handler[Q]) -> RawHandler:
    """The handler of bytes that reads and writes them by protobuf."""

    async def from_raw(raw: bytes, call: Call) -> bytes:
        reply = await handler(read(request, raw), call)
        return reply.SerializeToString(deterministic=True)

    return from_raw


def refusal_of(fault: BaseException) -> Refusal:
    """What a caller sees of an exception that left a handler."""
    if isinstance(fault, Refused):
        return fault.refusal
    if isinstance(fault, NotDone):
        return refusal(_FAULTS[fault.why], Case(message=str(fault), retry_ms=fault.retry_ms))
    _log.error("a handler failed", exc_info=fault)
    return refusal(Fault.INTERNAL)


class Methods:
    """The handlers of one service, being collected for a server."""

    def __init__(
        self,
        service: str,
        gateway: Gateway,
        metrics: Metrics,
        admission: Admission,
        *,
        names_callers: bool,
        log_requests: bool,
    ) -> None:
        """`names_callers`: whether they may come with certificates."""
        self._caller_of = caller_of if names_callers else nobody
        self._service = service
        self._gateway = gateway
        self._admission = admission
        self._metrics = metrics
        self._log_requests = log_requests
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    @property
    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """By path, ``/package.Service/Method``."""
        return {f"/{self._service}/{name}": each for name, each in self._handlers.items()}

    def unary(
        self, name: str, request: type[Q], handler: Handler[Q], *, large: bool = False
    ) -> None:
        """A method with one request and one reply. `large`: its messages may pass 4 MiB."""

        self.unary_raw(name, with_messages(request, handler), large=large)

    def unary_raw(self, name: str, handler: RawHandler, *, large: bool = False) -> None:
        """A method that reads and writes its bytes itself."""
        stats = self._metrics.method(f"{self._service}/{name}")
        door = self._admission.door(self._service, name)
        scope = self._scope_of(name)
        caller_of = self._caller_of

        async def serve(raw: bytes, context: Context) -> bytes:
            started = time.perf_counter()
            stats.in_flight += 1
            code = _CANCELLED
            try:
                if len(raw) > _MESSAGE_MAX and not large:
                    raise Refused(_too_large(raw))
                call = Call(context, caller_of(context))
                if scope is not None:
                    self._check_scope(scope, name, call.caller)
                reply = await (door.serve(handler, raw, call) if door else handler(raw, call))
                code = 0
                return reply
            except asyncio.CancelledError:
                raise
            except Exception as fault:  # noqa: BLE001 - the boundary: every fault becomes a status
                refused = refusal_of(fault)
                code = refused.code.value[0]
                self._count_refusal(refused)
            finally:
                # Before the caller hears of it, so that who then asks the metrics finds it.
                stats.in_flight -= 1
                seconds = time.perf_counter() - started
                stats.ended(code, seconds)
                if self._log_requests:
                    self._log_call(name, code, seconds)
            return await _abort(context, refused)

        self._handlers[name] = grpc.unary_unary_rpc_method_handler(serve)

    def server_stream(
        self,
        name: str,
        request: type[Q],
        handler: Callable[[Q, Call], AsyncIterator[bytes]],
    ) -> None:
        """A method with one request and a stream of replies, already bytes."""
        stats = self._metrics.method(f"{self._service}/{name}")

        async def serve(raw: bytes, context: Context) -> None:
            async def replies(call: Call) -> AsyncIterator[bytes]:
                async for reply in handler(read(request, raw), call):
                    yield reply

            await self._stream(name, stats, context, replies)

        self._handlers[name] = grpc.unary_stream_rpc_method_handler(serve)

    def exchange(
        self,
        name: str,
        handler: Callable[[AsyncIterator[bytes], Call], AsyncIterator[bytes]],
    ) -> None:
        """A method with streams both ways, in bytes."""
        stats = self._metrics.method(f"{self._service}/{name}")

        async def serve(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._stream(name, stats, context, lambda call: handler(requests, call))

        self._handlers[name] = grpc.stream_stream_rpc_method_handler(serve)

    async def _stream(
        self,
        name: str,
        stats: MethodStats,
        context: Context,
        replies: Callable[[Call], AsyncIterator[bytes]],
    ) -> None:
        started = time.perf_counter()
        stats.in_flight += 1
        code = _CANCELLED
        refused: Refusal | None = None
        try:
            call = Call(context, self._caller_of(context))
            if (scope := self._scope_of(name)) is not None:
                self._check_scope(scope, name, call.caller)
            self._admission.check_rate(call.caller, lambda: 1)
            async for reply in replies(call):
                stats.items += 1
                await context.write(reply)
            code = 0
        except asyncio.CancelledError:
            raise
        except Exception as fault:  # noqa: BLE001 - the boundary: every fault becomes a status
            refused = refusal_of(fault)
            code = refused.code.value[0]
            self._count_refusal(refused)
        finally:
            stats.in_flight -= 1
            seconds = time.perf_counter() - started
            stats.ended(code, seconds)
            if self._log_requests:
                self._log_call(name, code, seconds)
        if refused is not None:
            await _abort(context, refused)

    def _scope_of(self, name: str) -> str | None:
        """The scope a method needs; None: none. Health has none: it is asked by who can not log
        in."""
        if self._admission.scopes.are_all or not self._service.startswith(_PACKAGE):
            return None
        return scope_of(self._service.removeprefix(_PACKAGE), name)

    def _check_scope(self, needed: str, name: str, caller: Caller) -> None:
        """Raises Refused where the caller may not call this method."""
        if needed not in self._admission.scopes.of(caller.text):
            who = caller.text.decode(errors="replace")
            case = Case(
                message=f"{name} needs the scope {needed!r}, which {who or 'a nameless caller'!r} "
                "does not have",
                metadata={"scope": needed, "method": name, "caller": who},
            )
            raise Refused(refusal(Fault.SCOPE_MISSING, case))

    def _count_refusal(self, refused: Refusal) -> None:
        self._metrics.refused(refused.reason_name)

    def _log_call(self, name: str, code: int, seconds: float) -> None:
        _log.info("call", method=f"{self._service}/{name}", code=code, ms=round(seconds * 1000, 3))


async def _abort(context: Context, refused: Refusal) -> NoReturn:
    """End the call. Raises what grpc.aio raises to leave a handler."""
    await context.abort(refused.code, refused.status.message, refused.trailing_metadata)
    raise AssertionError("abort raises")


def _too_large(raw: bytes) -> Refusal:
    check = Checker(0)
    check.beyond("(message)", f"{len(raw)} bytes", "unary_message_bytes_max", _MESSAGE_MAX)
    try:
        check.refuse()
    except Refused as refused:
        return refused.refusal
    raise AssertionError("a violation refuses")
