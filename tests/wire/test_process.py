"""The server as a process: flags, signals, kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.v1 import (
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    network_service_pb2,
    network_service_pb2_grpc,
    reservation_service_pb2,
    reservation_service_pb2_grpc,
    types_pb2,
)
from tests.wire.conftest import create

pytestmark = [pytest.mark.wire, pytest.mark.timeout(300)]

_SMALL = [
    *("--positions-max", "4096", "--reservations-max", "65536", "--takes-max", "131072"),
    *("--requests-remembered-max", "65536", "--reply-details-kept-max", "131072"),
]


class Process:
    """``python -m server`` on a data directory, its log as JSON."""

    def __init__(self, data: Path, *flags: str) -> None:
        self._flags = ["--data", str(data), "--listen", "127.0.0.1:0", "--log-format", "json"]
        self._flags += ["--metrics-listen", "off", *_SMALL, *flags]
        self.port = self.settle_port = 0
        self.told: list[dict] = []
        """All events of its log that were read."""
        self.other_lines: list[str] = []
        """Of what it wrote: those that are no event, such as a traceback of Python's own."""

    async def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", *self._flags),
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        self.other_lines = []
        async for event in self.events():
            if event["event"] == "listening":
                self.port, self.settle_port = event["port"], event["settle_port"]
            if event["event"] == "serving":
                return
        raise AssertionError("it ended before it served")

    async def events(self) -> AsyncIterator[dict]:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if line.startswith(b"{"):
                self.told.append(json.loads(line))
                yield self.told[-1]
            else:
                self.other_lines.append(line.decode())

    async def end(self) -> tuple[int, list[str]]:
        """(exit status, events of the log until then)."""
        names = [event["event"] async for event in self.events()]
        return await self.process.wait(), names

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )


async def stocked(channel: grpc.aio.Channel, units: int) -> None:
    network = network_service_pb2_grpc.NetworkServiceStub(channel)
    await network.UpsertNode(
        network_service_pb2.UpsertNodeRequest(node=network_service_pb2.Node(node="berlin"))
    )
    await network.UpsertItem(
        network_service_pb2.UpsertItemRequest(item=network_service_pb2.Item(sku="pear"))
    )
    count = inventory_service_pb2.InventoryCount(sku="pear", node="berlin", on_hand=units)
    await inventory_service_pb2_grpc.InventoryServiceStub(channel).CountInventory(
        inventory_service_pb2.CountInventoryRequest(counts=[count])
    )


async def test_kill_9_loses_no_acknowledged_hold(tmp_path: Path):
    server = Process(tmp_path)
    await server.start()
    channel = server.channel()
    await stocked(channel, 100_000)
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
    acknowledged: dict[str, bytes] = {}

    async def shopper(number: int) -> None:
        """Hold again and again, until the server is gone."""
        turn = 0
        while True:
            name = f"order-{number}-{turn}"
            request = create(("pear", "berlin", 1), request_id=name, reservation_id=name)
            try:
                reply = await stub.CreateReservation(request)
            except grpc.aio.AioRpcError:
                return
            acknowledged[name] = reply.SerializeToString(deterministic=True)
            turn += 1
            if len(acknowledged) == 150:
                server.process.send_signal(signal.SIGKILL)

    await asyncio.gather(*(shopper(number) for number in range(16)))
    await channel.close()
    await server.process.wait()
    assert len(acknowledged) >= 150

    await server.start()
    channel = server.channel()
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
    for name, first in acknowledged.items():
        request = create(("pear", "berlin", 1), request_id=name, reservation_id=name)
        again = await stub.CreateReservation(request)
        assert again.SerializeToString(deterministic=True) == first
    inventory = inventory_service_pb2_grpc.InventoryServiceStub(channel)
    verified = await inventory.VerifyInventory(inventory_service_pb2.VerifyInventoryRequest())
    assert not verified.differences
    await channel.close()
    server.process.send_signal(signal.SIGTERM)
    status, _ = await server.end()
    assert status == 0


