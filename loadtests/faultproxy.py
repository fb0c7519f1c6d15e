"""A loopback proxy that does to a connection what networks do: ``python -m loadtests.faultproxy``.

It carries bytes and knows nothing of the protocol, so it stands in front of the server and in front
of Redis alike. `Faults` may be changed at any moment and count from the next bytes on:

* ``latency_ms``, ``jitter_ms``: each piece arrives that much later, drawn evenly; never overtaking.
* ``bandwidth``: so many bytes a second each way.
* ``black_hole``: nothing arrives; what was sent meanwhile arrives once it is off again, as TCP
  would send it anew.
* ``slow_reader``: whoever connected reads so many bytes a second of what comes back, through small
  buffers: the other side feels it as a window that does not open.

`reset` cuts every connection with a TCP reset.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

_PIECE_BYTES = 65_536
_SLOW_PIECE_BYTES = 512
_SMALL_BUFFER_BYTES = 4_096
_WAITING_PIECES_MAX = 64
_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong now. Nothing, by default."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    bandwidth: int = 0
    """Bytes a second each way; 0: any."""
    slow_reader: int = 0
    """Bytes a second that are read of what comes back; 0: any."""
    black_hole: bool = False

    def __post_init__(self) -> None:
        for name in ("latency_ms", "jitter_ms", "bandwidth", "slow_reader"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


class FaultProxy:
    """Forwards connections to `port` of loopback; `self.port` is where it listens."""

    def __init__(
        self, port: int, *, chance: random.Random | None = None, faults: Faults | None = None
    ) -> None:
        self.port = 0
        self._to = port
        self._chance = chance or random.Random(1)
        self._faults = faults or Faults()
        self._passable = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self.connections_total = 0

    async def start(self, port: int = 0) -> None:
        """Listen; port 0: any free one."""
        self.set(self._faults)
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", port, limit=_PIECE_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut everything and listen no more."""
        assert self._server is not None
        self._server.close()
        links = tuple(self._links)
        for link in links:
            link.cut()
        await asyncio.gather(*(link.ended.wait() for link in links))
        await self._server.wait_closed()

    @property
    def faults(self) -> Faults:
        """What is wrong now."""
        return self._faults

    def set(self, faults: Faults) -> None:
        """From now on, on every connection."""
        self._faults = faults
        if faults.black_hole:
            self._passable.clear()
        else:
            self._passable.set()

    def change(self, **changes: Any) -> None:
        """`set`, with only some of the faults changed."""
        self.set(replace(self._faults, **changes))

    def aim(self, port: int) -> None:
        """New connections go to `port`."""
        self._to = port

    def reset(self) -> int:
        """Cut every connection at both ends, by a TCP reset; returns how many."""
        links = tuple(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_total += 1
        try:
            onward = await asyncio.open_connection("127.0.0.1", self._to, limit=_PIECE_BYTES)
        except OSError:
            writer.transport.abort()
            return
        link = _Link((reader, writer), onward)
        self._links.add(link)
        try:
            await link.run(self._there, self._back)
        finally:
            self._links.discard(link)

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._carry(reader, writer, lambda: self._faults.bandwidth)

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def limit() -> int:
            faults = self._faults
            limits = [each for each in (faults.bandwidth, faults.slow_reader) if each]
            return min(limits, default=0)

        await self._carry(reader, writer, limit, is_back=True)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: Callable[[], int],
        *,
        is_back: bool = False,
    ) -> None:
        """One direction: read, wait as long as the faults say, write; in the order they came."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING_PIECES_MAX)

        async def read() -> None:
            arrives_s = 0.0
            while True:
                is_slow = is_back and self._faults.slow_reader
                if is_slow:
                    _shrink(reader, writer)
                piece = await reader.read(_SLOW_PIECE_BYTES if is_slow else _PIECE_BYTES)
                faults = self._faults
                delay_s = (faults.latency_ms + self._chance.random() * faults.jitter_ms) / 1e3
                arrives_s = max(arrives_s, loop.time() + delay_s)
                await waiting.put((arrives_s, piece))
                if not piece:
                    return
                if bytes_a_second := limit():
                    # Not read on before this much could have passed: the sender's window closes.
                    await asyncio.sleep(len(piece) / bytes_a_second)

        async def read_or_end() -> None:
            """Whatever ends the reading ends the direction, after what was read before."""
            try:
                await read()
            except OSError:
                await waiting.put((0.0, b""))

        reading = asyncio.ensure_future(read_or_end())
        try:
            while True:
                arrives_s, piece = await waiting.get()
                if (left_s := arrives_s - loop.time()) > 0:
                    await asyncio.sleep(left_s)
                await self._passable.wait()
                if not piece:
                    return
                with contextlib.suppress(OSError):  # the other direction notices, and ends both
                    writer.write(piece)
                    await writer.drain()
        finally:
            reading.cancel()


def _shrink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Small buffers on the side that is read slowly, so that its sender notices soon."""
    transport = getattr(reader, "_transport", None)
    for end, option in ((transport, socket.SO_RCVBUF), (writer.transport, socket.SO_SNDBUF)):
        held = end.get_extra_info("socket") if end is not None else None
        if held is not None:
            with contextlib.suppress(OSError):
                held.setsockopt(socket.SOL_SOCKET, option, _SMALL_BUFFER_BYTES)


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One caller and the server."""

    def __init__(self, caller: _Streams, server: _Streams) -> None:
        self._caller = caller
        self._server = server
        self.ended = asyncio.Event()

    async def run(self, there: Any, back: Any) -> None:
        """Carry bytes until either end hangs up."""
        ways = [
            asyncio.ensure_future(there(self._caller[0], self._server[1])),
            asyncio.ensure_future(back(self._server[0], self._caller[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writers = [writer for _, writer in (self._caller, self._server)]
            for writer in writers:
                writer.close()
            await asyncio.gather(
                *(writer.wait_closed() for writer in writers), return_exceptions=True
            )
            self.ended.set()

    def cut(self) -> None:
        """Hang up on both, at once, with a reset."""
        for _, writer in (self._caller, self._server):
            held = writer.get_extra_info("socket")
            if held is not None:
                with contextlib.suppress(OSError):
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            writer.transport.abort()


async def _serve(options: argparse.Namespace) -> None:
    faults = Faults(
        latency_ms=options.latency_ms,
        jitter_ms=options.jitter_ms,
        bandwidth=options.bandwidth,
        slow_reader=options.slow_reader,
        black_hole=options.black_hole,
    )
    proxy = FaultProxy(options.to, chance=random.Random(options.seed), faults=faults)
    await proxy.start(options.listen)
    print(f"127.0.0.1:{proxy.port} leads to 127.0.0.1:{options.to}: {faults}", flush=True)
    loop = asyncio.get_running_loop()
    print("commands: KEY VALUE (such as latency_ms 200), reset, or end of input", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = line.split()
        try:
            if words == ["reset"]:
                print(f"{proxy.reset()} connections cut", flush=True)
            elif len(words) == 2:
                key, value = words
                changed: Any = value in ("true", "on", "1") if key == "black_hole" else float(value)
                proxy.change(**{key: changed})
                print(proxy.faults, flush=True)
        except (TypeError, ValueError) as error:
            print(f"not done: {error}", flush=True)
    await proxy.close()


def main(arguments: list[str]) -> int:
    """A proxy by itself, changed by lines on standard input."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.faultproxy", description=__doc__)
    parser.add_argument("--to", type=int, required=True, help="the port of loopback behind it")
    parser.add_argument("--listen", type=int, default=0, help="its own port (default: any)")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--bandwidth", type=int, default=0, help="bytes a second each way")
    parser.add_argument("--slow-reader", type=int, default=0, help="bytes a second read of answers")
    parser.add_argument("--black-hole", action="store_true", help="nothing arrives")
    parser.add_argument("--seed", type=int, default=1)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
