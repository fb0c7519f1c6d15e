"""Planning an order anew of which a part has shipped: only what is open, the rest stays."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from engine import commands
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.v1 import types_pb2
from server.transport.calls import Call
from server.transport.services.promises import PromiseService
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused
from tests.wire.test_plan_orders import settings, wave

pytestmark = pytest.mark.wire


async def promised(wire: Wire, *lines: tuple[str, int], name: str = "a", **fields: Any) -> Any:
    """A confirmed promise."""
    made = await wire.routing.PromiseOrder(
        routing.PromiseOrderRequest(order=small.order(*lines, reservation_id=name, **fields))
    )
    await wire.reservations.ConfirmReservation(
        reservations.ConfirmReservationRequest(reservation_id=name)
    )
    return made


async def ship(wire: Wire, *lines: tuple[int, int], name: str = "a") -> None:
    """Units of lines leave; none named: all."""
    request = reservations.FulfillReservationRequest(reservation_id=name)
    for line, quantity in lines:
        request.lines.add(line=line, quantity=quantity)
    await wire.reservations.FulfillReservation(request)


async def replan(wire: Wire, *excluded: str, name: str = "a", **fields: Any) -> Any:
    return await wire.routing.ReplanOrder(
        routing.ReplanOrderRequest(reservation_id=name, excluded_nodes=excluded, **fields)
    )


def line_of(reservation: types_pb2.Reservation, sku: str) -> types_pb2.ReservationLine:
    (line,) = (line for line in reservation.lines if line.sku == sku)
    return line


def takes_of(reservation: types_pb2.Reservation, sku: str) -> dict[str, int]:
    """Open units of a SKU by node."""
    found: dict[str, int] = {}
    for line in reservation.lines:
        for take in line.takes if line.sku == sku else ():
            found[take.node] = found.get(take.node, 0) + take.quantity
    return found


async def available(wire: Wire, sku: str, node: str) -> int:
    return (await wire.position(sku, node)).available


async def test_the_shipped_line_stays_and_the_open_one_moves(built: Wire):
    made = await promised(built, ("mug", 2), ("rug", 1))
    numbers = {line.sku: line.reservation_line for line in made.plan.shipments[0].lines}
    assert [one.node for one in made.plan.shipments] == ["newark"]
    await ship(built, (numbers["mug"], 2))
    moved = await replan(built, "newark")
    # Only the rug is planned and priced: one parcel of 2.5 kg from the store.
    (shipment,) = moved.plan.shipments
    assert (shipment.node, [line.sku for line in shipment.lines]) == ("manhattan", ["rug"])
    assert moved.plan.cost_minor_units == 500 + 300 + 200 + 20
    mug, rug = line_of(moved.reservation, "mug"), line_of(moved.reservation, "rug")
    assert (mug.quantity, mug.fulfilled_quantity, list(mug.takes)) == (2, 2, [])
    assert (rug.quantity, rug.fulfilled_quantity) == (1, 0)
    assert takes_of(moved.reservation, "rug") == {"manhattan": 1}
    assert moved.reservation.lines[shipment.lines[0].reservation_line] == rug
    assert len(moved.reservation.lines) == 2
    position = await built.position("mug", "newark")
    assert (position.on_hand, position.committed) == (3, 0)
    assert await available(built, "rug", "newark") == 5
    assert await available(built, "rug", "manhattan") == 4
    await ship(built)
    kept = await built.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id="a")
    )
    assert kept.reservation.state == types_pb2.Reservation.STATE_FULFILLED
    await built.verify()


async def test_a_line_that_shipped_in_part_keeps_its_number(built: Wire):
    """Six mugs from two nodes are two lines; one of three mugs has left, all else moves."""
    made = await promised(built, ("mug", 6))
    assert sorted(one.node for one in made.plan.shipments) == ["manhattan", "newark"]
    before = made.reservation
    await ship(built, (0, 1))
    first = before.lines[0].takes[0].node
    moved = await replan(built, first)
    planned = {one.node: sum(line.quantity for line in one.lines) for one in moved.plan.shipments}
    assert first not in planned
    assert sum(planned.values()) == 5
    after = moved.reservation
    assert [line.quantity for line in after.lines] == [line.quantity for line in before.lines]
    assert after.lines[0].fulfilled_quantity == 1
    for number, line in enumerate(after.lines):
        there = {take.node: take.quantity for take in line.takes}
        told: dict[str, int] = {}
        for one in moved.plan.shipments:
            for part in one.lines:
                if part.reservation_line == number:
                    told[one.node] = told.get(one.node, 0) + part.quantity
        assert told == there
        assert sum(there.values()) == line.quantity - line.fulfilled_quantity
    # Each shipment's parcels hold the same as the shipment, line by line.
    for one in moved.plan.shipments:
        packed: dict[int, int] = {}
        for parcel in one.parcels:
            for part in parcel.lines:
                packed[part.reservation_line] = packed.get(part.reservation_line, 0) + part.quantity
        shown: dict[int, int] = {}
        for part in one.lines:
            shown[part.reservation_line] = shown.get(part.reservation_line, 0) + part.quantity
        assert packed == shown
        for number, units in shown.items():
            request = reservations.FulfillReservationRequest(reservation_id="a")
            request.lines.add(line=number, quantity=units, node=one.node)
            await built.reservations.FulfillReservation(request)
    ended = await built.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id="a")
    )
    assert ended.reservation.state == types_pb2.Reservation.STATE_FULFILLED
    await built.verify()


async def test_a_second_replan_goes_on_from_the_first(built: Wire):
    await promised(built, ("mug", 3))
    await ship(built, (0, 1))
    first = await replan(built, "newark")
    assert takes_of(first.reservation, "mug") == {"manhattan": 2}
    await ship(built, (0, 1))
    second = await replan(built, "manhattan")
    # Newark stays excluded, what has left it or Manhattan stays told.
    assert takes_of(second.reservation, "mug") == {"chicago": 1}
    (line,) = second.reservation.lines
    assert (line.quantity, line.fulfilled_quantity) == (3, 2)
    for node, units in (("newark", 4), ("manhattan", 4), ("chicago", 5)):
        assert (await built.position("mug", node)).on_hand == units
    explained = await built.routing.ExplainPlan(routing.ExplainPlanRequest(reservation_id="a"))
    assert explained.replayed
    assert explained.plan == second.plan
    await built.verify()


async def test_a_cancelled_part_is_not_planned(built: Wire):
    made = await promised(built, ("mug", 3), ("rug", 1))
    numbers = {line.sku: line.reservation_line for line in made.plan.shipments[0].lines}
    await ship(built, (numbers["mug"], 1))
    for sku, units in (("mug", 1), ("rug", 1)):
        request = reservations.CancelReservationRequest(reservation_id="a")
        request.lines.add(line=numbers[sku], quantity=units)
        await built.reservations.CancelReservation(request)
    moved = await replan(built, "newark")
    assert [[(line.sku, line.quantity) for line in one.lines] for one in moved.plan.shipments] == [
        [("mug", 1)]
    ]
    mug = line_of(moved.reservation, "mug")
    assert (mug.quantity, mug.fulfilled_quantity, mug.cancelled_quantity) == (3, 1, 1)
    assert takes_of(moved.reservation, "mug") == {"manhattan": 1}
    assert line_of(moved.reservation, "rug").cancelled_quantity == 1
    await built.verify()


async def test_what_came_back_is_not_planned_again(built: Wire):
    await promised(built, ("mug", 2))
    await ship(built, (0, 1))
    back = reservations.ReturnReservationRequest(reservation_id="a")
    back.lines.add(line=0, quantity=1)
    await built.reservations.ReturnReservation(back)
    moved = await replan(built, "newark")
    assert takes_of(moved.reservation, "mug") == {"manhattan": 1}
    assert moved.reservation.lines[0].returned_quantity == 1
    assert (await built.position("mug", "newark")).on_hand == 5


async def test_an_order_that_has_shipped_whole_is_refused(built: Wire):
    await promised(built, ("mug", 2))
    await ship(built)
    error = await refused(replan(built, "newark"))
    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "STATE_TRANSITION_NOT_ALLOWED",
    )
    assert (error.metadata["reservation_id"], error.metadata["state"]) == ("a", "FULFILLED")


async def test_a_retry_gets_the_first_answer_also_after_a_restart(built: Wire):
    await promised(built, ("mug", 2))
    await ship(built, (0, 1))
    moved = await replan(built, "newark", request_id="m")
    assert await replan(built, "newark", request_id="m") == moved
    # What happened since changes nothing of it.
    await ship(built)
    await built.restart()
    assert await replan(built, "newark", request_id="m") == moved
    other = await refused(replan(built, "chicago", request_id="m"))
    assert other.reason == "REQUEST_ID_REUSED"
    await built.verify()


async def test_nothing_moves_where_the_open_part_has_no_other_plan(built: Wire):
    await promised(built, ("mug", 2))
    await ship(built, (0, 1))
    for node in ("chicago", "manhattan"):
        await built.stock("mug", node, 0)
    none = await refused(replan(built, "newark"))
    assert none.reason == "NO_FEASIBLE_PLAN"
    kept = await built.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id="a")
    )
    assert takes_of(kept.reservation, "mug") == {"newark": 1}
    assert (await built.position("mug", "newark")).committed == 1
    await built.verify()


async def test_stock_that_a_count_found_missing_is_not_planned_with(built: Wire):
    """Three are promised of one that is there: the order's own units make good the shortfall
    before anybody may use them, so the first plan is one that can be held."""
    await promised(built, ("mug", 4))
    await ship(built, (0, 1))
    await built.stock("mug", "newark", 1)
    moved = await replan(built)
    assert moved.replans == 0
    assert takes_of(moved.reservation, "mug") == {"manhattan": 3}
    assert await available(built, "mug", "newark") == 1
    await built.verify()


async def test_a_count_that_finds_too_little_moves_an_open_part(built: Wire):
    await promised(built, ("mug", 4))
    await ship(built, (0, 1))
    count = inventory.InventoryCount(
        sku="mug", node="newark", on_hand=1, shortfall_policy=types_pb2.SHORTFALL_POLICY_REPLAN
    )
    told = await built.inventory.CountInventory(inventory.CountInventoryRequest(counts=[count]))
    assert list(told.results[0].reassigned_reservation_ids) == ["a"]
    kept = await built.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id="a")
    )
    assert takes_of(kept.reservation, "mug") == {"manhattan": 3}
    assert kept.reservation.lines[0].fulfilled_quantity == 1
    await built.verify()


async def test_an_open_part_leaves_a_frozen_node(built: Wire):
    await promised(built, ("mug", 2))
    await ship(built, (0, 1))
    await built.admin.FreezeNode(admin.FreezeNodeRequest(node="newark"))
    assert takes_of((await replan(built)).reservation, "mug") == {"manhattan": 1}


async def test_a_count_between_plan_and_hold_is_planned_around(
    built: Wire, monkeypatch: pytest.MonkeyPatch
):
    """The first plan's mug is gone when it is to be held: planned again, and counted."""
    await promised(built, ("mug", 2))
    await ship(built, (0, 1))
    submit = PromiseService._submit
    lost: list[str] = []

    async def submit_later(self: PromiseService, batch: CommandBatch, call: Call) -> Outcomes:
        if batch.headers["kind"][-1] == commands.REROUTE and not lost:
            lost.append("mug")
            await built.stock("mug", "manhattan", 0)
        return await submit(self, batch, call)

    monkeypatch.setattr(PromiseService, "_submit", submit_later)
    moved = await replan(built, "newark", request_id="m")
    assert moved.replans == 1
    assert takes_of(moved.reservation, "mug") == {"chicago": 1}
    assert await replan(built, "newark", request_id="m") == moved
    assert (await built.position("mug", "newark")).committed == 0
    await built.verify()


