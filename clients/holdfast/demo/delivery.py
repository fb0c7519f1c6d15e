"""Before the season: where carts would ship from, to their ZIP codes and by their ship modes.

The first carts of the season are planned, promised for two seconds and left to expire. Each promise
goes into the book, so that the audit asks of it what it asks of every other abandoned cart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.demo.book import Fact, milliseconds
from holdfast.demo.checkout import ABANDONED_TTL_S, Sample, Shop
from holdfast.demo.dataset import Order
from holdfast.errors import InvalidRequest, NoFeasiblePlan
from holdfast.ids import made_id
from holdfast.values.network import Place
from holdfast.values.reservations import Reservation
from holdfast.values.routing import RoutingLine, RoutingOrder

CARTS = 200
AT_ONCE = 4
SAMPLE_ONE_IN = 10
"""Of so many promises one is sent once more at the end."""


@dataclass(slots=True)
class Deliveries:
    """What came of the carts that asked."""

    asked: int = 0
    zip_codes_unknown: int = 0
    """Carts whose ZIP code does not exist, as half of the data's do not."""
    planned: int = 0
    promised: int = 0
    shipments: int = 0
    """Of those promised."""

    async def promise(self, shop: Shop, orders: tuple[Order, ...]) -> None:
        """Ask for the first `CARTS` of `orders` that say where to and how."""
        told = [order for order in orders if order.postal_code and order.ship_mode][:CARTS]
        waiting = iter(told)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._ask_for(shop, waiting))

    async def _ask_for(self, shop: Shop, waiting: Iterator[Order]) -> None:
        for order in waiting:
            await self._ask(shop, order)

    async def _ask(self, shop: Shop, order: Order) -> None:
        self.asked += 1
        wanted = RoutingOrder(
            tuple(RoutingLine(line.sku, line.quantity) for line in order.lines),
            Place("US", order.postal_code),
            owner=order.order_id,
            attributes={"ship_mode": order.ship_mode},
        )
        try:
            await shop.client.plan_fulfillment(wanted)
        except InvalidRequest as refusal:
            if [each.field for each in refusal.fields] != ["order.destination.postal_code"]:
                raise
            self.zip_codes_unknown += 1
            return
        except NoFeasiblePlan:
            return
        self.planned += 1
        request_id = made_id()

        async def send() -> Reservation:
            made = await shop.client.promise_order(
                wanted, ttl=ABANDONED_TTL_S, request_id=request_id
            )
            return made.reservation

        try:
            held = await send()
        except NoFeasiblePlan:
            return  # another cart was faster
        if self.promised % SAMPLE_ONE_IN == 0:
            shop.samples.append(Sample(send, held))
        shop.note(
            held,
            Fact.HELD,
            takes=tuple(
                ((line.sku, take.node), take.quantity) for line in held.lines for take in line.takes
            ),
            expire_ms=milliseconds(held.expire_time),
        )
        self.promised += 1
        self.shipments += len({take.node for line in held.lines for take in line.takes})
        shop.promised.add(held.reservation_id)
