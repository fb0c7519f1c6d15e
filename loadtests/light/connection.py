"""One HTTP/2 connection with many unary gRPC calls under way on it.

Invariants
1. Every call ends exactly once: with a reply, the server's status, a reset, its deadline, or the
   connection's end.
2. Never more streams than the server allows, never more bytes than its windows: what is beyond that
   waits here, its deadline running.
3. The server is told to use no dynamic table for headers, so equal blocks mean equal headers and
   are decoded once.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import cast
from urllib.parse import unquote

import hpack

from loadtests.light import frames
from loadtests.light.ending import Ending, Metadata, of_reset, of_trailers

_STREAM_WINDOW_BYTES = 1 << 20
_CONNECTION_WINDOW_BYTES = 1 << 30
_LAST_STREAM = (1 << 31) - 1
_CANCEL = 0x8
OnEnd = Callable[[Ending], None]


class _Stream:
    __slots__ = ("body", "headers", "on_end", "window")

    def __init__(self, on_end: OnEnd, window: int) -> None:
        self.on_end = on_end
        self.window = window
        self.headers: Metadata = ()
        self.body = b""


class Connection(asyncio.Protocol):
    """Made by `asyncio.loop.create_connection`; `call` and `cancel` are all that callers use."""

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        self._on_lost = on_lost
        self._reader = frames.Reader()
        self._streams: dict[int, _Stream] = {}
        self._waiting: deque[tuple[int, bytes, bytes, _Stream]] = deque()
        self._next = 1
        self._streams_max = 100
        self._window = frames.WINDOW_BYTES_DEFAULT
        self._stream_window = frames.WINDOW_BYTES_DEFAULT
        self._received = 0
        self._outbox: list[bytes] = []
        self._block: tuple[int, int, bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_open = False
        """Whether a new call may begin here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self.is_open = True
        told = {frames.HEADER_TABLE_SIZE: 0, frames.INITIAL_WINDOW_SIZE: _STREAM_WINDOW_BYTES}
        self._transport.write(
            frames.PREFACE
            + frames.settings(told)
            + frames.window_update(0, _CONNECTION_WINDOW_BYTES)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        streams = [*self._streams.values(), *(waiting[3] for waiting in self._waiting)]
        self._streams.clear()
        self._waiting.clear()
        self._on_lost(self)
        for stream in streams:
            stream.on_end(Ending.lost("the connection was closed"))

    def call(self, headers: bytes, message: bytes, on_end: OnEnd) -> int:
        """Begin a call; returns what `cancel` takes. `headers` is an HPACK block."""
        number = self._next
        self._next += 2
        if self._next >= _LAST_STREAM:
            self.is_open = False
        body = struct.pack(">BI", 0, len(message)) + message
        stream = _Stream(on_end, 0)
        if self._may_begin(len(body)):
            self._begin(number, headers, body, stream)
        else:
            self._waiting.append((number, headers, body, stream))
        return number

    def cancel(self, number: int) -> None:
        """Forget a call and tell the server so; its `on_end` is not called any more."""
        if self._streams.pop(number, None) is not None:
            self._write(frames.reset(number, _CANCEL))
            self._begin_waiting()
            return
        for waiting in self._waiting:
            if waiting[0] == number:
                self._waiting.remove(waiting)
                return

    def abort(self) -> None:
        """Cut it, as a broken network would."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End it in order."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def _may_begin(self, size: int) -> bool:
        return (
            len(self._streams) < self._streams_max
            and size <= min(self._window, self._stream_window)
            and not self._waiting
        )

    def _begin(self, number: int, headers: bytes, body: bytes, stream: _Stream) -> None:
        self._streams[number] = stream
        self._window -= len(body)
        self._write(frames.frame(frames.HEADERS, frames.END_HEADERS, number, headers))
        # Requests of a load are small; a larger one is cut into as many frames as it needs.
        for at in range(0, len(body), frames.FRAME_BYTES_MAX):
            piece = body[at : at + frames.FRAME_BYTES_MAX]
            last = frames.END_STREAM if at + len(piece) == len(body) else 0
            self._write(frames.frame(frames.DATA, last, number, piece))

    def _begin_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            number, headers, body, stream = waiting[0]
            if not self._may_begin(len(body)):
                break
            waiting.popleft()
            self._begin(number, headers, body, stream)
        self._waiting = waiting

    def _write(self, data: bytes) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(data)

    def _flush(self) -> None:
        data, self._outbox = b"".join(self._outbox), []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        for kind, flags, number, payload in self._reader.feed(data):
            if kind == frames.DATA:
                self._on_data(flags, number, payload)
            elif kind == frames.HEADERS:
                if flags & frames.PRIORITY:
                    payload = payload[5:]
                self._on_headers(flags, number, payload)
            elif kind == frames.CONTINUATION and self._block is not None:
                begun, first_flags, block = self._block
                self._on_headers(first_flags | flags & frames.END_HEADERS, begun, block + payload)
            elif kind == frames.RST_STREAM:
                stream = self._streams.pop(number, None)
                if stream is not None:
                    stream.on_end(of_reset(struct.unpack(">I", payload)[0], stream.headers))
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                self._on_settings(frames.read_settings(payload))
            elif kind == frames.PING and not flags & frames.ACK:
                self._write(frames.frame(frames.PING, frames.ACK, 0, payload))
            elif kind == frames.WINDOW_UPDATE and number == 0:
                self._window += struct.unpack(">I", payload)[0]
            elif kind == frames.GOAWAY:
                self._on_goaway(struct.unpack(">I", payload[:4])[0] & 0x7FFFFFFF)
        if self._waiting:
            self._begin_waiting()

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > _CONNECTION_WINDOW_BYTES // 2:
            self._write(frames.window_update(0, self._received))
            self._received = 0
        stream = self._streams.get(number)
        if stream is not None:
            if flags & frames.PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            stream.body = stream.body + payload if stream.body else payload

    def _on_headers(self, flags: int, number: int, block: bytes) -> None:
        if not flags & frames.END_HEADERS:
            self._block = (number, flags, block)
            return
        self._block = None
        stream = self._streams.get(number)
        if stream is None:
            return
        headers = _decoded(block)
        if not flags & frames.END_STREAM:
            stream.headers = headers
            return
        del self._streams[number]
        stream.on_end(of_trailers(headers, stream.headers, stream.body))

    def _on_settings(self, told: dict[int, int]) -> None:
        self._streams_max = told.get(frames.MAX_CONCURRENT_STREAMS, self._streams_max)
        self._stream_window = told.get(frames.INITIAL_WINDOW_SIZE, self._stream_window)
        self._write(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _on_goaway(self, last: int) -> None:
        """No new calls here; those the server has not seen end at once."""
        self.is_open = False
        self._on_lost(self)
        unseen = [number for number in self._streams if number > last]
        streams = [self._streams.pop(number) for number in unseen]
        streams += [waiting[3] for waiting in self._waiting]
        self._waiting.clear()
        for stream in streams:
            stream.on_end(Ending.lost("the server is going away"))


@lru_cache(maxsize=4096)
def _decoded(block: bytes) -> Metadata:
    """The headers of a block that refers to no dynamic table."""
    decoder = hpack.Decoder()
    decoder.header_table_size = 0
    headers: list[tuple[str, str | bytes]] = []
    for name, value in decoder.decode(block, raw=True):
        key = name.decode("ascii")
        if key.endswith("-bin"):
            headers.append((key, base64.b64decode(value + b"=" * (-len(value) % 4))))
        elif key == "grpc-message":
            headers.append((key, unquote(value.decode("ascii", "replace"))))
        else:
            headers.append((key, value.decode("ascii", "replace")))
    return tuple(headers)
