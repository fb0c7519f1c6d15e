"""Calls that come at the same time, served together.

Many calls cost less together than one by one: each step is done for all of them before the next
one, with its code in the processor's caches; their replies leave in one go; and what a batch costs
the writer and the journal's thread is nearly the same whatever is in it. Those that come within
one turn of the event loop are together anyway. Where a batch of the journal is to be saved they
wait for company under load, as creates do (`create_collector`): no longer than they are told to,
nor than until most of those under way are together. Whether there is load is told by how many were
under way together of late (`crowd`).

Invariants
1. Every call that was taken in is told something: what `serve` gave it, or why that failed.
2. What is served together goes on whatever becomes of its callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from server.transport.calls import Call, RawHandler
from server.transport.crowd import Crowd, is_in_hurry
from server.transport.detached import detached

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

    def __init__(
        self,
        serve: Callable[[Sequence[Gathered]], Awaitable[None]],
        *,
        wait_s: float = 0.0,
        busy_share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """`serve` tells each call of a set; those it has not told hear what it raised. `wait_s`:
        how long a call may wait for others under load, where the event loop is busy all the time;
        `busy_share`: how much of it it is."""
        self._serve = serve
        self._wait_s = wait_s
        self._waiting: list[Gathered] = []
        self._crowd = Crowd(busy_share)
        self._flush: asyncio.Handle | None = None

    def handler(self, plain: RawHandler) -> RawHandler:
        """Of a method whose calls are served together; `plain` has those that are not for a set."""

        async def serve(raw: bytes, call: Call) -> bytes:
            reply = await self.served(raw, call)
            return await plain(raw, call) if reply is None else reply

        return serve

    async def served(self, raw: bytes, call: Call) -> bytes | None:
        """What the call was told, together with others under load."""
        loop = asyncio.get_running_loop()
        one = Gathered(raw, call, loop.create_future())
        self._crowd.enter()
        try:
            if is_in_hurry(call.remaining_s()):
                detached(self._serve_all([one]))
            else:
                self._join(loop, one)
            return await one.told
        finally:
            self._crowd.leave()

    def _join(self, loop: asyncio.AbstractEventLoop, one: Gathered) -> None:
        self._waiting.append(one)
        count = len(self._waiting)
        if self._flush is None:
            is_worth_it = self._wait_s and self._crowd.is_load
            self._flush = (
                loop.call_later(self._wait_s * self._crowd.patience, self._go)
                if is_worth_it
                else loop.call_soon(self._go)
            )
        elif count >= _TOGETHER_MAX or count >= self._crowd.enough:
            self._flush.cancel()
            self._go()

    def _go(self) -> None:
        self._flush = None
        self._crowd.set_goes()
        together, self._waiting = self._waiting, []
        detached(self._serve_all(together))

    async def _serve_all(self, together: Sequence[Gathered]) -> None:
        here = [one for one in together if not one.told.done()]
        try:
            await self._serve(here)
        except Exception as fault:  # noqa: BLE001 - each call hears of it, in its own words
            for one in here:
                one.tell(fault)


def longest(remaining_s: Sequence[float | None]) -> float | None:
    """How long the most patient of some callers waits, in seconds; None: for ever. What they share
    is worth doing until then: the hurry of one must not end what the others wait for."""
    known = [one for one in remaining_s if one is not None]
    return max(known) if len(known) == len(remaining_s) else None
