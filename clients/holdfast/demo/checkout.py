"""The steps of an order through the real client, and what the book notes of each answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast import aio
from holdfast.demo.book import Book, Entry, Fact, Position, milliseconds
from holdfast.demo.dataset import Order, OrderLine
from holdfast.demo.shop import Event, Step, temper_of
from holdfast.errors import (
    CallCancelled,
    DeadlineExceeded,
    HoldfastError,
    InsufficientStock,
    Unavailable,
)
from holdfast.ids import made_id
from holdfast.values.reservations import Reservation, ReturnDisposition

T = TypeVar("T")

HOLD_TTL_S = 900.0
ABANDONED_TTL_S = 2.0
PATIENCE_S = 90.0
SAMPLE_ONE_IN = 400
"""Of so many calls one is kept, to be sent once more at the end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A call that was answered: sent again, the answer must be the same."""

    send: Callable[[], Coroutine[Any, Any, Reservation]]
    answer: Reservation | str
    """The reservation, or the reason of the refusal."""


@dataclass(slots=True)
class Purchase:
    """An order on its way."""

    reservation_id: str = ""
    line_of: dict[int, int] = field(default_factory=dict)
    """The reservation's line of each line of the order; those given up are missing."""
    open: dict[int, int] = field(default_factory=dict)
    """Units still to be shipped, by the reservation's line."""


