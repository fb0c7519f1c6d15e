"""Many hands that take calls in, where gRPC's Python server has one.

That one asks its core for a call, waits, hands it on and asks for the next, which takes some turns
of the event loop; under load, when turns are long, calls wait in the core while the ledger has
room, and come to it three at a time, where a set costs nearly the same whatever is in it. So the
methods that a sale consists of, and those that look after it, are registered with the core, which
then keeps a queue for each (what waits there, and what is shed, is counted for each alone: a
confirmation never waits behind a reservation), and most have some hands more that ask for their
calls. Measured with 64 callers, the
server on one core, both in turn: 635 us of it a create with one hand, 426 with 8, 393 with 32.

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
from collections.abc import Mapping
from typing import Any, Final

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from server.logs import get

_log = get("transport")

HANDS: Final = {
    "/holdfast.v1.ReservationService/CreateReservation": 32,
    "/holdfast.v1.ReservationService/ConfirmReservation": 16,
    "/holdfast.v1.ReservationService/CancelReservation": 16,
    "/holdfast.v1.AvailabilityService/QueryAvailability": 4,
    "/holdfast.v1.RoutingService/PromiseOrder": 32,
    "/holdfast.v1.RoutingService/PlanFulfillment": 32,
    "/grpc.health.v1.Health/Check": 1,
    "/holdfast.v1.AdminService/GetStatus": 1,
    "/holdfast.v1.AdminService/Drain": 1,
}
"""How many calls of a method are asked for at once. A plan that was served alone cost 698 us of the
core with 8 hands, 585 with 16, 586 with 32; those that are served together come by as many as there
are hands. Those of who looks after the server are few; they have a queue, so that a
crowd that reads can not have them shed, and a healthy server killed for it."""


class Hands:
    """Those of one server, for the methods of `HANDS` that it serves."""

    def __init__(
        self,
        server: grpc.aio.Server,
        handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]],
        *,
        calls_max: int,
    ) -> None:
        """Registers the methods; the server must not have been started. `handlers`: by path.
        `calls_max`: beyond so many calls under way they are answered RESOURCE_EXHAUSTED."""
        self._server = server
        self._handlers = {path: handlers[path] for path in HANDS if path in handlers}
        self._calls_max = calls_max
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

        async def take_in(path: str) -> None:
            path_bytes = path.encode()
            while True:
                try:
                    state = await ask(path_bytes)
                except over:
                    if is_running():
                        continue  # that one call is gone: grpcio's own hand asks again too
                    return  # the server ends
                is_beyond = self._let_in >= self._calls_max
                answer = serve(path, finds, (), state, loop, is_beyond)
                call = loop.create_task(watched(answer, state, loop, path))
                self._under_way.add(call)
                call.add_done_callback(self._under_way.discard)
                if not is_beyond:
                    self._let_in += 1
                    call.add_done_callback(self._let_out)

        async def hand(path: str) -> None:
            try:
                await take_in(path)
            except Exception as fault:  # noqa: BLE001 - grpcio's inside is not what it was
                self._tell(path, fault)

        for path in self._handlers:
            # The server's own hand is one of them.
            for _ in range(HANDS[path] - 1):
                self._hands.append(loop.create_task(hand(path)))

    def _let_out(self, _: asyncio.Task[None]) -> None:
        self._let_in -= 1

    def _tell(self, path: str, fault: Exception) -> None:
        """A hand ended that should not have; the others will meet the same."""
        if not self._is_told:
            self._is_told = True
            _log.error("calls are taken in by fewer hands from now on", method=path, exc_info=fault)
