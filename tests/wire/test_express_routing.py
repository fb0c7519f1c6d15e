"""The express way of usual orders gives what the plain way gives, byte for byte."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.v1 import types_pb2
from server.documents import ROUTING_DECISION
from server.routing.decisions import Decision, parts_of
from server.routing.express import desk
from server.transport.services.routing import RoutingService
from tests.wire.conftest import Wire
from tests.wire.routing_network import money

pytestmark = pytest.mark.wire

ZIPS = ("07102", "60601", "10001", "94103", "30301", "98101", "73301", "02108")
NODES, SKUS, ORDERS = 14, 9, 120


async def build(wire: Wire, seed: int) -> None:
    """A network with everything the express way knows: scarce stock, stores, limited picking and
    pickups, volume, too heavy items, reliability, a channel with nodes of its own."""
    chance = random.Random(seed)
    await wire.network.UpsertCarrier(
        network.UpsertCarrierRequest(carrier=network.Carrier(carrier="post"))
    )
    names = [f"node-{number:02d}" for number in range(NODES)]
    for number, name in enumerate(names):
        made = network.Node(
            node=name,
            type=network.NODE_TYPE_STORE if number % 3 else network.NODE_TYPE_WAREHOUSE,
            place=types_pb2.Place(
                country_code="US", postal_code=chance.choice(ZIPS), time_zone="America/New_York"
            ),
            calendar=network.Calendar(working_days=[1, 2, 3, 4, 5, 6]),
            parcel_handling_cost=money(chance.randint(20, 200)),
            unit_handling_cost=money(chance.randint(1, 40)),
            reliability_ppm=chance.choice([990_000, 1_000_000]),
            priority=chance.randint(0, 5),
        )
        if chance.random() < 0.4:
            made.pick_capacity_per_day = chance.randint(2, 12)
        await wire.network.UpsertNode(network.UpsertNodeRequest(node=made))
    for number in range(3):
        service = _service(number, names, chance)
        await wire.network.UpsertCarrierService(
            network.UpsertCarrierServiceRequest(carrier_service=service)
        )
    for number in range(SKUS):
        await wire.items(
            f"sku-{number}",
            weight_grams=chance.choice([100, 300, 700, 2500, 7000]),
            length_mm=chance.choice([0, 300]),
            width_mm=200,
            height_mm=chance.choice([50, 400]),
            flags=["fragile"] if number == 0 else [],
        )
    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel="web", nodes=names[:9]))
    )
    await wire.network.UpsertRoutingRules(
        network.UpsertRoutingRulesRequest(
            routing_rules=network.RoutingRules(
                routing_rules="prices",
                yaml="objective: {currency: USD, split_cost: 150, co2e_price_per_tonne: 9000,"
                " failed_delivery_cost: 900}\n"
                "rules:\n- {name: stores-last, prefer: {nodes: 'node.type == \"WAREHOUSE\"', "
                "worth: 60}}\n",
            )
        )
    )
    await wire.inventory.CountInventory(
        inventory.CountInventoryRequest(
            counts=[
                inventory.InventoryCount(
                    sku=f"sku-{sku}", node=name, on_hand=chance.choice([1, 2, 5, 30])
                )
                for sku in range(SKUS)
                for name in names
                if chance.random() < 0.5
            ]
        )
    )


def _service(number: int, names: list[str], chance: random.Random) -> network.CarrierService:
    pickups = []
    for name in names:
        if chance.random() < 0.9:
            pickup = network.Pickup(node=name, minute=17 * 60)
            if number == 1:
                pickup.capacity = chance.randint(2, 9)
                early = network.Pickup(node=name, minute=10 * 60, capacity=pickup.capacity % 3)
                pickups.append(early)
            pickups.append(pickup)
    return network.CarrierService(
        carrier_service=f"service-{number}",
        carrier="post",
        currency_code="USD",
        lanes=[network.Lane(zone="near", distance_km_max=900), network.Lane(zone="far")],
        rates=[
            network.Rate(
                zone=zone,
                weight_grams_max=kg * 1000,
                price_minor_units=300 + 200 * number + 30 * kg + 250 * (zone == "far"),
            )
            for zone in ("near", "far")
            for kg in range(1, 9 + 6 * number)
        ],
        transits=[
            network.Transit(zone=zone, days_min=1, days_max=1 + days)
            for zone, days in (("near", 1), ("far", 4 - number))
        ],
        pickups=pickups,
        calendar=network.Calendar(working_days=[1, 2, 3, 4, 5]),
        dimensional_divisor=5000,
        co2e_grams_per_parcel=100,
        reliability_ppm=930_000 + 20_000 * number,
    )


def orders(seed: int) -> list[routing.RoutingOrder]:
    chance = random.Random(seed)
    made = []
    for number in range(ORDERS):
        order = routing.RoutingOrder(
            reservation_id=f"order-{number}", owner=chance.choice(["", "ann"])
        )
        order.destination.country_code = "US"
        order.destination.postal_code = chance.choice(ZIPS)
        if chance.random() < 0.3:
            order.channel = "web"
        for sku in chance.sample(range(SKUS), chance.randint(1, 4)):
            order.lines.add(sku=f"sku-{sku}", quantity=chance.choice([1, 1, 2, 3, 6]))
        made.append(order)
    return made


def without_time(reply: Any) -> bytes:
    """The reply but for how long the solver took."""
    reply.report.solve_nanoseconds = 0
    bytes_: bytes = reply.SerializeToString(deterministic=True)
    return bytes_


async def answer(call: Any) -> Any:
    """The reply, or what it was refused with."""
    try:
        return without_time(await call)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Which way orders go: `plain` closes the express way, `shown` counts what it planned."""
    switch: dict[str, Any] = {"plain": False, "shown": 0}
    express = RoutingService.express

    def chosen(self: RoutingService) -> Any:
        found = None if switch["plain"] else express(self)
        if found is not None and not hasattr(found, "counted"):
            plan = found.plan

            def count(*arguments: Any) -> Any:
                shown = plan(*arguments)
                switch["shown"] += shown is not None
                return shown

            monkeypatch.setattr(found, "plan", count)
            found.counted = True  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(RoutingService, "express", chosen)
    return switch


