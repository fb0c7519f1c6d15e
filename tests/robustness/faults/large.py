"""Fault 1 at size: kill -9 with very many positions and open holds, and the time until it serves.

Nothing but the journal is there to begin from: no snapshot, which is the most a server ever reads.
"""

from __future__ import annotations

import asyncio

from benchmarks.calls import Caller, all_of
from benchmarks.catalogue import catalogue
from benchmarks.requests import BULK_CREATE, Requests
from benchmarks.shop_on_server import define, stock
from holdfast import Client
from holdfast.v1 import reservation_service_pb2 as wire
from tests.robustness.faults.size import Size
from tests.robustness.session import Session

_HOLDS_PER_MESSAGE = 1_000
_STARTS = 3


async def kill_with_a_full_ledger(session: Session, size: Size) -> None:
    """As many positions and three-line holds as `size` says; every acknowledged one is there."""
    revision = await _fill(session, size.holds)
    for _ in range(_STARTS):
        await session.server.kill()
        seconds = await session.begin()
        session.measured(f"start_with_{size.holds}_positions_and_holds_s", seconds)
        with Client(session.server.target) as client:
            status = await asyncio.to_thread(client.status)
        session.findings.need(
            status.revision >= revision and status.shards[0].open_holds >= size.holds,
            f"revision {status.revision} of {revision}, {status.shards[0].open_holds} holds left",
        )


async def _fill(session: Session, count: int) -> int:
    """Positions and holds; the last revision that was acknowledged."""
    shop = catalogue(count)
    with Client(session.server.target, slow_timeout=120.0) as client:
        await asyncio.to_thread(define, client, shop)
        await asyncio.to_thread(stock, client, shop)
    messages = Requests(shop).bulks(count // _HOLDS_PER_MESSAGE, _HOLDS_PER_MESSAGE)
    caller = Caller(session.server.target, connections=1)
    _, replies = await all_of(caller.method(BULK_CREATE), messages, in_flight=2)
    await caller.close()
    return max(wire.BulkCreateReservationsResponse.FromString(reply).revision for reply in replies)
