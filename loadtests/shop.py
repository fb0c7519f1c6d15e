"""The shop of a scenario, put into a running server: nodes, items, stock, perhaps carriers."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast import aio
from holdfast.calls.feed import FeedChunk
from holdfast.values.network import (
    Calendar,
    Carrier,
    CarrierService,
    Item,
    Lane,
    Money,
    Node,
    Pickup,
    Rate,
    Transit,
    Weekday,
)
from loadtests.asking import PLACES, node_name, sku_name
from loadtests.scenario import Shop

_RESOURCES_PER_CALL = 5_000
_ROWS_PER_CHUNK = 10_000
_CARRIER = "CARRIER"
_CURRENCY = "USD"
_EVERY_DAY = Calendar(tuple(Weekday)[1:])
_ZONES = {"near": 300, "middle": 1_500, "far": 0}  # up to so many km; 0: any


async def open_shop(target: str, shop: Shop) -> None:
    """Define everything and count it in. Raises RuntimeError when not all of it was taken."""
    async with aio.Client(target) as client:
        await client.nodes.upsert_all([node(shop, row) for row in range(shop.nodes)])
        if shop.carrier_services:
            await client.carriers.upsert(Carrier(_CARRIER))
            for row in range(shop.carrier_services):
                await client.carrier_services.upsert(carrier_service(shop, row))
        for first in range(0, shop.skus, _RESOURCES_PER_CALL):
            rows = range(first, min(first + _RESOURCES_PER_CALL, shop.skus))
            told = await client.items.upsert_all([item(row) for row in rows])
            if told.errors:
                raise RuntimeError(f"an item was refused: {told.errors[0]}")
        applied = 0
        async for result in client.ingest("opening", chunks(shop, shop.skus * shop.nodes)):
            applied += result.applied_rows
        if applied != shop.skus * shop.nodes:
            raise RuntimeError(f"{applied} of {shop.skus * shop.nodes} positions were taken")


def node(shop: Shop, row: int) -> Node:
    """The node with this number; where something is routed, a place that ships every day."""
    if not shop.carrier_services:
        return Node(node_name(row))
    return Node(
        node_name(row),
        place=PLACES[row % len(PLACES)],
        calendar=_EVERY_DAY,
        parcel_handling_cost=Money(50 + row % 7 * 10, _CURRENCY),
        unit_handling_cost=Money(10, _CURRENCY),
    )


def item(row: int) -> Item:
    """The item with this number."""
    return Item(sku_name(row), weight_grams=200 + row % 10 * 150)


def carrier_service(shop: Shop, row: int) -> CarrierService:
    """The service with this number: each is faster and dearer than the one before."""
    return CarrierService(
        f"SERVICE-{row:02d}",
        _CARRIER,
        _CURRENCY,
        lanes=tuple(Lane(zone, distance_km_max=km) for zone, km in _ZONES.items()),
        rates=tuple(
            Rate(zone, kg * 1_000, 400 + 300 * row + 100 * number + 60 * kg)
            for number, zone in enumerate(_ZONES)
            for kg in range(1, 31)
        ),
        transits=tuple(
            Transit(zone, 1, max(1, 2 + number - row)) for number, zone in enumerate(_ZONES)
        ),
        pickups=tuple(Pickup(node_name(at), 17 * 60) for at in range(shop.nodes)),
        calendar=_EVERY_DAY,
    )


def chunks(shop: Shop, rows: int, *, first: int = 0) -> Iterator[FeedChunk]:
    """Counts of `rows` positions, over and over, from position `first` on."""
    for begin in range(first, first + rows, _ROWS_PER_CHUNK):
        positions = [
            at % (shop.skus * shop.nodes)
            for at in range(begin, min(begin + _ROWS_PER_CHUNK, first + rows))
        ]
        yield FeedChunk(
            [sku_name(at // shop.nodes) for at in positions],
            [node_name(at % shop.nodes) for at in positions],
            [shop.units] * len(positions),
        )
