"""The ledger is verified while it serves; one that differs from its records serves no longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine import invariants
from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import inventory_service_pb2 as messages
from server import lifecycle
from tests.wire.conftest import Wire, create, refused

pytestmark = pytest.mark.wire
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def verify(wire: Wire, **fields: object) -> object:
    return wire.inventory.VerifyInventory(messages.VerifyInventoryRequest(**fields))


def shown(wire: Wire, name: str) -> float:
    """The value of a metric without labels."""
    lines = wire.server.metrics.text().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def test_a_sound_ledger_is_told_with_its_hash(wire: Wire):
    await wire.hold(("pear", "berlin", 3))
    reply = await verify(wire)
    assert not reply.differences
    assert (reply.positions_checked, reply.reservations_checked) == (3, 1)
    assert reply.state_hash == invariants.state_hash(wire.state).hex()
    assert reply.revision == wire.state.revision
    assert shown(wire, "holdfast_verifications_total") >= 1
    assert shown(wire, "holdfast_verification_differences") == 0


async def test_a_difference_stops_the_shard(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    await wire.hold(("pear", "berlin", 3))
    await wire.verify()
    health = health_pb2_grpc.HealthStub(wire.channel)
    statuses = health.Watch(health_pb2.HealthCheckRequest())
    await statuses.read()
    asked_to_stop = wire.server._stop_asked.is_set
    state = wire.state
    state.positions["held"][0] += 1
    reply = await verify(wire)
    assert reply.differences_total == 1
    difference = reply.differences[0]
    assert (difference.position, difference.field) == ("pear@berlin", "held")
    assert (difference.stored, difference.recomputed) == (4, 3)
    assert not reply.state_hash
    # Health at once; calls are told why; the process stays for a while to be seen.
    assert (await statuses.read()).status == NOT_SERVING
    for call in (
        wire.reservations.CreateReservation(create(("plum", "berlin", 1))),
        wire.position("pear", "berlin"),
        verify(wire),
    ):
        error = await refused(call)
        assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INVARIANT_VIOLATED")
        assert "pear" not in error.message
    status = await wire.admin.GetStatus(admin.GetStatusRequest())
    assert status.shards[0].state == admin.SHARD_STATE_STOPPED
    assert shown(wire, "holdfast_verification_differences") == 1
    assert shown(wire, "holdfast_serving") == 0
    assert not asked_to_stop()
    assert "held of pear@berlin is 4, recomputed 3" in wire.server.failure
    log = "".join(capsys.readouterr())
    assert "a balance is not what its sources say" in log
    for told in ("position=pear@berlin", "field=held", "stored=4", "recomputed=3"):
        assert told in log
    statuses.cancel()
    # What the journal says is sound: whoever reads it anew serves.
    await wire.restart()
    assert (await wire.position("pear", "berlin")).held == 3
    await wire.verify()


async def test_the_schedule_finds_a_difference_and_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lifecycle, "_VIOLATION_SHOWN_S", 0.0)
    wire = Wire(tmp_path / "data", verify_interval_ms=1)
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear")
    await wire.stock("pear", "berlin", 10)
    wire.state.positions["on_hand"][0] -= 1
    async with asyncio.timeout(30):
        await wire.server.until_stop_asked()
    assert "INVARIANT_VIOLATED" in wire.server.failure
    await wire.stop()


async def test_a_filter_shows_its_own_differences_and_all_of_them_count(wire: Wire):
    state = wire.state
    state.positions["held"][0] += 1
    reply = await verify(wire, sku="plum")
    assert not reply.differences
    assert (await refused(wire.position("pear", "berlin"))).reason == "INVARIANT_VIOLATED"


async def test_traffic_goes_on_beside_a_pass(wire: Wire):
    await wire.stock("pear", "berlin", 1_000)
    verifying = [asyncio.ensure_future(verify(wire, skip_state_hash=True)) for _ in range(5)]
    made = await asyncio.gather(*(wire.hold(("pear", "berlin", 1)) for _ in range(50)))
    assert len(made) == 50
    for reply in await asyncio.gather(*verifying):
        assert not reply.differences
    await wire.verify()
