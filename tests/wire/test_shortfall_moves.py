"""REPLAN: what a count leaves without units moves to nodes that have them; nobody loses any."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.v1 import types_pb2
from tests.wire import routing_network as small
from tests.wire.conftest import Wire

pytestmark = pytest.mark.wire

REPLAN = types_pb2.SHORTFALL_POLICY_REPLAN


async def count(
    wire: Wire, *found: tuple[str, str, int], policy: Any = REPLAN, **fields: Any
) -> Any:
    """The results of a count of (sku, node, on_hand)s."""
    reply = await wire.inventory.CountInventory(
        inventory.CountInventoryRequest(
            counts=[
                inventory.InventoryCount(sku=sku, node=node, on_hand=units, shortfall_policy=policy)
                for sku, node, units in found
            ],
            **fields,
        )
    )
    return reply.results


async def nodes_of(wire: Wire, reservation_id: str) -> list[tuple[str, str, int]]:
    """(sku, node, open units) of its takes."""
    reply = await wire.reservations.GetReservation(
        reservations.GetReservationRequest(reservation_id=reservation_id)
    )
    return [
        (line.sku, take.node, take.quantity)
        for line in reply.reservation.lines
        for take in line.takes
    ]


async def test_the_newest_move_until_nothing_is_short(wire: Wire):
    await wire.hold(("pear", "berlin", 4), reservation_id="old")
    await wire.hold(("pear", "berlin", 2), reservation_id="middle")
    await wire.hold(("pear", "berlin", 2), reservation_id="new")
    (told,) = await count(wire, ("pear", "berlin", 6))
    assert list(told.reassigned_reservation_ids) == ["new"]
    assert (told.position.shortfall, told.position.available) == (2, -2)  # as the count found it
    assert await nodes_of(wire, "old") == [("pear", "berlin", 4)]
    assert await nodes_of(wire, "middle") == [("pear", "berlin", 2)]
    assert await nodes_of(wire, "new") == [("pear", "lyon", 2)]
    assert (await wire.position("pear", "berlin")).available == 0
    assert (await wire.position("pear", "lyon")).available == 3
    assert "holdfast_shortfall_moves_total 1.0" in wire.server.metrics.text().decode()
    await wire.verify()


async def test_report_moves_nothing(wire: Wire):
    await wire.hold(("pear", "berlin", 4), reservation_id="a")
    (told,) = await count(wire, ("pear", "berlin", 1), policy=types_pb2.SHORTFALL_POLICY_REPORT)
    assert not told.reassigned_reservation_ids
    assert await nodes_of(wire, "a") == [("pear", "berlin", 4)]


async def test_a_confirmed_order_moves_too_and_only_its_short_lines(wire: Wire):
    await wire.hold(("plum", "berlin", 1), ("pear", "berlin", 3), reservation_id="a")
    await wire.reservations.ConfirmReservation(
        reservations.ConfirmReservationRequest(reservation_id="a")
    )
    (told,) = await count(wire, ("pear", "berlin", 0))
    assert list(told.reassigned_reservation_ids) == ["a"]
    assert await nodes_of(wire, "a") == [("plum", "berlin", 1), ("pear", "lyon", 3)]
    assert (await wire.position("pear", "lyon")).committed == 3
    await wire.verify()


async def test_what_fits_nowhere_stays_promised_where_it_is(wire: Wire):
    await wire.hold(("plum", "berlin", 4), reservation_id="a")
    (told,) = await count(wire, ("plum", "berlin", 1))
    assert not told.reassigned_reservation_ids
    assert (await wire.position("plum", "berlin")).shortfall == 3
    # A part of it fits elsewhere: that part moves.
    await wire.stock("plum", "lyon", 2)
    (told,) = await count(wire, ("plum", "berlin", 1))
    assert list(told.reassigned_reservation_ids) == ["a"]
    assert sorted(await nodes_of(wire, "a")) == [("plum", "berlin", 2), ("plum", "lyon", 2)]
    assert (await wire.position("plum", "berlin")).shortfall == 1
    await wire.verify()


async def test_a_repeated_count_goes_on_with_what_was_left(wire: Wire):
    await wire.hold(("plum", "berlin", 4), reservation_id="a")
    first = await count(wire, ("plum", "berlin", 1), request_id="c")
    await wire.stock("plum", "lyon", 9)
    again = await count(wire, ("plum", "berlin", 1), request_id="c")
    assert again[0].position == first[0].position
    assert list(again[0].reassigned_reservation_ids) == ["a"]
    assert await nodes_of(wire, "a") == [("plum", "lyon", 4)]


async def test_it_stays_with_the_nodes_of_its_channel(wire: Wire):
    await wire.nodes("oslo")
    await wire.stock("pear", "oslo", 5)
    await wire.stock("pear", "lyon", 50)
    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(
            channel=network.Channel(channel="north", nodes=["berlin", "oslo"])
        )
    )
    await wire.hold(("pear", "berlin", 3), reservation_id="a", channel="north")
    await count(wire, ("pear", "berlin", 0))
    assert await nodes_of(wire, "a") == [("pear", "oslo", 3)]


async def test_a_promised_order_is_planned_anew_as_a_whole(empty: Wire):
    await small.build(empty)
    made = await empty.routing.PromiseOrder(
        routing.PromiseOrderRequest(order=small.order(("mug", 2), ("rug", 1), reservation_id="a"))
    )
    assert [one.node for one in made.plan.shipments] == ["newark"]
    (told,) = await count(empty, ("mug", "newark", 1))
    assert list(told.reassigned_reservation_ids) == ["a"]
    # One shipment is cheaper than two: all of it leaves, though one mug is still there.
    assert await nodes_of(empty, "a") == [("mug", "manhattan", 2), ("rug", "manhattan", 1)]
    assert (await empty.position("mug", "newark")).shortfall == 0
    await empty.verify()


async def test_a_feed_moves_what_it_finds_short(wire: Wire):
    await wire.hold(("pear", "berlin", 4), reservation_id="a")
    await wire.hold(("plum", "berlin", 4), reservation_id="b")
    chunk = inventory.IngestInventoryRequest(
        feed_id="f",
        sequence=1,
        skus=["pear", "plum"],
        nodes=["berlin", "berlin"],
        quantities=[1, 4],
        shortfall_policy=REPLAN,
    )
    async for told in wire.inventory.IngestInventory(iter([chunk])):
        assert (told.applied_rows, told.shortfall_rows) == (2, 1)
    assert await nodes_of(wire, "a") == [("pear", "lyon", 4)]
    assert await nodes_of(wire, "b") == [("plum", "berlin", 4)]
    await wire.verify()


async def test_what_was_promised_of_a_supply_that_shrank_moves_to_stock(wire: Wire):
    when = wire.clock.now_ms() + 86_400_000
    supply = inventory.UpsertSupplyRequest(
        supply_id="s",
        sku="plum",
        node="lyon",
        quantity=5,
        type=inventory.SUPPLY_TYPE_PURCHASE_ORDER,
        shortfall_policy=REPLAN,
    )
    supply.expected_time.FromMilliseconds(when)
    await wire.inventory.UpsertSupply(supply)
    request = reservations.CreateReservationRequest(reservation_id="a")
    line = request.lines.add(
        sku="plum", node="lyon", quantity=3, supply_policy=types_pb2.SUPPLY_POLICY_INCOMING
    )
    line.need_by_time.FromMilliseconds(when + 1)
    await wire.reservations.CreateReservation(request)
    supply.quantity = 1
    await wire.inventory.UpsertSupply(supply)
    assert await nodes_of(wire, "a") == [("plum", "berlin", 3)]
    await wire.verify()
