"""The client against the real server: every method, and the errors a storefront meets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import aio, errors
from holdfast.values.inventory import MovementType, SupplyState
from holdfast.values.network import Channel, NodeStatus
from holdfast.values.reservations import ReservationState
from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

SKU, OTHER = "SKU-1", "SKU-2"
EAST, WEST = "WH-EAST", "WH-WEST"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture(scope="module")
def connection(server: RunningServer) -> Iterator[holdfast.Client]:
    with holdfast.Client(server.target, timeout=20.0) as client:
        client.nodes.upsert_all([holdfast.Node(EAST), holdfast.Node(WEST)])
        client.node_groups.upsert(holdfast.NodeGroup("COAST", (EAST, WEST)))
        yield client


@pytest.fixture
def client(connection: holdfast.Client) -> holdfast.Client:
    """A client of a ledger with 10 units of each SKU in the east, 5 in the west, nothing held."""
    connection.items.upsert_all([holdfast.Item(SKU), holdfast.Item(OTHER)])
    for reservation in connection.list(state=ReservationState.HELD):
        connection.cancel(reservation.reservation_id)
    for reservation in connection.list(state=ReservationState.CONFIRMED):
        connection.cancel(reservation.reservation_id)
    connection.count([holdfast.Count(sku, EAST, 10) for sku in (SKU, OTHER)])
    connection.count([holdfast.Count(sku, WEST, 5) for sku in (SKU, OTHER)])
    return connection


def available(client: holdfast.Client, node: str = EAST, sku: str = SKU) -> int:
    (position,) = client.availability(sku, nodes=[node], max_staleness=0).positions
    return position.available


def test_a_hold_is_confirmed_shipped_and_returned(client: holdfast.Client):
    held = client.reserve([(SKU, EAST, 3), (OTHER, WEST, 1)], owner="cart-1", ttl=900)
    assert held.state is ReservationState.HELD
    assert held.owner == "cart-1"
    assert held.is_open
    assert held.create_time is not None
    assert held.expire_time == held.create_time + timedelta(seconds=900)
    assert [line.open_quantity for line in held.lines] == [3, 1]
    assert available(client) == 7
    confirmed = client.confirm(held.reservation_id, etag=held.etag)
    assert confirmed.state is ReservationState.CONFIRMED
    assert confirmed.expire_time is None
    assert confirmed.revision > held.revision
    shipped = client.fulfill(held.reservation_id, lines=[(0, 2)])
    assert [line.fulfilled_quantity for line in shipped.lines] == [2, 0]
    assert client.fulfill(held.reservation_id).state is ReservationState.FULFILLED
    returned = client.return_(
        held.reservation_id, [(0, 1)], disposition=holdfast.ReturnDisposition.DAMAGED
    )
    assert returned.lines[0].returned_quantity == 1
    position = client.position(SKU, EAST)
    assert (position.on_hand, position.withheld.damaged, position.available) == (8, 1, 7)
    assert client.get(held.reservation_id).lines == returned.lines
    client.withhold([holdfast.Withholding(SKU, EAST, holdfast.WithheldBucket.DAMAGED, quantity=0)])


def test_a_short_order_says_which_line_is_short(client: holdfast.Client):
    with pytest.raises(errors.InsufficientStock) as caught:
        client.reserve([(SKU, EAST, 1), (OTHER, EAST, 11)])
    (short,) = caught.value.short_lines
    assert (short.line, short.sku, short.node) == (1, OTHER, EAST)
    assert (short.requested_quantity, short.available_quantity) == (11, 10)
    assert available(client) == 10


def test_a_partial_fill_takes_what_is_there(client: holdfast.Client):
    held = client.reserve([(SKU, EAST, 12)], fill_policy=holdfast.FillPolicy.PARTIAL_QUANTITY)
    assert (held.lines[0].open_quantity, held.lines[0].shortfall_quantity) == (10, 2)


def test_a_group_splits_a_line(client: holdfast.Client):
    held = client.reserve([holdfast.Line(SKU, node_group="COAST", quantity=12)])
    assert {take.node: take.quantity for take in held.lines[0].takes} == {EAST: 10, WEST: 2}
    moved = client.reassign(held.reservation_id, [holdfast.Reassignment(0, EAST, WEST, 2)])
    assert {take.node: take.quantity for take in moved.lines[0].takes} == {EAST: 8, WEST: 4}


def test_a_hold_expires_by_the_ledgers_clock(client: holdfast.Client, server: RunningServer):
    held = client.reserve([(SKU, EAST, 4)], ttl=30)
    extended = client.extend(held.reservation_id, ttl=timedelta(minutes=2))
    assert extended.expire_time is not None
    assert held.expire_time is not None
    assert extended.expire_time > held.expire_time
    server.advance(121)
    assert available(client) == 10
    with pytest.raises(errors.ReservationExpired):
        client.confirm(held.reservation_id)
    assert client.get(held.reservation_id).state is ReservationState.EXPIRED


def test_an_order_is_edited_in_one_step(client: holdfast.Client):
    held = client.reserve([(SKU, EAST, 10)])
    revised = client.revise(held.reservation_id, [(SKU, EAST, 9), (OTHER, EAST, 1)])
    assert [(line.sku, line.quantity) for line in revised.lines] == [(SKU, 9), (OTHER, 1)]
    with pytest.raises(errors.EtagMismatch):
        client.cancel(held.reservation_id, etag=held.etag)
    with pytest.raises(errors.InsufficientStock):
        client.revise(held.reservation_id, [(SKU, EAST, 11)])
    assert client.cancel(held.reservation_id).state is ReservationState.CANCELLED
    with pytest.raises(errors.StateTransitionNotAllowed):
        client.confirm(held.reservation_id)


def test_a_shopper_is_not_blocked_by_their_own_cart(client: holdfast.Client):
    client.reserve([(SKU, EAST, 8)], owner="cart-9")
    held = client.reserve([(SKU, EAST, 9)], owner="cart-9", replace_owner_holds=True)
    assert held.lines[0].open_quantity == 9
    open_holds = list(client.list(owner="cart-9", state=ReservationState.HELD))
    assert [each.reservation_id for each in open_holds] == [held.reservation_id]


def test_a_repeated_request_gets_the_first_answer(client: holdfast.Client):
    first = client.reserve([(SKU, EAST, 2)], request_id="req-1")
    client.confirm(first.reservation_id)
    assert client.reserve([(SKU, EAST, 2)], request_id="req-1") == first
    assert available(client) == 8
    with pytest.raises(errors.RequestIdReused):
        client.reserve([(SKU, EAST, 3)], request_id="req-1")
    with pytest.raises(errors.ReservationExists):
        client.reserve([(SKU, EAST, 1)], reservation_id=first.reservation_id)


def test_a_batch_is_all_or_none(client: holdfast.Client):
    holds = [holdfast.Hold(lines=[(SKU, EAST, 6)]), holdfast.Hold(lines=[(SKU, EAST, 5)])]
    with pytest.raises(errors.InsufficientStock) as caught:
        client.batch_reserve(holds)
    assert caught.value.short_lines
    assert available(client) == 10
    made = client.batch_reserve([*holds[:1], holdfast.Hold(lines=[(OTHER, EAST, 1)])])
    assert [each.state for each in made.reservations] == ["HELD", "HELD"]


def test_a_bulk_has_an_outcome_for_each(client: holdfast.Client):
    result = client.bulk_reserve(
        holdfast.Hold(lines=[(SKU, EAST, 4)], owner=f"cart-{n}", ttl=60) for n in range(3)
    )
    assert [outcome.held for outcome in result.outcomes] == [True, True, False]
    last = result.outcomes[-1]
    assert last.reason == "INSUFFICIENT_STOCK"
    assert [(short.requested_quantity, short.available_quantity) for short in last.short_lines] == [
        (4, 2)
    ]
    assert result.outcomes[0].expire_time is not None
    assert client.get(result.outcomes[0].reservation_id).owner == "cart-0"
    assert len({outcome.request_id for outcome in result.outcomes}) == 3


def test_stock_is_adjusted_counted_transferred_and_withheld(client: holdfast.Client):
    held = client.reserve([(SKU, EAST, 4)])
    change = client.adjust(
        [holdfast.Adjustment(SKU, EAST, 5, holdfast.AdjustmentReason.FOUND, "note-1")]
    )
    assert (change.positions[0].on_hand, change.positions[0].available) == (15, 11)
    with pytest.raises(errors.InsufficientStock):
        client.adjust([holdfast.Adjustment(SKU, EAST, -12)])
    result = client.count([holdfast.Count(SKU, EAST, 3)]).results[0]
    assert (result.correction, result.position.available, result.position.shortfall) == (-12, -1, 1)
    assert client.get(held.reservation_id).is_open
    client.count([holdfast.Count(SKU, EAST, 10)])
    moved = client.transfer(EAST, WEST, [holdfast.TransferLine(SKU, 2)])
    assert moved.source_positions[0].on_hand == 8
    assert moved.destination_positions[0].on_hand == 7
    kept = client.withhold(
        [holdfast.Withholding(SKU, EAST, holdfast.WithheldBucket.SAFETY_STOCK, quantity=1)]
    )
    assert (kept.positions[0].withheld.total, kept.positions[0].available) == (1, 3)
    movements = list(client.movements(sku=SKU, node=EAST, page_size=3))
    assert {MovementType.ADJUST, MovementType.COUNT, MovementType.TRANSFER_OUT} <= {
        movement.type for movement in movements
    }
    assert "note-1" in {movement.reference for movement in movements}
    made = [movement.request_id for movement in movements if movement.request_id]
    only = list(client.movements(sku=SKU, node=EAST, request_id=made[0]))
    assert only == [movement for movement in movements if movement.request_id == made[0]]
    client.withhold(
        [holdfast.Withholding(SKU, EAST, holdfast.WithheldBucket.SAFETY_STOCK, quantity=0)]
    )


def test_supply_is_announced_promised_and_received(client: holdfast.Client, server: RunningServer):
    now = client.status().ledger_time
    assert now is not None
    due = now + timedelta(days=3)
    made = client.upsert_supply("PO-1", SKU, WEST, 20, due)
    assert (made.supply.quantity, made.supply.state) == (20, SupplyState.OPEN)
    (position,) = client.availability(
        SKU, nodes=[WEST], need_by_time=due, max_staleness=0
    ).positions
    assert (position.available, position.available_to_promise) == (5, 25)
    line = holdfast.Line(SKU, WEST, 8, supply_policy=holdfast.SupplyPolicy.INCOMING)
    held = client.reserve([line])
    assert {take.supply_id: take.quantity for take in held.lines[0].takes} == {"": 5, "PO-1": 3}
    received = client.receive_supply("PO-1", 20, final=True)
    assert (received.moved_quantity, received.position.on_hand) == (3, 25)
    assert [supply.state for supply in client.supplies(sku=SKU)] == [SupplyState.RECEIVED]
    with pytest.raises(errors.SupplyClosed):
        client.cancel_supply("PO-1")


def test_capacity_fences_and_limits_are_taken_with_the_stock(client: holdfast.Client):
    slot = holdfast.CarrierSlot("DHL-16:00", EAST)
    capacity = client.set_capacity(slot, 1)
    assert capacity is not None
    assert (capacity.quantity, capacity.available) == (1, 1)
    wanted = [holdfast.CapacityRequest(1, carrier_slot=slot)]
    held = client.reserve([(SKU, EAST, 1)], capacities=wanted)
    assert held.capacity_takes[0].carrier_slot == slot
    with pytest.raises(errors.CapacityExhausted) as caught:
        client.reserve([(SKU, EAST, 1)], capacities=wanted)
    assert [short.capacity for short in caught.value.short_lines] == ["DHL-16:00"]
    assert [each.held for each in client.capacities(node=EAST)] == [1]
    assert client.set_capacity(slot, None) is None
    limit = client.set_purchase_limit(OTHER, 2)
    assert limit.quantity == 2
    client.reserve([(OTHER, EAST, 2)], owner="greedy")
    with pytest.raises(errors.PurchaseLimitReached):
        client.reserve([(OTHER, EAST, 1)], owner="greedy")
    client.set_purchase_limit(OTHER, None)
    client.channels.upsert(Channel("shop"))
    fence = client.set_channel_fence("shop", SKU, WEST, 4)
    assert fence is not None
    assert fence.quantity == 4
    with pytest.raises(errors.InsufficientStock):
        client.reserve([(SKU, WEST, 2)])
    assert client.reserve([(SKU, WEST, 2)], channel="shop").channel == "shop"
    assert [each.held for each in client.channel_fences(channel="shop")] == [2]
    assert client.set_channel_fence("shop", SKU, WEST, None) is None


def test_the_network_is_kept(client: holdfast.Client):
    node = client.nodes.upsert(
        holdfast.Node("STORE-1", "Corner", holdfast.NodeType.STORE, holdfast.Place("DE", "10115"))
    )
    assert node.etag > 0
    assert client.nodes.get("STORE-1") == node
    assert "STORE-1" in [each.node for each in client.nodes.list(page_size=1)]
    with pytest.raises(errors.EtagMismatch):
        client.nodes.upsert(holdfast.Node("STORE-1", etag=1))
    assert client.nodes.delete("STORE-1") > node.etag
    with pytest.raises(errors.NodeNotFound):
        client.nodes.get("STORE-1")
    result = client.items.upsert_all([holdfast.Item("SKU-9"), holdfast.Item("")])
    assert result.applied_rows == 1
    assert [(error.row, error.reason) for error in result.errors] == [(1, "FIELD_REQUIRED")]
    assert client.node_groups.get("COAST").nodes == (EAST, WEST)


def test_a_frozen_node_takes_nothing_new(client: holdfast.Client):
    frozen = client.freeze_node(WEST, reason="flood")
    assert frozen.node.status is NodeStatus.FROZEN
    with pytest.raises(errors.NodeFrozen):
        client.reserve([(SKU, WEST, 1)])
    assert client.unfreeze_node(WEST).status is NodeStatus.ACTIVE
    assert client.reserve([(SKU, WEST, 1)]).is_open


@pytest.mark.parametrize(
    ("lines", "kind", "named"),
    [
        ([], errors.InvalidRequest, "lines"),
        ([(SKU, EAST, 0)], errors.InvalidRequest, "quantity"),
        ([(SKU, EAST, -1)], errors.InvalidRequest, "quantity"),
        ([(SKU, EAST, 10**12)], errors.LimitExceeded, "quantity"),
        ([("", EAST, 1)], errors.FieldRequired, "sku"),
        ([("x" * 65, EAST, 1)], errors.LimitExceeded, "sku"),
        ([(SKU, "", 1)], errors.InvalidRequest, "lines[0]"),
        ([(SKU, EAST, 1)] * 101, errors.LimitExceeded, "lines"),
        ([(SKU, "WH-NOWHERE", 1)], errors.NodeNotFound, "WH-NOWHERE"),
        ([("SKU-NONE", EAST, 1)], errors.SkuNotFound, "SKU-NONE"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(
    client: holdfast.Client, lines: Any, kind: type[errors.HoldfastError], named: str
):
    with pytest.raises(kind) as caught:
        client.reserve(lines)
    error = caught.value
    said = " ".join(
        [error.message, *(each.field for each in error.fields), *error.metadata.values()]
    )
    assert named in said
    assert available(client) == 10


def test_a_watch_sees_changes_and_crossings(client: holdfast.Client):
    with client.watch(SKU, nodes=[EAST], thresholds=[5]) as events:
        snapshot = next(events)
        assert (snapshot.type, snapshot.position.available) == ("SNAPSHOT", 10)
        client.reserve([(SKU, EAST, 6)])
        seen = [next(events), next(events)]
        token = events.resume_token
    assert {event.type for event in seen} == {"CHANGED", "FELL_TO_THRESHOLD"}
    assert {event.position.available for event in seen} == {4}
    client.reserve([(SKU, EAST, 1)])
    with client.watch(SKU, nodes=[EAST], thresholds=[5], resume_token=token) as events:
        event = next(events)
    assert (event.type, event.position.available) == ("CHANGED", 3)


def test_many_calls_share_one_stream(client: holdfast.Client):
    with client.exchange() as exchange:
        futures = [exchange.reserve([(SKU, EAST, 1)], owner=f"cart-{n}") for n in range(12)]
    held = [future.result() for future in futures if not future.exception()]
    refused = [future.exception() for future in futures if future.exception()]
    assert len(held) == 10
    assert [type(error) for error in refused] == [errors.InsufficientStock] * 2
    with client.exchange(window=4) as exchange:
        futures = [exchange.confirm(each.reservation_id) for each in held]
    assert {future.result().state for future in futures} == {ReservationState.CONFIRMED}


def test_a_feed_lands_and_is_not_applied_twice(client: holdfast.Client):
    chunks = [
        holdfast.FeedChunk([SKU, "SKU-NONE"], [EAST], [7, 1], [2, 3]),
        holdfast.FeedChunk([OTHER], [EAST], [8]),
    ]
    results = list(client.ingest("feed-1", chunks))
    assert [result.applied_rows for result in results] == [1, 1]
    (error,) = results[0].errors
    assert (error.row, error.reason, error.value) == (3, "SKU_NOT_FOUND", "SKU-NONE")
    assert available(client) == 7
    assert list(client.ingest("feed-1", chunks)) == []
    client.adjust([holdfast.Adjustment(SKU, EAST, 1)])
    assert list(client.ingest("feed-1", chunks)) == []
    assert available(client) == 8


def test_the_ledger_verifies(client: holdfast.Client):
    found = client.verify()
    assert found.sound
    assert len(found.state_hash) == 64
    assert client.verify(skip_state_hash=True).state_hash == ""
    status = client.status(include_state_hash=True)
    assert status.shards[0].state == "SERVING"
    assert client.health() is holdfast.Health.SERVING


def test_the_asyncio_client_does_the_same(client: holdfast.Client, server: RunningServer):
    async def shop() -> list[Any]:
        async with aio.Client(server.target, timeout=20.0, channels=2) as shop:
            await shop.wait_until_serving()
            tries = [shop.reserve([(SKU, EAST, 2)], owner=f"cart-{n}") for n in range(7)]
            results = await asyncio.gather(*tries, return_exceptions=True)
            async with shop.exchange() as exchange:
                await asyncio.gather(
                    *(
                        exchange.confirm(each.reservation_id)
                        for each in results
                        if isinstance(each, holdfast.Reservation)
                    )
                )
            listed = [each async for each in shop.list(state=ReservationState.CONFIRMED)]
            async with shop.watch(SKU, nodes=[EAST]) as events:
                event = await anext(events)
            fed = [
                result
                async for result in shop.ingest(
                    "feed-aio", [holdfast.FeedChunk([OTHER], [WEST], [9])]
                )
            ]
            return [results, listed, event, fed]

    results, listed, event, fed = asyncio.run(shop())
    assert [type(each).__name__ for each in results].count("Reservation") == 5
    assert [type(each).__name__ for each in results].count("InsufficientStock") == 2
    assert len(listed) == 5
    assert event.position.committed == 10
    assert [result.applied_rows for result in fed] == [1]


def test_time_is_the_ledgers_and_aware(client: holdfast.Client, server: RunningServer):
    held = client.reserve([(SKU, EAST, 1)])
    assert held.create_time == datetime.fromtimestamp(server.clock.now_ms() / 1_000, UTC)


def test_a_restart_changes_no_answer(tmp_path: Path):
    with RunningServer(tmp_path) as server, holdfast.Client(server.target, timeout=20) as client:
        client.nodes.upsert(holdfast.Node(EAST))
        client.items.upsert(holdfast.Item(SKU))
        client.count([holdfast.Count(SKU, EAST, 3)])
        first = client.reserve([(SKU, EAST, 2)], request_id="req-1")
        with pytest.raises(errors.InsufficientStock):
            client.reserve([(SKU, EAST, 2)], request_id="req-2")
        before = client.verify().state_hash
        with client.watch(SKU, nodes=[EAST]) as events:
            assert next(events).position.available == 1
            server.restart()
            # The client's calls and its watch come back by themselves.
            assert client.reserve([(SKU, EAST, 2)], request_id="req-1") == first
            assert client.verify().state_hash == before
            with pytest.raises(errors.InsufficientStock):
                client.reserve([(SKU, EAST, 2)], request_id="req-2")
            client.cancel(first.reservation_id)
            assert 3 in {next(events).position.available for _ in range(1)}
