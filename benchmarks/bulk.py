"""BulkCreateReservations: messages of 1,024 three-line holds, journaled, several in flight.

The server is kept on one core, as a shard is; messages are made before each round, so that the
caller's core has only gRPC to do. Every hold has a request id and an owner, and every reply is
read: a hold that was refused ends the measurement.
"""

from __future__ import annotations

import asyncio

from benchmarks.calls import Caller, all_of
from benchmarks.catalogue import catalogue
from benchmarks.measure import Say, Spread, no_collector, pin, two_cores
from benchmarks.requests import BULK_CREATE, Requests
from benchmarks.server_process import ServerProcess
from benchmarks.shop_on_server import define, stock
from holdfast import Client
from holdfast.v1 import reservation_service_pb2 as wire
from holdfast.v1 import types_pb2

POSITIONS = 1_000_000
HOLDS_PER_MESSAGE = 1024
CONNECTIONS = 2
IN_FLIGHT = 3
ROUNDS = 6
MESSAGES_PER_ROUND = 500
_FLAGS = (
    *("--reservations-max", str(1 << 22), "--takes-max", str(1 << 24)),
    *("--requests-remembered-max", str(1 << 22), "--reply-details-kept-max", str(1 << 24)),
    # A snapshot is another process, which a shard's one core has no room for.
    *("--snapshot-commands", str(1_000_000_000)),
)


def run(say: Say) -> dict[str, float]:
    """Measure."""
    server_core, caller_core = two_cores()
    shop = catalogue(POSITIONS)
    with ServerProcess(core=server_core, flags=_FLAGS) as server:
        pin(caller_core)
        with Client(server.target) as client:
            define(client, shop)
            stock(client, shop)
        say(
            f"{POSITIONS:,} positions; {HOLDS_PER_MESSAGE} holds a message, "
            f"{CONNECTIONS} connections, {IN_FLIGHT} messages in flight on each"
        )
        return asyncio.run(_measure(server, Requests(shop), say))


async def _measure(server: ServerProcess, requests: Requests, say: Say) -> dict[str, float]:
    caller = Caller(server.target, connections=CONNECTIONS)
    bulk = caller.method(BULK_CREATE)
    message = requests.bulks(1, HOLDS_PER_MESSAGE)[0]
    reply = await bulk[0](message)
    _check(reply)
    say(f"{len(message):,} bytes in, {len(reply):,} out")
    rates, busy = [], []
    for _ in range(ROUNDS):
        messages = requests.bulks(MESSAGES_PER_ROUND, HOLDS_PER_MESSAGE)
        before = server.core_s()
        with no_collector():
            seconds, replies = await all_of(bulk, messages, in_flight=IN_FLIGHT)
        after = server.core_s()
        for reply in replies:
            _check(reply)
        rates.append(len(messages) * HOLDS_PER_MESSAGE / seconds)
        if before is not None and after is not None:
            busy.append((after - before) / seconds)
    await caller.close()
    if caller.turned_away:
        say(f"{caller.turned_away} messages were turned away for now, and sent again")
    rate = Spread.of(rates)
    say(f"{ROUNDS} rounds of {MESSAGES_PER_ROUND} messages: {rate.show(',.0f')} holds/s")
    if busy:
        used = Spread.of(busy).median
        say(f"the server's core was {used:.0%} busy: {used / rate.median * 1e6:.2f} us a hold")
    return {"bulk_holds_per_second": rate.median}


def _check(reply: bytes) -> None:
    """Raises RuntimeError when a hold of this reply was refused."""
    results = wire.BulkCreateReservationsResponse.FromString(reply).results
    held = sum(result.state == types_pb2.Reservation.STATE_HELD for result in results)
    if held != HOLDS_PER_MESSAGE:
        raise RuntimeError(f"{held} of {HOLDS_PER_MESSAGE} holds were made")
