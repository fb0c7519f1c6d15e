"""Many hands that take calls in, where gRPC's Python server has one.

That one asks its core for a call, waits, hands it on and asks for the next, which takes some turns
of the event loop; under load, when turns are long, calls wait in the core while the ledger has
room, and come to it three at a time, where a set costs nearly the same whatever is in it. So the
methods that a sale consists of, and those that look after it, are registered with the core, which
then keeps a queue for each (what waits there, and what is shed, is counted for each alone: a
confirmation never waits behind a reservation), and most have many hands more that ask for their
calls: while little is under way all of them, in an overload only as many as there is room for.
Measured with 64 callers, the server on one core, in turn: 635 us of it a create with one hand, 426
with 8, 393 with 32.

Registering is grpcio's public interface. A hand needs names of its inside that no document
promises: where they are missing there is one hand, as always, and a line in the log.
tests/wire/test_hands.py fails on that day.

Invariants
1. Every call that a hand was given is answered, whatever becomes of the server meanwhile, unless
   grpcio's inside fails, which is logged once; the hand that met it asks for no more.
2. Of the calls under way that count towards `calls_max` each was let in: being told of the limit
   does not keep others out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from server.logs import get

_log = get("transport")

# A burst of a hundred of one method is taken in whole.
_BURST: Final = 112
HANDS: Final = {
    **dict.fromkeys(
        (
            "/holdfast.v1.ReservationService/CreateReservation",
            "/holdfast.v1.ReservationService/ConfirmReservation",
            "/holdfast.v1.ReservationService/CancelReservation",
            "/holdfast.v1.ReservationService/ExtendReservation",
            "/holdfast.v1.ReservationService/FulfillReservation",
            "/holdfast.v1.ReservationService/GetReservation",
            "/holdfast.v1.AvailabilityService/QueryAvailability",
            "/holdfast.v1.InventoryService/AdjustInventory",
            "/holdfast.v1.RoutingService/PromiseOrder",
            "/holdfast.v1.RoutingService/PlanFulfillment",
        ),
        _BURST,
    ),
    "/grpc.health.v1.Health/Check": 1,
    "/holdfast.v1.AdminService/GetStatus": 1,
    "/holdfast.v1.AdminService/Drain": 1,
}
"""How many calls of a method are asked for at once while few of it are under way. Those of who
looks after the server are few; they have a queue, so that a crowd that reads can not have them
shed, and a healthy server killed for it."""

ROOM: Final = 64
"""Where the loop is busy and so many calls of a method are under way or asked for, its hands rest
until three quarters of them have ended, so that the next come together. What comes meanwhile waits
in the core, where few may, and where shedding costs nothing: at three thousand calls a second each
hundred under way is 33 ms for everybody. Where calls wait for something else, a slow journal, more
of them help."""
REFILL_AT: Final = ROOM // 4


class _Queue:
    """The calls of one method that are under way or asked for, and its hands that rest."""

    def __init__(self, loop: asyncio.AbstractEventLoop, is_busy: Callable[[], bool]) -> None:
        self._loop = loop
        self._is_busy = is_busy
        self._taken = 0  # under way, or asked for
        self._resting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """A hand wants to ask for a call: wait while there are too many."""
        while self._taken >= ROOM and self._is_busy():
            rest: asyncio.Future[None] = self._loop.create_future()
            self._resting.append(rest)
            await rest
        self._taken += 1

    def leave(self, _: object = None) -> None:
        """A call has ended, or there was none."""
        self._taken -= 1
        if not self._resting:
            return
        if not self._is_busy():
            self._wake(len(self._resting))
        elif self._taken <= REFILL_AT:
            self._wake(ROOM - self._taken)

    def _wake(self, count: int) -> None:
        while count > 0 and self._resting:
            rest = self._resting.popleft()
            if not rest.done():  # a hand that was ended
                rest.set_result(None)
                count -= 1


class Hands:
    """Those of one server, for the methods of `HANDS` that it serves."""

    def __init__(
        self,
        server: grpc.aio.Server,
        handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]],
        *,
        calls_max: int,
        is_busy: Callable[[], bool],
    ) -> None:
        """Registers the methods; the server must not have been started. `handlers`: by path.
        `calls_max`: beyond so many calls under way they are answered RESOURCE_EXHAUSTED.
        `is_busy`: whether the event loop has no time left."""
        self._server = server
        self._handlers = {path: handlers[path] for path in HANDS if path in handlers}
        self._calls_max = calls_max
        self._is_busy = is_busy
        self._let_in = 0
        self._is_told = False
        # The refused ones too: the loop itself keeps no task from being collected.
        self._under_way: set[asyncio.Task[None]] = set()
        self._hands: list[asyncio.Task[None]] = []
        for path, handler in self._handlers.items():
            service, _, name = path.removeprefix("/").rpartition("/")
            server.add_registered_method_handlers(service, {name: handler})

    @property
    def count(self) -> int:
        """How many ask for calls now, beside the server's own."""
        return sum(not hand.done() for hand in self._hands)

    def begin(self) -> None:
        """Take calls in; the server has been started. They end with it."""
        try:
            core = self._server._server  # type: ignore[attr-defined]
            ask, is_running = core._request_registered_call, core.is_running
            finds = cygrpc._MethodResolver([], self._handlers)
            serve, watched = cygrpc._handle_rpc, cygrpc._schedule_rpc_coro
            over = cygrpc._RequestCallError
        except AttributeError as missing:
            _log.warning("this grpcio takes in one call at a time", reason=str(missing))
            return
        loop = asyncio.get_running_loop()

        async def take_in(path: str, queue: _Queue) -> None:
            path_bytes = path.encode()
            while True:
                await queue.enter()
                if not is_running():
                    # It ended while this hand rested: there may be no core any more to be asked.
                    queue.leave()
                    return
                try:
                    state = await ask(path_bytes)
                except over:
                    queue.leave()
                    if is_running():
                        continue  # that one call is gone: grpcio's own hand asks again too
                    return  # the server ends
                is_beyond = self._let_in >= self._calls_max
                answer = serve(path, finds, (), state, loop, is_beyond)
                call = loop.create_task(watched(answer, state, loop, path))
                self._under_way.add(call)
                call.add_done_callback(self._under_way.discard)
                call.add_done_callback(queue.leave)
                if not is_beyond:
                    self._let_in += 1
                    call.add_done_callback(self._let_out)
                del state, answer, call  # a hand that rests must not keep what has ended

        async def hand(path: str, queue: _Queue) -> None:
            try:
                await take_in(path, queue)
            except Exception as fault:  # noqa: BLE001 - grpcio's inside is not what it was
                queue.leave()
                self._tell(path, fault)

        for path in self._handlers:
            queue = _Queue(loop, self._is_busy)
            # The server's own hand is one of them. It never rests, but has one call a few turns.
            for _ in range(HANDS[path] - 1):
                self._hands.append(loop.create_task(hand(path, queue)))

    def _let_out(self, _: asyncio.Task[None]) -> None:
        self._let_in -= 1

    def _tell(self, path: str, fault: Exception) -> None:
        """A hand ended that should not have; the others will meet the same."""
        if not self._is_told:
            self._is_told = True
            _log.error("calls are taken in by fewer hands from now on", method=path, exc_info=fault)
