"""Two server processes on one journal: handed over, taken over, woken from a long sleep."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

import holdfast
from holdfast.v1 import reservation_service_pb2_grpc
from tests.redis_server import RedisServer, running
from tests.wire.conftest import create
from tests.wire.server_process import ServerProcess

pytestmark = [pytest.mark.wire, pytest.mark.timeout(300)]

STOCK = 1_000_000
CALLERS = 32


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


class Pair:
    """Two servers that may each be the one that serves, and a client that knows both."""

    def __init__(self, *flags: str) -> None:
        self.members = [ServerProcess("--standby", *flags) for _ in range(2)]
        self.client: holdfast.aio.Client

    async def start(self) -> None:
        """The first one serves, the second one stands by."""
        first, second = self.members
        await first.start("serving")
        # Patient, so that a slow machine decides nothing; how often it may retry is the default.
        targets = f"{first.target},{second.target}"
        self.client = holdfast.aio.Client(targets, timeout=60.0)
        await self.client.nodes.upsert(holdfast.Node("berlin"))
        await self.client.items.upsert(holdfast.Item("pear"))
        await self.client.count([holdfast.Count("pear", "berlin", STOCK)])
        await second.start("standing by")

    async def verify(self) -> None:
        found = await self.client.verify(timeout=30.0)
        assert found.sound, found.differences


@pytest.fixture(params=["redis", "sqlite"])
async def pair(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[Pair]:
    flags = ("--data", str(tmp_path))
    if request.param == "redis":
        flags += ("--journal", redis_server.url("lease_ms=600000"))
    made = Pair(*flags)
    async with made.members[0], made.members[1]:
        await made.start()
        yield made
        await made.client.close()


class Load:
    """Callers who reserve one unit after another; any call that fails is a failure of the test."""

    def __init__(self, client: holdfast.aio.Client) -> None:
        self.acknowledged: list[str] = []
        self._client = client
        self._moved = asyncio.Condition()
        self._stopping = False
        self._callers = [asyncio.create_task(self._call()) for _ in range(CALLERS)]

    async def _call(self) -> None:
        try:
            while not self._stopping:
                held = await self._client.reserve([("pear", "berlin", 1)], ttl=3600)
                async with self._moved:
                    self.acknowledged.append(held.reservation_id)
                    self._moved.notify_all()
        except BaseException:
            async with self._moved:
                self._stopping = True
                self._moved.notify_all()
            raise

    async def more(self, count: int) -> None:
        """Wait for that many further acknowledgements, or for the first failure."""
        wanted = len(self.acknowledged) + count
        async with self._moved:
            await self._moved.wait_for(lambda: self._stopping or len(self.acknowledged) >= wanted)
        if self._stopping:
            await self.stop()

    async def stop(self) -> None:
        """Let every caller finish. Raises what a call failed with."""
        self._stopping = True
        await asyncio.gather(*self._callers)


async def test_a_rolling_restart_under_load_loses_no_call(pair: Pair):
    first, second = pair.members
    load = Load(pair.client)
    await load.more(300)
    first.signal(signal.SIGTERM)
    assert await first.end() == 0
    await second.until("serving")
    await load.more(300)
    await first.start("standing by")
    await load.more(100)
    second.signal(signal.SIGTERM)
    assert await second.end() == 0
    await first.until("serving")
    await load.more(300)
    await load.stop()
    assert len(set(load.acknowledged)) == len(load.acknowledged) >= 1000
    # Every call was answered, so every unit that is held was promised to somebody, once.
    position = await pair.client.position("pear", "berlin")
    assert position.held == len(load.acknowledged)
    await pair.verify()


async def test_a_killed_server_is_replaced_by_its_standby(pair: Pair):
    first, second = pair.members
    load = Load(pair.client)
    await load.more(200)
    first.signal(signal.SIGKILL)
    await first.end()
    await second.until("serving")
    await load.more(200)
    await load.stop()
    # Sent again under its request_id, a call whose answer the crash took has one effect all the
    # same: what is held is what was acknowledged.
    position = await pair.client.position("pear", "berlin")
    assert position.held == len(set(load.acknowledged))
    await pair.verify()


async def test_a_server_that_slept_through_a_takeover_acknowledges_nothing_and_ends(
    redis_server: RedisServer, tmp_path: Path
):
    pair = Pair("--data", str(tmp_path), "--journal", redis_server.url("lease_ms=500"))
    async with pair.members[0] as old, pair.members[1] as new:
        await pair.start()
        before = await pair.client.reserve([("pear", "berlin", 1)], ttl=3600)
        channel = old.channel()
        stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
        await channel.channel_ready()
        old.signal(signal.SIGSTOP)
        asleep = [stub.CreateReservation(create(("pear", "berlin", 1))) for _ in range(8)]
        await new.until("serving")
        async with holdfast.aio.Client(new.target, timeout=60.0) as client:
            after = await client.reserve([("pear", "berlin", 1)], ttl=3600)
        assert after.reservation_id != before.reservation_id
        old.signal(signal.SIGCONT)
        codes = [await call.code() for call in asleep]
        assert grpc.StatusCode.OK not in codes
        assert await old.end() == 1
        assert "stopped" in old.events
        assert (await pair.client.position("pear", "berlin")).held == 2
        await pair.verify()
        await channel.close()
        await pair.client.close()


async def test_an_operator_may_have_the_standby_take_over(
    redis_server: RedisServer, tmp_path: Path
):
    pair = Pair("--data", str(tmp_path), "--journal", redis_server.url("lease_ms=600000"))
    async with pair.members[0] as old, pair.members[1] as new:
        await pair.start()
        load = Load(pair.client)
        await load.more(100)
        new.signal(signal.SIGUSR1)
        await new.until("serving")
        # Not at its next renewal, minutes away: its first append was refused.
        assert await old.end() == 1
        new.signal(signal.SIGUSR1)  # it serves already: nothing happens
        await load.more(200)
        await load.stop()
        assert (await pair.client.position("pear", "berlin")).held == len(load.acknowledged)
        await pair.verify()
        await pair.client.close()
