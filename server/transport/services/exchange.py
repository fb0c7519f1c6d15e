"""ExchangeReservations: any reservation command over one stream, pipelined.

Each command runs as a task of its own, so a slow one holds up nobody; results go out as they are
ready. What is in flight is bounded: the stream is not read on before there is room again, so gRPC's
flow control reaches back to the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from typing import Any

from google.protobuf.message import Message

from engine import limits
from holdfast.v1 import reservation_service_pb2 as messages
from server.transport.admission import Admission
from server.transport.calls import Call, Methods, refusal_of
from server.transport.errors import Refused
from server.transport.inbox import Inbox
from server.transport.ledger_view import LedgerView
from server.transport.malformed import read
from server.transport.services.reservations import STEPS, ReservationService
from server.transport.validation import Checker

_IN_FLIGHT_MAX = limits.exchange_in_flight_max
_READ_AHEAD = 16


class ExchangeReservations:
    """The handler of ExchangeReservations."""

    def __init__(self, view: LedgerView, service: ReservationService, admission: Admission) -> None:
        self._view = view
        self._commands: dict[str, Callable[[Any, Call], Coroutine[Any, Any, Message]]] = {
            "create_reservation": service.create,
            "batch_create_reservations": service.batch_create,
            "get_reservation": service.get,
            "list_reservations": service.list_reservations,
        }
        for name, field in (
            ("ConfirmReservation", "confirm_reservation"),
            ("CancelReservation", "cancel_reservation"),
            ("ExtendReservation", "extend_reservation"),
            ("ReviseReservation", "revise_reservation"),
            ("ReassignReservation", "reassign_reservation"),
            ("FulfillReservation", "fulfill_reservation"),
            ("ReturnReservation", "return_reservation"),
        ):
            self._commands[field] = _bind(service, name)
        self._doors = {
            field: admission.door(
                "holdfast.v1.ReservationService",
                "".join(word.capitalize() for word in field.split("_")),
            )
            for field in self._commands
        }

    def register(self, methods: Methods) -> None:
        """Offer the method."""
        methods.exchange("ExchangeReservations", self.exchange)

    async def exchange(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        """Results as they are ready; ends when the caller has sent all and all are answered."""
        self._view.gateway.require_owner()
        async with Inbox(requests, self._view.gateway, ahead=_READ_AHEAD) as inbox:
            stream = _Stream(self, call)
            reader = asyncio.create_task(stream.read_all(inbox))
            try:
                while (result := await stream.results.get()) is not None:
                    stream.taken()
                    yield result
                await reader
            finally:
                reader.cancel()
                stream.abandon()

    async def answer(self, request: messages.ExchangeReservationsRequest, call: Call) -> bytes:
        """The result of one command, a refusal among them."""
        result = messages.ExchangeReservationsResponse(correlation_id=request.correlation_id)
        try:
            field = request.WhichOneof("command")
            if field is None:
                check = Checker(0)
                check.required("command")
                check.refuse()
                raise AssertionError("a violation refuses")
            command, door = getattr(request, field), self._doors[field]
            handler = self._commands[field]
            if door is None:
                reply = await handler(command, call)
            else:
                reply = await door.serve_message(handler, command, call)
            getattr(result, field).CopyFrom(reply)
            result.revision = reply.revision  # type: ignore[attr-defined]
        except asyncio.CancelledError:
            raise
        except Exception as fault:  # noqa: BLE001 - the boundary: every fault becomes a status
            self._refuse(result, fault)
        return result.SerializeToString(deterministic=True)

    def _refuse(self, result: messages.ExchangeReservationsResponse, fault: Exception) -> None:
        refused = refusal_of(fault)
        result.status.CopyFrom(refused.status)
        result.revision = refused.revision or self._revision()

    def _revision(self) -> int:
        sequencer = self._view.gateway.sequencer
        return sequencer.state.revision if sequencer is not None else 0

    def duplicate(self, correlation_id: int) -> bytes:
        """The result of a command whose correlation_id is still in flight."""
        result = messages.ExchangeReservationsResponse(correlation_id=correlation_id)
        check = Checker(0)
        check.invalid("correlation_id", correlation_id, "is still in flight on this stream")
        try:
            check.refuse()
        except Refused as refused:
            self._refuse(result, refused)
        return result.SerializeToString(deterministic=True)


def _bind(
    service: ReservationService, name: str
) -> Callable[[Any, Call], Coroutine[Any, Any, Message]]:
    async def handle(request: Any, call: Call) -> Message:
        return await service.apply_step(STEPS[name], request, call)

    return handle


class _Stream:
    """One stream's commands in flight and results ready."""

    def __init__(self, exchange: ExchangeReservations, call: Call) -> None:
        self._exchange = exchange
        self._call = call
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_IN_FLIGHT_MAX)
        self.results: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def read_all(self, requests: AsyncIterable[bytes]) -> None:
        """Start a task for each command, while there is room."""
        try:
            async for raw in requests:
                await self._room.acquire()
                request = read(messages.ExchangeReservationsRequest, raw)
                number = request.correlation_id
                if number in self._tasks:
                    self.results.put_nowait(self._exchange.duplicate(number))
                    continue
                self._tasks[number] = asyncio.create_task(self._run(request))
        finally:
            # Also when reading failed or the server drains: what was begun is answered.
            if self._tasks:
                await asyncio.wait(list(self._tasks.values()))
            self.results.put_nowait(None)

    async def _run(self, request: messages.ExchangeReservationsRequest) -> None:
        try:
            result = await self._exchange.answer(request, self._call)
        finally:
            # The number is free again before its result can be seen.
            del self._tasks[request.correlation_id]
        self.results.put_nowait(result)

    def taken(self) -> None:
        """A result is on its way out: there is room for another command."""
        self._room.release()

    def abandon(self) -> None:
        """The caller is gone: what has not begun need not be done."""
        for task in list(self._tasks.values()):
            task.cancel()
