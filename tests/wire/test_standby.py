"""A standby beside the server it follows: what it refuses, what may be read from it, what it says
of itself; and how its turn comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import availability_service_pb2 as availability
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as messages
from server.application.gateway import Phase
from server.transport.health import READY
from tests.redis_server import RedisServer, running
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire

SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
async def primary(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Wire]:
    made = Wire(tmp_path / "first", journal=redis_server.url("lease_ms=600000"))
    await made.start()
    await made.nodes("berlin", "lyon")
    await made.items("pear")
    await made.stock("pear", "berlin", 10)
    await made.stock("pear", "lyon", 5)
    yield made
    await made.stop()


@pytest.fixture
async def standby(
    request: pytest.FixtureRequest, primary: Wire, tmp_path: Path
) -> AsyncIterator[Wire]:
    reads = getattr(request, "param", True)
    made = Wire(
        tmp_path / "second", journal=primary.settings["journal"], standby=True, standby_reads=reads
    )
    await made.start()
    yield made
    await made.stop()


without_reads = pytest.mark.parametrize("standby", [False], indirect=True, ids=["no reads"])


async def keeps_up(standby: Wire, primary: Wire) -> None:
    """Wait until the standby has what the primary has now."""
    wanted = primary.state.revision
    while True:
        status = await standby.admin.GetStatus(admin.GetStatusRequest())
        if status.revision >= wanted:
            return


async def serves(wire: Wire) -> None:
    """Wait until its health says so."""
    stub = health_pb2_grpc.HealthStub(wire.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    while (await watch.read()).status != SERVING:
        pass
    watch.cancel()


async def health_of(wire: Wire, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(wire.channel)
    reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    status: int = reply.status
    return status


def query(**fields: Any) -> availability.QueryAvailabilityRequest:
    return availability.QueryAvailabilityRequest(skus=["pear"], nodes=["berlin"], **fields)


async def test_it_refuses_writes_and_says_who_serves(primary: Wire, standby: Wire):
    one = create(("pear", "berlin", 1))
    calls = [
        standby.reservations.CreateReservation(one),
        standby.reservations.BulkCreateReservations(
            messages.BulkCreateReservationsRequest(requests=[one])
        ),
        standby.inventory.CountInventory(
            inventory.CountInventoryRequest(
                counts=[inventory.InventoryCount(sku="pear", node="berlin", on_hand=3)]
            )
        ),
        standby.network.UpsertNode(network.UpsertNodeRequest(node=network.Node(node="paris"))),
        standby.admin.CreateSnapshot(admin.CreateSnapshotRequest()),
    ]
    for call in calls:
        error = await refused(call)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SHARD_MOVED")
        assert "this server is a standby; " in error.message
        assert "serves this shard" in error.message
        assert error.pushback_ms > 0
    await keeps_up(standby, primary)
    assert (await standby.position("pear", "berlin")).on_hand == 10


async def test_streams_that_need_the_owner_are_refused_as_a_whole(primary: Wire, standby: Wire):
    """A client then goes to the other server; refusals inside a stream would keep it here."""
    watch = standby.availability.WatchAvailability(
        availability.WatchAvailabilityRequest(skus=["pear"])
    )
    exchange = standby.reservations.ExchangeReservations()
    ingest = standby.inventory.IngestInventory()
    for stream in (watch, exchange, ingest):
        error = await refused(stream.read())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SHARD_MOVED")


async def test_what_it_has_may_be_read_and_says_how_old_it_is(primary: Wire, standby: Wire):
    held = await primary.hold(("pear", "berlin", 3), owner="ann")
    await keeps_up(standby, primary)
    position = await standby.position("pear", "berlin")
    assert (position.on_hand, position.held) == (10, 3)
    found = await standby.reservations.GetReservation(
        messages.GetReservationRequest(reservation_id=held.reservation_id)
    )
    assert found.reservation == held
    assert found.revision == primary.state.revision
    reply = await standby.availability.QueryAvailability(query())
    assert reply.positions[0].available_to_sell == 7
    assert reply.revision == primary.state.revision
    await standby.verify()


async def test_who_wants_to_read_its_own_writes_is_sent_to_the_owner(primary: Wire, standby: Wire):
    request = query()
    request.max_staleness.FromMilliseconds(0)
    error = await refused(standby.availability.QueryAvailability(request))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SHARD_MOVED")
    assert "behind the one that serves" in error.message
    await primary.availability.QueryAvailability(request)


async def test_numbers_that_are_too_old_are_not_given(
    primary: Wire, standby: Wire, redis_server: RedisServer
):
    """Redis does not answer the standby any more: it can not know what it misses."""
    request = query()
    request.max_staleness.FromMilliseconds(200)
    with redis_server.stalled():
        while True:
            try:
                await standby.availability.QueryAvailability(request)
            except grpc.aio.AioRpcError as fault:
                error = fault
                break
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "behind the one that serves" in (error.details() or "")


@without_reads
async def test_nothing_is_read_from_it_unless_it_may(primary: Wire, standby: Wire):
    error = await refused(
        standby.inventory.GetInventoryPosition(
            inventory.GetInventoryPositionRequest(sku="pear", node="berlin")
        )
    )
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SHARD_MOVED")
    error = await refused(standby.availability.QueryAvailability(query()))
    assert error.reason == "SHARD_MOVED"
    # Status tells of the server itself, and is always answered.
    await keeps_up(standby, primary)


async def test_channels_that_change_are_seen_by_readers(primary: Wire, standby: Wire):
    """What a channel sells from is read from documents, which replay changes behind its back."""
    for nodes, expected in ((["berlin"], {"berlin"}), (["berlin", "lyon"], {"berlin", "lyon"})):
        await primary.network.UpsertChannel(
            network.UpsertChannelRequest(channel=network.Channel(channel="web", nodes=nodes))
        )
        await keeps_up(standby, primary)
        reply = await standby.availability.QueryAvailability(
            availability.QueryAvailabilityRequest(skus=["pear"], channel="web")
        )
        assert {position.node for position in reply.positions} == expected


async def test_it_says_of_itself_what_it_is(primary: Wire, standby: Wire):
    status = await standby.admin.GetStatus(admin.GetStatusRequest(include_state_hash=True))
    shard = status.shards[0]
    assert shard.state == admin.SHARD_STATE_STANDBY
    assert "records behind" in shard.message
    assert shard.journal.kind == admin.JOURNAL_KIND_REDIS
    assert shard.journal.durability == admin.JOURNAL_DURABILITY_DURABLE
    assert shard.positions == 2
    await keeps_up(standby, primary)
    hashes = [
        (await wire.admin.GetStatus(admin.GetStatusRequest(include_state_hash=True))).state_hash
        for wire in (primary, standby)
    ]
    assert hashes[0] == hashes[1] != ""
    assert await health_of(standby) == NOT_SERVING
    assert await health_of(standby, "holdfast.v1.ReservationService") == NOT_SERVING
    assert await health_of(standby, READY) == SERVING
    assert await health_of(primary, READY) == SERVING
    text = await metrics(standby)
    assert "holdfast_standby 1.0" in text
    assert "holdfast_serving 0.0" in text
    assert "holdfast_standby_behind_records 0.0" in text
    assert "holdfast_positions 2.0" in text
    assert "holdfast_standby 0.0" in await metrics(primary)
    assert "holdfast_standby_behind" not in await metrics(primary)


async def metrics(wire: Wire) -> str:
    def get() -> str:
        with urlopen(f"http://127.0.0.1:{wire.server.metrics_port}/metrics") as reply:
            text: str = reply.read().decode()
            return text

    return await asyncio.to_thread(get)


async def test_its_turn_comes_when_the_other_one_is_drained(primary: Wire, standby: Wire):
    held = await primary.hold(("pear", "berlin", 3), request_id="q-1", owner="ann")
    await primary.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel="web", nodes=["lyon"]))
    )
    await primary.stop()
    await serves(standby)
    assert await health_of(standby, READY) == SERVING
    # The same answer as from the one before, byte for byte.
    again = await standby.hold(("pear", "berlin", 3), request_id="q-1", owner="ann")
    assert again == held
    await standby.hold(("pear", "berlin", 7))
    error = await refused(
        standby.reservations.CreateReservation(create(("pear", "berlin", 1), channel="web"))
    )
    assert error.reason == "NODE_NOT_IN_CHANNEL"
    status = await standby.admin.GetStatus(admin.GetStatusRequest())
    assert status.shards[0].state == admin.SHARD_STATE_SERVING
    assert "holdfast_standby 0.0" in await metrics(standby)
    await standby.verify()
    # And the one before may come back as the standby of this one.
    primary.settings["standby"] = True
    await primary.start()
    status = await primary.admin.GetStatus(admin.GetStatusRequest())
    assert status.shards[0].state == admin.SHARD_STATE_STANDBY


async def test_its_turn_comes_at_once_where_nobody_serves(
    tmp_path: Path, redis_server: RedisServer
):
    """Both servers of a pair may be started with the same flags."""
    wire = Wire(tmp_path / "data", journal=redis_server.url(), standby=True)
    await wire.start()
    await serves(wire)
    await wire.nodes("berlin")
    await wire.stop()


async def test_a_holds_time_goes_on_over_a_takeover(primary: Wire, standby: Wire):
    request = create(("pear", "berlin", 3))
    request.ttl.FromMilliseconds(60_000)
    await primary.reservations.CreateReservation(request)
    await primary.stop()
    await serves(standby)
    position = await standby.position("pear", "berlin")
    assert position.held == 3
    standby.clock.advance(60_001)
    while (await standby.position("pear", "berlin")).held:
        pass
    await standby.verify()


async def test_a_standby_that_is_told_to_stop_ends_at_once(primary: Wire, standby: Wire):
    stub = health_pb2_grpc.HealthStub(standby.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == NOT_SERVING
    standby.server.drain(5_000)
    await standby.server.until_stop_asked()
    await standby.server.stop()
    error = await refused(watch.read())
    assert error.reason == "DRAINING"
    assert standby.server.failure == ""
    assert standby.server._gateway.phase is Phase.STOPPED
    await primary.hold(("pear", "berlin", 1))


async def test_a_standby_that_can_not_follow_any_more_ends_with_a_reason(
    primary: Wire, standby: Wire, redis_server: RedisServer
):
    await keeps_up(standby, primary)
    with redis_server.client() as client:
        client.xadd("holdfast:{default:0}:journal", {"r": b"not a record"}, id="1-9000")
    await standby.server.until_stop_asked()
    assert "journal record 1-9000" in standby.server.failure


async def time_goes_on(wire: Wire) -> None:
    """The pauses between two attempts to read the journal again pass."""
    while True:
        wire.clock.advance(1_000)
        await asyncio.sleep(0)


async def test_after_a_restart_of_redis_one_of_the_two_serves(
    primary: Wire, standby: Wire, redis_server: RedisServer
):
    held = await primary.hold(("pear", "berlin", 3), request_id="q-1", owner="ann")
    redis_server.kill()
    error = await refused(primary.reservations.CreateReservation(create(("pear", "berlin", 1))))
    assert error.code is grpc.StatusCode.UNAVAILABLE
    moving = asyncio.ensure_future(time_goes_on(primary))
    redis_server.start()
    waiting = {asyncio.ensure_future(serves(wire)): wire for wire in (primary, standby)}
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    winner = waiting[done.pop()]
    for task in waiting:
        task.cancel()
    again = await winner.hold(("pear", "berlin", 3), request_id="q-1", owner="ann")
    assert again == held
    await winner.verify()
    if winner is primary:
        await keeps_up(standby, primary)
        assert await health_of(standby) == NOT_SERVING
    else:
        await primary.server.until_stop_asked()
        assert "is written by" in primary.server.failure
    moving.cancel()
