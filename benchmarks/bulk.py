"""BulkCreateReservations: messages of 1,024 three-line holds, journaled, several in flight.

Three servers in turn: one that is kept on a core of its own; one that may use every core, as
servers are, where its journal's thread and gRPC's run beside the ledger; and one like that which
has not claimed its memory before, as in the first hours of a server that was not told to: each hold
goes to rows that no hold has used. The callers keep to the
last core; their messages are made before each round, so that they have only gRPC to do. Every hold
has a request id and an owner, and every reply is read: a hold that was refused ends the
measurement.
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
IN_FLIGHT = 8
ROUNDS = 8
MESSAGES_PER_ROUND = 300
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
    with (
        ServerProcess(core=server_core, flags=_FLAGS, claims_memory=True) as one,
        ServerProcess(core=None, flags=_FLAGS, claims_memory=True) as free,
        ServerProcess(core=None, flags=_FLAGS) as fresh,
    ):
        pin(caller_core)
        servers = {"one core": one, "every core": free, "memory not claimed": fresh}
        for server in servers.values():
            with Client(server.target) as client:
                define(client, shop)
                stock(client, shop)
        say(
            f"{POSITIONS:,} positions; {HOLDS_PER_MESSAGE} holds a message, "
            f"{CONNECTIONS} connections, {IN_FLIGHT} messages in flight on each"
        )
        rates = asyncio.run(_measure(servers, Requests(shop), say))
    return {
        "bulk_holds_per_second": rates["every core"],
        "bulk_holds_per_second_one_core": rates["one core"],
        "bulk_holds_per_second_memory_not_claimed": rates["memory not claimed"],
    }


async def _measure(
    servers: dict[str, ServerProcess], requests: Requests, say: Say
) -> dict[str, float]:
    """Holds a second of each, the median round."""
    callers = {
        name: Caller(server.target, connections=CONNECTIONS) for name, server in servers.items()
    }
    rates: dict[str, list[float]] = {name: [] for name in servers}
    core_us: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(ROUNDS):
        for name in list(servers)[:: 1 if number % 2 else -1]:
            messages = requests.bulks(MESSAGES_PER_ROUND, HOLDS_PER_MESSAGE)
            bulk = callers[name].method(BULK_CREATE)
            before = servers[name].core_s()
            with no_collector():
                seconds, replies = await all_of(bulk, messages, in_flight=IN_FLIGHT)
            after = servers[name].core_s()
            for reply in replies:
                _check(reply)
            holds = len(messages) * HOLDS_PER_MESSAGE
            rates[name].append(holds / seconds)
            if before is not None and after is not None:
                core_us[name].append((after - before) / holds * 1e6)
    say(f"{len(messages[0]):,} bytes in, {len(replies[0]):,} out")
    for name, caller in callers.items():
        await caller.close()
        if caller.turned_away:
            say(f"{caller.turned_away} messages were turned away for now, and sent again")
        rate = Spread.of(rates[name])
        say(
            f"{name}: {ROUNDS} rounds of {MESSAGES_PER_ROUND} messages: {rate.show(',.0f')} holds/s"
        )
        if core_us[name]:
            say(f"{name}: {Spread.of(core_us[name]).show('.2f')} us of the core a hold")
    return {name: Spread.of(each).median for name, each in rates.items()}


def _check(reply: bytes) -> None:
    """Raises RuntimeError when a hold of this reply was refused."""
    results = wire.BulkCreateReservationsResponse.FromString(reply).results
    held = sum(result.state == types_pb2.Reservation.STATE_HELD for result in results)
    if held != HOLDS_PER_MESSAGE:
        raise RuntimeError(f"{held} of {HOLDS_PER_MESSAGE} holds were made")
