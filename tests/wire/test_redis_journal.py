"""A whole server whose journal is in Redis: served, cut off, served again, deposed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import reservation_service_pb2 as messages
from server.config import Config
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.lifecycle import CannotStart, Server
from tests.redis_server import PASSWORD, RedisServer, running
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
async def wire(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Wire]:
    made = Wire(tmp_path / "data", journal=redis_server.url("lease_ms=600000&timeout_ms=500"))
    await made.start()
    await made.nodes("berlin")
    await made.items("pear")
    await made.stock("pear", "berlin", 10)
    yield made
    await made.stop()


async def test_a_restarted_server_reads_its_ledger_from_redis(wire: Wire, tmp_path: Path):
    held = await wire.hold(("pear", "berlin", 3), request_id="q-1", owner="ann")
    await wire.restart()
    again = await wire.hold(("pear", "berlin", 3), request_id="q-1", owner="ann")
    assert again == held
    position = await wire.position("pear", "berlin")
    assert (position.on_hand, position.held) == (10, 3)
    await wire.verify()
    assert not list((tmp_path / "data").glob("journal*"))


async def test_status_and_metrics_say_how_durable_redis_is(wire: Wire, redis_server: RedisServer):
    status = await wire.admin.GetStatus(admin.GetStatusRequest())
    journal = status.shards[0].journal
    assert journal.kind == admin.JOURNAL_KIND_REDIS
    assert journal.durability == admin.JOURNAL_DURABILITY_DURABLE
    assert "appendonly yes, appendfsync always" in journal.detail
    assert PASSWORD not in str(status)
    assert "holdfast_journal_loss_window_seconds 0.0" in await metrics(wire)
    await wire.stop()
    with redis_server.client() as client:
        client.config_set("appendfsync", "everysec")
    wire.settings["journal"] = redis_server.url("durability=relaxed")
    await wire.start()
    status = await wire.admin.GetStatus(admin.GetStatusRequest())
    journal = status.shards[0].journal
    assert journal.durability == admin.JOURNAL_DURABILITY_RELAXED
    assert "the last 2 s may be lost" in journal.detail
    assert "holdfast_journal_loss_window_seconds 2.0" in await metrics(wire)


async def metrics(wire: Wire) -> str:
    def get() -> str:
        with urlopen(f"http://127.0.0.1:{wire.server.metrics_port}/metrics") as reply:
            text: str = reply.read().decode()
            return text

    return await asyncio.to_thread(get)


async def test_nothing_is_answered_without_redis_and_nothing_is_lost(
    wire: Wire, redis_server: RedisServer
):
    held = await wire.hold(("pear", "berlin", 3))
    redis_server.kill()
    error = await refused(
        wire.reservations.CreateReservation(_one_pear(request_id="while it is down"))
    )
    assert error.code == grpc.StatusCode.UNAVAILABLE
    redis_server.start()
    reply = await until_served(wire, _one_pear(request_id="while it is down"))
    assert reply.reservation.reservation_id != held.reservation_id
    assert (await wire.position("pear", "berlin")).held == 4
    await wire.verify()


async def until_served(
    wire: Wire, request: messages.CreateReservationRequest
) -> messages.CreateReservationResponse:
    """Ask again and again, as clients do; only UNAVAILABLE may come between."""
    while True:
        wire.clock.advance(1_000)  # the pauses between two attempts to read the journal again
        try:
            return await wire.reservations.CreateReservation(request)
        except grpc.aio.AioRpcError as fault:
            if fault.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


async def test_snapshots_are_kept_in_redis_and_the_stream_is_trimmed_behind_them(
    wire: Wire, redis_server: RedisServer
):
    for units in (3, 2):
        await wire.hold(("pear", "berlin", units))
        await wire.admin.CreateSnapshot(admin.CreateSnapshotRequest())
    with redis_server.client() as client:
        snapshots = client.hgetall("holdfast:{default:0}:snapshots")
        ((first, _),) = client.xrange("holdfast:{default:0}:journal", count=1)
    # The newest two are kept, and the records behind the older one of them.
    assert len(snapshots) == 2
    older = min(name.decode().partition("-r")[0] for name in snapshots)
    assert int(first.decode().partition("-")[2]) == int(older.partition("-")[2]) + 1
    await wire.restart()
    assert (await wire.position("pear", "berlin")).held == 5
    await wire.verify()


async def test_a_deposed_server_answers_nothing_more_and_ends(
    wire: Wire, redis_server: RedisServer
):
    await wire.hold(("pear", "berlin", 3))
    with redis_server.client() as client:
        client.delete("holdfast:{default:0}:lease")
    other = await open_journal(redis_server.url(), JournalIdentity())
    await other.claim("the new one", lambda error: None)
    error = await refused(wire.reservations.CreateReservation(_one_pear()))
    assert error.code == grpc.StatusCode.UNAVAILABLE
    await wire.server.until_stop_asked()
    assert "it must stop" in wire.server.failure
    await other.close()


async def test_a_server_does_not_start_on_a_redis_that_is_not_durable(
    redis_server: RedisServer, tmp_path: Path
):
    with redis_server.client() as client:
        client.config_set("appendfsync", "no")
    config = Config(
        listen="127.0.0.1:0", metrics_listen="", data=tmp_path, journal=redis_server.url()
    )
    with pytest.raises(CannotStart, match="is not durable"):
        await Server(config).start()


def _one_pear(**fields: str) -> messages.CreateReservationRequest:
    return create(("pear", "berlin", 1), **fields)