async def test_sigterm_drains_answers_what_is_under_way_and_ends_with_0(tmp_path: Path):
    server = Process(tmp_path, "--drain-ms-max", "5000")
    await server.start()
    channel = server.channel()
    await stocked(channel, 100_000)
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
    health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
    ends: list[grpc.StatusCode] = []
    held = 0

    async def shopper() -> None:
        nonlocal held
        while True:
            try:
                await stub.CreateReservation(create(("pear", "berlin", 1)))
            except grpc.aio.AioRpcError as error:
                ends.append(error.code())
                return
            held += 1
            if held == 50:
                server.process.send_signal(signal.SIGTERM)

    await asyncio.gather(*(shopper() for _ in range(8)))
    # CANCELLED: gRPC had the call, but nobody had begun with it.
    assert set(ends) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    status, events = await server.end()
    health.cancel()
    await channel.close()
    assert status == 0
    assert [name for name in events if name in ("draining", "stopped")] == ["draining", "stopped"]

    await server.start()
    channel = server.channel()
    listed = await inventory_service_pb2_grpc.InventoryServiceStub(channel).GetInventoryPosition(
        inventory_service_pb2.GetInventoryPositionRequest(sku="pear", node="berlin")
    )
    # What was answered is there; what was applied while the caller hung up may be there too.
    assert listed.position.held >= held
    bulk = reservation_service_pb2.BulkCreateReservationsRequest(
        requests=[create(("pear", "berlin", 1))] * 4
    )
    reply = await reservation_service_pb2_grpc.ReservationServiceStub(
        channel
    ).BulkCreateReservations(bulk)
    assert len({result.reservation_id for result in reply.results}) == 4
    await channel.close()
    server.process.send_signal(signal.SIGINT)
    assert (await server.end())[0] == 0


async def _run(*flags: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", *flags),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    _, complaint = await process.communicate()
    return process.returncode or 0, complaint.decode()


async def test_bad_flags_end_with_2_and_say_why():
    status, text = await _run(
        *("--listen", "0.0.0.0:1", "--drain-ms-max", "x"), environment={"HOLDFAST_NOPE": "1"}
    )
    assert status == 2
    assert "--drain-ms-max = 'x' is not allowed" in text
    assert "HOLDFAST_NOPE is unknown" in text
    assert "Traceback" not in text


async def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path):
    first = Process(tmp_path)
    await first.start()
    second = Process(tmp_path)
    with pytest.raises(AssertionError, match="ended before"):
        await second.start()
    assert await second.process.wait() == 2
    first.process.send_signal(signal.SIGTERM)
    assert (await first.end())[0] == 0


async def test_a_drain_under_load_leaves_no_call_without_an_end(tmp_path: Path):
    server = Process(tmp_path, "--settle-listen", "127.0.0.1:0", "--pending-calls-max", "0")
    await server.start()
    channel = server.channel()
    await stocked(channel, 100_000)
    settling = grpc.aio.insecure_channel(
        f"127.0.0.1:{server.settle_port}", options=[("grpc.use_local_subchannel_pool", 1)]
    )
    create_it = reservation_service_pb2_grpc.ReservationServiceStub(channel).CreateReservation
    confirm_it = reservation_service_pb2_grpc.ReservationServiceStub(settling).ConfirmReservation
    held: set[str] = set()
    confirmed: set[str] = set()
    codes: set[grpc.StatusCode] = set()

    async def shopper(number: int) -> None:
        """Hold and confirm until the server drains; every third changes its mind meanwhile."""
        for turn in range(1_000):
            name = f"order-{number}-{turn}"
            request = create(("pear", "berlin", 1), request_id=name, reservation_id=name)
            confirm = reservation_service_pb2.ConfirmReservationRequest(
                reservation_id=name, request_id=f"confirm-{name}"
            )
            try:
                if turn % 3 == 2:
                    call = create_it(request, timeout=60)
                    await asyncio.sleep(0)
                    call.cancel()
                    continue
                await create_it(request, timeout=60)
                held.add(name)
                await confirm_it(confirm, timeout=60)
                confirmed.add(name)
            except grpc.aio.AioRpcError as fault:
                codes.add(fault.code())
                return
            if len(confirmed) == 200:
                server.process.send_signal(signal.SIGTERM)

    await asyncio.gather(*(shopper(number) for number in range(96)))
    status, events = await server.end()
    await channel.close()
    await settling.close()
    assert (status, server.other_lines) == (0, [])
    assert {"draining", "stopped"} <= set(events)
    assert "listeners did not end" not in events
    assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}

    await server.start()
    channel = server.channel()
    get = reservation_service_pb2_grpc.ReservationServiceStub(channel).GetReservation
    for name in held:
        found = await get(reservation_service_pb2.GetReservationRequest(reservation_id=name))
        if name in confirmed:
            assert found.reservation.state == types_pb2.Reservation.STATE_CONFIRMED
    await channel.close()
    server.process.send_signal(signal.SIGTERM)
    assert (await server.end())[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands memory over ahead")
async def test_a_server_that_claims_its_memory_serves_meanwhile_and_says_when_it_has_it(
    tmp_path: Path,
):
    server = Process(tmp_path, "--claim-memory")
    await server.start()
    channel = server.channel()
    await stocked(channel, 10)
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
    await stub.CreateReservation(create(("pear", "berlin", 1)))
    await channel.close()
    log = server.events()
    while not (claimed := [event for event in server.told if event["event"] == "memory claimed"]):
        await anext(log)
    assert claimed[0]["size_bytes"] > 65_536 * 280
    server.process.send_signal(signal.SIGTERM)
    assert (await server.end())[0] == 0
