"""Creates that come as calls of their own, brought together: decoded, applied and encoded as one.

What we add to the price of a call in gRPC is mostly the fixed price of touching the decoder, the
queue, the journal and the encoder, whatever the number of requests. So requests that come at the
same time go through these together, as a bulk message would, and each call gets the answer it would
have got alone.

Under load (`crowd`) a request waits for company, the longer the busier the event loop is, for then
all of them wait for the processor anyway; no longer than until most of those under way are
together. Where a few callers come one after another nothing waits. They come to the ledger in the
order in which they came here, whoever their callers are; one that protobuf must read, a turn later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from server.caller import Caller
from server.transport.answer_parts import parts_of
from server.transport.calls import Call
from server.transport.channel_nodes import ChannelNodes
from server.transport.crowd import Crowd, is_in_hurry
from server.transport.decode import Decoded, decode
from server.transport.detached import detached
from server.transport.encode import encode_creates
from server.transport.framing import framed
from server.transport.gathering import longest
from server.transport.ledger_view import LedgerView

# How long a request waits for company under load, where the event loop has no time left.
_GATHER_S = 0.012
_CALLER = attrgetter("caller")


Answer: TypeAlias = bytes | Outcomes
"""What became of one create: its reply, or its outcome where that is for `render`."""


@dataclass(slots=True)
class _Waiting:
    raw: bytes
    caller: Caller
    remaining_s: float | None
    future: asyncio.Future[Answer | None]


@dataclass(frozen=True, slots=True)
class _Part:
    """Requests of one caller that were read together, and their calls."""

    decoded: Decoded
    calls: list[_Waiting]


class CreateCollector:
    """Gathers the creates of this process."""

    def __init__(
        self, view: LedgerView, channels: ChannelNodes, busy_share: Callable[[], float]
    ) -> None:
        self._view = view
        self._channels = channels
        self._waiting: list[_Waiting] = []
        self._crowd = Crowd(busy_share)
        self._enough = 0.0  # for the set that gathers
        self._flush: asyncio.Handle | None = None
        # Asking for it is a call of the system in Python 3.11.
        self._loop: asyncio.AbstractEventLoop | None = None

    def create(self, raw: bytes, call: Call) -> asyncio.Future[Answer | None]:
        """The answer to one CreateReservationRequest; None when protobuf must read it.

        The future raises NotDone.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()
        waiting = _Waiting(raw, call.caller, call.remaining_s(), loop.create_future())
        self._waiting.append(waiting)
        self._crowd.enter()
        if self._flush is None:
            self._enough = self._crowd.enough
            if self._crowd.is_load:
                self._flush = loop.call_later(_GATHER_S * self._crowd.patience, self._send)
            else:
                self._flush = loop.call_soon(self._send)
        elif len(self._waiting) >= self._enough:
            self._flush.cancel()
            self._send()
        return waiting.future

    def _send(self) -> None:
        """Give what has gathered to the ledger, in the order in which it came. Who is in a hurry
        goes alone, so that it can be dropped alone."""
        self._flush = None
        self._crowd.set_goes()
        gathered, self._waiting = self._waiting, []
        group: list[_Waiting] = []
        for call in gathered:
            if call.future.done():  # its caller has gone
                self._crowd.leave()
                continue
            if is_in_hurry(call.remaining_s):
                self._begin(group)
                self._begin([call])
                group = []
            else:
                group.append(call)
        self._begin(group)

    def _begin(self, group: list[_Waiting]) -> None:
        # Tasks begin in the order in which they are made, and come to the ledger before they wait.
        if group:
            detached(self._apply(group))

    async def _apply(self, calls: list[_Waiting]) -> None:
        try:
            parts = [
                part
                for caller, run in groupby(calls, _CALLER)
                for part in self._read(caller, list(run))
            ]
            if parts:
                await self._submit(parts)
        except asyncio.CancelledError:
            raise
        except Exception as fault:  # noqa: BLE001 - each call hears of it, in its own words
            for call in calls:
                if not call.future.done():
                    call.future.set_exception(fault)
        finally:
            self._crowd.leave(len(calls))

    def _read(self, caller: Caller, calls: list[_Waiting]) -> list[_Part]:
        """Those that are usual; protobuf reads the others."""
        message = b"".join([framed(call.raw) for call in calls])
        at = first = 0
        parts: list[_Part] = []
        now_ms = self._view.gateway.now_ms()
        while at < len(message):
            decoded = decode(message, caller, now_ms, framed=True, start=at)
            count = len(decoded.batch)
            if count and not self._channels.any_restricted(decoded.batch.headers):
                parts.append(_Part(decoded, calls[first : first + count]))
                first, at = first + count, decoded.next_at
                continue
            for call in calls[first : first + max(1, count)]:
                at += len(framed(call.raw))
                if not call.future.done():
                    call.future.set_result(None)
            first += max(1, count)
        return parts

    async def _submit(self, parts: list[_Part]) -> None:
        """All of them as one piece."""
        calls = [call for part in parts for call in part.calls]
        answer = await self._view.gateway.submit(
            CommandBatch.join([part.decoded.batch for part in parts]),
            remaining_s=longest([call.remaining_s for call in calls]),
            memory_only=sum(part.decoded.memory_only for part in parts) == len(calls),
        )
        own = parts_of(answer, [len(part.calls) for part in parts])
        for part, outcomes in zip(parts, own, strict=True):
            self._tell(part, outcomes)

    def _tell(self, part: _Part, answer: Outcomes) -> None:
        rows, details = answer.rows, answer.details
        replies = encode_creates(part.decoded, rows, details, self._view.ledger_seed())
        ends: NDArray[np.int64] | None = None
        for index, (call, reply) in enumerate(zip(part.calls, replies, strict=True)):
            future = call.future
            if future.done():
                continue
            if reply:
                future.set_result(reply)
                continue
            if ends is None:
                ends = rows["detail_count"].cumsum(dtype=np.int64)
            start = int(ends[index - 1]) if index else 0
            own = Outcomes(
                rows[index : index + 1], details[start : int(ends[index])], answer.changed
            )
            future.set_result(own)
