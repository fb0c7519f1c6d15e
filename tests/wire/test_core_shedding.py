"""What gRPC's core sheds before Python sees it: two arguments that no document promises.

When one of these fails after an upgrade of grpcio, the server no longer survives an overload: look
for what has become of ``grpc.server.max_pending_requests`` before anything is released.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

import holdfast
from holdfast.retry import RetryPolicy
from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import reservation_service_pb2 as messages
from loadtests.light import frames
from server.transport.hands import HANDS
from tests.wire.conftest import Wire, create

pytestmark = pytest.mark.wire

PENDING_MAX = 16
METHOD = "/holdfast.v1.ReservationService/CreateReservation"
CONFIRM = "/holdfast.v1.ReservationService/ConfirmReservation"
STATS = "holdfast.v1.ReservationService/CreateReservation"
# The core holds some more: the calls that Python has asked for already.
ASKED_FOR = HANDS[METHOD]
CALLS = ASKED_FOR + 100


async def started(tmp_path: Path, **settings: Any) -> Wire:
    # The storms come over one connection.
    wire = Wire(tmp_path / "data", **{"connection_streams_max": 1_000, **settings})
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear")
    await wire.stock("pear", "berlin", 10_000)
    return wire


class Storm:
    """Calls from another thread, while the server's event loop does not run."""

    def __init__(self, port: int, method: str = METHOD) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        self._call = self._channel.unary_unary(method)
        self._ended = threading.Semaphore(0)

    def send(self, number: int) -> grpc.Future:
        return self.send_message(create(("pear", "berlin", 1), request_id=f"storm-{number}"))

    def send_message(self, request: Message) -> grpc.Future:
        future = self._call.future(request.SerializeToString(), timeout=60, wait_for_ready=True)
        future.add_done_callback(lambda _: self._ended.release())
        return future

    def wait_for(self, ends: int) -> bool:
        """Until so many calls have ended; False when they do not in time."""
        return all(self._ended.acquire(timeout=20) for _ in range(ends))

    def close(self) -> None:
        self._channel.close()


