"""Many hands that take calls in: names of grpcio's inside that no document promises.

When one of these fails after an upgrade of grpcio, calls are taken in one at a time again, at half
the speed under load: look for what has become of them in ``_cython/_cygrpc/aio/server.pyx.pxi``.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import structlog
from grpc._cython import cygrpc

from server.transport import hands, server
from server.transport.hands import HANDS, Hands
from server.transport.network_threads import pollers, readers
from tests.wire.conftest import Wire, create

pytestmark = pytest.mark.wire

METHOD = "/holdfast.v1.ReservationService/CreateReservation"
SETTLING = {"ConfirmReservation", "CancelReservation"}
USED = ("_MethodResolver", "_handle_rpc", "_schedule_rpc_coro", "_RequestCallError")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Hands]:
    """Those of each server that is started, in turn."""
    all_of_them: list[Hands] = []

    class Kept(Hands):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            all_of_them.append(self)

    monkeypatch.setattr(server, "Hands", Kept)
    return all_of_them


async def stocked(tmp_path: Path, **settings: int) -> Wire:
    # Everything comes over one connection.
    wire = Wire(tmp_path / "data", **{"connection_streams_max": 1_000, **settings})
    await wire.start()
    await wire.nodes("berlin")
    await wire.items("pear")
    await wire.stock("pear", "berlin", 10_000)
    return wire


async def at_once(wire: Wire, count: int) -> list[grpc.StatusCode]:
    """So many creates at the same time; how each ended."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.server.port}") as channel:
        call = channel.unary_unary(METHOD)
        requests = [
            create(("pear", "berlin", 1), request_id=f"hand-{number}").SerializeToString()
            for number in range(count)
        ]
        calls = [call(request, timeout=60) for request in requests]
        return list(await asyncio.gather(*(each.code() for each in calls)))


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has it")
async def test_the_threads_that_hear_the_network_do_not_interrupt_the_loop(tmp_path: Path):
    wire = await stocked(tmp_path)
    assert pollers(), "grpc.aio's thread has another name: look for `_poll_wrapper`"
    assert readers(), "the core's threads have other names: look for `event_engine`"
    assert {os.sched_getscheduler(each) for each in pollers()} == {os.SCHED_BATCH}
    # The calls of this test come from the same process: it may have made more of them since.
    assert os.SCHED_BATCH in {os.sched_getscheduler(each) for each in readers()}
    await wire.stop()


async def test_more_calls_than_hands_are_all_answered(tmp_path: Path):
    wire = await stocked(tmp_path, pending_calls_max=0)
    assert set(await at_once(wire, 3 * HANDS[METHOD])) == {grpc.StatusCode.OK}
    assert (await wire.position("pear", "berlin")).held == 3 * HANDS[METHOD]
    await wire.stop()


async def test_each_method_has_its_hands_until_the_server_ends(tmp_path: Path, made: list[Hands]):
    wire = await stocked(tmp_path)
    await at_once(wire, 10)
    assert made[0].count == sum(HANDS.values()) - len(HANDS)
    await wire.stop()
    assert made[0].count == 0


async def test_the_listener_for_settling_has_those_of_its_methods(
    tmp_path: Path, made: list[Hands]
):
    wire = Wire(tmp_path / "data", settle_listen="127.0.0.1:0")
    await wire.start()
    settling = [count for path, count in HANDS.items() if path.split("/")[-1] in SETTLING]
    assert made[1].count == sum(settling) - len(settling)
    await wire.stop()


async def test_calls_beyond_the_limit_are_refused(
    tmp_path: Path, made: list[Hands], monkeypatch: pytest.MonkeyPatch
):
    wire = await stocked(tmp_path, pending_calls_max=0)
    monkeypatch.setattr(made[0], "_calls_max", 0)
    codes = Counter(await at_once(wire, HANDS[METHOD] + 50))
    # What the server's own hand takes in has a limit of its own, which is far.
    assert codes.keys() == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes[grpc.StatusCode.RESOURCE_EXHAUSTED] >= HANDS[METHOD] - 1
    assert (await wire.position("pear", "berlin")).held == codes[grpc.StatusCode.OK]
    await wire.stop()


@pytest.mark.parametrize("name", USED)
async def test_without_these_names_there_is_one_hand(
    name: str, tmp_path: Path, made: list[Hands], monkeypatch: pytest.MonkeyPatch
):
    rest = {each: getattr(cygrpc, each) for each in USED if each != name}
    monkeypatch.setattr(hands, "cygrpc", SimpleNamespace(**rest))
    with structlog.testing.capture_logs() as logs:
        wire = await stocked(tmp_path, pending_calls_max=0)
    assert [log["log_level"] for log in logs if "one call at a time" in log["event"]] == ["warning"]
    assert made[0].count == 0
    assert set(await at_once(wire, 40)) == {grpc.StatusCode.OK}
    await wire.stop()


async def test_callers_that_go_away_leave_nothing_under_way(tmp_path: Path, made: list[Hands]):
    wire = await stocked(tmp_path, pending_calls_max=0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{wire.server.port}") as channel:
        call = channel.unary_unary(METHOD)
        calls = []
        for number in range(150):
            request = create(("pear", "berlin", 1), request_id=f"gone-{number}")
            calls.append(call(request.SerializeToString(), timeout=60))
            for _ in range(number % 7):  # each as far on its way as another number of turns brings
                await asyncio.sleep(0)
            if number % 2:
                calls[number - number % 5].cancel()
        codes = {await each.code() for each in calls}
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
    while made[0]._under_way:
        await asyncio.wait(set(made[0]._under_way))
        await asyncio.sleep(0)
    assert made[0]._let_in == 0
    assert set(await at_once(wire, HANDS[METHOD])) == {grpc.StatusCode.OK}
    await wire.stop()
