"""A server that answers at once and does nothing: what a generator is measured against.

It reads frames and writes the same reply for each request, or turns away what is more than so many
a second, as gRPC's core does. A real server costs many times as much, so what limits a load on this
one is the generator.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import cast

from loadtests.light import frames

_HEADERS = frames.literal(":status", "200") + frames.literal("content-type", "application/grpc")
_TRAILERS = frames.literal("grpc-status", "0")
_SHED = _HEADERS + frames.literal("grpc-status", "1") + frames.literal("grpc-message", "CANCELLED")
_CANCEL = 0x8
_AT_ONCE_MAX = 32
_WINDOW_BYTES = 1 << 30
_STREAMS_MAX = 1 << 20


class Room:
    """So many calls a second, `_AT_ONCE_MAX` of them at once."""

    def __init__(self, calls_per_second: float) -> None:
        self._calls_per_second = calls_per_second
        self._left = 0.0
        self._looked_s = time.monotonic()

    def takes(self) -> bool:
        """Whether there is room for one more now."""
        now_s = time.monotonic()
        came = (now_s - self._looked_s) * self._calls_per_second
        self._left = min(_AT_ONCE_MAX, self._left + came)
        self._looked_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Responder(asyncio.Protocol):
    """One connection."""

    def __init__(self, message: bytes, room: Room | None) -> None:
        """`message`: what every call is answered that there is `room` for, of all connections."""
        self._room = room
        self._body = struct.pack(">BI", 0, len(message)) + message
        self._reader = frames.Reader()
        self._preface = len(frames.PREFACE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        told = {frames.MAX_CONCURRENT_STREAMS: _STREAMS_MAX, frames.INITIAL_WINDOW_SIZE: 1 << 20}
        self._transport.write(frames.settings(told) + frames.window_update(0, _WINDOW_BYTES))

    def data_received(self, data: bytes) -> None:
        if self._preface:
            skipped = min(self._preface, len(data))
            self._preface -= skipped
            data = data[skipped:]
        out = []
        for kind, flags, stream, payload in self._reader.feed(data):
            if kind == frames.DATA and flags & frames.END_STREAM:
                out.append(self._answer(stream))
                if stream % 1_001 == 0:
                    out.append(frames.window_update(0, 1 << 20))
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
            elif kind == frames.PING and not flags & frames.ACK:
                out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        if out:
            self._transport.write(b"".join(out))

    def _answer(self, stream: int) -> bytes:
        if self._room is not None and not self._room.takes():
            flags = frames.END_HEADERS | frames.END_STREAM
            return frames.frame(frames.HEADERS, flags, stream, _SHED) + frames.reset(
                stream, _CANCEL
            )
        return (
            frames.frame(frames.HEADERS, frames.END_HEADERS, stream, _HEADERS)
            + frames.frame(frames.DATA, 0, stream, self._body)
            + frames.frame(
                frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, _TRAILERS
            )
        )


async def respond(
    message: bytes, calls_per_second: float | None = None
) -> tuple[asyncio.Server, int]:
    """Listen on loopback and take so many calls, or all; returns the server and its port."""
    loop = asyncio.get_running_loop()
    room = None if calls_per_second is None else Room(calls_per_second)
    server = await loop.create_server(lambda: Responder(message, room), "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]
