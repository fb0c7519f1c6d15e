"""InventoryService on the wire: balances, supply, limits, lists, feeds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from engine import limits
from holdfast.v1 import errors_pb2, types_pb2
from holdfast.v1 import inventory_service_pb2 as messages
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as reservations
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire
DAY_MS = 86_400_000
Reason = errors_pb2.ErrorReason


def adjustment(sku: str, node: str, delta: int, **fields: Any) -> messages.InventoryAdjustment:
    return messages.InventoryAdjustment(sku=sku, node=node, delta=delta, **fields)


async def test_adjustments_stand_together_and_are_movements(wire: Wire):
    reply = await wire.inventory.AdjustInventory(
        messages.AdjustInventoryRequest(
            adjustments=[
                adjustment(
                    "pear",
                    "berlin",
                    -4,
                    reason=messages.ADJUSTMENT_REASON_SHRINKAGE,
                    reference="note-7",
                ),
                adjustment("plum", "lyon", 6, reason=messages.ADJUSTMENT_REASON_FOUND),
            ]
        )
    )
    assert [position.on_hand for position in reply.positions] == [6, 6]
    listed = await wire.inventory.ListInventoryMovements(
        messages.ListInventoryMovementsRequest(sku="pear", node="berlin")
    )
    assert [(m.type, m.on_hand_delta, m.on_hand) for m in listed.movements] == [
        (messages.MOVEMENT_TYPE_COUNT, 10, 10),
        (messages.MOVEMENT_TYPE_ADJUST, -4, 6),
    ]
    last = listed.movements[-1]
    assert last.reason == messages.ADJUSTMENT_REASON_SHRINKAGE
    assert last.reference == "note-7"

    error = await refused(
        wire.inventory.AdjustInventory(
            messages.AdjustInventoryRequest(
                adjustments=[adjustment("pear", "berlin", 5), adjustment("plum", "berlin", -11)]
            )
        )
    )
    assert error.reason == "INSUFFICIENT_STOCK"
    (short,) = error.shortages
    assert (short.line, short.requested_quantity, short.available_quantity) == (1, 11, 10)
    assert (await wire.position("pear", "berlin")).on_hand == 6
    await wire.verify()


async def test_a_count_nets_what_moved_since_and_wipes_no_hold(wire: Wire):
    held = await wire.hold(("pear", "berlin", 4))
    name = held.reservation_id
    counted_ms = wire.clock.now_ms()
    wire.clock.advance(1000)
    await wire.reservations.ConfirmReservation(
        reservations.ConfirmReservationRequest(reservation_id=name)
    )
    await wire.reservations.FulfillReservation(
        reservations.FulfillReservationRequest(
            reservation_id=name, lines=[types_pb2.LineQuantity(line=0, quantity=1)]
        )
    )
    count = messages.InventoryCount(sku="pear", node="berlin", on_hand=9)
    count.as_of_time.FromMilliseconds(counted_ms)
    reply = await wire.inventory.CountInventory(messages.CountInventoryRequest(counts=[count]))
    (result,) = reply.results
    assert (result.position.on_hand, result.position.committed) == (8, 3)
    assert (result.correction, result.netted_quantity) == (-1, -1)
    assert result.position.count_time.ToMilliseconds() == counted_ms
    await wire.verify()


async def test_counts_that_are_refused(wire: Wire):
    def count(**fields: Any) -> messages.CountInventoryRequest:
        return messages.CountInventoryRequest(counts=[messages.InventoryCount(**fields)])

    pear = {"sku": "pear", "node": "berlin"}
    twice = messages.CountInventoryRequest(counts=[messages.InventoryCount(**pear)] * 2)
    future, past = count(on_hand=1, **pear), count(on_hand=1, **pear)
    future.counts[0].as_of_time.FromMilliseconds(wire.clock.now_ms() + DAY_MS)
    past.counts[0].as_of_time.FromMilliseconds(wire.clock.now_ms() - DAY_MS)
    for request, code, reason in (
        (count(on_hand=-1, **pear), grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        (count(on_hand=2**40, **pear), grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED"),
        (count(sku="apple", node="berlin"), grpc.StatusCode.NOT_FOUND, "SKU_NOT_FOUND"),
        (count(sku="pear", node="paris"), grpc.StatusCode.NOT_FOUND, "NODE_NOT_FOUND"),
        (twice, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        (future, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        (past, grpc.StatusCode.ABORTED, "COUNT_OUT_OF_DATE"),
    ):
        error = await refused(wire.inventory.CountInventory(request))
        assert (error.code, error.reason) == (code, reason)
    assert (await wire.position("pear", "berlin")).on_hand == 10


async def test_transfers_at_once_and_on_their_way(wire: Wire):
    lines = [messages.TransferLine(sku="pear", quantity=3)]
    reply = await wire.inventory.TransferInventory(
        messages.TransferInventoryRequest(
            source_node="berlin", destination_node="lyon", lines=lines
        )
    )
    assert [p.on_hand for p in reply.source_positions] == [7]
    assert [p.on_hand for p in reply.destination_positions] == [8]

    request = messages.TransferInventoryRequest(
        request_id="t1", source_node="berlin", destination_node="lyon", lines=lines
    )
    request.expected_time.FromMilliseconds(wire.clock.now_ms() + DAY_MS)
    sent = await wire.inventory.TransferInventory(request)
    (supply,) = sent.supplies
    assert (supply.quantity, supply.source_node) == (3, "berlin")
    assert sent.destination_positions[0].in_transit == 3
    again = await wire.inventory.TransferInventory(request)
    assert again.supplies[0].supply_id == supply.supply_id
    assert (await wire.position("pear", "berlin")).on_hand == 4

    arrived = await wire.inventory.ReceiveSupply(
        messages.ReceiveSupplyRequest(supply_id=supply.supply_id, quantity=3)
    )
    assert (arrived.position.on_hand, arrived.position.in_transit) == (11, 0)
    assert arrived.supply.state == messages.Supply.STATE_RECEIVED
    error = await refused(
        wire.inventory.CancelSupply(messages.CancelSupplyRequest(supply_id=supply.supply_id))
    )
    assert error.reason == "SUPPLY_CLOSED"
    await wire.verify()


async def test_promises_against_supply_move_to_stock_when_it_comes(wire: Wire):
    announce = messages.UpsertSupplyRequest(
        supply_id="po-1",
        sku="plum",
        node="lyon",
        quantity=5,
        type=messages.SUPPLY_TYPE_PURCHASE_ORDER,
    )
    announce.expected_time.FromMilliseconds(wire.clock.now_ms() + DAY_MS)
    await wire.inventory.UpsertSupply(announce)
    request = create(("plum", "lyon", 4))
    request.lines[0].supply_policy = types_pb2.SUPPLY_POLICY_INCOMING
    held = (await wire.reservations.CreateReservation(request)).reservation
    assert [(t.node, t.supply_id) for t in held.lines[0].takes] == [("lyon", "po-1")]
    listed = await wire.inventory.ListSupplies(messages.ListSuppliesRequest(sku="plum"))
    assert listed.supplies[0].promised_quantity == 4

    await wire.reservations.ConfirmReservation(
        reservations.ConfirmReservationRequest(reservation_id=held.reservation_id)
    )
    ship = reservations.FulfillReservationRequest(reservation_id=held.reservation_id)
    error = await refused(wire.reservations.FulfillReservation(ship))
    assert error.reason == "SUPPLY_NOT_RECEIVED"
    got = await wire.inventory.ReceiveSupply(
        messages.ReceiveSupplyRequest(supply_id="po-1", quantity=5)
    )
    assert got.moved_quantity == 4
    done = await wire.reservations.FulfillReservation(ship)
    assert done.reservation.state == types_pb2.Reservation.STATE_FULFILLED
    other = await refused(
        wire.inventory.UpsertSupply(
            messages.UpsertSupplyRequest(
                supply_id="po-1",
                sku="pear",
                node="lyon",
                quantity=5,
                type=messages.SUPPLY_TYPE_PURCHASE_ORDER,
                expected_time=announce.expected_time,
            )
        )
    )
    assert other.reason == "SUPPLY_EXISTS"


async def test_withheld_units_are_there_but_not_for_sale(wire: Wire):
    entry = messages.InventoryWithholding(
        sku="pear", node="berlin", bucket=types_pb2.WITHHELD_BUCKET_SAFETY_STOCK, quantity=4
    )
    reply = await wire.inventory.WithholdInventory(
        messages.WithholdInventoryRequest(withholdings=[entry])
    )
    assert reply.positions[0].withheld.safety_stock == 4
    assert reply.positions[0].available == 6
    for wrong, reason in (
        ({"delta": 7}, "INSUFFICIENT_STOCK"),
        ({"delta": 0}, "FIELD_INVALID"),
        ({}, "FIELD_REQUIRED"),
        ({"quantity": 1, "bucket": 0}, "FIELD_REQUIRED"),
    ):
        fields = {"bucket": types_pb2.WITHHELD_BUCKET_SAFETY_STOCK, **wrong}
        bad = messages.InventoryWithholding(sku="pear", node="berlin", **fields)
        error = await refused(
            wire.inventory.WithholdInventory(messages.WithholdInventoryRequest(withholdings=[bad]))
        )
        assert error.reason == reason


async def test_capacities_fences_and_limits(wire: Wire):
    day = types_pb2.NodeCapacity(node="berlin", date="2026-03-02")
    made = await wire.inventory.SetCapacity(
        messages.SetCapacityRequest(node_capacity=day, quantity=2)
    )
    assert made.capacity.available == 2
    request = create(("pear", "berlin", 1))
    request.capacity_takes.add(node_capacity=day, quantity=2)
    held = (await wire.reservations.CreateReservation(request)).reservation
    assert held.capacity_takes[0].node_capacity == day
    error = await refused(wire.reservations.CreateReservation(request))
    assert (error.reason, error.shortages[0].node_capacity) == ("CAPACITY_EXHAUSTED", day)
    request.capacity_takes[0].node_capacity.date = "2026-03-03"
    error = await refused(wire.reservations.CreateReservation(request))
    assert error.reason == "CAPACITY_NOT_FOUND"
    listed = await wire.inventory.ListCapacities(messages.ListCapacitiesRequest(node="berlin"))
    assert [(c.quantity, c.held) for c in listed.capacities] == [(2, 2)]

    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel="web"))
    )
    fence = messages.SetChannelFenceRequest(channel="web", sku="pear", node="berlin", quantity=8)
    await wire.inventory.SetChannelFence(fence)
    error = await refused(wire.reservations.CreateReservation(create(("pear", "berlin", 2))))
    assert error.shortages[0].available_quantity == 1
    await wire.hold(("pear", "berlin", 2), channel="web")
    listed = await wire.inventory.ListChannelFences(messages.ListChannelFencesRequest())
    assert [(f.channel, f.quantity, f.held) for f in listed.channel_fences] == [("web", 8, 2)]

    await wire.inventory.SetPurchaseLimit(messages.SetPurchaseLimitRequest(sku="plum", quantity=2))
    error = await refused(wire.reservations.CreateReservation(create(("plum", "berlin", 1))))
    assert (error.reason, list(error.fields)) == ("FIELD_REQUIRED", ["owner"])
    await wire.hold(("plum", "berlin", 2), owner="ann")
    error = await refused(
        wire.reservations.CreateReservation(create(("plum", "berlin", 1), owner="ann"))
    )
    assert (error.reason, error.shortages[0].node) == ("PURCHASE_LIMIT_REACHED", "")
    await wire.verify()


async def test_a_days_capacity_is_the_nodes_own_where_none_was_set(wire: Wire):
    node = network.Node(node="berlin", pick_capacity_per_day=2)
    await wire.network.UpsertNode(network.UpsertNodeRequest(node=node))
    request = create(("pear", "berlin", 1), request_id="r1")
    day = types_pb2.NodeCapacity(node="berlin", date="2026-03-02")
    request.capacity_takes.add(node_capacity=day, quantity=2)
    held = await wire.reservations.CreateReservation(request)
    assert held.reservation.capacity_takes[0].quantity == 2
    assert await wire.reservations.CreateReservation(request) == held
    bulk = reservations.BulkCreateReservationsRequest(requests=[request])
    bulk.requests[0].request_id = ""
    bulk.requests.add().CopyFrom(bulk.requests[0])
    bulk.requests[1].capacity_takes[0].node_capacity.date = "2026-03-03"
    results = (await wire.reservations.BulkCreateReservations(bulk)).results
    assert [result.reason for result in results] == [Reason.ERROR_REASON_CAPACITY_EXHAUSTED, 0]
    listed = await wire.inventory.ListCapacities(messages.ListCapacitiesRequest())
    assert [(c.node_capacity.date, c.quantity, c.held) for c in listed.capacities] == [
        ("2026-03-02", 2, 2),
        ("2026-03-03", 2, 2),
    ]
    await wire.verify()


async def test_lists_of_positions_by_sku_and_node(wire: Wire):
    async def listed(**fields: Any) -> list[tuple[str, str]]:
        found, request = [], messages.ListInventoryPositionsRequest(page_size=1, **fields)
        while True:
            page = await wire.inventory.ListInventoryPositions(request)
            found += [(p.sku, p.node) for p in page.positions]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    assert await listed() == [("pear", "berlin"), ("pear", "lyon"), ("plum", "berlin")]
    assert await listed(sku="pear") == [("pear", "berlin"), ("pear", "lyon")]
    assert await listed(node="berlin") == [("pear", "berlin"), ("plum", "berlin")]
    assert await listed(sku="pear", node="lyon") == [("pear", "lyon")]
    assert await listed(sku="nobody") == []
    assert await listed(shortfall_only=True) == []
    error = await refused(
        wire.inventory.GetInventoryPosition(
            messages.GetInventoryPositionRequest(sku="plum", node="lyon")
        )
    )
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "POSITION_NOT_FOUND")


# --- Feeds -------------------------------------------------------------------------------------


def chunk(sequence: int, rows: Sequence[tuple[str, str, int]], **fields: Any) -> Any:
    return messages.IngestInventoryRequest(
        feed_id="feed",
        sequence=sequence,
        skus=[row[0] for row in rows],
        nodes=[row[1] for row in rows],
        quantities=[row[2] for row in rows],
        **fields,
    )


async def ingest(wire: Wire, *chunks: Any) -> list[messages.IngestInventoryResponse]:
    async def requests() -> AsyncIterator[Any]:
        for item in chunks:
            yield item

    return [reply async for reply in wire.inventory.IngestInventory(requests())]


async def test_good_rows_of_a_feed_land_and_bad_ones_are_told(wire: Wire):
    rows = [
        ("pear", "berlin", 20),
        ("apple", "berlin", 1),
        ("pear", "paris", 1),
        ("plum", "berlin", -1),
        ("plum", "lyon", 2_000_000_000),
        (" x", "berlin", 1),
        ("plum", "berlin", 7),
        ("plum", "berlin", 8),
        ("", "berlin", 8),
    ]
    (reply,) = await ingest(wire, chunk(1, rows, row_numbers=range(100, 109)))
    assert reply.applied_rows == 2
    told = [
        (e.row, e.field, Reason.Name(e.reason).removeprefix("ERROR_REASON_")) for e in reply.errors
    ]
    assert told == [
        (101, "skus", "SKU_NOT_FOUND"),
        (102, "nodes", "NODE_NOT_FOUND"),
        (103, "quantities", "FIELD_INVALID"),
        (104, "quantities", "LIMIT_EXCEEDED"),
        (105, "skus", "FIELD_INVALID"),
        (106, "skus", "FIELD_INVALID"),
        (108, "skus", "FIELD_REQUIRED"),
    ]
    assert "row 107 too, which counts" in reply.errors[5].message
    assert (await wire.position("pear", "berlin")).on_hand == 20
    assert (await wire.position("plum", "berlin")).on_hand == 8


async def test_a_feed_resumes_where_it_stopped_after_a_restart_too(wire: Wire):
    one, two = chunk(1, [("pear", "berlin", 21)]), chunk(2, [("pear", "lyon", 22)])
    first, second = await ingest(wire, one, two)
    assert (first.last_sequence, second.last_sequence) == (1, 2)
    await wire.restart()
    (where,) = await ingest(wire, messages.IngestInventoryRequest(feed_id="feed"))
    assert where.last_sequence == 2
    await wire.hold(("pear", "berlin", 1))
    again = (await ingest(wire, one))[0]
    assert (again.replayed, again.applied_rows, again.revision) == (True, 1, first.revision)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingest(wire, chunk(4, [("pear", "lyon", 1)]))
    assert caught.value.code() is grpc.StatusCode.ABORTED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingest(wire, chunk(2, [("pear", "lyon", 99)]))
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert (await wire.position("pear", "lyon")).on_hand == 22


async def test_a_feed_without_times_or_with_one_for_all(wire: Wire):
    now = wire.clock.now_ms()
    one = chunk(1, [("pear", "berlin", 3), ("plum", "berlin", 4)], as_of_times_ms=[now])
    single = messages.IngestInventoryRequest(
        feed_id="feed", sequence=2, skus=["pear", "plum"], nodes=["lyon"], quantities=[1, 2]
    )
    late = chunk(3, [("pear", "berlin", 9)], as_of_times_ms=[now - DAY_MS])
    replies = await ingest(wire, one, single, late)
    assert [reply.applied_rows for reply in replies] == [2, 2, 0]
    assert replies[2].errors[0].reason == Reason.ERROR_REASON_COUNT_OUT_OF_DATE
    assert (await wire.position("plum", "lyon")).on_hand == 2


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"feed_id": ""}, "feed_id"),
        ({"nodes": ["berlin"] * 3}, "nodes"),
        ({"quantities": [1]}, "quantities"),
        ({"row_numbers": [1]}, "row_numbers"),
        ({"as_of_times_ms": [1, 2, 3]}, "as_of_times_ms"),
        ({"shortfall_policy": 9}, "shortfall_policy"),
        ({"skus": []}, "skus"),
        ({"skus": ["s"] * (limits.rows_per_ingest_chunk_max + 1)}, "skus"),
    ],
)
async def test_chunks_that_are_refused_whole(wire: Wire, fields: dict[str, Any], wrong: str):
    request = chunk(1, [("pear", "berlin", 1), ("plum", "berlin", 1)])
    for name, value in fields.items():
        request.ClearField(name)
        if isinstance(value, list):
            getattr(request, name).extend(value)
        else:
            setattr(request, name, value)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingest(wire, request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert wrong in (caught.value.details() or "")
    assert (await wire.position("pear", "berlin")).on_hand == 10


async def test_a_repeated_write_shows_the_balances_it_showed_first(wire: Wire):
    """Byte for byte, whatever happened since."""
    pear = {"sku": "pear", "node": "berlin"}
    holds = [await wire.hold(("pear", "berlin", 4)) for _ in range(2)]
    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel="web"))
    )
    arrives = wire.clock.now_ms() + DAY_MS
    supply = messages.UpsertSupplyRequest(
        supply_id="po-1", quantity=9, type=messages.SUPPLY_TYPE_PURCHASE_ORDER, **pear
    )
    supply.expected_time.FromMilliseconds(arrives)
    travelling = messages.TransferInventoryRequest(
        source_node="lyon",
        destination_node="berlin",
        lines=[messages.TransferLine(sku="pear", quantity=1)],
    )
    travelling.expected_time.FromMilliseconds(arrives)
    writes = [
        (
            "AdjustInventory",
            messages.AdjustInventoryRequest(adjustments=[adjustment(**pear, delta=1)]),
        ),
        ("TransferInventory", travelling),
        ("UpsertSupply", supply),
        ("ReceiveSupply", messages.ReceiveSupplyRequest(supply_id="po-1", quantity=2)),
        ("SetBackorderLimit", messages.SetBackorderLimitRequest(quantity=5, **pear)),
        ("SetChannelFence", messages.SetChannelFenceRequest(channel="web", quantity=1, **pear)),
        (
            "SetCapacity",
            messages.SetCapacityRequest(
                node_capacity=types_pb2.NodeCapacity(node="berlin", date="2026-03-02"), quantity=7
            ),
        ),
        (
            "WithholdInventory",
            messages.WithholdInventoryRequest(
                withholdings=[
                    messages.InventoryWithholding(
                        bucket=types_pb2.WITHHELD_BUCKET_DAMAGED, delta=1, **pear
                    )
                ]
            ),
        ),
        (
            "CountInventory",
            messages.CountInventoryRequest(
                counts=[
                    messages.InventoryCount(
                        on_hand=6,
                        shortfall_policy=types_pb2.SHORTFALL_POLICY_CANCEL_NEWEST_HOLDS,
                        **pear,
                    )
                ]
            ),
        ),
        ("CancelSupply", messages.CancelSupplyRequest(supply_id="po-1")),
    ]
    first = []
    for number, (method, request) in enumerate(writes):
        request.request_id = f"w-{number}"
        wire.clock.advance(1000)
        first.append(await getattr(wire.inventory, method)(request))
    (counted,) = first[-2].results
    assert list(counted.cancelled_reservation_ids) == [holds[1].reservation_id]
    assert (counted.position.on_hand, counted.position.held, counted.correction) == (6, 4, -7)
    await wire.hold(("pear", "berlin", 1), channel="web")
    for (method, request), reply in zip(writes, first, strict=True):
        again = await getattr(wire.inventory, method)(request)
        assert again.SerializeToString(deterministic=True) == reply.SerializeToString(
            deterministic=True
        )
    await wire.verify()
