"""PromiseOrder and ReplanOrder on the wire: one atomic step, repeatable, replanned on conflict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from engine import commands
from engine.commands import CommandBatch
from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.v1 import types_pb2
from server.application.gateway import Gateway
from server.routing.limits import replans_max
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused

pytestmark = pytest.mark.wire


async def promise(wire: Wire, *lines: tuple[str, int], request_id: str = "", **fields: Any) -> Any:
    return await wire.routing.PromiseOrder(
        routing.PromiseOrderRequest(request_id=request_id, order=small.order(*lines, **fields))
    )


async def available(wire: Wire, sku: str, node: str) -> int:
    return (await wire.position(sku, node)).available


async def test_a_promise_holds_what_its_plan_says(empty: Wire):
    await small.build(empty)
    made = await promise(empty, ("mug", 2), ("rug", 1), reservation_id="order-1", owner="ann")
    assert [one.node for one in made.plan.shipments] == ["newark"]
    assert made.reservation.reservation_id == "order-1"
    assert made.reservation.state == types_pb2.Reservation.STATE_HELD
    assert made.reservation.owner == "ann"
    lines = {one.sku: one.reservation_line for one in made.plan.shipments[0].lines}
    for sku, number in lines.items():
        assert made.reservation.lines[number].sku == sku
    assert made.replans == 0
    assert await available(empty, "mug", "newark") == 3
    kept = await empty.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id="order-1")
    )
    assert kept.reservation == made.reservation
    await empty.verify()


async def test_a_retry_gets_the_first_answer_also_after_a_restart(empty: Wire):
    await small.build(empty)
    made = await promise(empty, ("mug", 2), request_id="r1")
    assert await promise(empty, ("mug", 2), request_id="r1") == made
    # Another body under the same id, and the same order under another one.
    other = await refused(promise(empty, ("mug", 3), request_id="r1"))
    assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    await empty.restart()
    again = await promise(empty, ("mug", 2), request_id="r1")
    assert again.SerializeToString(deterministic=True) == made.SerializeToString(deterministic=True)
    assert await available(empty, "mug", "newark") == 3
    await promise(empty, ("mug", 2), request_id="r2")
    assert await available(empty, "mug", "newark") == 1


async def test_a_refusal_is_remembered(empty: Wire):
    await small.build(empty)
    first = await refused(promise(empty, ("mug", 16), request_id="r1"))
    assert (first.code, first.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NO_FEASIBLE_PLAN",
    )
    assert first.metadata["constraint"] == "STOCK"
    assert first.metadata["line"] == "order.lines[0]"
    assert (first.metadata["requested"], first.metadata["available"]) == ("16", "15")
    await empty.stock("mug", "newark", 50)
    again = await refused(promise(empty, ("mug", 16), request_id="r1"))
    assert (again.reason, again.message) == (first.reason, first.message)
    assert await promise(empty, ("mug", 16), request_id="r2")


async def test_capacity_and_slots_are_taken_with_the_stock(empty: Wire):
    await small.build(empty)
    await empty.network.UpsertNode(
        network.UpsertNodeRequest(node=small.node("newark", pick_capacity_per_day=3))
    )
    pickups = [network.Pickup(node=place, minute=17 * 60) for place in small.NODES]
    pickups[0].capacity = 2
    await small.upsert(empty, small.service("ground", pickups=pickups))
    made = await promise(empty, ("mug", 2), reservation_id="a")
    shipment = made.plan.shipments[0]
    takes = {
        (one.node_capacity.date or one.carrier_slot.slot): one.quantity
        for one in made.reservation.capacity_takes
    }
    assert takes == {shipment.pick_date: 2, shipment.slot: 1}
    # The test's clock says 17:13 in New York: the carrier has been there today.
    assert (shipment.pick_date, shipment.slot) == ("2023-11-14", "ground@2023-11-15T17:00")
    # One unit of pick capacity is left that day: two more wait for the next.
    late = await promise(empty, ("mug", 2), reservation_id="b")
    assert late.plan.shipments[0].node == "newark"
    assert late.plan.shipments[0].pick_date > shipment.pick_date
    await empty.verify()


async def test_many_orders_for_the_last_units_leave_stock_consistent(empty: Wire):
    """Fifteen mugs, forty orders of one: fifteen are promised, the others refused for stock."""
    await small.build(empty)
    calls = [promise(empty, ("mug", 1), reservation_id=f"o{number}") for number in range(40)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    held = [one for one in answers if isinstance(one, routing.PromiseOrderResponse)]
    lost = [one for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert (len(held), len(lost)) == (15, 25)
    assert {one.code() for one in lost} == {grpc.StatusCode.FAILED_PRECONDITION}
    taken: dict[str, int] = {}
    for one in held:
        for line in one.reservation.lines:
            for take in line.takes:
                taken[take.node] = taken.get(take.node, 0) + take.quantity
    assert taken == dict.fromkeys(small.NODES, 5)
    for node in small.NODES:
        assert await available(empty, "mug", node) == 0
    await empty.verify()


async def test_orders_that_meet_at_every_node_are_promised_all_there_is(empty: Wire):
    """Twice as many nodes with one mug each as an order is planned anew at most."""
    await small.build(empty)
    for place in small.NODES:
        await empty.stock("mug", place, 0)
    for number in range(2 * replans_max):
        twin = small.node("newark")
        twin.node = f"newark-{number}"
        await empty.network.UpsertNode(network.UpsertNodeRequest(node=twin))
        await empty.stock("mug", twin.node, 1)
    pickups = [
        network.Pickup(node=f"newark-{number}", minute=17 * 60) for number in range(2 * replans_max)
    ]
    for name in small.RATES:
        await small.upsert(empty, small.service(name, pickups=pickups))
    calls = [promise(empty, ("mug", 1)) for _ in range(3 * replans_max)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    held = [one for one in answers if isinstance(one, routing.PromiseOrderResponse)]
    assert len(held) == 2 * replans_max
    lost = [await refused(_raised(one)) for one in answers if isinstance(one, Exception)]
    assert {one.reason for one in lost} == {"NO_FEASIBLE_PLAN"}
    await empty.verify()


async def _raised(fault: Exception) -> None:
    raise fault


async def test_promises_that_come_together_share_a_piece_and_nothing_else(
    empty: Wire, monkeypatch: pytest.MonkeyPatch
):
    """Each has a hold, an answer and a decision of its own, which its retry finds."""
    creates: list[int] = []
    submit = Gateway.submit

    async def counted(self: Gateway, batch: CommandBatch, **how: Any) -> Any:
        creates.append(int((batch.headers["kind"] == commands.CREATE).sum()))
        return await submit(self, batch, **how)

    monkeypatch.setattr(Gateway, "submit", counted)
    await small.build(empty)
    wishes = [(("mug", "rug")[number % 2], f"r{number}") for number in range(24)]
    made = await asyncio.gather(*(promise(empty, (sku, 1), request_id=own) for sku, own in wishes))
    assert sum(creates) >= 24
    assert max(creates) > 1
    assert len({one.reservation.reservation_id for one in made}) == 24
    for (sku, own), one in zip(wishes, made, strict=True):
        assert [line.sku for line in one.reservation.lines] == [sku]
        assert await promise(empty, (sku, 1), request_id=own) == one
    await empty.verify()


async def test_equal_requests_at_once_have_one_hold(empty: Wire):
    await small.build(empty)
    equal = [promise(empty, ("mug", 1), request_id="same") for _ in range(12)]
    others = [promise(empty, ("mug", 1), request_id=f"r{number}") for number in range(3)]
    first, *rest = await asyncio.gather(*equal, *others)
    assert rest[:11] == [first] * 11
    assert len({one.reservation.reservation_id for one in rest[11:]}) == 3
    assert sum([await available(empty, "mug", node) for node in small.NODES]) == 11
    await empty.verify()


async def test_another_order_under_the_same_request_id_at_once_spoils_neither(empty: Wire):
    await small.build(empty)
    answers = await asyncio.gather(
        *(promise(empty, ("mug", 1), request_id="same", reservation_id=own) for own in "abcd"),
        return_exceptions=True,
    )
    held = [one for one in answers if isinstance(one, routing.PromiseOrderResponse)]
    assert len(held) == 1
    others = [await refused(_raised(one)) for one in answers if isinstance(one, Exception)]
    assert {one.reason for one in others} == {"REQUEST_ID_REUSED"}
    own = held[0].reservation.reservation_id
    assert await promise(empty, ("mug", 1), request_id="same", reservation_id=own) == held[0]
    assert sum([await available(empty, "mug", node) for node in small.NODES]) == 14


@pytest.mark.parametrize("strategy", ["ROUTING_STRATEGY_UNSPECIFIED", "ROUTING_STRATEGY_NEAREST"])
async def test_a_promise_whose_caller_has_gone_is_known_to_its_retry(
    empty: Wire, monkeypatch: pytest.MonkeyPatch, strategy: str
):
    """The usual one is promised in a set, the other by itself."""
    await small.build(empty)
    wish = routing.PromiseOrderRequest(
        request_id="r1", order=small.order(("mug", 2)), strategy=strategy
    )
    await _hang_up(empty, monkeypatch, lambda: empty.routing.PromiseOrder(wish))
    made = await empty.routing.PromiseOrder(wish)
    assert made.replans == 0
    assert sum([await available(empty, "mug", node) for node in small.NODES]) == 13
    await empty.verify()


async def test_a_replan_whose_caller_has_gone_is_known_to_its_retry(
    empty: Wire, monkeypatch: pytest.MonkeyPatch
):
    await small.build(empty)
    await promise(empty, ("mug", 2), reservation_id="a")
    wish = routing.ReplanOrderRequest(
        request_id="m1", reservation_id="a", excluded_nodes=["newark"]
    )
    await _hang_up(empty, monkeypatch, lambda: empty.routing.ReplanOrder(wish))
    moved = await empty.routing.ReplanOrder(wish)
    assert ([one.node for one in moved.plan.shipments], moved.replans) == (["manhattan"], 0)
    assert await available(empty, "mug", "manhattan") == 3
    await empty.verify()


async def _hang_up(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, call: Callable[[], Awaitable[Any]]
) -> None:
    """Call, and hang up when the ledger has it and the handler has not heard yet."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    submit = Gateway.submit

    async def slow(self: Gateway, batch: CommandBatch, **how: Any) -> Any:
        answer = await submit(self, batch, **how)
        begun.set()
        await go_on.wait()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Gateway, "submit", slow)
        gone = asyncio.ensure_future(call())
        await begun.wait()
        gone.cancel()
        while wire.server.open_calls:  # noqa: ASYNC110 - until the server has heard of it
            await asyncio.sleep(0)
        go_on.set()


