"""Waves of chance: never over stock or capacity, every unit once and no later than allowed, and the
ledger says the same."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest

from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Wire
from tests.wire.test_plan_orders import settings, wave

pytestmark = pytest.mark.wire

DAY = timedelta(days=1)
ZIPS = ("10002", "60601", "94105", "30301", "98101", "02108")


@pytest.mark.parametrize("seed", range(4))
async def test_a_wave_takes_what_there_is_and_each_unit_once(built: Wire, seed: int):
    chance = random.Random(seed)
    stock = {(sku, node): chance.randrange(9) for sku in small.ITEMS for node in small.NODES}
    for (sku, node), units in stock.items():
        await built.stock(sku, node, units)
    picks = {node: chance.randrange(2, 9) for node in small.NODES}
    for node, units in picks.items():
        made = small.node(node, pick_capacity_per_day=units)
        await built.network.UpsertNode(network.UpsertNodeRequest(node=made))
    pickups = [
        network.Pickup(node=node, minute=hour * 60, capacity=3)
        for node in small.NODES
        for hour in (10, 17)
    ]
    await small.upsert(built, small.service("ground", pickups=pickups))
    orders = [
        small.order(
            *((sku, chance.randrange(1, 4)) for sku in small.ITEMS if chance.random() < 0.7),
            ("mug" if at % 9 == 8 else "rug", 1),
            reservation_id=f"o{at}",
            zip_code=chance.choice(ZIPS),
        )
        for at in range(18)
    ]
    orders = [one for one in orders if len({line.sku for line in one.lines}) == len(one.lines)]
    for at, order in enumerate(orders):
        # By ground it takes until the 16th where it is near, the 18th in the middle, else the 20th.
        if at % 3:
            order.deliver_by_time.FromDatetime(datetime(2023, 11, 16 + at % 4, 12))
        if at % 3 == 2:
            order.late_cost_per_day_minor_units = 10
            order.days_late_max = 1 + at % 2
    proposed = await wave(built, orders, settings(seed=seed))
    held = await wave(built, orders, settings(seed=seed, hold=True))
    for told in (proposed, held):
        taken: Counter[tuple[str, str]] = Counter()
        picked: Counter[tuple[str, str]] = Counter()
        parcels: Counter[tuple[str, str]] = Counter()
        for order, result in zip(orders, told.results, strict=True):
            if not result.HasField("plan"):
                assert result.reason
                continue
            shipped: Counter[str] = Counter()
            for one in result.plan.shipments:
                assert one.days_late <= order.days_late_max
                if order.HasField("deliver_by_time"):
                    # The window ends with the day, at midnight west of Greenwich.
                    by = order.deliver_by_time.ToDatetime() + timedelta(days=order.days_late_max)
                    assert one.delivery_window.end_time.ToDatetime().date() <= by.date() + DAY
                units = sum(line.quantity for line in one.lines)
                picked[one.node, one.pick_date] += units
                if one.slot:
                    parcels[one.node, one.slot] += len(one.parcels)
                for line in one.lines:
                    shipped[line.sku] += line.quantity
                    taken[line.sku, one.node] += line.quantity
            assert shipped == Counter({line.sku: line.quantity for line in order.lines})
        assert all(units <= stock[position] for position, units in taken.items())
        assert all(units <= picks[node] for (node, _), units in picked.items())
        assert all(count <= 3 for count in parcels.values())
        assert told.summary.cost_minor_units == sum(
            result.plan.cost_minor_units for result in told.results
        )
    for (sku, node), units in stock.items():
        position = await built.position(sku, node)
        assert (position.held, position.available) == (taken[sku, node], units - taken[sku, node])
    assert held.summary.orders_held == held.summary.orders_planned
    assert held.summary.conflicts == 0
    await built.verify()


@pytest.mark.parametrize("seed", [1, 7, 15, 16])
async def test_a_wave_costs_no_more_than_its_orders_promised_one_after_another(
    built: Wire, seed: int
):
    """Where days and pickups run out, and the next ones have room."""
    chance = random.Random(seed)
    for node in small.NODES:
        for sku in small.ITEMS:
            await built.stock(sku, node, chance.randrange(15, 30))
        made = small.node(node, pick_capacity_per_day=chance.randrange(8, 20))
        await built.network.UpsertNode(network.UpsertNodeRequest(node=made))
    pickups = [
        network.Pickup(node=node, minute=hour * 60, capacity=chance.randrange(1, 5))
        for node in small.NODES
        for hour in (10, 17)
    ]
    await small.upsert(built, small.service("ground", pickups=pickups))
    orders = [
        small.order(
            ("mug", chance.randrange(1, 4)),
            *[("rug", chance.randrange(1, 4))][: chance.randrange(2)],
            reservation_id=f"o{at}",
            zip_code=chance.choice(ZIPS),
        )
        for at in range(14)
    ]
    told = await wave(built, orders, settings(seed=seed))
    assert told.summary.orders_planned == len(orders)
    in_turn = 0
    for order in orders:
        made = await built.routing.PromiseOrder(routing.PromiseOrderRequest(order=order))
        in_turn += made.plan.cost_minor_units
    assert told.summary.cost_minor_units <= in_turn
