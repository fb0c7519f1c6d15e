"""CreateReservation against an empty call of the same sizes: throughput, and p99 at half load.

Both are calls to the same server process, journaled in SQLite with synchronous=FULL and kept on
one core; the calls come from this process on another. Rounds of one and the other alternate, and
what counts is the median of the rounds' ratios, since both move with whatever else the machine is
doing. The server's processor time a call tells the same story without the caller's share in it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.calls import CONNECTIONS, IN_FLIGHT, Call, Caller, closed_loop, open_loop, p99
from benchmarks.catalogue import catalogue
from benchmarks.measure import Say, Spread, no_collector, pin, two_cores
from benchmarks.requests import CREATE, Requests
from benchmarks.serve import EMPTY, empty_message
from benchmarks.server_process import ServerProcess
from benchmarks.shop_on_server import define, stock
from holdfast import Client
from holdfast.v1 import reservation_service_pb2 as wire

POSITIONS = 100_000
ROUNDS = 12
ROUND_S = 1.5
PACED_ROUNDS = 6
PACED_ROUND_S = 3.0
_CALLS_A_SECOND_MAX = 20_000


@dataclass(slots=True)
class _Rate:
    """One round: calls a second, and the server's processor time a call."""

    calls_per_second: float
    server_us: float | None


def run(say: Say) -> dict[str, float]:
    """Measure."""
    server_core, caller_core = two_cores()
    shop = catalogue(POSITIONS)
    # When the machine stalls for a moment, what piles up is measured, not shed.
    flags = ("--pending-calls-max", "0")
    with ServerProcess(core=server_core, flags=flags, claims_memory=True) as server:
        pin(caller_core)
        with Client(server.target) as client:
            define(client, shop)
            stock(client, shop)
        say(f"server on core {server_core}, caller on core {caller_core}; {POSITIONS:,} positions")
        return asyncio.run(_measure(server, Requests(shop), say))


async def _measure(server: ServerProcess, requests: Requests, say: Say) -> dict[str, float]:
    caller = Caller(server.target)
    create = caller.method(CREATE)
    sample = requests.creates(1)[0]
    reply = await create[0](sample)
    if not wire.CreateReservationResponse.FromString(reply).reservation.reservation_id:
        raise RuntimeError("no reservation was made")
    empty = caller.method(EMPTY)
    nothing = empty_message(len(sample), len(reply))
    say(
        f"{len(sample)} bytes in, {len(reply)} out; "
        f"{CONNECTIONS} connections, {IN_FLIGHT} calls in flight on each"
    )

    async def rate_of(calls: list[Call], messages: Iterator[bytes]) -> _Rate:
        before = server.core_s()
        with no_collector():
            answered, seconds = await closed_loop(calls, messages, seconds=ROUND_S)
        after = server.core_s()
        used = None if before is None or after is None else (after - before) / answered * 1e6
        return _Rate(answered / seconds, used)

    ratios, creates, empties = [], [], []
    for round_ in range(-1, ROUNDS):
        ready = requests.creates(int(_CALLS_A_SECOND_MAX * ROUND_S))
        pair = [("empty", empty), ("create", create)]
        if round_ % 2:
            pair.reverse()
        taken = {
            name: await rate_of(
                calls, iter(ready) if name == "create" else itertools.repeat(nothing)
            )
            for name, calls in pair
        }
        if round_ >= 0:  # the first round is to warm up
            creates.append(taken["create"])
            empties.append(taken["empty"])
            ratios.append(taken["create"].calls_per_second / taken["empty"].calls_per_second)
    _tell(say, "empty call", empties)
    _tell(say, "CreateReservation", creates)
    ratio = Spread.of(ratios)
    say(f"create over empty, round by round: {ratio.show('.3f')}")
    measured = {"unary_over_empty_ratio": ratio.median}
    costs = [
        (one.server_us, other.server_us)
        for one, other in zip(empties, creates, strict=True)
        if one.server_us and other.server_us
    ]
    if costs:
        measured["unary_core_ratio"] = Spread.of([one / other for one, other in costs]).median

    load = Spread.of([one.calls_per_second for one in creates]).median / 2
    measured["unary_p99_over_empty_ratio"] = await _paced(
        create, empty, requests, nothing, rate=load, say=say
    )
    await caller.close()
    if caller.turned_away:
        say(f"{caller.turned_away} calls were turned away for now, and sent again")
    return measured


def _tell(say: Say, name: str, rates: list[_Rate]) -> None:
    speed = Spread.of([rate.calls_per_second for rate in rates])
    line = f"{name}: {speed.show(',.0f')} calls/s"
    costs = [rate.server_us for rate in rates if rate.server_us is not None]
    if costs:
        share = Spread.of([rate.calls_per_second * (rate.server_us or 0) / 1e6 for rate in rates])
        line += f"; {Spread.of(costs).show(',.0f')} us of the server's core a call"
        line += f", which was {share.median:.0%} busy"
    say(line)


async def _paced(
    create: list[Call],
    empty: list[Call],
    requests: Requests,
    nothing: bytes,
    *,
    rate: float,
    say: Say,
) -> float:
    """p99 of creates over that of empty calls, both sent at `rate`: the median of the rounds."""
    ratios, of_create, of_empty = [], [], []
    for round_ in range(PACED_ROUNDS):
        ready = requests.creates(int(rate * PACED_ROUND_S) + 1)
        pair = [("empty", empty), ("create", create)]
        if round_ % 2:
            pair.reverse()
        taken = {}
        for name, calls in pair:
            messages = iter(ready) if name == "create" else itertools.repeat(nothing)
            with no_collector():
                latencies = await open_loop(calls, messages, rate=rate, seconds=PACED_ROUND_S)
            taken[name] = (p99(latencies) * 1e3, sorted(latencies)[len(latencies) // 2] * 1e3)
        of_create.append(taken["create"])
        of_empty.append(taken["empty"])
        ratios.append(taken["create"][0] / taken["empty"][0])
    for name, taken_ms in (("empty call", of_empty), ("CreateReservation", of_create)):
        say(
            f"{name} at {rate:,.0f} calls/s: p99 {Spread.of([at for at, _ in taken_ms]).show()} ms,"
            f" p50 {Spread.of([at for _, at in taken_ms]).show()} ms"
        )
    ratio = Spread.of(ratios)
    say(f"p99 of create over empty, round by round: {ratio.show()}")
    return ratio.median