async def test_a_rejected_order_moves_and_keeps_its_hold_until_then(empty: Wire):
    await small.build(empty)
    made = await promise(empty, ("mug", 2), reservation_id="a")
    assert made.plan.shipments[0].node == "newark"
    moved = await empty.routing.ReplanOrder(
        routing.ReplanOrderRequest(request_id="m1", reservation_id="a", excluded_nodes=["newark"])
    )
    assert [one.node for one in moved.plan.shipments] == ["manhattan"]
    assert moved.reservation.reservation_id == "a"
    assert await available(empty, "mug", "newark") == 5
    assert await available(empty, "mug", "manhattan") == 3
    # The second rejection: newark stays excluded.
    again = await empty.routing.ReplanOrder(
        routing.ReplanOrderRequest(reservation_id="a", excluded_nodes=["manhattan"])
    )
    assert [one.node for one in again.plan.shipments] == ["chicago"]
    # The third finds nothing; the hold stays as it is.
    none = await refused(
        empty.routing.ReplanOrder(
            routing.ReplanOrderRequest(reservation_id="a", excluded_nodes=["chicago"])
        )
    )
    assert none.reason == "NO_FEASIBLE_PLAN"
    assert none.metadata["constraint"] == "NODE_CLOSED"
    assert await available(empty, "mug", "chicago") == 3
    repeated = await empty.routing.ReplanOrder(
        routing.ReplanOrderRequest(request_id="m1", reservation_id="a", excluded_nodes=["newark"])
    )
    assert repeated == moved
    await empty.verify()


