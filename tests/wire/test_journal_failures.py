"""The journal fails while the server runs: nobody is answered wrongly, health says so, it mends."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.v1 import admin_service_pb2 as admin
from server.journal.errors import JournalFenced, JournalUnavailable
from server.journal.sqlite_journal import SqliteJournal
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def fail_appends(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """From here on every append ends like this."""

    def append(self: SqliteJournal, entry: Any) -> Any:
        raise error

    monkeypatch.setattr(SqliteJournal, "_append", append)


async def test_a_write_whose_journal_fails_is_unavailable_and_safe_to_repeat(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
):
    health = health_pb2_grpc.HealthStub(wire.channel)
    statuses = health.Watch(health_pb2.HealthCheckRequest())
    assert (await statuses.read()).status == SERVING
    request = create(("pear", "berlin", 4), request_id="r1")
    with monkeypatch.context() as patch:
        fail_appends(patch, JournalUnavailable("disk full"))
        error = await refused(wire.reservations.CreateReservation(request))
        assert (error.code, error.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "JOURNAL_UNAVAILABLE",
        )
        assert error.retry_ms == error.pushback_ms > 0
        assert "the same request_id" in error.message
        async with asyncio.timeout(10):
            assert (await statuses.read()).status == NOT_SERVING
    async with asyncio.timeout(30):
        while (await statuses.read()).status != SERVING:
            # The ledger is read anew after pauses of ledger time.
            wire.clock.advance(10_000)
    statuses.cancel()
    # What was never journaled is gone, also from reads; the same request does it now.
    assert (await wire.position("pear", "berlin")).held == 0
    made = await wire.reservations.CreateReservation(request)
    assert made.reservation.lines[0].quantity == 4
    await wire.restart()
    assert (await wire.position("pear", "berlin")).held == 4
    await wire.verify()


async def test_reads_ahead_of_a_failed_journal_are_not_answered(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
):
    async def still_full(*_: object) -> Any:
        raise JournalUnavailable("disk full")

    fail_appends(monkeypatch, JournalUnavailable("disk full"))
    monkeypatch.setattr("server.lifecycle.open_journal", still_full)  # or it serves again at once
    writing = asyncio.ensure_future(
        asyncio.wait_for(wire.reservations.CreateReservation(create(("pear", "berlin", 4))), 30)
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await writing
    error = await refused(wire.position("pear", "berlin"))
    assert error.reason == "JOURNAL_UNAVAILABLE"
    status = await wire.admin.GetStatus(admin.GetStatusRequest())
    assert status.shards[0].state == admin.SHARD_STATE_RECOVERING


async def test_a_server_that_lost_its_journal_to_another_ends(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
):
    fail_appends(monkeypatch, JournalFenced("a newer writer has it"))
    error = await refused(
        wire.reservations.CreateReservation(create(("pear", "berlin", 4), request_id="r1"))
    )
    assert error.code is grpc.StatusCode.UNAVAILABLE
    error = await refused(wire.reservations.CreateReservation(create(("pear", "berlin", 1))))
    assert error.reason == "SHARD_MOVED"
    async with asyncio.timeout(10):
        await wire.server.until_stop_asked()
    assert "newer writer" in wire.server.failure
