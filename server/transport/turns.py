"""Whose turn it is: the lines of the waiting queues, and the gate in front of what they sell.

A request that would hold a SKU with a queue passes with the token of a place whose turn it is, and
becomes the reservation of that place: it is named after it, so that the ledger itself makes one
for each place, also over a restart. Requests for other SKUs are told by their bytes and not read.

Invariants
1. A SKU with a queue is held by CreateReservation with a turn, and by nothing else that a caller
   may send.
2. A request that the ledger has answered, or has before it, gets its one answer, whatever has
   become of its place.

Callers: `admission`'s doors, `services.queue`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from google.protobuf.message import Message
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from engine import commands, limits, reads
from engine.hashing import key_of
from engine.requests import find_request
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import routing_service_pb2
from server.admission.hold_book import units_of
from server.admission.queues import Queue
from server.admission.sale_stock import SaleStock
from server.admission.waiting_line import Seen, Standing, WaitingLine
from server.application.gateway import Gateway, NotDone
from server.transport.columns import request_key
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.malformed import read
from server.transport.place_tokens import PlaceToken, PlaceTokens, place_token_bytes_max
from server.transport.validation import Checker

T = TypeVar("T")
_POLL_MS_MIN: Final = 1_000
# A place is asked for so often within the time after which it counts as abandoned.
_POLLS: Final = 3
_FULL_RETRY_MS: Final = 5_000


@dataclass(slots=True)
class Line:
    """A queue, its places, its stock, and who waits to be told."""

    queue: Queue
    places: WaitingLine
    stock: SaleStock
    watchers: dict[int, set[asyncio.Event]]
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A place as it stands, for who asks."""

    token: PlaceToken
    seen: Seen
    is_used: bool
    expected_ms: int | None
    poll_ms: int


def _lines_of(requests: Iterable[Any]) -> list[str]:
    return [line.sku for request in requests for line in request.lines]


_OTHER_WAYS: Final[dict[str, tuple[type[Message], Callable[[Any], list[str]]]]] = {
    "BatchCreateReservations": (
        messages.BatchCreateReservationsRequest,
        lambda request: _lines_of(request.requests),
    ),
    "BulkCreateReservations": (
        messages.BulkCreateReservationsRequest,
        lambda request: _lines_of(request.requests),
    ),
    "ReviseReservation": (
        messages.ReviseReservationRequest,
        lambda request: _lines_of([request]),
    ),
    "PromiseOrder": (
        routing_service_pb2.PromiseOrderRequest,
        lambda request: _lines_of([request.order]),
    ),
}


