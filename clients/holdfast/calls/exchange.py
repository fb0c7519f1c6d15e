"""The bookkeeping of a pipelined stream: which result belongs to which call.

Pure: the clients move the messages. A stream that breaks loses nothing: every command still
under way is repeatable, so it is sent again on the next stream under the same request_id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from holdfast.calls import reservations
from holdfast.calls.call import Call, Method
from holdfast.errors import HoldfastError, ServerFault
from holdfast.failures import Failure, from_status
from holdfast.v1 import reservation_service_pb2 as wire

EXCHANGE = Method("ReservationService", "ExchangeReservations", wire.ExchangeReservationsResponse)
IN_FLIGHT_MAX = 1024

_FIELDS = {
    reservations.CREATE: "create_reservation",
    reservations.CONFIRM: "confirm_reservation",
    reservations.CANCEL: "cancel_reservation",
    reservations.EXTEND: "extend_reservation",
    reservations.REVISE: "revise_reservation",
    reservations.REASSIGN: "reassign_reservation",
    reservations.FULFILL: "fulfill_reservation",
    reservations.RETURN: "return_reservation",
    reservations.BATCH_CREATE: "batch_create_reservations",
    reservations.GET: "get_reservation",
    reservations.LIST: "list_reservations",
}

HandleT = TypeVar("HandleT")


@dataclass(frozen=True, slots=True)
class Settled(Generic[HandleT]):
    """A result: the handle of its call, and its value or why it failed."""

    handle: HandleT
    call: Call[Any]
    value: Any = None
    failure: Failure | None = None

    def error(self) -> HoldfastError:
        """The error of a result that failed."""
        assert self.failure is not None
        return self.call.named(self.failure.error())


@dataclass(slots=True)
class ExchangeTable(Generic[HandleT]):
    """The commands under way on one stream, by correlation id, oldest first."""

    _under_way: dict[int, tuple[HandleT, Call[Any], wire.ExchangeReservationsRequest]] = field(
        default_factory=dict
    )
    _next: int = 1

    def __len__(self) -> int:
        return len(self._under_way)

    def send(self, call: Call[Any], handle: HandleT) -> wire.ExchangeReservationsRequest:
        """The message that sends `call`; its result will bear `handle`.

        Raises TypeError for a call that the stream does not carry, ValueError for one without
        request_id, which a break of the stream would leave in the dark.
        """
        name = _FIELDS.get(call.method)
        if name is None:
            raise TypeError(f"{call.method.name} can not be sent on an exchange")
        if not call.repeatable:
            raise ValueError("on an exchange every write needs a request_id")
        message = wire.ExchangeReservationsRequest(correlation_id=self._next)
        getattr(message, name).CopyFrom(call.request)
        self._under_way[self._next] = handle, call, message
        self._next += 1
        return message

    def settle(self, message: wire.ExchangeReservationsResponse) -> Settled[HandleT] | None:
        """The result that `message` brings; None when its call was given up meanwhile."""
        entry = self._under_way.pop(message.correlation_id, None)
        if entry is None:
            return None
        handle, call, _ = entry
        kind = message.WhichOneof("result")
        if kind == "status":
            return Settled(handle, call, failure=from_status(message.status))
        if kind != _FIELDS[call.method]:
            failure = Failure(
                ServerFault.default_code, f"a {call.method.name} was answered by {kind}"
            )
            return Settled(handle, call, failure=failure)
        return Settled(handle, call, call.read(getattr(message, kind)))

    def give_up(self, message: wire.ExchangeReservationsRequest) -> None:
        """Forget a command whose caller waits no longer."""
        self._under_way.pop(message.correlation_id, None)

    def unanswered(self) -> list[wire.ExchangeReservationsRequest]:
        """What to send again on a new stream, in the first order."""
        return [message for _, _, message in self._under_way.values()]

    def drain(self) -> Iterator[tuple[HandleT, Call[Any]]]:
        """Empty the table: the handles and calls that will get no result."""
        while self._under_way:
            handle, call, _ = self._under_way.pop(next(iter(self._under_way)))
            yield handle, call