@pytest.mark.parametrize("seed", range(3))
async def test_plans_are_the_same(empty: Wire, counted: dict[str, Any], seed: int):
    await build(empty, seed)
    for order in orders(seed):
        request = routing.PlanFulfillmentRequest(order=order)
        counted["plain"] = False
        fast = await answer(empty.routing.PlanFulfillment(request))
        counted["plain"] = True
        assert fast == await answer(empty.routing.PlanFulfillment(request)), order
    assert counted["shown"] >= 15


async def test_what_changes_between_two_orders_counts(
    empty: Wire, counted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Stock at a node that had none, another weight, more items than are remembered, a restart."""
    monkeypatch.setattr(desk, "_ITEMS_KEPT_MAX", 1)
    await build(empty, 3)
    chance = random.Random(3)
    asked = orders(3)
    for number, order in enumerate(asked[:40]):
        if number % 4 == 1:
            await empty.stock(f"sku-{number % SKUS}", f"node-{chance.randrange(NODES):02d}", 40)
        elif number % 4 == 2:
            await empty.items(f"sku-{number % SKUS}", weight_grams=chance.randint(100, 900))
        elif number == 20:
            await empty.restart()
        request = routing.PlanFulfillmentRequest(order=order)
        counted["plain"] = False
        fast = await answer(empty.routing.PlanFulfillment(request))
        counted["plain"] = True
        assert fast == await answer(empty.routing.PlanFulfillment(request)), order
    assert counted["shown"] >= 10


async def test_plans_that_come_together_are_those_that_come_alone(
    empty: Wire, counted: dict[str, Any]
):
    """Also where usual ones, others and impossible ones come at once."""
    await build(empty, 4)
    requests = [routing.PlanFulfillmentRequest(order=order) for order in orders(4)[:60]]
    for request in requests[::7]:
        request.max_plans = 2
    for request in requests[::11]:
        request.order.lines[0].quantity = 10_000
    alone = [await answer(empty.routing.PlanFulfillment(request)) for request in requests]
    shown = counted["shown"]
    together = await asyncio.gather(
        *(answer(empty.routing.PlanFulfillment(request)) for request in requests)
    )
    assert together == alone
    assert counted["shown"] == 2 * shown > 30


async def promised(wire: Wire, seed: int) -> tuple[list[Any], dict[Any, Decision], bytes]:
    await build(wire, seed)
    answers = []
    for number, order in enumerate(orders(seed)):
        request = routing.PromiseOrderRequest(
            request_id=f"request-{number}" if number % 2 else "", order=order
        )
        if number % 3 == 0:
            request.ttl.seconds = 60
        answers.append(await answer(wire.routing.PromiseOrder(request)))
        wire.clock.advance(1_000)
        if number % 10 == 1:  # a retry takes the plain way
            assert await answer(wire.routing.PromiseOrder(request)) == answers[-1]
    decisions = {
        name: Decision.from_bytes(kept[0])
        for (kind, name), kept in wire.state.documents.items()
        if kind == ROUTING_DECISION
    }
    balances = wire.state.positions[["on_hand", "held", "committed", "withheld"]].tobytes()
    return answers, decisions, balances


@pytest.mark.parametrize("seed", range(2))
async def test_promises_are_the_same_and_so_is_what_is_kept(
    tmp_path: Path, counted: dict[str, Any], seed: int
):
    found = []
    for plain in (False, True):
        counted["plain"] = plain
        wire = Wire(tmp_path / f"plain-{plain}")
        await wire.start()
        found.append(await promised(wire, seed))
        await wire.verify()
        await wire.stop()
    (fast, fast_kept, fast_stock), (plainly, plain_kept, plain_stock) = found
    assert fast == plainly
    assert fast_stock == plain_stock
    assert counted["shown"] >= 15
    assert list(fast_kept) == list(plain_kept)
    for name, one in fast_kept.items():
        other = plain_kept[name]
        assert (one.key, one.order, one.command, one.refusal, one.revision, one.time_ms) == (
            *(other.key, other.order, other.command, other.refusal, other.revision),
            other.time_ms,
        )
        assert without_time(routing.PromiseOrderResponse.FromString(one.reply)) == without_time(
            routing.PromiseOrderResponse.FromString(other.reply)
        )
        assert one.problem == other.problem
        if one.problem:
            assert all(parts_of(one.problem))


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.ttl.FromSeconds(-1),
        lambda one: one.ttl.FromNanoseconds(-1),
        lambda one: one.ttl.FromSeconds(0),
        lambda one: one.ttl.FromSeconds(31 * 86_400),
        lambda one: setattr(one, "request_id", "x" * 65),
        lambda one: setattr(one, "request_id", " x"),
        lambda one: setattr(one.order, "reservation_id", "x" * 65),
        lambda one: setattr(one, "work_budget", 7),
        lambda one: setattr(one.order.lines[0], "quantity", 10_000),
    ],
)
async def test_what_a_promise_can_not_mean_is_refused_as_ever(
    tmp_path: Path, counted: dict[str, Any], change: Any
):
    answers = []
    for plain in (False, True):
        counted["plain"] = plain
        wire = Wire(tmp_path / f"plain-{plain}")
        await wire.start()
        await build(wire, 7)
        request = routing.PromiseOrderRequest(order=orders(7)[0])
        change(request)
        answers.append(await answer(wire.routing.PromiseOrder(request)))
        await wire.stop()
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.order.lines.add(sku="sku-1", quantity=1),
        lambda one: one.order.lines.add(sku="nowhere", quantity=1),
        lambda one: one.order.lines.add(sku=" sku-2", quantity=1),
        lambda one: one.order.lines.add(sku="sku-2", quantity=0),
        lambda one: one.order.lines.add(sku="sku-2", quantity=-1),
        lambda one: one.order.lines.add(sku="sku-2", quantity=1_000_001),
        lambda one: one.order.lines.add(sku="x" * 65, quantity=1),
        lambda one: setattr(one.order.destination, "postal_code", "00000"),
        lambda one: setattr(one.order.destination, "country_code", "usa"),
        lambda one: setattr(one.order, "channel", "nowhere"),
        lambda one: setattr(one.order, "owner", "tab\there"),
        lambda one: setattr(one.order, "owner", "ännchen"),
        lambda one: setattr(one, "max_plans", 3),
        lambda one: setattr(one, "max_plans", 99),
        lambda one: setattr(one, "strategy", routing.ROUTING_STRATEGY_NEAREST),
        lambda one: one.order.ClearField("lines"),
        lambda one: one.order.ClearField("destination"),
        lambda one: one.ClearField("order"),
    ],
)
async def test_what_is_not_usual_is_answered_as_ever(
    empty: Wire, counted: dict[str, Any], change: Any
):
    await build(empty, 7)
    request = routing.PlanFulfillmentRequest(order=orders(7)[0])
    del request.order.lines[:]
    request.order.lines.add(sku="sku-1", quantity=1)
    change(request)
    answers = []
    for plain in (False, True):
        counted["plain"] = plain
        try:
            answers.append(without_time(await empty.routing.PlanFulfillment(request)))
        except grpc.aio.AioRpcError as fault:
            answers.append((fault.code(), fault.details()))
    assert answers[0] == answers[1]


async def build_long(wire: Wire) -> routing.PromiseOrderRequest:
    """The longest names there are, and an order whose units lie one by one at eight nodes."""
    carrier, channel = "c" * 64, "w" * 32
    await wire.network.UpsertCarrier(
        network.UpsertCarrierRequest(carrier=network.Carrier(carrier=carrier))
    )
    names = [f"{number:02d}" + "ö" * 31 for number in range(8)]
    for name in names:
        made = network.Node(
            node=name,
            place=types_pb2.Place(
                country_code="US", postal_code="07102", time_zone="America/New_York"
            ),
            calendar=network.Calendar(working_days=list(range(1, 8))),
            parcel_handling_cost=money(999_999_999),
            pick_capacity_per_day=1000,
        )
        await wire.network.UpsertNode(network.UpsertNodeRequest(node=made))
    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel=channel))
    )
    zone = "z" * 32
    slow = network.CarrierService(
        carrier_service="s" * 64,
        carrier=carrier,
        currency_code="USD",
        lanes=[network.Lane(zone=zone)],
        rates=[network.Rate(zone=zone, weight_grams_max=30_000, price_minor_units=10_000_000_000)],
        # Beyond the night in March in which clocks change.
        transits=[network.Transit(zone=zone, days_min=1, days_max=130)],
        pickups=[network.Pickup(node=name, minute=17 * 60, capacity=500) for name in names],
        calendar=network.Calendar(working_days=list(range(1, 8))),
        co2e_grams_per_parcel=1_000_000,
    )
    await wire.network.UpsertCarrierService(
        network.UpsertCarrierServiceRequest(carrier_service=slow)
    )
    yaml = "rules:\n" + "".join(
        f"- {{name: rule-{number:02d}-{'r' * 50}, prefer: "
        "{nodes: 'node.type == \"STORE\"', worth: 1}}\n"
        for number in range(9)
    )
    await wire.network.UpsertRoutingRules(
        network.UpsertRoutingRulesRequest(
            routing_rules=network.RoutingRules(routing_rules="long", yaml=yaml)
        )
    )
    skus = [f"{number:02d}" + "k" * 62 for number in range(10)]
    await wire.items(*skus, weight_grams=100)
    await wire.inventory.CountInventory(
        inventory.CountInventoryRequest(
            counts=[
                inventory.InventoryCount(sku=sku, node=name, on_hand=1)
                for sku in skus
                for name in names
            ]
        )
    )
    order = routing.RoutingOrder(reservation_id="i" * 64, owner="o" * 64, channel=channel)
    order.destination.country_code = "US"
    order.destination.postal_code = "94103"
    for sku in skus:
        order.lines.add(sku=sku, quantity=8)
    return routing.PromiseOrderRequest(request_id="q" * 64, order=order)


async def test_the_longest_names_are_written_the_same(tmp_path: Path, counted: dict[str, Any]):
    found = []
    for plain in (False, True):
        counted["plain"] = plain
        wire = Wire(tmp_path / f"plain-{plain}")
        await wire.start()
        request = await build_long(wire)
        shown = await answer(
            wire.routing.PlanFulfillment(routing.PlanFulfillmentRequest(order=request.order))
        )
        reply = await wire.routing.PromiseOrder(request)
        assert [len(one.lines) for one in reply.plan.shipments] == [10] * 8
        assert len(reply.reservation.capacity_takes) == 16
        assert len(reply.rule_outcomes) == 9
        kept = [
            Decision.from_bytes(body)
            for (kind, _), (body, _) in wire.state.documents.items()
            if kind == ROUTING_DECISION
        ]
        parts = [(one.order, one.command, one.problem, one.key) for one in kept]
        found.append((shown, without_time(reply), parts))
        await wire.verify()
        await wire.stop()
    assert found[0] == found[1]
    assert counted["shown"] == 2
