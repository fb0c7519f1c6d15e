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
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from loadtests.light import frames
from loadtests.light.deadlines import Deadlines
from loadtests.light.ending import LATE, Ending, lost, of_reset, of_trailers

_STREAM_WINDOW_BYTES = 1 << 20
_CONNECTION_WINDOW_BYTES = 1 << 30
_LAST_STREAM = (1 << 31) - 1
_CANCEL = 0x8
Ended = asyncio.Future[Ending]


class _Stream:
    __slots__ = ("body", "ended", "headers")

    def __init__(self, ended: Ended) -> None:
        self.ended = ended
        self.headers = b""
        self.body = b""

    def end(self, ending: Ending) -> None:
        if not self.ended.done():  # it is when whoever waited for it was cancelled
            self.ended.set_result(ending)


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
        self._deadlines = Deadlines(self._loop, self._give_up)
        self.is_open = True
        told = {
            frames.HEADER_TABLE_SIZE: 0,
            frames.INITIAL_WINDOW_SIZE: _STREAM_WINDOW_BYTES,
            frames.TRUE_BINARY_METADATA: 1,
        }
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
            stream.end(lost("the connection was closed"))

    def call(self, headers: bytes, message: bytes, ended: Ended, deadline: float | None) -> int:
        """Begin a call; returns what `cancel` takes. `headers` is an HPACK block, `deadline` in
        seconds of the loop's clock."""
        number = self._next
        self._next += 2
        if self._next >= _LAST_STREAM:
            self.is_open = False
        stream = _Stream(ended)
        if self._may_begin(len(message)):
            self._begin(number, headers, message, stream)
        else:
            self._waiting.append((number, headers, message, stream))
        if deadline is not None:
            self._deadlines.add(number, deadline)
        return number

    def cancel(self, number: int) -> None:
        """Forget a call and tell the server so; it does not end any more."""
        self._forgotten(number)

    def _give_up(self, number: int) -> None:
        """Its deadline has passed."""
        stream = self._forgotten(number)
        if stream is not None:
            stream.end(LATE)

    def _forgotten(self, number: int) -> _Stream | None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._write(frames.reset(number, _CANCEL))
            self._begin_waiting()
            return stream
        for waiting in self._waiting:
            if waiting[0] == number:
                self._waiting.remove(waiting)
                return waiting[3]
        return None

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

    def _may_begin(self, message_bytes: int) -> bool:
        size = message_bytes + frames.PREFIX_BYTES
        return (
            len(self._streams) < self._streams_max
            and size <= self._window
            and size <= self._stream_window
            and not self._waiting
        )

    def _begin(self, number: int, headers: bytes, message: bytes, stream: _Stream) -> None:
        self._streams[number] = stream
        self._window -= len(message) + frames.PREFIX_BYTES
        self._write(frames.request(number, headers, message))

    def _begin_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            number, headers, message, stream = waiting[0]
            if not self._may_begin(len(message)):
                break
            waiting.popleft()
            self._begin(number, headers, message, stream)
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
            if kind == frames.HEADERS or kind == frames.CONTINUATION:
                self._on_headers(kind, flags, number, payload)
            elif kind == frames.DATA:
                self._on_data(flags, number, payload)
            else:
                self._on_control(kind, flags, number, payload)
        if self._waiting:
            self._begin_waiting()

    def _on_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            stream = self._streams.pop(number, None)
            if stream is not None:
                stream.end(of_reset(struct.unpack(">I", payload)[0], stream.headers))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._on_settings(frames.read_settings(payload))
        elif kind == frames.PING and not flags & frames.ACK:
            self._write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.WINDOW_UPDATE and number == 0:
            self._window += struct.unpack(">I", payload)[0]
        elif kind == frames.GOAWAY:
            self._on_goaway(struct.unpack(">I", payload[:4])[0] & _LAST_STREAM)

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

    def _on_headers(self, kind: int, flags: int, number: int, block: bytes) -> None:
        if kind == frames.CONTINUATION:
            if self._block is None:
                return
            number, first_flags, begun = self._block
            flags, block = first_flags | flags & frames.END_HEADERS, begun + block
        elif flags & frames.PRIORITY:
            block = block[5:]
        if not flags & frames.END_HEADERS:
            self._block = (number, flags, block)
            return
        self._block = None
        stream = self._streams.get(number)
        if stream is None:
            return
        if not flags & frames.END_STREAM:
            stream.headers = block
            return
        del self._streams[number]
        stream.end(of_trailers(block, stream.headers, stream.body))

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
            stream.end(lost("the server is going away"))
