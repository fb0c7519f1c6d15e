"""Calls by the thousand: grpc.aio, bytes in and out, several connections, closed or open loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import grpc

CONNECTIONS = 4
IN_FLIGHT = 16
_SPIN_S = 0.002
# The second is what gRPC's core answers, without details, while too many wait there.
_TURNED_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_TURNED_AWAY_S = 0.05
Call = Callable[[bytes], Awaitable[bytes]]
"""A method on one connection."""

_OPTIONS = (
    # Otherwise channels of the same arguments share one connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class Caller:
    """Some connections to one server.

    A call that the server turns away for now is sent again a little later, and counted; any other
    error ends the measurement: it raises.
    """

    def __init__(self, target: str, *, connections: int = CONNECTIONS) -> None:
        self._channels = [
            grpc.aio.insecure_channel(target, options=_OPTIONS) for _ in range(connections)
        ]
        self.turned_away = 0

    def method(self, path: str) -> list[Call]:
        """The callables of a method, one a connection, in bytes."""
        return [self._patient(channel.unary_unary(path)) for channel in self._channels]

    def _patient(self, method: Any) -> Call:
        async def call(message: bytes) -> bytes:
            while True:
                try:
                    reply: bytes = await method(message)
                    return reply
                except grpc.aio.AioRpcError as error:
                    if error.code() not in _TURNED_AWAY:
                        raise
                    self.turned_away += 1
                    await asyncio.sleep(_TURNED_AWAY_S)

        return call

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()


async def closed_loop(
    calls: Sequence[Call],
    messages: Iterator[bytes],
    *,
    seconds: float,
    in_flight: int = IN_FLIGHT,
) -> tuple[int, float]:
    """`in_flight` calls on each of `calls` until the time is up. (calls answered, seconds)"""
    started = time.perf_counter()
    until = started + seconds
    answered = 0

    async def one_after_another(call: Call) -> None:
        nonlocal answered
        while time.perf_counter() < until:
            message = next(messages, None)
            if message is None:
                raise RuntimeError("there were too few messages for the time")
            await call(message)
            answered += 1

    await asyncio.gather(*(one_after_another(call) for call in calls for _ in range(in_flight)))
    return answered, time.perf_counter() - started


async def all_of(
    calls: Sequence[Call], messages: Sequence[bytes], *, in_flight: int = IN_FLIGHT
) -> tuple[float, list[bytes]]:
    """Send every message once, `in_flight` at a time on each of `calls`. (seconds, replies)"""
    waiting = iter(messages)
    replies: list[bytes] = []

    async def one_after_another(call: Call) -> None:
        for message in waiting:
            reply = await call(message)
            replies.append(reply)

    started = time.perf_counter()
    await asyncio.gather(*(one_after_another(call) for call in calls for _ in range(in_flight)))
    return time.perf_counter() - started, replies


async def open_loop(
    calls: Sequence[Call], messages: Iterator[bytes], *, rate: float, seconds: float
) -> list[float]:
    """Calls sent at `rate` a second whatever becomes of them: each one's latency in seconds,
    counted from the moment it was due."""
    latencies: list[float] = []

    async def one(call: Call, message: bytes, due: float) -> None:
        await call(message)
        latencies.append(time.perf_counter() - due)

    started = time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await _until(due)
        task = asyncio.ensure_future(one(calls[number % len(calls)], next(messages), due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return latencies


async def _until(due: float) -> None:
    """Wait, and at the end spin: the event loop's own timers are a millisecond late, which would
    be most of an empty call's latency."""
    while (left := due - time.perf_counter()) > 0:  # noqa: ASYNC110 - it waits for the clock
        await asyncio.sleep(left - _SPIN_S if left > 2 * _SPIN_S else 0)


def p99(values: Sequence[float]) -> float:
    """The value that 99 of 100 do not pass."""
    return sorted(values)[int(len(values) * 0.99)]