async def test_an_order_leaves_a_carrier_service_this_time(empty: Wire):
    """A node is left for good, a service until the next replan, which may name it again."""
    await small.build(empty)
    made = await promise(empty, ("mug", 2), reservation_id="a")
    assert made.plan.shipments[0].carrier_service == "ground"
    moved = await empty.routing.ReplanOrder(
        routing.ReplanOrderRequest(reservation_id="a", excluded_carrier_services=["ground"])
    )
    (shipment,) = moved.plan.shipments
    assert (shipment.node, shipment.carrier_service) == ("newark", "air")
    assert moved.plan.cost_minor_units == made.plan.cost_minor_units + 1000
    again = await empty.routing.ReplanOrder(
        routing.ReplanOrderRequest(reservation_id="a", excluded_nodes=["newark"])
    )
    (shipment,) = again.plan.shipments
    assert (shipment.node, shipment.carrier_service) == ("manhattan", "ground")
    assert await available(empty, "mug", "newark") == 5
    none = await refused(
        empty.routing.ReplanOrder(
            routing.ReplanOrderRequest(
                reservation_id="a", excluded_carrier_services=["air", "ground"]
            )
        )
    )
    assert (none.reason, none.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "SERVICE_CLOSED")
    await empty.verify()


async def test_what_an_order_excluded_stays_excluded_when_it_is_planned_anew(empty: Wire):
    """Its nodes and its services, however often, also after a restart; a service that a replan
    leaves out comes back with the next one."""
    await small.build(empty)
    await small.upsert(empty, small.service("ground", carrier_service="slow"))
    await promise(
        empty,
        ("mug", 2),
        reservation_id="a",
        excluded_nodes=["manhattan"],
        excluded_carrier_services=["ground"],
    )

    async def moved(**fields: Any) -> tuple[str, str]:
        made = await empty.routing.ReplanOrder(
            routing.ReplanOrderRequest(reservation_id="a", **fields)
        )
        (shipment,) = made.plan.shipments
        return shipment.node, shipment.carrier_service

    assert await moved() == ("newark", "slow")
    assert await moved(excluded_carrier_services=["slow"]) == ("newark", "air")
    await empty.restart()
    assert await moved() == ("newark", "slow")
    assert await moved(excluded_nodes=["newark"]) == ("chicago", "slow")
    none = await refused(moved(excluded_carrier_services=["air", "slow"]))
    assert (none.reason, none.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "SERVICE_CLOSED")
    await empty.verify()


