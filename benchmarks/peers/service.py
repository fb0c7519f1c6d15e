"""What both peers share: the gRPC server, the request read and checked, the reply.

A peer gives a `Store`; everything else of the service is here, so that the two differ in their
store alone. grpc.aio with uvloop and protobuf's own messages, as a Python shop would have it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc
import uvloop

from holdfast.v1 import reservation_service_pb2 as wire
from holdfast.v1 import types_pb2

CREATE = "CreateReservation"
_SERVICE = "holdfast.v1.ReservationService"

Lines = list[tuple[str, str, int]]
"""(sku, node, units), in the order of their names, each place once."""


class Short(Exception):
    """There are not enough units of a line; nothing was taken."""


class Store(Protocol):
    """Where the peer keeps its stock."""

    async def reserve(
        self, reservation_id: uuid.UUID, request_id: str, owner: str, ttl_s: float, lines: Lines
    ) -> str:
        """Take all lines or none, durably. The reservation's id, also of an earlier request of the
        same id. Raises Short."""
        ...


def lines_of(request: wire.CreateReservationRequest) -> Lines:
    """The lines, equal places summed. Raises ValueError for what is not valid."""
    wanted: dict[tuple[str, str], int] = {}
    for line in request.lines:
        if not line.sku or not line.node or line.quantity <= 0:
            raise ValueError("each line needs a SKU, a node and a quantity")
        place = (line.sku, line.node)
        wanted[place] = wanted.get(place, 0) + line.quantity
    if not wanted:
        raise ValueError("no lines")
    return [(sku, node, units) for (sku, node), units in sorted(wanted.items())]


class Service:
    """CreateReservation over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(
        self, request: wire.CreateReservationRequest, context: Any
    ) -> wire.CreateReservationResponse:
        """Reserve, and tell what was reserved."""
        try:
            lines = lines_of(request)
        except ValueError as fault:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(fault))
        reservation_id = uuid.uuid4()
        ttl_s = request.ttl.seconds + request.ttl.nanos / 1e9
        request_id = request.request_id or str(reservation_id)
        try:
            made = await self._store.reserve(
                reservation_id, request_id, request.owner, ttl_s, lines
            )
        except Short as short:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(short))
        reply = wire.CreateReservationResponse()
        reservation = reply.reservation
        reservation.reservation_id = made
        reservation.owner = request.owner
        reservation.state = types_pb2.Reservation.STATE_HELD
        reservation.expire_time.FromMilliseconds(int((time.time() + ttl_s) * 1e3))
        for sku, node, units in lines:
            reservation.lines.add(sku=sku, quantity=units).takes.add(node=node, quantity=units)
        return reply


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


def serve(open_store: Callable[[], Awaitable[Store]]) -> None:
    """Serve on a free port of loopback, which is printed; until whoever started it goes."""

    async def life() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            Service(await open_store()).create,
            request_deserializer=wire.CreateReservationRequest.FromString,
            response_serializer=wire.CreateReservationResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, {CREATE: handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        await server.wait_for_termination()

    threading.Thread(target=_end_with_parent, daemon=True).start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(life())