async def test_an_order_that_changes_between_plan_and_hold_is_read_again(
    built: Wire, monkeypatch: pytest.MonkeyPatch
):
    """Another unit ships after the plan was made: the hold is refused, the rest planned anew."""
    await promised(built, ("mug", 3))
    await ship(built, (0, 1))
    submit = PromiseService._submit
    shipped: list[int] = []

    async def submit_later(self: PromiseService, batch: CommandBatch, call: Call) -> Outcomes:
        if batch.headers["kind"][-1] == commands.REROUTE and not shipped:
            shipped.append(1)
            await ship(built, (0, 1))
        return await submit(self, batch, call)

    monkeypatch.setattr(PromiseService, "_submit", submit_later)
    moved = await replan(built, "newark")
    assert moved.replans == 1
    assert moved.reservation.lines[0].fulfilled_quantity == 2
    assert takes_of(moved.reservation, "mug") == {"manhattan": 1}
    assert sum(line.quantity for one in moved.plan.shipments for line in one.lines) == 1
    await built.verify()


async def test_capacity_that_went_with_a_shipment_is_not_given_back(built: Wire):
    """Newark picks three a day and its carrier takes two parcels: one parcel with one of two mugs
    has left. The other mug's pick is given back, the parcel's place is not."""
    await built.network.UpsertNode(
        network.UpsertNodeRequest(node=small.node("newark", pick_capacity_per_day=3))
    )
    pickups = [network.Pickup(node=place, minute=17 * 60) for place in small.NODES]
    pickups[0].capacity = 2
    await small.upsert(built, small.service("ground", pickups=pickups))
    made = await promised(built, ("mug", 2))
    slot, day = made.plan.shipments[0].slot, made.plan.shipments[0].pick_date
    await ship(built, (0, 1))
    moved = await replan(built, "newark")
    assert [one.node for one in moved.plan.shipments] == ["manhattan"]

    async def left(**resource: Any) -> int:
        listed = await built.inventory.ListCapacities(inventory.ListCapacitiesRequest())
        for one in listed.capacities:
            if all(getattr(one, name) == value for name, value in resource.items()):
                return int(one.available)
        raise AssertionError(f"no capacity {resource}")

    assert await left(node_capacity=types_pb2.NodeCapacity(node="newark", date=day)) == 2
    assert await left(carrier_slot=types_pb2.CarrierSlot(node="newark", slot=slot)) == 1
    await ship(built)
    assert await left(node_capacity=types_pb2.NodeCapacity(node="newark", date=day)) == 2
    await built.verify()


