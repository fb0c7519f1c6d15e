"""From the loss of the server to its standby's first answer, 1M positions and 1M open holds.

Two servers run on one journal in Redis, filled over the wire; one serves, the other follows. The
one that serves is killed (``kill -9``), and a caller sends creates to the other until one is
answered: the time is from the signal to that answer, so finding out, the claim, the rest of the
journal and the first commit are in it. Then the killed one comes back as the standby, and the next
round goes the other way. The last rounds end the server by SIGTERM instead.

After each round the revision must be beyond the last one that was acknowledged, and every hold must
be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import grpc

from benchmarks.calls import Caller, all_of
from benchmarks.catalogue import catalogue
from benchmarks.measure import Say, Spread
from benchmarks.requests import BULK_CREATE, CREATE, Requests
from benchmarks.server_process import ServerProcess
from benchmarks.shop_on_server import define, stock
from holdfast import Client
from holdfast.v1 import reservation_service_pb2 as wire
from tests.redis_server import RedisServer, running

POSITIONS = 1_000_000
HOLDS = 1_000_000
HOLDS_PER_MESSAGE = 1_000
KILLS = 3
HANDOVERS = 2
READY = "holdfast.ready"
_TAKEOVER_S_MAX = 60.0
_ASK_AGAIN_S = 0.002


def run(say: Say) -> dict[str, float]:
    """Measure; figures are the medians."""
    shop = catalogue(POSITIONS)
    requests = Requests(shop)
    with running() as redis_server, contextlib.ExitStack() as servers:
        flags = ("--standby", "--journal", redis_server.url(), "--snapshot-commands", str(10**9))
        pair = [ServerProcess(core=None, flags=flags) for _ in range(2)]
        serving, standby = (servers.enter_context(_ended(each)) for each in pair)
        serving.start()
        with Client(serving.target) as client:
            define(client, shop)
            stock(client, shop)
        revision = asyncio.run(_fill(serving, requests))
        seconds = standby.start(service=READY)
        say(
            f"{POSITIONS:,} positions, {HOLDS:,} open holds, {_memory(redis_server)}; the standby "
            f"keeps up after {seconds:.1f} s and has {standby.resident_bytes() / 2**20:,.0f} MiB"
        )
        measured: dict[signal.Signals, list[float]] = {signal.SIGKILL: [], signal.SIGTERM: []}
        for number in [signal.SIGKILL] * KILLS + [signal.SIGTERM] * HANDOVERS:
            taken_s, revision = asyncio.run(_lose(serving, standby, number, requests, revision))
            measured[number].append(taken_s)
            say(f"{number.name}: {taken_s:.3f} s to the first answer, at revision {revision:,}")
            serving.stop()
            _check(standby, revision)
            serving, standby = standby, serving
            standby.start(service=READY)
    killed, drained = (Spread.of(measured[number]) for number in measured)
    say(f"killed: {killed.show('.3f')} s; drained: {drained.show('.3f')} s")
    return {"takeover_seconds_1m": killed.median, "handover_seconds_1m": drained.median}


@contextlib.contextmanager
def _ended(server: ServerProcess):  # type: ignore[no-untyped-def]
    """Whatever became of it: it ends with the block, and its directory goes."""
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


async def _fill(server: ServerProcess, requests: Requests) -> int:
    """Make the holds; the greatest revision acknowledged."""
    caller = Caller(server.target, connections=1)
    messages = requests.bulks(HOLDS // HOLDS_PER_MESSAGE, HOLDS_PER_MESSAGE)
    _, replies = await all_of(caller.method(BULK_CREATE), messages, in_flight=2)
    await caller.close()
    return max(wire.BulkCreateReservationsResponse.FromString(reply).revision for reply in replies)


async def _lose(
    serving: ServerProcess,
    standby: ServerProcess,
    number: signal.Signals,
    requests: Requests,
    revision: int,
) -> tuple[float, int]:
    """End the one that serves. (seconds to the first answer of the other, its revision)"""
    (message,) = requests.creates(1)
    async with grpc.aio.insecure_channel(standby.target) as channel:
        await channel.channel_ready()
        create = channel.unary_unary(CREATE)
        started = time.perf_counter()
        os.kill(serving.pid, number)
        while True:
            try:
                reply = wire.CreateReservationResponse.FromString(await create(message))
                break
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            if time.perf_counter() - started > _TAKEOVER_S_MAX:
                raise RuntimeError(f"nobody serves after {_TAKEOVER_S_MAX:.0f} s")
            await asyncio.sleep(_ASK_AGAIN_S)
        seconds = time.perf_counter() - started
    if reply.revision <= revision:
        raise RuntimeError(f"revision {reply.revision}, but {revision} was acknowledged")
    return seconds, reply.revision


def _check(server: ServerProcess, revision: int) -> None:
    """Raises RuntimeError when an acknowledged step is gone."""
    with Client(server.target) as client:
        status = client.status()
    holds = status.shards[0].open_holds
    if status.revision < revision or holds < HOLDS:
        raise RuntimeError(f"revision {status.revision} of {revision}, {holds} holds are left")


def _memory(redis_server: RedisServer) -> str:
    with redis_server.client() as client:
        used = int(client.info("memory")["used_memory"])
    return f"{used / 2**20:,.0f} MiB in Redis"