@dataclass(slots=True)
class Shop:
    """All orders of the season against one server."""

    client: aio.Client
    book: Book
    seed: int
    purchases: dict[str, Purchase] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    abandoned: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    """Orders that went on without the lines that were short."""
    promised: set[str] = field(default_factory=set)
    """Reservations of `holdfast.demo.delivery`, left to expire."""
    _calls: int = 0

    async def run(self, event: Event) -> None:
        """One step of one order. A step whose order is no longer there is left out."""
        if event.step is Step.CHECKOUT:
            await self._checkout(event.order)
            return
        purchase = self.purchases.get(event.order.order_id)
        if purchase is None or event.order.order_id not in self.confirmed:
            return
        if event.step is Step.CANCEL:
            await self._cancel(event.order, purchase)
        elif event.step is Step.CANCEL_LINE:
            await self._cancel_line(purchase, event.lines)
        elif event.step is Step.SHIP:
            await self._ship(purchase, event.lines)
        else:
            await self._return(event, purchase)

    async def _checkout(self, order: Order) -> None:
        temper = temper_of(order, self.seed)
        ttl_s = ABANDONED_TTL_S if temper.abandons else HOLD_TTL_S
        kept = list(enumerate(order.lines))
        held = await self._reserve(order, kept, ttl_s)
        if isinstance(held, InsufficientStock) and temper.takes_what_is_left:
            short = {each.line for each in held.short_lines}
            kept = [line for place, line in enumerate(kept) if place not in short]
            if kept:
                held = await self._reserve(order, kept, ttl_s)
                self.cut.add(order.order_id)
        if isinstance(held, InsufficientStock):
            self.refused.add(order.order_id)
            self.cut.discard(order.order_id)
            return
        purchase = Purchase(
            held.reservation_id,
            {index: place for place, (index, _) in enumerate(kept)},
            {place: line.quantity for place, (_, line) in enumerate(kept)},
        )
        self.purchases[order.order_id] = purchase
        if temper.abandons:
            self.abandoned.add(order.order_id)
            return
        await self._confirm(order, purchase)

    async def _reserve(
        self, order: Order, lines: list[tuple[int, OrderLine]], ttl_s: float
    ) -> Reservation | InsufficientStock:
        wanted = [(line.sku, line.node, line.quantity) for _, line in lines]
        request_id = made_id()

        def send() -> Coroutine[Any, Any, Reservation]:
            return self.client.reserve(
                wanted, owner=order.order_id, ttl=ttl_s, request_id=request_id
            )

        try:
            held = await self._answer(send)
        except InsufficientStock as refusal:
            self.book.refusals += 1
            return refusal
        takes: list[tuple[Position, int]] = [((sku, node), units) for sku, node, units in wanted]
        expire_ms = milliseconds(held.expire_time)
        self.note(held, Fact.HELD, takes=tuple(takes), expire_ms=expire_ms)
        return held

    async def _confirm(self, order: Order, purchase: Purchase) -> None:
        name, request_id = purchase.reservation_id, made_id()
        confirmed = await self._answer(lambda: self.client.confirm(name, request_id=request_id))
        self.confirmed.add(order.order_id)
        self.note(confirmed, Fact.CONFIRMED)

    async def _cancel(self, order: Order, purchase: Purchase) -> None:
        name, request_id = purchase.reservation_id, made_id()
        cancelled = await self._answer(lambda: self.client.cancel(name, request_id=request_id))
        self.cancelled.add(order.order_id)
        self.note(cancelled, Fact.CANCELLED, lines=tuple(purchase.open.items()))
        purchase.open.clear()

    async def _cancel_line(self, purchase: Purchase, indices: tuple[int, ...]) -> None:
        lines = self._take_open(purchase, indices)
        if not lines:
            return
        name, request_id = purchase.reservation_id, made_id()
        cancelled = await self._answer(
            lambda: self.client.cancel(name, lines=lines, request_id=request_id)
        )
        self.note(cancelled, Fact.CANCELLED, lines=lines)

    async def _ship(self, purchase: Purchase, indices: tuple[int, ...]) -> None:
        lines = self._take_open(purchase, indices)
        if not lines:
            return
        name, request_id = purchase.reservation_id, made_id()
        shipped = await self._answer(
            lambda: self.client.fulfill(name, lines=lines, request_id=request_id)
        )
        self.note(shipped, Fact.SHIPPED, lines=lines)

    async def _return(self, event: Event, purchase: Purchase) -> None:
        lines = tuple(
            (purchase.line_of[index], event.order.lines[index].return_quantity)
            for index in event.lines
            if index in purchase.line_of and purchase.line_of[index] not in purchase.open
        )
        back = self.book.latest[purchase.reservation_id]
        lines = tuple(
            (line, units) for line, units in lines if units <= back.lines[line].fulfilled_quantity
        )
        if not lines:
            return
        name, request_id = purchase.reservation_id, made_id()
        kind = ReturnDisposition.DAMAGED if event.damaged else ReturnDisposition.RESTOCK
        returned = await self._answer(
            lambda: self.client.return_(name, lines, disposition=kind, request_id=request_id)
        )
        self.note(returned, Fact.RETURNED, lines=lines, damaged=event.damaged)

    def _take_open(
        self, purchase: Purchase, indices: tuple[int, ...]
    ) -> tuple[tuple[int, int], ...]:
        """The reservation's lines of these lines of the order, with all they have open."""
        places = [purchase.line_of[index] for index in indices if index in purchase.line_of]
        return tuple(
            (place, purchase.open.pop(place)) for place in places if place in purchase.open
        )

    async def _answer(self, send: Callable[[], Coroutine[Any, Any, Reservation]]) -> Reservation:
        """The answer to a call, asked for until it comes; a refusal is an answer."""
        started = time.perf_counter()
        self._calls += 1
        sampled = self._calls % SAMPLE_ONE_IN == 0
        try:
            answer = await self._persist(send)
        except HoldfastError as refusal:
            if sampled:
                self.samples.append(Sample(send, refusal.reason))
            raise
        finally:
            self.book.latencies_ms.append((time.perf_counter() - started) * 1_000)
        if sampled:
            self.samples.append(Sample(send, answer))
        return answer

    async def _persist(self, send: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Send under the same request_id until the server answers, for 90 seconds at most."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await send()
                except (Unavailable, DeadlineExceeded, CallCancelled):
                    await asyncio.sleep(0.05)

    def note(
        self,
        reservation: Reservation,
        fact: Fact,
        *,
        lines: tuple[tuple[int, int], ...] = (),
        takes: tuple[tuple[Position, int], ...] = (),
        expire_ms: int = 0,
        damaged: bool = False,
    ) -> None:
        """Write into the book what an answer means."""
        entry = Entry(
            reservation.revision,
            milliseconds(reservation.update_time),
            fact,
            reservation.reservation_id,
            lines,
            takes,
            expire_ms,
            damaged=damaged,
        )
        self.book.note(entry, reservation)