async def test_what_was_added_to_a_promised_order_is_planned_with_it(built: Wire):
    """A line that an order edit brought is open too, so the replan may not lose it."""
    await built.routing.PromiseOrder(
        routing.PromiseOrderRequest(order=small.order(("mug", 1), reservation_id="a"))
    )
    revise = reservations.ReviseReservationRequest(reservation_id="a")
    revise.lines.add(sku="rug", node="newark", quantity=1)
    revise.lines.add(sku="mug", node="newark", quantity=2)
    await built.reservations.ReviseReservation(revise)
    moved = await replan(built, "newark")
    assert takes_of(moved.reservation, "rug") == {"manhattan": 1}
    assert takes_of(moved.reservation, "mug") == {"manhattan": 2}
    assert [line.sku for line in moved.reservation.lines] == ["rug", "mug"]
    await built.verify()


# --- Waves ------------------------------------------------------------------------------------


async def test_a_wave_takes_open_parts_from_a_node(built: Wire):
    """Of two orders a part has left Newark, a third has shipped whole: two open parts move."""
    await built.stock("mug", "newark", 20)
    for name in ("a", "b", "c"):
        await promised(built, ("mug", 3), name=name)
    await ship(built, (0, 1), name="a")
    await ship(built, (0, 2), name="b")
    await ship(built, name="c")
    told = await wave(built, asked=settings(hold=True), replan_nodes=["newark"])
    assert [one.reservation_id for one in told.results] == ["a", "b"]
    assert (told.summary.orders_moved, told.summary.orders_held) == (2, 2)
    for name, open_units in (("a", 2), ("b", 1)):
        kept = await built.reservations.GetReservation(
            reservations.GetReservationRequest(reservation_id=name)
        )
        (line,) = kept.reservation.lines
        assert (line.quantity, line.fulfilled_quantity) == (3, 3 - open_units)
        there = takes_of(kept.reservation, "mug")
        assert "newark" not in there
        assert sum(there.values()) == open_units
    # 20 less the six that have left: all that is there is free again.
    assert await available(built, "mug", "newark") == 14
    again = await wave(built, asked=settings(hold=True), replan_nodes=["newark"])
    assert again.summary.orders == 0
    explained = await built.routing.ExplainPlan(routing.ExplainPlanRequest(reservation_id="a"))
    assert explained.replayed
    await built.verify()


