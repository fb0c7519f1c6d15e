"""QueryAvailability and WatchAvailability."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from holdfast.v1 import availability_service_pb2 as messages
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as reservations
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire
DAY_MS = 86_400_000
Type = messages.AvailabilityEventType


def query(*skus: str, **fields: Any) -> messages.QueryAvailabilityRequest:
    return messages.QueryAvailabilityRequest(skus=skus, **fields)


async def supply(wire: Wire, name: str, units: int, days: int) -> None:
    request = inventory.UpsertSupplyRequest(
        supply_id=name,
        sku="pear",
        node="berlin",
        quantity=units,
        type=inventory.SUPPLY_TYPE_PURCHASE_ORDER,
    )
    request.expected_time.FromMilliseconds(wire.clock.now_ms() + days * DAY_MS)
    await wire.inventory.UpsertSupply(request)


async def test_positions_and_totals_in_the_order_asked_for(wire: Wire):
    await wire.hold(("pear", "berlin", 3))
    reply = await wire.availability.QueryAvailability(
        query("plum", "pear", nodes=["lyon", "berlin"])
    )
    told = [(p.sku, p.node, p.on_hand, p.held, p.available) for p in reply.positions]
    assert told == [
        ("plum", "lyon", 0, 0, 0),
        ("plum", "berlin", 10, 0, 10),
        ("pear", "lyon", 5, 0, 5),
        ("pear", "berlin", 10, 3, 7),
    ]
    assert [(t.sku, t.available) for t in reply.totals] == [("plum", 10), ("pear", 12)]
    assert reply.as_of_time.ToMilliseconds() == wire.clock.now_ms()


async def test_without_nodes_every_node_counts_that_has_the_sku(wire: Wire):
    reply = await wire.availability.QueryAvailability(query("pear"))
    assert [p.node for p in reply.positions] == ["berlin", "lyon"]
    only = await wire.availability.QueryAvailability(query("pear", totals_only=True))
    assert not only.positions
    assert only.totals[0].available == 15


async def test_groups_and_channels_choose_nodes(wire: Wire):
    await wire.network.UpsertNodeGroup(
        network.UpsertNodeGroupRequest(
            node_group=network.NodeGroup(node_group="south", nodes=["lyon"])
        )
    )
    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel="web", node_groups=["south"]))
    )
    for fields in ({"node_groups": ["south"]}, {"channel": "web"}):
        reply = await wire.availability.QueryAvailability(query("pear", **fields))
        assert [p.node for p in reply.positions] == ["lyon"]


async def test_own_holds_are_left_out(wire: Wire):
    await wire.hold(("pear", "berlin", 3), owner="ann")
    await wire.hold(("pear", "berlin", 2), owner="bob")
    reply = await wire.availability.QueryAvailability(query("pear", nodes=["berlin"], owner="ann"))
    assert (reply.positions[0].held, reply.positions[0].available) == (2, 8)


async def test_what_may_be_promised_by_a_date(wire: Wire):
    await supply(wire, "po-1", 4, days=2)
    await supply(wire, "po-2", 6, days=9)
    request = query("pear", nodes=["berlin"])
    now = (await wire.availability.QueryAvailability(request)).positions[0]
    assert (now.available_to_promise, now.incoming) == (10, 10)
    assert now.next_available_time.ToMilliseconds() == wire.clock.now_ms() + 2 * DAY_MS
    request.need_by_time.FromMilliseconds(wire.clock.now_ms() + 3 * DAY_MS)
    soon = (await wire.availability.QueryAvailability(request)).positions[0]
    assert (soon.available_to_promise, soon.incoming) == (14, 4)


async def test_a_fence_is_for_its_channel(wire: Wire):
    for channel in ("web", "shop"):
        await wire.network.UpsertChannel(
            network.UpsertChannelRequest(channel=network.Channel(channel=channel))
        )
    await wire.inventory.SetChannelFence(
        inventory.SetChannelFenceRequest(channel="web", sku="pear", node="berlin", quantity=7)
    )
    sells = {}
    for channel in ("web", "shop", ""):
        reply = await wire.availability.QueryAvailability(
            query("pear", nodes=["berlin"], channel=channel)
        )
        sells[channel] = reply.positions[0].available_to_sell
    assert sells == {"web": 10, "shop": 3, "": 3}


async def test_queries_that_are_refused(wire: Wire):
    cases = [
        (query(), "FIELD_REQUIRED"),
        (query("apple"), "SKU_NOT_FOUND"),
        (query("pear", nodes=["paris"]), "NODE_NOT_FOUND"),
        (query("pear", node_groups=["west"]), "NODE_GROUP_NOT_FOUND"),
        (query("pear", channel="web"), "CHANNEL_NOT_FOUND"),
        (query(*["pear"] * 10_001), "LIMIT_EXCEEDED"),
    ]
    late = query("pear")
    late.need_by_time.FromMilliseconds(wire.clock.now_ms() - 1)
    stale = query("pear")
    stale.max_staleness.FromSeconds(3601)
    cases += [(late, "FIELD_INVALID"), (stale, "LIMIT_EXCEEDED")]
    for request, reason in cases:
        error = await refused(wire.availability.QueryAvailability(request))
        assert error.reason == reason


# --- Watch -------------------------------------------------------------------------------------


def watch(**fields: Any) -> messages.WatchAvailabilityRequest:
    return messages.WatchAvailabilityRequest(**fields)


async def read(stream: Any) -> messages.WatchAvailabilityResponse:
    async with asyncio.timeout(30):
        return await stream.read()


def told(message: messages.WatchAvailabilityResponse) -> list[tuple[int, str, int]]:
    return [(event.type, event.position.node, event.position.available) for event in message.events]


async def test_a_watch_sends_a_snapshot_then_changes(wire: Wire):
    stream = wire.availability.WatchAvailability(watch(skus=["pear"]))
    first = await read(stream)
    assert first.snapshot_complete
    assert told(first) == [
        (Type.AVAILABILITY_EVENT_TYPE_SNAPSHOT, "berlin", 10),
        (Type.AVAILABILITY_EVENT_TYPE_SNAPSHOT, "lyon", 5),
    ]
    held = await wire.hold(("pear", "lyon", 2))
    change = await read(stream)
    assert told(change) == [(Type.AVAILABILITY_EVENT_TYPE_CHANGED, "lyon", 3)]
    assert change.events[0].revision == held.etag == change.revision
    stream.cancel()


async def test_a_watch_resumes_with_nothing_missed_and_nothing_twice(wire: Wire):
    request = watch(skus=["pear"], nodes=["berlin", "lyon"])
    stream = wire.availability.WatchAvailability(request)
    await read(stream)
    await wire.hold(("pear", "berlin", 1))
    seen = await read(stream)
    stream.cancel()

    await wire.hold(("pear", "lyon", 1))
    await wire.hold(("plum", "berlin", 1))
    request.resume_token = seen.resume_token
    again = wire.availability.WatchAvailability(request)
    missed = await read(again)
    assert told(missed) == [(Type.AVAILABILITY_EVENT_TYPE_CHANGED, "lyon", 4)]
    again.cancel()

    await wire.restart()
    request.resume_token = missed.resume_token
    after = wire.availability.WatchAvailability(request)
    await wire.hold(("pear", "berlin", 2))
    change = await read(after)
    assert told(change) == [(Type.AVAILABILITY_EVENT_TYPE_CHANGED, "berlin", 7)]
    after.cancel()


async def test_positions_that_come_later_are_watched_too(wire: Wire):
    stream = wire.availability.WatchAvailability(watch(nodes=["lyon"]))
    assert [event.position.sku for event in (await read(stream)).events] == ["pear"]
    await wire.stock("plum", "lyon", 4)
    change = await read(stream)
    assert [(e.position.sku, e.position.on_hand) for e in change.events] == [("plum", 4)]
    stream.cancel()


async def test_thresholds_and_shortfalls_are_events(wire: Wire):
    stream = wire.availability.WatchAvailability(
        watch(skus=["pear"], nodes=["berlin"], thresholds=[8, 3], thresholds_only=True)
    )
    await read(stream)
    await wire.hold(("pear", "berlin", 1))
    held = await wire.hold(("pear", "berlin", 2))
    fell = (await read(stream)).events
    assert [(event.type, event.threshold) for event in fell] == [
        (Type.AVAILABILITY_EVENT_TYPE_FELL_TO_THRESHOLD, 8)
    ]
    await wire.stock("pear", "berlin", 1)
    events = (await read(stream)).events
    assert [(event.type, event.threshold) for event in events] == [
        (Type.AVAILABILITY_EVENT_TYPE_FELL_TO_THRESHOLD, 3),
        (Type.AVAILABILITY_EVENT_TYPE_SHORTFALL, 0),
    ]
    assert events[1].position.shortfall == 2
    await wire.reservations.CancelReservation(
        reservations.CancelReservationRequest(reservation_id=held.reservation_id)
    )
    events = (await read(stream)).events
    assert [(event.type, event.position.shortfall) for event in events] == [
        (Type.AVAILABILITY_EVENT_TYPE_SHORTFALL, 0)
    ]
    stream.cancel()


async def test_supply_is_a_change_of_its_position(wire: Wire):
    stream = wire.availability.WatchAvailability(watch(skus=["pear"], nodes=["berlin"]))
    await read(stream)
    await supply(wire, "po-1", 4, days=2)
    assert (await read(stream)).events[0].position.incoming == 4
    await wire.inventory.CancelSupply(inventory.CancelSupplyRequest(supply_id="po-1"))
    assert (await read(stream)).events[0].position.incoming == 0
    stream.cancel()


async def test_a_slow_reader_is_told_the_last_of_many_changes(wire: Wire):
    stream = wire.availability.WatchAvailability(watch(skus=["plum"], nodes=["berlin"]))
    await read(stream)
    for _ in range(9):
        await wire.hold(("plum", "berlin", 1))
    available = []
    while not available or available[-1] != 1:
        available += [event.position.available for event in (await read(stream)).events]
    assert available == sorted(available, reverse=True)
    stream.cancel()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "FIELD_REQUIRED"),
        ({"skus": ["apple"]}, "SKU_NOT_FOUND"),
        ({"skus": ["pear"], "thresholds": [-1]}, "FIELD_INVALID"),
        ({"skus": ["pear"], "thresholds": list(range(17))}, "LIMIT_EXCEEDED"),
        ({"skus": ["pear"], "resume_token": "???"}, "FIELD_INVALID"),
        ({"skus": ["pear"], "resume_token": "A" * 257}, "LIMIT_EXCEEDED"),
    ],
)
async def test_watches_that_are_refused(wire: Wire, fields: dict[str, Any], reason: str):
    stream = wire.availability.WatchAvailability(watch(**fields))
    with pytest.raises(grpc.aio.AioRpcError):
        await read(stream)
    assert await stream.code() is not grpc.StatusCode.OK
    details = dict(await stream.trailing_metadata())["grpc-status-details-bin"]
    assert reason.encode() in details


async def test_a_token_of_another_watch_is_refused(wire: Wire):
    stream = wire.availability.WatchAvailability(watch(skus=["pear"]))
    token = (await read(stream)).resume_token
    stream.cancel()
    other = wire.availability.WatchAvailability(watch(skus=["plum"], resume_token=token))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(other)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_watches_are_bounded_and_end_when_the_server_drains(tmp_path: Any):
    wire = Wire(tmp_path / "data", watches_max=1)
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear")
    stream = wire.availability.WatchAvailability(watch(skus=["pear"], nodes=["berlin"]))
    assert (await read(stream)).snapshot_complete
    second = wire.availability.WatchAvailability(watch(skus=["pear"], nodes=["berlin"]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(second)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    stopping = asyncio.create_task(wire.server.stop())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(stream)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await stopping
    await wire.channel.close()


async def test_a_create_reads_its_own_write(wire: Wire):
    for _ in range(5):
        await wire.hold(("plum", "berlin", 1))
        request = query("plum", nodes=["berlin"])
        request.max_staleness.FromSeconds(0)
        before = (await wire.availability.QueryAvailability(request)).positions[0].available
        await wire.reservations.CreateReservation(create(("plum", "berlin", 1)))
        after = (await wire.availability.QueryAvailability(request)).positions[0].available
        assert after == before - 1
