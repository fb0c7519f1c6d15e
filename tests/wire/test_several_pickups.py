"""Several calls of a carrier at one node: each takes what it takes, and is followed by the next."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from server.transport.services.routing import RoutingService
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused
from tests.wire.test_plan_orders import orders_of, settings, wave

pytestmark = pytest.mark.wire

TEN, FIVE = 10 * 60, 17 * 60
# The test's clock says 17:13 in New York, so what is picked today goes tomorrow. Of the three days
# a node may pick on the first two make tomorrow's calls.
SLOTS = [
    *["ground@2023-11-15T10:00"] * 2,
    *["ground@2023-11-15T17:00"] * 3,
    *["ground@2023-11-16T10:00"] * 2,
    *["ground@2023-11-16T17:00"] * 3,
]


async def build(wire: Wire, *calls: tuple[int, int | None], node: str = "newark") -> None:
    """Mugs at one node, to which one service comes: minutes of its calls, and what each takes."""
    await small.build(wire)
    for place in small.NODES:
        await wire.stock("mug", place, 20 if place == node else 0)
    await call_at(wire, node, *calls)
    await small.upsert(wire, small.service("air", pickups=[]))


async def call_at(wire: Wire, node: str, *calls: tuple[int, int | None]) -> None:
    pickups = [
        network.Pickup(node=node, minute=minute, capacity=capacity) for minute, capacity in calls
    ]
    await small.upsert(wire, small.service("ground", pickups=pickups))


async def promise(wire: Wire, name: str = "") -> Any:
    order = small.order(("mug", 1), reservation_id=name)
    return await wire.routing.PromiseOrder(routing.PromiseOrderRequest(order=order))


async def capacities(wire: Wire) -> dict[str, tuple[int, int]]:
    """What the ledger has of each slot: capacity, and what is left."""
    listed = await wire.inventory.ListCapacities(inventory.ListCapacitiesRequest())
    return {one.carrier_slot.slot: (one.quantity, one.available) for one in listed.capacities}


@pytest.fixture(params=["express", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of planning."""
    if request.param == "plain":
        monkeypatch.setattr(RoutingService, "express", lambda self: None)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("turn", [1, -1])
async def test_a_full_call_is_followed_by_the_next_of_its_day_then_by_those_of_the_next_day(
    empty: Wire, turn: int
):
    """In whatever order the service lists them."""
    await build(empty, *[(TEN, 2), (FIVE, 3)][::turn])
    ends = []
    for slot in SLOTS:
        planned = await small.plan(empty, small.order(("mug", 1)))
        assert [one.slot for one in planned.plans[0].shipments] == [slot]
        made = await promise(empty)
        shipment = made.plan.shipments[0]
        assert (shipment.slot, shipment.pick_date) == (slot, "2023-11-14")
        ready = shipment.ready_time.ToDatetime()
        assert f"{ready.hour - 5}:00" == slot[-5:]
        takes = [(one.carrier_slot.slot, one.quantity) for one in made.reservation.capacity_takes]
        assert takes == [(slot, 1)]
        ends.append(shipment.delivery_window.end_time.ToDatetime().day)
    assert ends == [17] * 5 + [18] * 5
    none = await refused(promise(empty))
    assert (none.reason, none.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "NO_SLOT")
    assert await capacities(empty) == {slot: (units, 0) for slot, units in Counter(SLOTS).items()}
    await empty.verify()


@pytest.mark.usefixtures("way")
async def test_a_call_without_a_capacity_beside_a_limited_one_takes_all(empty: Wire):
    await build(empty, (TEN, None), (FIVE, 1))
    for _ in range(5):
        made = await promise(empty)
        shipment = made.plan.shipments[0]
        assert (shipment.slot, shipment.ready_time.ToDatetime().hour) == ("", 15)
        assert not made.reservation.capacity_takes
    await call_at(empty, "newark", (FIVE, None), (TEN, 1))
    made = [(await promise(empty)).plan.shipments[0] for _ in range(4)]
    assert [one.slot for one in made] == [SLOTS[0], "", "", ""]
    assert [one.ready_time.ToDatetime().hour for one in made] == [15, 22, 22, 22]
    assert await capacities(empty) == {SLOTS[0]: (1, 0)}
    await empty.verify()


