"""Random lives of promised orders: shipped in part, cancelled, returned, planned anew, one by one
and as waves, beside others who buy and count.

Properties, after every step: the ledger is sound; a replan changes nothing of what has shipped,
come back or been cancelled, and no line's quantity; its plan is what the reservation holds; with
nobody in between the first plan is held (the planner uses exactly what the ledger gives back); a
retry has the first answer; and the decision replays.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.v1 import types_pb2
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, create, error_of_status
from tests.wire.test_plan_orders import settings, wave

pytestmark = pytest.mark.wire

STEPS = 120
NODES = tuple(small.NODES)
_OPEN = (types_pb2.Reservation.STATE_HELD, types_pb2.Reservation.STATE_CONFIRMED)


async def furnish(wire: Wire, chance: random.Random) -> None:
    """Scarce stock, pick capacity and pickups; a channel with a fence of its own."""
    await small.build(wire)
    for node in NODES:
        picks = chance.choice([0, 4, 6])
        if picks:
            made = small.node(node, pick_capacity_per_day=picks)
            await wire.network.UpsertNode(network.UpsertNodeRequest(node=made))
        for sku in small.ITEMS:
            await wire.stock(sku, node, chance.randint(2, 9))
    for name in small.RATES:
        pickups = [
            network.Pickup(node=place, minute=17 * 60, capacity=chance.choice([0, 1, 3]))
            for place in NODES
        ]
        await small.upsert(wire, small.service(name, pickups=pickups))
    channel = network.Channel(channel="shop", nodes=list(NODES))
    await wire.network.UpsertChannel(network.UpsertChannelRequest(channel=channel))
    for node in NODES:
        await fence(wire, chance, node)


async def fence(wire: Wire, chance: random.Random, node: str) -> None:
    await wire.inventory.SetChannelFence(
        inventory.SetChannelFenceRequest(
            sku="mug", node=node, channel="shop", quantity=chance.randint(0, 4)
        )
    )


async def done(call: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
    """The reply, or the reason why not. A busy machine may ask to come back, as of any caller."""
    while True:
        try:
            return await call(request)
        except grpc.aio.AioRpcError as error:
            status = rpc_status.from_call(error)
            assert status is not None
            found = error_of_status(status, error.code())
            if found.reason != "OVERLOADED":
                return found.reason


class Walk:
    """One ledger, its orders, and what was told of them."""

    def __init__(self, wire: Wire, seed: int) -> None:
        self.wire = wire
        self.chance = random.Random(seed)
        self.orders: list[str] = []
        self.replans: list[tuple[routing.ReplanOrderRequest, Any]] = []
        self.counts = dict.fromkeys(("moved", "moved after a shipment", "refused", "waves"), 0)

    async def step(self) -> None:
        """One thing happens."""
        steps = {
            self.promise: 6,
            self.ship: 7,
            self.cancel: 2,
            self.give_back: 2,
            self.replan: 10,
            self.replan_again: 2,
            self.wave: 1,
            self.others: 6,
        }
        chosen = self.chance.choices(list(steps), list(steps.values()))[0]
        await chosen()

    async def some_order(self) -> str:
        """A recent one, mostly one of which a part is open and a part has shipped."""
        recent = self.orders[-8:]
        kept = [await self.reservation(name) for name in recent]
        begun = [
            one.reservation_id
            for one in kept
            if one.state in _OPEN and any(line.fulfilled_quantity for line in one.lines)
        ]
        return self.chance.choice(begun if begun and self.chance.random() < 0.5 else recent)

    async def reservation(self, name: str) -> types_pb2.Reservation:
        reply = await self.wire.reservations.GetReservation(
            reservations.GetReservationRequest(reservation_id=name)
        )
        return reply.reservation

    async def promise(self) -> None:
        name = f"o{len(self.orders)}"
        skus = self.chance.sample(list(small.ITEMS), self.chance.randint(1, 2))
        order = small.order(
            *((sku, self.chance.randint(1, 4)) for sku in skus),
            reservation_id=name,
            channel=self.chance.choice(["", "shop"]),
        )
        made = await done(self.wire.routing.PromiseOrder, routing.PromiseOrderRequest(order=order))
        if isinstance(made, str):
            assert made == "NO_FEASIBLE_PLAN"
            return
        assert made.replans == 0
        self.orders.append(name)
        if self.chance.random() < 0.85:
            await self.wire.reservations.ConfirmReservation(
                reservations.ConfirmReservationRequest(reservation_id=name)
            )

    async def _by_line(self, request: Any, call: Any, field: str) -> None:
        """A step on some units of a line of an order."""
        if not self.orders:
            return
        name = await self.some_order()
        kept = await self.reservation(name)
        if kept.state not in _OPEN:
            return
        there = [
            (number, most)
            for number, line in enumerate(kept.lines)
            if (
                most := sum(take.quantity for take in line.takes)
                if field == "open"
                else line.fulfilled_quantity - line.returned_quantity
            )
        ]
        if there:
            number, most = self.chance.choice(there)
            request.reservation_id = name
            request.lines.add(line=number, quantity=self.chance.randint(1, most))
            told = await done(call, request)
            assert not isinstance(told, str) or told == "STATE_TRANSITION_NOT_ALLOWED"

    async def ship(self) -> None:
        await self._by_line(
            reservations.FulfillReservationRequest(),
            self.wire.reservations.FulfillReservation,
            "open",
        )

    async def cancel(self) -> None:
        await self._by_line(
            reservations.CancelReservationRequest(),
            self.wire.reservations.CancelReservation,
            "open",
        )

    async def give_back(self) -> None:
        await self._by_line(
            reservations.ReturnReservationRequest(),
            self.wire.reservations.ReturnReservation,
            "shipped",
        )

    async def replan(self) -> None:
        if not self.orders:
            return
        name = await self.some_order()
        before = await self.reservation(name)
        request = routing.ReplanOrderRequest(
            request_id=f"m{len(self.replans)}",
            reservation_id=name,
            excluded_nodes=[self.chance.choice(NODES)] if self.chance.random() < 0.15 else [],
            excluded_carrier_services=["ground"] if self.chance.random() < 0.2 else [],
        )
        told = await done(self.wire.routing.ReplanOrder, request)
        self.replans.append((request, told))
        after = await self.reservation(name)
        if isinstance(told, str):
            self.counts["refused"] += 1
            wanted = "NO_FEASIBLE_PLAN" if before.state in _OPEN else "STATE_TRANSITION_NOT_ALLOWED"
            assert told == wanted
            assert after == before
            return
        shipped = any(line.fulfilled_quantity for line in before.lines)
        self.counts["moved after a shipment" if shipped else "moved"] += 1
        assert told.replans == 0
        assert told.reservation == after
        compare(before, after)
        assert planned(told.plan) == open_of(after)
        assert not {node for _, node in open_of(after)}.intersection(request.excluded_nodes)
        explain = routing.ExplainPlanRequest(reservation_id=name)
        explained = await done(self.wire.routing.ExplainPlan, explain)
        assert explained.replayed
        assert explained.plan == told.plan

    async def replan_again(self) -> None:
        """A retry has the first answer, whatever has happened since."""
        if self.replans:
            request, told = self.chance.choice(self.replans)
            assert await done(self.wire.routing.ReplanOrder, request) == told

    async def wave(self) -> None:
        if not self.orders:
            return
        self.counts["waves"] += 1
        names = sorted(set(self.orders[-5:]))
        before = {name: await self.reservation(name) for name in names}
        if self.chance.random() < 0.5:
            more: dict[str, Any] = {"replan_nodes": [self.chance.choice(NODES)]}
        else:
            more = {"reservation_ids": names}
        held = settings(hold=True)
        told = await done(lambda more: wave(self.wire, asked=held, **more), more)
        for result in told.results:
            after = await self.reservation(result.reservation_id)
            if result.reservation_id in before:
                compare(before[result.reservation_id], after)
            if result.held:
                assert planned(result.plan) == open_of(after)

    async def others(self) -> None:
        """Somebody else buys, counts, sets a fence or stops a node."""
        node, sku = self.chance.choice(NODES), self.chance.choice(list(small.ITEMS))
        which = self.chance.randrange(4)
        if which == 0:
            await done(
                self.wire.reservations.CreateReservation,
                create((sku, node, self.chance.randint(1, 3))),
            )
        elif which == 1:
            await self.wire.stock(sku, node, self.chance.randint(0, 14))
        elif which == 2:
            await fence(self.wire, self.chance, node)
        else:
            request = admin.FreezeNodeRequest(node=node)
            await self.wire.admin.FreezeNode(request)
            if self.chance.random() < 0.8:
                await self.wire.admin.UnfreezeNode(admin.UnfreezeNodeRequest(node=node))


def compare(before: types_pb2.Reservation, after: types_pb2.Reservation) -> None:
    """A replan changes where open units are, and nothing else."""
    assert after.state == before.state
    assert after.expire_time == before.expire_time
    for old, new in zip(before.lines, after.lines, strict=True):
        for field in (
            "sku",
            "quantity",
            "fulfilled_quantity",
            "cancelled_quantity",
            "returned_quantity",
        ):
            assert getattr(new, field) == getattr(old, field)
        assert sum(take.quantity for take in new.takes) == sum(take.quantity for take in old.takes)


def open_of(reservation: types_pb2.Reservation) -> dict[tuple[int, str], int]:
    """Open units by line and node."""
    return {
        (number, take.node): take.quantity
        for number, line in enumerate(reservation.lines)
        for take in line.takes
    }


def planned(plan: routing.FulfillmentPlan) -> dict[tuple[int, str], int]:
    """A plan's units by line of the reservation and node."""
    found: dict[tuple[int, str], int] = {}
    for one in plan.shipments:
        for line in one.lines:
            key = (line.reservation_line, one.node)
            found[key] = found.get(key, 0) + line.quantity
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_walk(empty: Wire, seed: int):
    walk = Walk(empty, seed)
    await furnish(empty, walk.chance)
    for _ in range(STEPS):
        await walk.step()
        await empty.verify()
    capacities = await empty.inventory.ListCapacities(inventory.ListCapacitiesRequest())
    assert all(one.available >= 0 for one in capacities.capacities)
    await empty.restart()
    await empty.verify()
    assert walk.counts["moved after a shipment"] > 0, walk.counts
