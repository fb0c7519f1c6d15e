"""Quotas of open holds and units, checked before the ledger is asked and counted after it answered.

The requests of callers that have such a quota are read once more for it, in their protobuf form;
those of others are not looked at.

A request whose request_id the ledger remembers, or has before it, always goes through: it adds
nothing, and its caller must get the one answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from engine import commands, reads
from engine.requests import find_request
from engine.state import State
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import routing_service_pb2 as routing
from server.admission.hold_book import HoldBook
from server.admission.quotas import Quotas
from server.application.gateway import Gateway, NotDone
from server.application.hold_origins import HoldOrigins
from server.caller import Caller
from server.transport.columns import request_key
from server.transport.detached import shielded
from server.transport.errors import Case, Fault, Refused, refusal

T = TypeVar("T")
_RETRY_MS_MIN = 50
_RETRY_MS_MAX = 60_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request would add to its caller's holds."""

    holds: int
    units: dict[str, int]
    request_ids: tuple[str, ...]
    owners: tuple[str, ...] = ()
    """Owners whose holds the same step replaces."""
    reservation_id: str = ""
    """The reservation whose lines it replaces."""


@dataclass(frozen=True, slots=True)
class HoldReader:
    """How one method's messages are read for the quotas."""

    request: type[Message]
    reply: type[Message]
    wanted: Callable[[Any], Wanted]
    made: Callable[[Any], Iterable[str]]
    """The reservation_ids that the reply tells of."""

    def count(self, request: Any) -> int:
        """How many requests it stands for."""
        return max(1, self.wanted(request).holds)


def _of_creates(requests: Iterable[messages.CreateReservationRequest], *request_ids: str) -> Wanted:
    units: Counter[str] = Counter()
    ids = list(request_ids)
    owners = []
    holds = 0
    for request in requests:
        holds += 1
        for line in request.lines:
            units[line.sku] += max(0, line.quantity)
        if request.request_id:
            ids.append(request.request_id)
        if request.replace_owner_holds and request.owner:
            owners.append(request.owner)
    return Wanted(holds, dict(units), tuple(ids), tuple(owners))


def _of_revise(request: messages.ReviseReservationRequest) -> Wanted:
    units: Counter[str] = Counter()
    for line in request.lines:
        units[line.sku] += max(0, line.quantity)
    ids = (request.request_id,) if request.request_id else ()
    return Wanted(0, dict(units), ids, reservation_id=request.reservation_id)


def _of_order(request: routing.PromiseOrderRequest) -> Wanted:
    units: Counter[str] = Counter()
    for line in request.order.lines:
        units[line.sku] += max(0, line.quantity)
    ids = (request.request_id,) if request.request_id else ()
    return Wanted(1, dict(units), ids)


def _of_replan(request: routing.ReplanOrderRequest) -> Wanted:
    # The new hold takes the place of the old one, and is noted as this caller's.
    ids = (request.request_id,) if request.request_id else ()
    return Wanted(0, {}, ids, reservation_id=request.reservation_id)


_READERS = {
    "CreateReservation": HoldReader(
        messages.CreateReservationRequest,
        messages.CreateReservationResponse,
        lambda request: _of_creates([request]),
        lambda reply: [reply.reservation.reservation_id],
    ),
    "BatchCreateReservations": HoldReader(
        messages.BatchCreateReservationsRequest,
        messages.BatchCreateReservationsResponse,
        lambda request: _of_creates(
            request.requests, *([request.request_id] if request.request_id else [])
        ),
        lambda reply: [made.reservation_id for made in reply.reservations],
    ),
    "BulkCreateReservations": HoldReader(
        messages.BulkCreateReservationsRequest,
        messages.BulkCreateReservationsResponse,
        lambda request: _of_creates(request.requests),
        lambda reply: [made.reservation_id for made in reply.results if not made.reason],
    ),
    "ReviseReservation": HoldReader(
        messages.ReviseReservationRequest,
        messages.ReviseReservationResponse,
        _of_revise,
        lambda reply: [],
    ),
    "PromiseOrder": HoldReader(
        routing.PromiseOrderRequest,
        routing.PromiseOrderResponse,
        _of_order,
        lambda reply: [reply.reservation.reservation_id],
    ),
    "ReplanOrder": HoldReader(
        routing.ReplanOrderRequest,
        routing.ReplanOrderResponse,
        _of_replan,
        lambda reply: [reply.reservation.reservation_id],
    ),
}