async def test_a_wave_takes_open_parts_from_a_carrier(built: Wire):
    await promised(built, ("mug", 2))
    await ship(built, (0, 1))
    told = await wave(built, asked=settings(hold=True), replan_carrier_services=["ground"])
    (result,) = told.results
    assert [one.carrier_service for one in result.plan.shipments] == ["air"]
    # One mug by air, 1,660, in place of one by ground, 660: what has left is in neither.
    assert (result.previous_cost_minor_units, result.plan.cost_minor_units) == (660, 1_660)
    assert told.summary.saving_minor_units == -1_000
    await built.verify()


async def test_a_wave_compares_only_what_is_open(built: Wire):
    """A rug from Newark and a mug from Chicago; the rug has left. The mug stays: its own parcel
    costs what it did, and what has left is no saving."""
    for node in small.NODES:
        await built.stock("mug", node, int(node == "chicago"))
        await built.stock("rug", node, int(node == "newark"))
    made = await promised(built, ("rug", 1), ("mug", 1))
    numbers = {line.sku: line.reservation_line for one in made.plan.shipments for line in one.lines}
    await ship(built, (numbers["rug"], 1))
    told = await wave(built, asked=settings(hold=True), reservation_ids=["a"])
    (result,) = told.results
    assert (result.kept, result.previous_shipments) == (True, 1)
    assert result.previous_cost_minor_units == 960
    assert told.summary.orders_moved == 0
    # A mug nearer by: now moving it saves 300.
    await built.stock("mug", "newark", 1)
    told = await wave(built, asked=settings(hold=True), reservation_ids=["a"])
    assert (told.summary.orders_moved, told.summary.saving_minor_units) == (1, 300)
    kept = await built.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id="a")
    )
    assert takes_of(kept.reservation, "mug") == {"newark": 1}
    assert line_of(kept.reservation, "rug").fulfilled_quantity == 1
    await built.verify()
