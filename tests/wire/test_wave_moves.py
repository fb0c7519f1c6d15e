"""Waves of promised orders: away from a node or a carrier, and to where they cost less."""

from __future__ import annotations

import pytest

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.v1 import types_pb2
from tests.wire import routing_network as small
from tests.wire.conftest import Wire
from tests.wire.test_plan_orders import settings, wave

pytestmark = pytest.mark.wire


async def promised(wire: Wire, name: str, *lines: tuple[str, int], confirm: bool = True) -> None:
    await wire.routing.PromiseOrder(
        routing.PromiseOrderRequest(order=small.order(*lines, reservation_id=name))
    )
    if confirm:
        await wire.reservations.ConfirmReservation(
            reservations.ConfirmReservationRequest(reservation_id=name)
        )


async def nodes_of(wire: Wire, name: str) -> dict[str, dict[str, int]]:
    """Units of each SKU by node."""
    kept = await wire.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id=name)
    )
    found: dict[str, dict[str, int]] = {}
    for line in kept.reservation.lines:
        for take in line.takes:
            found.setdefault(line.sku, {})[take.node] = take.quantity
    return found


async def test_orders_leave_a_frozen_node_together(built: Wire):
    """Six orders of two mugs from Newark; elsewhere there are ten: five orders find room, two of
    them perhaps split, and the sixth keeps what it has."""
    await built.stock("mug", "newark", 20)
    names = [f"o{at}" for at in range(6)]
    for name in names:
        await promised(built, name, ("mug", 2), confirm=name < "o3")
    assert (await built.position("mug", "newark")).available == 8
    await built.admin.FreezeNode(admin.FreezeNodeRequest(node="newark"))
    proposed = await wave(built, replan_nodes=["newark"])
    assert (proposed.summary.orders, proposed.summary.orders_moved) == (6, 5)
    assert proposed.summary.orders_held == 0
    assert await nodes_of(built, "o0") == {"mug": {"newark": 2}}
    told = await wave(built, asked=settings(hold=True), replan_nodes=["newark"])
    assert (told.summary.orders_moved, told.summary.orders_held) == (5, 5)
    assert told.reasons().count("NO_FEASIBLE_PLAN") == 1
    for result in told.results:
        there = await nodes_of(built, result.reservation_id)
        moved = result.reason == 0
        assert ("newark" in there["mug"]) != moved
        assert sum(there["mug"].values()) == 2
        assert result.previous_shipments == 1
    assert [one.reservation_id for one in told.results] == names
    for node in ("chicago", "manhattan"):
        assert (await built.position("mug", node)).available == 0
    kept = await built.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id="o0")
    )
    assert kept.reservation.state == types_pb2.Reservation.STATE_CONFIRMED
    # What has left is not asked to leave again.
    again = await wave(built, asked=settings(hold=True), replan_nodes=["newark"])
    assert (again.summary.orders, again.summary.orders_moved) == (1, 0)
    await built.verify()


async def test_orders_leave_a_carrier_that_is_down(built: Wire):
    for name in ("a", "b"):
        await promised(built, name, ("mug", 1))
    told = await wave(built, asked=settings(hold=True), replan_carrier_services=["ground"])
    assert [one.plan.shipments[0].carrier_service for one in told.results] == ["air", "air"]
    # 1,000 more for each parcel.
    assert told.summary.saving_minor_units == -2_000
    again = await wave(built, asked=settings(hold=True), replan_carrier_services=["ground"])
    assert again.summary.orders == 0
    await built.verify()


async def test_a_wave_moves_orders_only_to_what_they_do_not_exclude(built: Wire):
    """From a node and from a carrier, and to where they cost less: by no service, and from no node,
    that the order itself ruled out."""
    asked = small.order(
        ("mug", 1),
        reservation_id="a",
        excluded_nodes=["manhattan"],
        excluded_carrier_services=["ground"],
    )
    await built.routing.PromiseOrder(routing.PromiseOrderRequest(order=asked))
    kept = await wave(built, asked=settings(hold=True), reservation_ids=["a"])
    assert (kept.results[0].kept, kept.results[0].reason) == (True, 0)
    told = await wave(built, asked=settings(hold=True), replan_nodes=["newark"])
    (shipment,) = told.results[0].plan.shipments
    assert (shipment.node, shipment.carrier_service) == ("chicago", "air")
    none = await wave(built, asked=settings(hold=True), replan_carrier_services=["air"])
    assert none.reasons() == ["NO_FEASIBLE_PLAN"]
    assert none.error(0).metadata["constraint"] == "SERVICE_CLOSED"
    await small.upsert(built, small.service("ground", carrier_service="slow"))
    told = await wave(built, asked=settings(hold=True), replan_carrier_services=["air"])
    (shipment,) = told.results[0].plan.shipments
    assert (shipment.node, shipment.carrier_service) == ("chicago", "slow")
    # The wave's carrier was down this time only; the order's own exclusions stay.
    await small.upsert(built, small.service("ground", carrier_service="slow", pickups=[]))
    moved = await wave(built, asked=settings(hold=True), replan_carrier_services=["slow"])
    (shipment,) = moved.results[0].plan.shipments
    assert (shipment.node, shipment.carrier_service) == ("chicago", "air")
    await built.verify()