class Turns:
    """The waiting queues of this process."""

    def __init__(self, gateway: Gateway, queues: Iterable[Queue], secret: bytes) -> None:
        self._gateway = gateway
        self._queues = {queue.name: queue for queue in queues}
        self._secret = secret
        self._tokens: PlaceTokens | None = None
        self._lines: dict[str, Line] = {}
        self._by_sku = {sku: queue.name for queue in self._queues.values() for sku in queue.skus}
        # The longer names first: a name may be the beginning of another one.
        names = sorted((re.escape(sku.encode()) for sku in self._by_sku), key=len, reverse=True)
        self._mention = re.compile(b"|".join(names)).search if names else None
        self._under_way: Counter[tuple[tuple[int, int], int]] = Counter()

    # --- Places --------------------------------------------------------------------------------

    def line(self, name: str) -> Line:
        """The line of a queue. Raises Refused, NotDone."""
        gateway = self._gateway
        gateway.require_owner()
        queue = self._queues.get(name)
        if queue is None:
            raise Refused(
                refusal(
                    Fault.QUEUE_NOT_FOUND,
                    Case(message=f"no such queue: {name!r}", metadata={"queue": name}),
                )
            )
        if name not in self._lines:
            places = WaitingLine(queue.line, epoch=gateway.epoch, opened_ms=gateway.opened_ms)
            self._lines[name] = Line(queue, places, SaleStock(queue.skus), {})
        return self._lines[name]

    def tokens(self) -> PlaceTokens:
        """Of this ledger. Raises NotDone."""
        if self._tokens is None:
            self._tokens = PlaceTokens(self._secret, self._gateway.ledger_id)
        return self._tokens

    def read_token(self, check: Checker, field: str, text: str) -> PlaceToken | None:
        """What a token says; None, and a violation, where it is none."""
        if not text:
            check.required(field)
            return None
        if len(text) > place_token_bytes_max:
            most = place_token_bytes_max
            check.beyond(field, f"{len(text)} characters", "place_token_bytes_max", most)
            return None
        token = self.tokens().read(text)
        if token is None:
            check.invalid(field, text, "is no place of this server")
        return token

    def join(self, line: Line, owner: str) -> Place:
        """A place at the end, or the one the owner has. Raises NotDone when the line is full."""
        now_ms = self._gateway.now_ms()
        key = line.places.join(key_of(owner.encode()), now_ms)
        if key is None:
            raise NotDone.overloaded("places_max", _FULL_RETRY_MS)
        return self.look(line, PlaceToken(line.queue.name, owner, key, 0))

    def look(self, line: Line, token: PlaceToken) -> Place:
        """A place was asked for. Raises NotDone when there is no room for one that comes back."""
        now_ms = self._gateway.now_ms()
        owner = key_of(token.owner.encode())
        is_used = self._row(token) >= 0
        if is_used:
            line.places.use(token.key)
        else:
            line.places.see(token.key, owner, token.turn_end_ms, now_ms)
        self.advance(line)
        if is_used:
            return Place(token, Seen(Standing.PASSED), True, None, 0)
        seen = line.places.see(token.key, owner, token.turn_end_ms, now_ms)
        if seen.standing is Standing.REFUSED:
            raise NotDone.overloaded("places_max", _FULL_RETRY_MS)
        now = PlaceToken(token.queue, token.owner, token.key, seen.turn_end_ms)
        if seen.standing is not Standing.WAITING:
            return Place(now, seen, False, None, 0)
        expected_ms = line.places.expected_ms(seen.ahead, now_ms)
        poll_ms = line.queue.line.abandoned_ms // _POLLS
        if expected_ms is not None:
            poll_ms = max(_POLL_MS_MIN, min(poll_ms, expected_ms // 4))
        return Place(now, seen, False, expected_ms, poll_ms)

    def leave(self, line: Line, token: PlaceToken) -> bool:
        """Give a place up; whether it had made its reservation."""
        is_used = self._row(token) >= 0
        if not is_used:
            line.places.leave(token.key)
            self._wake(line, [token.key])
        self.advance(line)
        return is_used

    def advance(self, line: Line) -> None:
        """Call whose turn it is."""
        state, now_ms = self._gateway.state, self._gateway.now_ms()
        self._wake(line, line.places.advance(now_ms, lambda: line.stock.units(state)))

    @contextlib.contextmanager
    def watching(self, line: Line, key: int) -> Iterator[asyncio.Event]:
        """Set whenever the place was called, used or given up."""
        event = asyncio.Event()
        line.watchers.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            events = line.watchers[key]
            events.discard(event)
            if not events:
                del line.watchers[key]

    def _wake(self, line: Line, keys: Iterable[int]) -> None:
        for key in keys:
            for event in line.watchers.get(key, ()):
                event.set()

    def _row(self, token: PlaceToken) -> int:
        """The reservation that a place made, -1: none."""
        name = self.tokens().reservation_id(token.queue, token.key)
        return reads.reservation_row(self._gateway.state, name)

    # --- The gate ------------------------------------------------------------------------------

    def gate(self, method: str) -> Gate | None:
        """What stands in front of a method; None where it can not hold what has a queue."""
        if self._mention is None or not (method == "CreateReservation" or method in _OTHER_WAYS):
            return None
        return Gate(self, method)

    def is_mentioned(self, raw: bytes) -> bool:
        """Whether the bytes of a SKU that has a queue are in `raw`. O(bytes)."""
        return self._mention is not None and self._mention(raw) is not None

    def queues_of(self, skus: Iterable[str]) -> list[str]:
        """The queues that sell any of these."""
        return list(dict.fromkeys(self._by_sku[sku] for sku in skus if sku in self._by_sku))

    async def create(
        self,
        request: messages.CreateReservationRequest,
        call: Any,
        work: Callable[[messages.CreateReservationRequest], Awaitable[T]],
    ) -> T:
        """What `work` answers to the request as its place's. Raises Refused, and what it raises."""
        names = self.queues_of(line.sku for line in request.lines)
        if not names:
            return await work(request)
        line, token = await self._admit(request, names, call)
        made = messages.CreateReservationRequest()
        made.CopyFrom(request)
        made.ClearField("place_token")
        made.reservation_id = self.tokens().reservation_id(token.queue, token.key)
        key = self._key(request, call)
        mine = (key, token.key) if key is not None else None
        if mine is not None:
            self._under_way[mine] += 1
        try:
            return await work(made)
        finally:
            if mine is not None:
                self._under_way[mine] -= 1
                if not self._under_way[mine]:
                    del self._under_way[mine]
            self._after(line, token)

    def _after(self, line: Line, token: PlaceToken) -> None:
        """A request of this place was answered: it may have used its turn."""
        try:
            if self._row(token) >= 0:
                line.places.use(token.key)
                self._wake(line, [token.key])
            self.advance(line)
        except NotDone:
            pass  # stopped since: whoever serves next reads it from the ledger

    async def _admit(
        self, request: messages.CreateReservationRequest, names: list[str], call: Any
    ) -> tuple[Line, PlaceToken]:
        """The place whose turn this request is. Raises Refused."""
        if len(names) > 1:
            raise self._turn_required(
                names[0], f"{' and '.join(names)} are different queues: reserve from each by itself"
            )
        check = Checker(self._gateway.now_ms())
        if not request.place_token:
            raise self._turn_required(names[0], f"there is a waiting queue, {names[0]!r}: join it")
        token = self.read_token(check, "place_token", request.place_token)
        if token is not None and token.queue != names[0]:
            check.invalid("place_token", token.queue, f"is another queue than {names[0]!r}")
        elif token is not None and token.owner != request.owner:
            check.invalid("owner", request.owner, "is not the owner of the place")
        elif token is not None and request.reservation_id not in (
            "",
            self.tokens().reservation_id(token.queue, token.key),
        ):
            check.invalid("reservation_id", request.reservation_id, "is not the name of the place")
        check.refuse()
        assert token is not None
        line = self.line(token.queue)
        if self._is_known(request, call, token):
            return line, token
        place = self.look(line, token)
        if place.seen.standing is Standing.WAITING:
            ahead = place.seen.ahead
            raise self._turn_required(
                token.queue, f"{ahead} places are called before this one", ahead, place.poll_ms
            )
        if place.is_used or place.seen.standing is not Standing.CALLED:
            what = "has made its reservation" if place.is_used else "was passed over"
            raise Refused(
                refusal(
                    Fault.PLACE_ENDED,
                    Case(
                        subject=f"queue/{token.queue}",
                        message=f"the place in the queue {token.queue!r} {what}",
                        metadata={
                            "queue": token.queue,
                            "state": "USED" if place.is_used else "PASSED",
                            "reservation_id": self.tokens().reservation_id(token.queue, token.key),
                        },
                    ),
                )
            )
        return line, token

    def refuse_others(self, method: str, request: Any) -> None:
        """Raise Refused where another method would hold what has a queue."""
        names = self.queues_of(_OTHER_WAYS[method][1](request))
        if not names or (method == "ReviseReservation" and self._adds_nothing(request)):
            return
        raise self._turn_required(
            names[0], f"what the queue {names[0]!r} sells is held by CreateReservation, by its turn"
        )

    def _adds_nothing(self, request: messages.ReviseReservationRequest) -> bool:
        """Whether the reservation has as many units already of each SKU that has a queue."""
        state = self._gateway.state
        row = reads.reservation_row(state, request.reservation_id)
        if row < 0:
            return True  # the ledger will say so
        wanted: Counter[str] = Counter()
        for line in request.lines:
            if line.sku in self._by_sku:
                wanted[line.sku] += max(0, line.quantity)
        rows = np.array([row], np.int64)
        return all(
            quantity <= units_of(state, rows, reads.find_name(state, commands.SKU, sku))
            for sku, quantity in wanted.items()
        )

    def _turn_required(
        self, queue: str, message: str, ahead: int | None = None, retry_ms: int = 0
    ) -> Refused:
        metadata = {"queue": queue}
        if ahead is not None:
            metadata |= {"places_ahead": str(ahead), "poll_after_ms": str(retry_ms)}
        case = Case(subject=f"queue/{queue}", message=message, metadata=metadata)
        return Refused(refusal(Fault.TURN_REQUIRED, case))

    def _key(self, request: messages.CreateReservationRequest, call: Any) -> tuple[int, int] | None:
        name = request.request_id.encode("utf-8", "surrogatepass")
        if not name or len(name) > limits.request_id_bytes_max:
            return None
        return request_key(call.caller.text, name)

    def _is_known(
        self, request: messages.CreateReservationRequest, call: Any, token: PlaceToken
    ) -> bool:
        """Whether the ledger has answered this request, or has it now for the same place."""
        key = self._key(request, call)
        if key is None:
            return False
        tables = self._gateway.state.tables
        return (key, token.key) in self._under_way or find_request(
            tables, np.uint64(key[0]), np.uint64(key[1])
        ) >= 0

    # --- Metrics -------------------------------------------------------------------------------

    def families(self) -> Iterator[Metric]:
        """What Prometheus is told of the queues that were asked for."""
        places = GaugeMetricFamily(
            "holdfast_places", "Places in waiting queues.", labels=["queue", "state"]
        )
        joined = CounterMetricFamily("holdfast_places_joined", "Places given.", labels=["queue"])
        called = CounterMetricFamily("holdfast_places_called", "Places called.", labels=["queue"])
        ended = CounterMetricFamily(
            "holdfast_places_ended", "Places that ended, by how.", labels=["queue", "how"]
        )
        streams = GaugeMetricFamily(
            "holdfast_place_streams", "Streams of WatchPlace.", labels=["queue"]
        )
        for name, line in sorted(self._lines.items()):
            at = line.places
            places.add_metric([name, "waiting"], at.waiting)
            places.add_metric([name, "called"], at.turns)
            joined.add_metric([name], at.joined)
            called.add_metric([name], at.called)
            for how in ("used", "passed", "left", "abandoned"):
                ended.add_metric([name, how], getattr(at, how))
            streams.add_metric([name], line.streams)
        yield from (places, joined, called, ended, streams)


class Gate:
    """In front of one method that holds stock."""

    __slots__ = ("_method", "_turns")

    def __init__(self, turns: Turns, method: str) -> None:
        self._turns = turns
        self._method = method

    def around(
        self, handler: Callable[[bytes, Any], Awaitable[bytes]], raw: bytes
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """The handler for `raw`, behind the gate where it is about a SKU that has a queue."""
        if not self._turns.is_mentioned(raw):
            return handler

        async def gated(raw: bytes, call: Any) -> bytes:
            if self._method != "CreateReservation":
                self._turns.refuse_others(self._method, read(_OTHER_WAYS[self._method][0], raw))
                return await handler(raw, call)
            request = read(messages.CreateReservationRequest, raw)
            return await self._turns.create(
                request, call, lambda made: handler(made.SerializeToString(), call)
            )

        return gated

    def around_message(
        self, handler: Callable[[Any, Any], Awaitable[Message]]
    ) -> Callable[[Any, Any], Awaitable[Message]]:
        """The same for a request that has been read already."""

        async def gated(request: Any, call: Any) -> Message:
            if self._method != "CreateReservation":
                self._turns.refuse_others(self._method, request)
                return await handler(request, call)
            return await self._turns.create(request, call, lambda made: handler(made, call))

        return gated