async def test_an_order_that_excluded_what_is_gone_is_planned_anew(empty: Wire):
    """A node out of the network and a service that was deleted are no names that were misspelt."""
    await small.build(empty)
    await promise(
        empty,
        ("mug", 2),
        reservation_id="a",
        excluded_nodes=["manhattan"],
        excluded_carrier_services=["air"],
    )
    gone = small.node("manhattan", status=network.NODE_STATUS_INACTIVE)
    await empty.network.UpsertNode(network.UpsertNodeRequest(node=gone))
    await empty.network.DeleteCarrierService(
        network.DeleteCarrierServiceRequest(carrier_service="air")
    )
    again = routing.ReplanOrderRequest(reservation_id="a")
    assert (await empty.routing.ReplanOrder(again)).plan.shipments[0].node == "newark"
    again.excluded_nodes.append("manhattan")
    misspelt = await refused(empty.routing.ReplanOrder(again))
    assert (misspelt.reason, misspelt.metadata["node"]) == ("NODE_NOT_FOUND", "manhattan")
    del again.excluded_nodes[:]
    again.excluded_carrier_services.append("air")
    misspelt = await refused(empty.routing.ReplanOrder(again))
    assert misspelt.reason == "CARRIER_SERVICE_NOT_FOUND"
    assert misspelt.metadata["carrier_service"] == "air"
    # Once it is there again, the order still stays away from it.
    await empty.network.UpsertNode(network.UpsertNodeRequest(node=small.node("manhattan")))
    del again.excluded_carrier_services[:]
    again.excluded_nodes.append("newark")
    assert (await empty.routing.ReplanOrder(again)).plan.shipments[0].node == "chicago"


async def test_its_own_units_are_free_when_an_order_is_planned_anew(empty: Wire):
    """All mugs are held by the order itself: it can still stay where it is."""
    await small.build(empty)
    await promise(empty, ("mug", 15), reservation_id="a")
    moved = await empty.routing.ReplanOrder(routing.ReplanOrderRequest(reservation_id="a"))
    assert sum(one.lines[0].quantity for one in moved.plan.shipments) == 15
    await empty.verify()


async def test_a_frozen_node_is_left_on_request(empty: Wire):
    await small.build(empty)
    await promise(empty, ("mug", 2), reservation_id="a")
    await empty.admin.FreezeNode(admin.FreezeNodeRequest(node="newark"))
    moved = await empty.routing.ReplanOrder(routing.ReplanOrderRequest(reservation_id="a"))
    assert [one.node for one in moved.plan.shipments] == ["manhattan"]


async def test_only_promised_orders_are_planned_anew(empty: Wire):
    await small.build(empty)
    await empty.hold(("mug", "newark", 1), reservation_id="plain")
    error = await refused(
        empty.routing.ReplanOrder(routing.ReplanOrderRequest(reservation_id="plain"))
    )
    assert error.reason == "RESERVATION_NOT_FOUND"
    assert "promised" in error.message
    await promise(empty, ("mug", 1), reservation_id="gone")
    await empty.reservations.CancelReservation(
        reservations.CancelReservationRequest(reservation_id="gone")
    )
    ended = await refused(
        empty.routing.ReplanOrder(routing.ReplanOrderRequest(reservation_id="gone"))
    )
    assert ended.reason == "STATE_TRANSITION_NOT_ALLOWED"


async def test_stock_counted_down_between_plan_and_hold_never_oversells(empty: Wire):
    await small.build(empty)
    for number in range(3):
        await asyncio.gather(
            promise(empty, ("mug", 1), reservation_id=f"p{number}"),
            empty.inventory.CountInventory(
                inventory.CountInventoryRequest(
                    counts=[inventory.InventoryCount(sku="mug", node="newark", on_hand=4 - number)]
                )
            ),
        )
    await empty.verify()
