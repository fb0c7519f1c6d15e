"""A time to come that has passed is refused by its field and value; what may be late is taken."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from holdfast.v1 import availability_service_pb2 as availability
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as routing
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire


def hold(wire: Wire, when_ms: int) -> Any:
    request = create(("pear", "berlin", 1), ("plum", "berlin", 1))
    request.lines[1].need_by_time.FromMilliseconds(when_ms)
    return wire.reservations.CreateReservation(request)


def revision(wire: Wire, when_ms: int) -> Any:
    request = reservations.ReviseReservationRequest(reservation_id="order")
    request.lines.add(sku="pear", node="berlin", quantity=1).need_by_time.FromMilliseconds(when_ms)
    return wire.reservations.ReviseReservation(request)


def query(wire: Wire, when_ms: int) -> Any:
    request = availability.QueryAvailabilityRequest(skus=["pear"])
    request.need_by_time.FromMilliseconds(when_ms)
    return wire.availability.QueryAvailability(request)


def transfer(wire: Wire, when_ms: int) -> Any:
    request = inventory.TransferInventoryRequest(source_node="berlin", destination_node="lyon")
    request.lines.add(sku="pear", quantity=1)
    request.expected_time.FromMilliseconds(when_ms)
    return wire.inventory.TransferInventory(request)


def order(when_ms: int) -> routing.RoutingOrder:
    made = routing.RoutingOrder(lines=[routing.RoutingLine(sku="pear", quantity=1)])
    made.destination.country_code, made.destination.postal_code = "US", "10001"
    made.deliver_by_time.FromMilliseconds(when_ms)
    return made


def plan(wire: Wire, when_ms: int) -> Any:
    return wire.routing.PlanFulfillment(routing.PlanFulfillmentRequest(order=order(when_ms)))


def promise(wire: Wire, when_ms: int) -> Any:
    return wire.routing.PromiseOrder(routing.PromiseOrderRequest(order=order(when_ms)))


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (hold, "lines[1].need_by_time"),
        (revision, "lines[0].need_by_time"),
        (query, "need_by_time"),
        (transfer, "expected_time"),
        (plan, "order.deliver_by_time"),
        (promise, "order.deliver_by_time"),
    ],
)
async def test_a_time_that_has_passed_is_refused_by_field_and_value(
    wire: Wire, call: Any, field: str
):
    now_ms = wire.clock.now_ms()
    before = await wire.position("pear", "berlin")
    error = await refused(call(wire, now_ms - 1))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert list(error.fields) == [field]
    assert str(now_ms - 1) in error.fields[field]
    assert str(now_ms) in error.fields[field]  # what it was held against
    assert await wire.position("pear", "berlin") == before


@pytest.mark.parametrize("call", [hold, query, transfer])
async def test_this_very_moment_has_not_passed(wire: Wire, call: Any):
    await call(wire, wire.clock.now_ms())


async def test_a_supply_that_is_late_is_still_to_come(wire: Wire):
    """Of a supply the past is no mistake: what should be there by now and is not."""
    request = inventory.UpsertSupplyRequest(
        supply_id="late",
        sku="pear",
        node="berlin",
        quantity=4,
        type=inventory.SUPPLY_TYPE_PURCHASE_ORDER,
    )
    request.expected_time.FromMilliseconds(wire.clock.now_ms() - 86_400_000)
    await wire.inventory.UpsertSupply(request)
    position = (await query(wire, wire.clock.now_ms())).positions[0]
    assert position.incoming == 4
