"""Programs that run beside the shoppers: a feed of counts, and a million holds that end at once.

``python -m loadtests.companions feed|holds`` reads its order as one line of JSON from standard
input, and answers with one on standard output.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import grpc

from holdfast import aio
from holdfast.channels import MESSAGE_BYTES_MAX
from holdfast.ids import made_id
from holdfast.v1 import reservation_service_pb2 as wire
from loadtests.asking import node_name, sku_name
from loadtests.scenario import Shop
from loadtests.shop import chunks

_HOLDS_PER_MESSAGE = 4_096
_MESSAGES_AT_ONCE = 4
_BULK = "/holdfast.v1.ReservationService/BulkCreateReservations"


async def feed(order: dict[str, Any]) -> dict[str, Any]:
    """Count `rows` positions in, as fast as the server takes them."""
    shop = Shop(**order["shop"])
    applied = 0
    started = time.monotonic()
    async with aio.Client(order["target"]) as client:
        async for result in client.ingest(order["feed_id"], chunks(shop, order["rows"])):
            applied += result.applied_rows
    return {"rows": applied, "seconds": time.monotonic() - started}


async def holds(order: dict[str, Any]) -> dict[str, Any]:
    """Make `holds` of one unit that end one after another within `within_s` from `expire_at` on,
    in Unix seconds."""
    shop = Shop(**order["shop"])
    target = order["target"].split(",")[0]
    made = refused = 0
    options = [(f"grpc.max_{way}_message_length", MESSAGE_BYTES_MAX) for way in ("send", "receive")]
    started = time.monotonic()
    async with grpc.aio.insecure_channel(target, options) as channel:
        create: Any = channel.unary_unary(_BULK)

        async def one_message(first: int) -> None:
            nonlocal made, refused
            message = _message(shop, first, order).SerializeToString()
            reply = wire.BulkCreateReservationsResponse.FromString(await create(message))
            short = sum(bool(result.reason) for result in reply.results)
            refused += short
            made += len(reply.results) - short

        firsts = list(range(0, order["holds"], _HOLDS_PER_MESSAGE))
        turns = asyncio.Semaphore(_MESSAGES_AT_ONCE)

        async def in_turn(first: int) -> None:
            async with turns:
                await one_message(first)

        await asyncio.gather(*(in_turn(first) for first in firsts))
    return {"made": made, "refused": refused, "seconds": time.monotonic() - started}


def _message(shop: Shop, first: int, order: dict[str, Any]) -> wire.BulkCreateReservationsRequest:
    message = wire.BulkCreateReservationsRequest()
    now = time.time()
    base = made_id()
    for number in range(first, min(first + _HOLDS_PER_MESSAGE, order["holds"])):
        at = order["expire_at"] + order["within_s"] * number / order["holds"]
        row = message.requests.add(request_id=f"{base}-{number}", owner=f"abandoned-{number}")
        row.ttl.FromMilliseconds(round((at - now) * 1_000))
        # Not the hot one: what is sold of it is counted.
        sku = 1 + number % max(1, shop.skus - 1)
        row.lines.add(
            sku=sku_name(sku % shop.skus), node=node_name(number % shop.nodes), quantity=1
        )
    return message


def main(arguments: list[str]) -> int:
    """Obey one order."""
    work = {"feed": feed, "holds": holds}[arguments[0]]
    print(json.dumps(asyncio.run(work(json.loads(sys.stdin.readline())))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