async def test_what_the_ledger_was_told_of_a_slot_counts_for_that_call_alone(empty: Wire):
    await build(empty, (TEN, 2), (FIVE, 3))
    asked = inventory.SetCapacityRequest(quantity=1)
    asked.carrier_slot.node, asked.carrier_slot.slot = "newark", SLOTS[0]
    await empty.inventory.SetCapacity(asked)
    made = [(await promise(empty)).plan.shipments[0].slot for _ in range(5)]
    assert made == [SLOTS[0], *SLOTS[2:6]]


async def test_an_order_that_is_planned_anew_keeps_its_place_in_a_full_call(empty: Wire):
    await build(empty, (TEN, 2), (FIVE, 3))
    for name in ("a", "b", "c"):
        await promise(empty, name)
    again = await empty.routing.ReplanOrder(routing.ReplanOrderRequest(reservation_id="b"))
    assert again.plan.shipments[0].slot == SLOTS[0]
    later = await empty.routing.ReplanOrder(routing.ReplanOrderRequest(reservation_id="c"))
    assert later.plan.shipments[0].slot == SLOTS[2]
    told = await empty.routing.ExplainPlan(routing.ExplainPlanRequest(reservation_id="c"))
    assert told.replayed
    await empty.verify()


async def test_a_wave_fills_one_call_after_the_other(empty: Wire):
    await build(empty, (FIVE, 3), (TEN, 2))
    held = await wave(empty, orders_of(12, ("mug", 1)), settings(hold=True))
    assert sorted(held.reasons()) == ["NO_FEASIBLE_PLAN"] * 2 + ["UNSPECIFIED"] * 10
    shipments = [one.plan.shipments[0] for one in held.results if one.held]
    assert sorted(one.slot for one in shipments) == SLOTS
    assert await capacities(empty) == {slot: (units, 0) for slot, units in Counter(SLOTS).items()}
    await empty.verify()


async def test_a_wave_goes_by_a_later_call_rather_than_by_a_dearer_service(empty: Wire):
    """By air a mug costs 1,000 more."""
    await build(empty, (FIVE, 3), (TEN, 2))
    await small.upsert(empty, small.service("air"))
    told = await wave(empty, orders_of(6, ("mug", 1)), settings(hold=True))
    shipments = [one.plan.shipments[0] for one in told.results]
    assert sorted(one.slot for one in shipments) == SLOTS[:6]
    assert told.summary.cost_minor_units == 6 * 660
    assert (told.summary.orders_later, told.summary.conflicts) == (4, 0)
    late = [small.order(("mug", 1), reservation_id=f"late{at}") for at in range(6)]
    for order in late:
        order.deliver_by_time.FromDatetime(datetime(2023, 11, 16, 12))
    told = await wave(empty, late, settings(hold=True))
    # The calls of the 16th come too late for these.
    assert {one.plan.shipments[0].carrier_service for one in told.results} == {"air"}
    await empty.verify()


async def test_a_wave_that_moves_orders_fills_one_call_after_the_other(empty: Wire):
    await build(empty, (TEN, None))
    for name in "abcdef":
        await promise(empty, name)
    await empty.stock("mug", "chicago", 20)
    await call_at(empty, "chicago", (FIVE, 3), (TEN, 2))
    await empty.admin.FreezeNode(admin.FreezeNodeRequest(node="newark"))
    moved = await wave(empty, asked=settings(hold=True), replan_nodes=["newark"])
    assert (moved.summary.orders_moved, moved.summary.conflicts) == (6, 0)
    assert sorted(one.plan.shipments[0].slot for one in moved.results) == SLOTS[:6]
    await empty.verify()