async def test_calls_beyond_the_limit_end_in_the_core(tmp_path: Path):
    wire = await started(tmp_path, pending_calls_max=PENDING_MAX)
    storm = Storm(wire.server.port)
    try:
        # Connected, so that all calls meet a loop that stands still.
        await asyncio.to_thread(storm.send(0).result)
        before = sum(wire.server.metrics.method(STATS).codes)
        # From here to the end of the wait this function keeps the event loop from running.
        futures = [storm.send(number) for number in range(1, CALLS + 1)]
        shed_in_time = storm.wait_for(1 + CALLS - PENDING_MAX - ASKED_FOR)
        shed = sum(future.done() for future in futures)
        await asyncio.gather(*(asyncio.to_thread(future.exception) for future in futures))
        ends = Counter(future.code() for future in futures)
        reached = sum(wire.server.metrics.method(STATS).codes) - before
    finally:
        storm.close()
        await wire.stop()
    assert shed_in_time, "gRPC's core no longer sheds: see the head of this file"
    assert shed >= CALLS - PENDING_MAX - ASKED_FOR
    # As many as are asked for at once are let in, and not only the one of grpcio itself.
    assert ASKED_FOR < reached <= PENDING_MAX + ASKED_FOR
    assert ends[grpc.StatusCode.OK] == reached > 0
    # What callers must know to send it again; `holdfast.retry` does.
    assert set(ends) == {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
    lost = [future for future in futures if future.code() is grpc.StatusCode.CANCELLED]
    assert not any(future.trailing_metadata() for future in lost)


@pytest.mark.parametrize("listeners", [1, 2])
async def test_confirmations_have_a_way_in_of_their_own(listeners: int, tmp_path: Path):
    apart = {"settle_listen": "127.0.0.1:0"} if listeners == 2 else {}
    wire = await started(tmp_path, pending_calls_max=PENDING_MAX, **apart)
    holds = [await wire.hold(("pear", "berlin", 1)) for _ in range(PENDING_MAX // 2)]
    storm = Storm(wire.server.port)
    settling = Storm(wire.server.settle_port or wire.server.port, CONFIRM)
    try:
        await asyncio.to_thread(storm.send(0).result)
        unknown = settling.send_message(messages.ConfirmReservationRequest(reservation_id="none"))
        await asyncio.to_thread(unknown.exception)
        # The loop stands still from here: the crowd fills what the core keeps, and is shed.
        crowd = [storm.send(number) for number in range(1, CALLS + 1)]
        assert storm.wait_for(1 + CALLS - PENDING_MAX - ASKED_FOR)
        confirms = [
            settling.send_message(
                messages.ConfirmReservationRequest(reservation_id=hold.reservation_id)
            )
            for hold in holds
        ]
        both = [*crowd, *confirms]
        await asyncio.gather(*(asyncio.to_thread(future.exception) for future in both))
    finally:
        storm.close()
        settling.close()
        await wire.stop()
    assert unknown.code() is grpc.StatusCode.NOT_FOUND
    assert {future.code() for future in confirms} == {grpc.StatusCode.OK}
    assert {future.code() for future in crowd} > {grpc.StatusCode.OK}


@pytest.mark.parametrize(
    ("method", "request_of_it"),
    [
        ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest()),
        ("/holdfast.v1.AdminService/GetStatus", admin.GetStatusRequest()),
    ],
)
async def test_who_looks_after_the_server_has_a_way_in_of_their_own(
    method: str, request_of_it: Message, tmp_path: Path
):
    """A crowd that reads must not have a healthy server killed."""
    wire = await started(tmp_path, pending_calls_max=PENDING_MAX)
    storm = Storm(wire.server.port, "/holdfast.v1.InventoryService/GetInventoryPosition")
    looking = Storm(wire.server.port, method)
    nothing = inventory.GetInventoryPositionRequest(sku="none", node="none")
    try:
        await asyncio.to_thread(storm.send_message(nothing).exception)
        await asyncio.to_thread(looking.send_message(request_of_it).result)
        # The loop stands still from here, and the core asks Python for one of the crowd.
        crowd = [storm.send_message(nothing) for _ in range(CALLS)]
        assert storm.wait_for(1 + CALLS - PENDING_MAX - 1)
        looks = [looking.send_message(request_of_it) for _ in range(PENDING_MAX // 2)]
        both = [*crowd, *looks]
        await asyncio.gather(*(asyncio.to_thread(future.exception) for future in both))
    finally:
        storm.close()
        looking.close()
        await wire.stop()
    assert {future.code() for future in looks} == {grpc.StatusCode.OK}
    assert {future.code() for future in crowd} == {
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.CANCELLED,
    }


async def test_nothing_else_is_served_there(tmp_path: Path):
    wire = await started(tmp_path, settle_listen="127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.server.settle_port}") as channel:
        for method in (METHOD, "/holdfast.v1.AdminService/Drain", "/grpc.health.v1.Health/Check"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(method)(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await wire.stop()


async def test_without_the_limit_all_of_them_reach_python(tmp_path: Path):
    """The other test can fail: the same storm, and nothing is shed."""
    wire = await started(tmp_path, pending_calls_max=0)
    storm = Storm(wire.server.port)
    try:
        await asyncio.to_thread(storm.send(0).result)
        futures = [storm.send(number) for number in range(1, CALLS + 1)]
        await asyncio.gather(*(asyncio.to_thread(future.exception) for future in futures))
        reached = sum(wire.server.metrics.method(STATS).codes) - 1
    finally:
        storm.close()
        await wire.stop()
    assert reached == CALLS
    assert {future.code() for future in futures} == {grpc.StatusCode.OK}


async def test_our_client_brings_every_call_through(tmp_path: Path):
    """More callers than get in while the loop stands still: shed, sent again, one effect each."""
    wire = await started(tmp_path, pending_calls_max=PENDING_MAX)
    retry = RetryPolicy(attempts_max=20, budget_tokens_max=1_000)
    callers = 40 + ASKED_FOR
    with (
        holdfast.Client(f"127.0.0.1:{wire.server.port}", timeout=60, retry=retry) as client,
        ThreadPoolExecutor(callers) as threads,
    ):
        await asyncio.to_thread(client.wait_until_serving, 30)
        calls = [
            threads.submit(client.reserve, [("pear", "berlin", 1)], owner=f"cart-{number}")
            for number in range(callers)
        ]
        shed = threading.Event()

        def watch() -> None:
            while not client.retries and not all(call.done() for call in calls):
                shed.wait(0.001)
            shed.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert shed.wait(30)
        made = await asyncio.gather(*(asyncio.wrap_future(call) for call in calls))
        retries = client.retries
    position = await wire.position("pear", "berlin")
    await wire.stop()
    assert retries > 0
    assert len({reservation.reservation_id for reservation in made}) == callers
    assert position.held == callers


def test_create_is_the_call_these_tests_make():
    assert METHOD.endswith(STATS)
    assert messages.DESCRIPTOR.services_by_name["ReservationService"].methods_by_name[
        METHOD.rpartition("/")[2]
    ]


async def test_a_connection_is_told_how_many_streams_it_may_have(wire: Wire):
    """By the protocol itself: what the core then holds back costs the server nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.server.port)
    writer.write(frames.PREFACE + frames.settings({}))
    cutter, told = frames.Reader(), {}
    while not told:
        for kind, flags, _, payload in cutter.feed(await reader.read(65_536)):
            if kind == frames.SETTINGS and not flags & frames.ACK:
                told = frames.read_settings(payload)
    writer.close()
    assert told[frames.MAX_CONCURRENT_STREAMS] == 256


async def test_more_calls_than_streams_are_each_made_once(tmp_path: Path):
    """They wait at their caller; the core counts a stream until its memory is free, so it may
    refuse one that the caller believes it has: such a call is sent again."""
    wire = await started(tmp_path, connection_streams_max=2)
    patient = RetryPolicy(attempts_max=1_000, backoff_s_max=0.05, budget_tokens_max=1e6)
    target = f"127.0.0.1:{wire.server.port}"
    async with holdfast.aio.Client(target, timeout=60.0, channels=1, retry=patient) as client:
        lines = [("pear", "berlin", 1)]
        held = await asyncio.gather(*(client.reserve(lines) for _ in range(20)))
    assert len({each.reservation_id for each in held}) == 20
    assert (await wire.position("pear", "berlin")).held == 20
    await wire.stop()
