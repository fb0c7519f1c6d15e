"""What shoppers ask for: calls as the client library builds them, read no further than needed.

A generator has one core for ten times of what a server's core can take, so a call here is made of
what is alike for all shoppers (built by the library once) and the three fields that are not, and
of its reply only the reservation's id is read.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, cast

import holdfast.calls.availability as availability_calls
import holdfast.calls.reservations as reservation_calls
import holdfast.calls.routing as routing_calls
from holdfast.calls.call import Call
from holdfast.ids import made_id
from holdfast.v1 import reservation_service_pb2 as wire
from holdfast.values.network import Place
from holdfast.values.routing import RoutingLine, RoutingOrder
from loadtests.scenario import Journey, Shop

Line = tuple[str, str, int]
"""SKU, node, units."""
EXTENSION_S = 60
_HOLDS_KEPT_MAX = 10_000

# Where nodes are and parcels go to: all over the country, by postal code.
PLACES = tuple(
    Place("US", code, time_zone="UTC")
    for code in (
        *("10001", "60601", "94103", "98101", "77002", "33101", "30303", "02108", "80202", "85004"),
        *("97201", "19103", "20001", "48201", "55401", "63101", "70112", "84101", "87101", "89101"),
    )
)


def sku_name(number: int) -> str:
    """Of the SKU with this number; 0 is the hot one."""
    return f"SKU-{number:06d}"


def node_name(number: int) -> str:
    """Of the node with this number."""
    return f"NODE-{number:04d}"


class Asking:
    """Makes the calls of one generator's shoppers; each is answered with a reservation's id, or
    with "" where it is about none."""

    def __init__(self, shop: Shop, chance: random.Random, name: str) -> None:
        """`name`: a part of every owner's."""
        self._shop = shop
        self._chance = chance
        self._name = name
        self._unique = made_id()
        self._requests = 0
        self._holds: dict[tuple[tuple[Line, ...], float], Call[str]] = {}
        self._hot = ((sku_name(0), node_name(0), 1),)

    def lines(self, journey: Journey) -> tuple[Line, ...]:
        """What a shopper of this journey puts into the cart."""
        if self._shop.hot_share >= 1 and journey.lines == 1:
            return self._hot
        return tuple(self._line() for _ in range(journey.lines))

    def hold(self, lines: tuple[Line, ...], ttl_s: float, number: int) -> Call[str]:
        """Reserve them for shopper `number`, under a request id of its own.

        Only these two differ between shoppers who want the same, so the rest is built once.
        """
        like = self._holds.get((lines, ttl_s))
        if like is None:
            like = _of_reservation(reservation_calls.reserve(lines, ttl=ttl_s))
            if len(self._holds) < _HOLDS_KEPT_MAX:
                self._holds[lines, ttl_s] = like
        request = wire.CreateReservationRequest()
        request.CopyFrom(cast(wire.CreateReservationRequest, like.request))
        request.request_id = request_id = self._request_id()
        request.owner = f"shopper-{self._name}-{number}"
        return Call(like.method, request, like.read, like.timeout_s, request_id)

    def step(self, step: str, journey: Journey, number: int, held: str) -> Call[str]:
        """Any other step of shopper `number`, who holds `held`."""
        if step == "browse":
            ((sku, node, _),) = self._hot if self._shop.hot_share >= 1 else (self._line(),)
            return _of_none(availability_calls.availability(sku, nodes=[node]))
        if step == "plan":
            return _of_none(routing_calls.plan_fulfillment(self._order(1)))
        if step == "promise":
            owner = f"shopper-{self._name}-{number}"
            order = replace(self._order(journey.lines), owner=owner)
            return _of_reservation(
                routing_calls.promise_order(order, ttl=journey.ttl_s, request_id=self._request_id())
            )
        if step == "track":
            return _of_none(reservation_calls.get(held))
        settle: Any = getattr(reservation_calls, step)  # confirm, cancel, extend
        options = {"ttl": EXTENSION_S} if step == "extend" else {}
        return _of_none(settle(held, request_id=self._request_id(), **options))

    def _request_id(self) -> str:
        self._requests += 1
        return f"{self._unique}-{self._requests}"

    def _line(self) -> Line:
        shop, chance = self._shop, self._chance
        if shop.hot_share and chance.random() < shop.hot_share:
            return self._hot[0]
        sku = int(chance.random() * shop.skus)
        return sku_name(sku), node_name(int(chance.random() * shop.nodes)), 1

    def _order(self, lines: int) -> RoutingOrder:
        wanted = {self._line()[0]: None for _ in range(lines)}
        return RoutingOrder(
            tuple(RoutingLine(sku, 1) for sku in wanted), self._chance.choice(PLACES)
        )


def _of_reservation(call: Call[Any]) -> Call[str]:
    return Call(call.method, call.request, _reservation_id, call.timeout_s, call.request_id)


def _of_none(call: Call[Any]) -> Call[str]:
    return Call(call.method, call.request, _nothing, call.timeout_s, call.request_id, call.is_read)


def _reservation_id(reply: Any) -> str:
    reservation_id: str = reply.reservation.reservation_id
    return reservation_id


def _nothing(reply: Any) -> str:
    return ""
