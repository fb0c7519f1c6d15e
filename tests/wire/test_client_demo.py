"""The demo's audit against the real server: nothing to find when all is well, and it finds
whatever is planted."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast import aio
from holdfast.demo.audit import Findings, audit, wait_for_expiry
from holdfast.demo.book import Book, Fact
from holdfast.demo.checkout import ABANDONED_TTL_S, Shop
from holdfast.demo.counting import StockCount
from holdfast.demo.dataset import DAY_S, NEVER, Order, OrderLine
from holdfast.demo.delivery import Deliveries
from holdfast.demo.ledger import Ledger
from holdfast.demo.redis_server import journal_server
from holdfast.demo.replay import Incident, Replay
from holdfast.demo.run import PATIENT, replayed_hashes
from holdfast.demo.server import ServerProcess
from holdfast.demo.shop import timeline
from holdfast.values import network
from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

SKUS = [f"S-{n}" for n in range(60)]
NODES = ["WAREHOUSE-1", "WAREHOUSE-2"]
STOCK = {(sku, node): 7 + index % 40 for index, sku in enumerate(SKUS) for node in NODES}


def orders() -> tuple[Order, ...]:
    """Three hundred orders that want rather more than there is."""
    made = []
    for number in range(300):
        lines = [
            OrderLine(
                SKUS[(number * 7 + place * 11) % len(SKUS)],
                NODES[(number + place) % 2],
                1 + (number + place) % 9,
                (number // 10 + 2 + place * 20) * DAY_S if (number + place) % 11 else NEVER,
                1 if number % 5 == 0 else 0,
                (number // 10 + 4 + place) * DAY_S if number % 5 == 0 else NEVER,
                number % 10 == 0,
            )
            for place in range(1 + number % 5)
        ]
        made.append(Order(f"W-{number:03}", number * DAY_S // 10, tuple(lines)))
    return tuple(made)


def season(
    server: RunningServer, plant: Callable[[Shop], None] = lambda shop: None
) -> tuple[Shop, Findings]:
    """Run the orders, plant a fault in what the shop believes, and audit."""
    with holdfast.Client(server.target, timeout=20) as client:
        client.nodes.upsert_all([holdfast.Node(node) for node in NODES])
        client.items.upsert_all([holdfast.Item(sku) for sku in SKUS])
        client.count([holdfast.Count(*place, units) for place, units in STOCK.items()])
    server.advance(1)

    async def main() -> tuple[Shop, Findings]:
        async with aio.Client(server.target, timeout=20) as client:
            shop = Shop(client, Book(), seed=1)
            replay = Replay(shop, concurrency=8, seconds_max=600)
            count = StockCount(client, shop.book, STOCK, replay)

            async def tick() -> None:
                # The test's clock stands still: the count needs a moment that has passed.
                await replay.quiet()
                await asyncio.to_thread(server.advance, 0.1)
                await count.take()

            await replay.run(timeline(orders(), 1), [Incident(0.4, tick)])
            await asyncio.to_thread(server.advance, 1_000)
            plant(shop)
            return shop, await audit(client, shop, Ledger.opening(STOCK), count.netted)

    return asyncio.run(main())


def test_a_season_is_sound(tmp_path: Path):
    with RunningServer(tmp_path) as server:
        shop, findings = season(server)
    assert findings.differences == []
    assert findings.sound
    assert len(shop.confirmed) > 50
    assert len(shop.refused) > 20
    assert len(shop.abandoned) == findings.expired > 5
    assert shop.cancelled
    assert {entry.fact for entry in shop.book.entries} == set(Fact)
    assert findings.positions_checked == len(STOCK)
    assert len(shop.confirmed) + len(shop.refused) + len(shop.abandoned) == 300


POST = network.CarrierService(
    "post-regular",
    carrier="post",
    currency_code="USD",
    lanes=(network.Lane("all"),),
    rates=(network.Rate("all", 1_000, 500),),
    transits=(network.Transit("all", 1, 1),),
    pickups=tuple(network.Pickup(node, minute=1_020) for node in NODES),
)


def deliver(
    tmp_path: Path, asking: tuple[Order, ...], plant: Callable[[Shop], None] = lambda shop: None
) -> tuple[Shop, Deliveries, Findings]:
    """Promise the carts, let their time pass, and audit."""
    with RunningServer(tmp_path) as server:
        with holdfast.Client(server.target, timeout=20) as client:
            client.nodes.upsert_all(
                [holdfast.Node(node, place=holdfast.Place("US", "10001")) for node in NODES]
            )
            client.items.upsert_all([holdfast.Item(sku) for sku in SKUS])
            client.carriers.upsert(network.Carrier("post"))
            client.carrier_services.upsert(POST)
            client.count([holdfast.Count(*place, units) for place, units in STOCK.items()])

        async def main() -> tuple[Shop, Deliveries, Findings]:
            async with aio.Client(server.target, timeout=20) as client:
                shop, deliveries = Shop(client, Book(), seed=1), Deliveries()
                await deliveries.promise(shop, asking)
                await asyncio.to_thread(server.advance, ABANDONED_TTL_S + 1)
                plant(shop)
                return shop, deliveries, await audit(client, shop, Ledger.opening(STOCK), 0)

        return asyncio.run(main())


def test_carts_are_planned_and_promised_to_their_zip_codes_and_audited(tmp_path: Path):
    def cart(name: str, units: int, mode: str, zip_code: str) -> Order:
        line = OrderLine(SKUS[0], NODES[0], units, NEVER, 0, NEVER, False)
        return Order(name, 0, (line,), mode, zip_code)

    here, there = STOCK[SKUS[0], NODES[0]], STOCK[SKUS[0], NODES[1]]
    carts = (
        cart("C-1", here + there - 1, "post-regular", "60601"),  # from both warehouses
        cart("C-2", 1, "post-regular", "60601"),
        cart("C-3", 1, "post-regular", "00000"),
        cart("C-4", here + there + 1, "post-regular", "60601"),
        cart("C-5", 1, "", "60601"),
        cart("C-6", 1, "post-regular", ""),
    )
    shop, deliveries, findings = deliver(tmp_path / "sound", carts)
    assert deliveries == Deliveries(4, 1, 2, 2, 3)
    assert findings.differences == []
    assert findings.sound
    assert (findings.reservations_checked, findings.answers_repeated) == (2, 1)
    assert len(shop.promised) == 2

    def believe(shop: Shop) -> None:
        entry = shop.book.entries[0]
        shop.book.entries.append(dataclasses.replace(entry, fact=Fact.CONFIRMED, takes=()))

    _, _, findings = deliver(tmp_path / "planted", carts, believe)
    assert findings.lost


def forget_a_hold(shop: Shop) -> None:
    """The server holds what nobody was told of."""
    name = next(entry.reservation_id for entry in shop.book.entries if entry.fact is Fact.HELD)
    shop.book.entries = [each for each in shop.book.entries if each.reservation_id != name]


def believe_a_confirmation(shop: Shop) -> None:
    """A confirmation was acknowledged that the server does not know of."""
    name = shop.purchases[next(iter(shop.abandoned))].reservation_id
    at = next(index for index, each in enumerate(shop.book.entries) if each.reservation_id == name)
    lost = dataclasses.replace(shop.book.entries[at], fact=Fact.CONFIRMED, takes=())
    shop.book.entries.insert(at + 1, lost)


def believe_a_shipment_twice(shop: Shop) -> None:
    """A shipment was acknowledged that the server undid."""
    shipped = next(entry for entry in shop.book.entries if entry.fact is Fact.SHIPPED)
    shop.book.entries.append(dataclasses.replace(shipped, revision=shipped.revision + 1))


def believe_in_less_stock(shop: Shop) -> None:
    """The server sold ten units more of a position than it should have had."""
    held = [entry for entry in shop.book.entries if entry.fact is Fact.HELD]
    position = held[0].takes[0][0]
    first = held[0]
    thief = dataclasses.replace(
        first,
        reservation_id="thief",
        revision=1,
        time_ms=1,
        expire_ms=2**60,
        takes=((position, STOCK[position]),),
    )
    shop.book.entries.insert(0, thief)
    shop.book.latest["thief"] = shop.book.latest[first.reservation_id]


@pytest.mark.parametrize("plant", [forget_a_hold, believe_a_confirmation, believe_a_shipment_twice])
def test_a_lost_or_doubled_acknowledgement_is_found(tmp_path: Path, plant: Callable[[Shop], None]):
    with RunningServer(tmp_path) as server:
        _, findings = season(server, plant)
    assert findings.lost
    assert not findings.sound


def test_an_oversold_unit_is_found(tmp_path: Path):
    with RunningServer(tmp_path) as server:
        _, findings = season(server, believe_in_less_stock)
    assert findings.oversold_units > 0
    assert not findings.sound


def test_a_changed_answer_is_found(tmp_path: Path):
    def plant(shop: Shop) -> None:
        shop.samples[0] = dataclasses.replace(shop.samples[0], answer="ANOTHER_ANSWER")

    with RunningServer(tmp_path) as server:
        _, findings = season(server, plant)
    assert findings.answers_changed == 1
    assert not findings.sound


def test_a_season_on_a_redis_of_its_own_outlives_a_kill(tmp_path: Path):
    """The real program on a real Redis, killed in the middle: `make demo JOURNAL=redis`, small."""
    with (
        journal_server("redis", lambda text: None) as url,
        ServerProcess(tmp_path, url) as server,
    ):
        assert url.startswith("redis://127.0.0.1:")
        server.start()
        with holdfast.Client(server.target, timeout=20) as client:
            client.wait_until_serving(90.0)
            client.nodes.upsert_all([holdfast.Node(node) for node in NODES])
            client.items.upsert_all([holdfast.Item(sku) for sku in SKUS])
            client.count([holdfast.Count(*place, units) for place, units in STOCK.items()])

        async def main() -> tuple[Shop, Findings]:
            async with aio.Client(server.target, timeout=20, retry=PATIENT) as client:
                shop = Shop(client, Book(), seed=1)
                replay = Replay(shop, concurrency=8, seconds_max=600)
                count = StockCount(client, shop.book, STOCK, replay)

                async def kill() -> None:
                    server.kill()
                    server.start()
                    await client.wait_until_serving(90.0)

                incidents = [Incident(0.3, count.take), Incident(0.5, kill)]
                await replay.run(timeline(orders(), 1), incidents)
                await wait_for_expiry(client, ABANDONED_TTL_S + 30.0)
                return shop, await audit(client, shop, Ledger.opening(STOCK), count.netted)

        shop, findings = asyncio.run(main())
        assert findings.differences == []
        assert findings.sound
        assert len(shop.confirmed) > 50
        live = findings.verification
        assert live is not None
        assert len(live.state_hash) == 64
        server.kill()
        hashes, records = replayed_hashes(server)
        assert hashes == {live.state_hash}
        assert records > 100
        assert not list(tmp_path.glob("data/journal*"))