async def test_confirmed_orders_swap_where_that_saves_a_shipment(built: Wire):
    """Newark has the last mug near New York. The first order took it; the second one ships its rug
    from there and its mug from Chicago. With the mugs swapped it is one parcel: 1,820 becomes 970,
    and the first order's 660 becomes 960."""
    for node in small.NODES:
        await built.stock("mug", node, int(node != "manhattan"))
        await built.stock("rug", node, int(node == "newark"))
    await promised(built, "a", ("mug", 1))
    await promised(built, "b", ("rug", 1), ("mug", 1))
    assert await nodes_of(built, "b") == {"rug": {"newark": 1}, "mug": {"chicago": 1}}
    # Both mugs are taken, and each order waits for the other's.
    ring = await wave(built, asked=settings(hold=True), reservation_ids=["a", "b"])
    assert (ring.summary.orders_moved, ring.summary.conflicts) == (0, 0)
    await built.stock("mug", "chicago", 2)
    dear = settings(saving_min_minor_units=551)
    kept = await wave(built, asked=dear, reservation_ids=["a", "b"])
    assert [one.kept for one in kept.results] == [True, True]
    assert kept.summary.cost_minor_units == 660 + 1820
    proposed = await wave(built, reservation_ids=["a", "b"])
    assert proposed.summary.saving_minor_units == 550
    assert [one.previous_cost_minor_units for one in proposed.results] == [660, 1820]
    assert [one.plan.cost_minor_units for one in proposed.results] == [960, 970]
    assert await nodes_of(built, "a") == {"mug": {"newark": 1}}
    told = await wave(built, asked=settings(hold=True), reservation_ids=["a", "b"])
    assert (told.summary.orders_moved, told.summary.shipments_saved) == (2, 1)
    assert (told.summary.saving_minor_units, told.summary.cost_minor_units) == (550, 1930)
    assert await nodes_of(built, "a") == {"mug": {"chicago": 1}}
    assert await nodes_of(built, "b") == {"rug": {"newark": 1}, "mug": {"newark": 1}}
    again = await wave(built, asked=settings(hold=True), reservation_ids=["a", "b"])
    assert [one.kept for one in again.results] == [True, True]
    await built.verify()


async def test_what_can_not_be_evaluated_anew_says_why(built: Wire):
    await promised(built, "good", ("mug", 1))
    await promised(built, "gone", ("mug", 1), confirm=False)
    await built.reservations.CancelReservation(
        reservations.CancelReservationRequest(reservation_id="gone")
    )
    await built.hold(("mug", "newark", 1), reservation_id="plain")
    told = await wave(built, reservation_ids=["good", "gone", "plain", "never"])
    assert told.results[0].kept
    assert told.reasons()[1:] == [
        "STATE_TRANSITION_NOT_ALLOWED",
        "RESERVATION_NOT_FOUND",
        "RESERVATION_NOT_FOUND",
    ]


async def test_orders_leave_a_node_that_is_out_of_the_network(built: Wire):
    """What they hold of its day is given back all the same."""
    limited = small.node("newark", pick_capacity_per_day=5)
    await built.network.UpsertNode(network.UpsertNodeRequest(node=limited))
    for name in ("a", "b"):
        await promised(built, name, ("mug", 1))
        assert await nodes_of(built, name) == {"mug": {"newark": 1}}
    limited.status = network.NODE_STATUS_INACTIVE
    await built.network.UpsertNode(network.UpsertNodeRequest(node=limited))
    told = await wave(built, asked=settings(hold=True), replan_nodes=["newark"])
    assert (told.summary.orders_moved, told.summary.orders_held) == (2, 2)
    await built.verify()
