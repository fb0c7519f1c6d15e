"""Calls that come at the same time, served together.

What a batch costs the writer and the journal's thread is nearly the same whatever is in it, and so
is much of what is done before. So under load a promise waits up to 8 ms for company, as creates do
(`create_collector`), and no longer than until half of those under way are together; where a few
callers come one after another nothing waits. Whether there is load is told by how many calls were
under way together of late (`crowd`).

Invariants
1. Every call that was taken in is told something: what `serve` gave it, or why that failed.
2. What is served together goes on whatever becomes of its callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from server.transport.calls import Call
from server.transport.crowd import Crowd, is_in_hurry

_GATHER_S = 0.008
# The event loop does nothing else while a set is planned: some 0.2 ms for each.
_TOGETHER_MAX = 64


class Gathered:
    """One call of a set, to be told what became of it."""

    __slots__ = ("call", "raw", "told")

    def __init__(self, raw: bytes, call: Call, told: asyncio.Future[bytes | None]) -> None:
        self.raw = raw
        self.call = call
        self.told = told

    def tell(self, answer: bytes | Exception | None) -> None:
        """The reply; or why there is none; None: it was not for the set."""
        if self.told.done():  # its caller has gone
            return
        if isinstance(answer, Exception):
            self.told.set_exception(answer)
        else:
            self.told.set_result(answer)


class Gathering:
    """Those who wait for company."""

    def __init__(self, serve: Callable[[Sequence[Gathered]], Awaitable[None]]) -> None:
        """`serve` tells each call of a set; those it has not told hear what it raised."""
        self._serve = serve
        self._waiting: list[Gathered] = []
        self._crowd = Crowd()
        self._flush: asyncio.TimerHandle | None = None
        self._sets: set[asyncio.Task[None]] = set()

    async def served(self, raw: bytes, call: Call) -> bytes | None:
        """What the call was told, together with others under load."""
        loop = asyncio.get_running_loop()
        one = Gathered(raw, call, loop.create_future())
        self._crowd.enter()
        try:
            if not self._crowd.is_load or is_in_hurry(call.remaining_s()):
                self._send([one])
            else:
                self._waiting.append(one)
                count = len(self._waiting)
                if count >= _TOGETHER_MAX or self._crowd.is_together(count):
                    self._go()
                elif self._flush is None:
                    self._flush = loop.call_later(_GATHER_S, self._go)
            return await one.told
        finally:
            self._crowd.leave()

    def _go(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._crowd.set_goes()
        together, self._waiting = self._waiting, []
        self._send(together)

    def _send(self, together: Sequence[Gathered]) -> None:
        task = asyncio.ensure_future(self._serve_all(together))
        self._sets.add(task)
        task.add_done_callback(self._sets.discard)

    async def _serve_all(self, together: Sequence[Gathered]) -> None:
        here = [one for one in together if not one.told.done()]
        try:
            await self._serve(here)
        except Exception as fault:  # noqa: BLE001 - each call hears of it, in its own words
            for one in here:
                one.tell(fault)


def least(remaining_s: Sequence[float | None]) -> float | None:
    """How long the first of some callers waits, in seconds; None where one waits for ever: all
    get their answer at the same time."""
    known = [one for one in remaining_s if one is not None]
    return min(known) if len(known) == len(remaining_s) else None