class HoldQuotas:
    """The quotas of holds and units of every caller that has one."""

    def __init__(
        self, gateway: Gateway, quotas: Quotas, count_refusal: Callable[[str], None]
    ) -> None:
        self._gateway = gateway
        self._quotas = quotas
        self._count_refusal = count_refusal
        self._is_used = any(
            quota.counts_holds for quota in (quotas.default, *quotas.callers.values())
        )
        self.book = HoldBook()
        self._under_way: Counter[tuple[int, int]] = Counter()

    def reader_of(self, method: str) -> HoldReader | None:
        """How a method's messages are read, None where none counts for a quota."""
        return _READERS.get(method) if self._is_used else None

    def has_quota(self, caller: Caller) -> bool:
        """Whether this caller's holds are counted."""
        return self._quotas.of(caller.text).counts_holds

    def recall(self, state: State, origins: HoldOrigins) -> None:
        """The ledger was read: its open holds count for who made them. O(reservations) a caller
        that has a quota."""
        if not self._is_used:
            return
        for caller in origins.callers:
            if self._quotas.of(caller).counts_holds:
                self.book.recall(state, caller, origins.rows_of(caller, state))

    async def serve(
        self,
        reader: HoldReader,
        request: Any,
        call: Any,
        work: Callable[[], Awaitable[T]],
        read_reply: Callable[[T], Any],
    ) -> T:
        """What `work` answers, where the quotas leave room. Raises Refused, and what it raises."""
        caller: Caller = call.caller
        wanted = reader.wanted(request)
        keys = [request_key(caller.text, name.encode()) for name in wanted.request_ids]
        if keys and all(self._is_known(key) for key in keys):
            return await work()
        self._check(caller, wanted)
        self.book.begin(caller.text, wanted.holds, wanted.units)
        self._under_way.update(keys)

        async def counted() -> T:
            made: list[str] = []
            try:
                reply = await work()
                made += reader.made(read_reply(reply))
                return reply
            finally:
                for key in keys:
                    self._under_way[key] -= 1
                    if not self._under_way[key]:
                        del self._under_way[key]
                self._end(caller, wanted, made)

        # Until it has ended, whatever becomes of its caller: what is under way may hold all the
        # same.
        return await shielded(counted())

    def _end(self, caller: Caller, wanted: Wanted, made: list[str]) -> None:
        state: State | None = None
        rows: list[int] = []
        try:
            state = self._gateway.state
        except NotDone:
            pass  # stopped between the answer and here; what is read anew begins a book of its own
        else:
            rows = [row for name in made if (row := reads.reservation_row(state, name)) >= 0]
        self.book.end(state, caller.text, wanted.holds, wanted.units, rows)

    def _is_known(self, key: tuple[int, int]) -> bool:
        """Whether the ledger has answered this request, or has it now."""
        if key in self._under_way:
            return True
        tables = self._gateway.state.tables
        return bool(find_request(tables, np.uint64(key[0]), np.uint64(key[1])) >= 0)

    def _check(self, caller: Caller, wanted: Wanted) -> None:
        quota = self._quotas.of(caller.text)
        state, now_ms, book = self._gateway.state, self._gateway.now_ms(), self.book
        name = caller.text
        most = quota.open_holds_max
        if most and wanted.holds and book.open_holds_most(name) + wanted.holds > most:
            there = book.open_holds(state, now_ms, name, self._leaving(state, wanted))
            if there + wanted.holds > most:
                text = f"{there} open holds, {wanted.holds} more asked for, at most {most}"
                self._refuse(caller, "open_holds_max", most, text)
        most = quota.units_per_sku_max
        if not most:
            return
        for sku, quantity in wanted.units.items():
            bound = book.units_most(name, sku)
            if bound is not None and bound + quantity <= most:
                continue
            row = reads.find_name(state, commands.SKU, sku)
            if row < 0:
                continue  # the ledger will say so
            there = book.units(state, now_ms, name, sku, row, self._leaving(state, wanted))
            if there + quantity > most:
                text = f"{there} units of {sku!r} held, {quantity} more asked for, at most {most}"
                self._refuse(caller, "units_per_sku_max", most, text)

    def _leaving(self, state: State, wanted: Wanted) -> set[int]:
        """Rows of the reservations that the step itself ends or rewrites."""
        rows = {row for owner in wanted.owners for row in reads.owned_by(state, owner)}
        if wanted.reservation_id:
            rows.add(reads.reservation_row(state, wanted.reservation_id))
        return rows

    def _refuse(self, caller: Caller, quota: str, maximum: int, text: str) -> None:
        self._count_refusal(quota)
        ends_ms = self.book.next_end_ms(self._gateway.state, self._gateway.now_ms(), caller.text)
        retry_ms = max(_RETRY_MS_MIN, min(_RETRY_MS_MAX, ends_ms))
        raise Refused(
            refusal(
                Fault.QUOTA_EXCEEDED,
                Case(
                    subject=f"caller/{caller.text.decode(errors='replace')}",
                    message=text,
                    metadata={"limit": quota, "maximum": str(maximum)},
                    retry_ms=int(retry_ms * random.uniform(1.0, 1.5)),
                ),
            )
        )


def read_or_none(message: type[Message], raw: bytes) -> Message | None:
    """The message in `raw`; None where it is none, which the handler will tell its caller."""
    try:
        return message.FromString(raw)
    except DecodeError:
        return None
