"""Run every compiled kernel of the transport once, and read what routing reads but once, so that no
caller waits for it."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine import commands, tables
from engine.hashing import key_of
from engine.machine import apply
from engine.positions import find_stock
from engine.requests import find_request
from engine.routing.prices.pacing import PacedPrices
from engine.routing.warmup import warm_up as warm_up_routing
from engine.routing.waves.warmup import warm_up as warm_up_waves
from engine.state import Capacity, State
from engine.warmup import warm_up as warm_up_engine
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network_messages
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import routing_service_pb2 as routing_messages
from holdfast.v1 import types_pb2
from server import ledger_metrics
from server.application.watch import WatchHub, WatchSet
from server.caller import Caller
from server.documents import ITEM
from server.routing.assembly import assemble
from server.routing.decisions import Room, pack_problem
from server.routing.express.reader import UsualOrder
from server.routing.geography import locate
from server.routing.items import ItemFacts, Items
from server.routing.lanes import Destination
from server.routing.network import Documents, Network
from server.routing.orders import Order
from server.routing.planning import Planner
from server.routing.version import solver_version
from server.transport import in_use, scan
from server.transport.columns import Columns, line
from server.transport.decode import decode
from server.transport.decode_feed import decode_feed
from server.transport.encode import encode_creates, encode_results
from server.transport.express import Express
from server.transport.position_columns import find_rows, read_positions
from server.transport.resources import CHANNEL, NODE
from server.transport.services import admin
from server.transport.services.express_promises import PromiseWriter, Ready


def _ledger() -> State:
    state = State.create(Capacity.small())
    columns = Columns()
    for kind, name in ((commands.SKU, b"s"), (commands.NODE, b"n"), (commands.CHANNEL, b"c")):
        columns.add(
            commands.DEFINE_NAMES,
            caller=b"",
            lines=[line(sku=name, policy=kind, text_bytes=1)],
            line_texts=[name],
        )
    columns.add(
        commands.COUNT,
        caller=b"",
        lines=[line(sku=b"s", node=b"n", quantity=3, kind=commands.AT_NODE)],
    )
    apply(state, 1, columns.batch())
    return state


@cache
def warm_up() -> None:
    """Compile, or load from the cache, every kernel the server uses. Once a process."""
    warm_up_engine()
    warm_up_routing()
    warm_up_waves()
    solver_version()
    # The centroids are read with the first question: up to two seconds of the event loop.
    locate("US", "10001")
    state = _ledger()
    _warm_creates(state)
    _warm_routing(state)
    _warm_express(state)
    _warm_prices(state)
    rows = np.array([0], np.int64)
    read_positions(state, rows, channel="c", need_by_ms=5, owner="o")
    keys = state.names["key"][:1]
    find_rows(state, keys, keys)
    find_request(state.tables, np.uint64(1), np.uint64(1))
    scan.positions(state, tables.STOCK, 0, 10)
    scan.reservations(state, 0, 10)
    scan.holders(state, rows)
    scan.movements(state, 0, 10)
    scan.movements_untold(state)
    scan.supplies(state, 0, 10)
    in_use.why_in_use(state, NODE, "n")
    in_use.why_in_use(state, CHANNEL, "c")
    admin.open_reservations_at(state, 1)
    ledger_metrics.count_oversold(state, 0, 1)
    hub = WatchHub(watches_max=1)
    watcher = hub.add()
    watcher.set = WatchSet(state, rows, rows + 1, positions_max=10)
    WatchSet(state, rows, None, positions_max=10).discover(10)
    watcher.set.changed_after(0)
    hub.changed(state, np.zeros(1, np.int32))
    chunk = inventory.IngestInventoryRequest(
        feed_id="f", sequence=1, skus=["s"], nodes=["n"], quantities=[1], as_of_times_ms=[1]
    )
    decode_feed(chunk.SerializeToString())


def _warm_creates(state: State) -> None:
    request = messages.CreateReservationRequest(request_id="r", owner="o", channel="c")
    request.ttl.FromMilliseconds(1)
    one = request.lines.add(sku="s", node="n", quantity=1)
    one.need_by_time.FromMilliseconds(5)
    caller = Caller(b"")
    single = decode(request.SerializeToString(), caller, 1, framed=False)
    answer = apply(state, 1, single.batch)
    encode_creates(single, answer.rows, answer.details, 0)
    request.request_id = "q"
    bulk = messages.BulkCreateReservationsRequest(requests=[request] * 3)
    many = decode(bulk.SerializeToString(), caller, 1, framed=True)
    answer = apply(state, 1, many.batch)
    encode_results(many, answer.rows, answer.details, 0)


def _warm_routing(state: State) -> None:
    """Plan one small order."""
    node = network_messages.Node(node="n", pickup=True)
    documents = Documents(
        nodes={"n": node}, groups={}, carriers={}, services={}, channels={}, rules={}
    )
    item = ItemFacts(
        key=key_of(b"s"),
        revision=0,
        weight_g=500,
        volume_cm3=1,
        longest_mm=1,
        value=1,
        flags=frozenset(),
    )
    order = Order(
        skus=["s"],
        items=[item],
        quantities=[1],
        destination=Destination("", "", None),
        is_pickup=True,
    )
    solved = Planner().solve(assemble(Network(0, documents), state, order, now_ms=1))
    if solved.answer.costs != (0,):
        raise RuntimeError(f"routing is not sound after its warm-up: {solved.answer}")


def _warm_express(state: State) -> None:
    """Plan, write and keep one small order the express way."""
    place = types_pb2.Place(country_code="US", postal_code="10001", time_zone="UTC")
    service = network_messages.CarrierService(
        carrier_service="s",
        carrier="c",
        lanes=[network_messages.Lane(zone="z")],
        rates=[network_messages.Rate(zone="z", weight_grams_max=1000, price_minor_units=1)],
        transits=[network_messages.Transit(zone="z", days_min=1, days_max=1)],
        pickups=[network_messages.Pickup(node="n", minute=600)],
    )
    documents = Documents(
        nodes={"n": network_messages.Node(node="n", place=place)},
        groups={},
        carriers={"c": network_messages.Carrier(carrier="c")},
        services={"s": service},
        channels={},
        rules={},
    )
    items = Items()
    state.documents[ITEM, "s"] = (network_messages.Item(sku="s").SerializeToString(), 0)
    express = Express(Network(0, documents), items, Planner())
    order = routing_messages.RoutingOrder(destination=place, owner="o")
    order.lines.add(sku="s", quantity=1)
    desk = express.desk
    desk.begin(state, 1)
    plan = routing_messages.PlanFulfillmentRequest(order=order).SerializeToString()
    shown = express.plan(_usual(desk.read(plan)))
    if shown is None or shown.cost != 1 or express.writer.reply(desk, shown) is None:
        raise RuntimeError(f"the express way is not sound after its warm-up: {shown}")
    promise = routing_messages.PromiseOrderRequest(order=order, request_id="r").SerializeToString()
    usual = _usual(desk.read(promise, Caller(b"")))
    shown = express.plan(usual)
    writer = PromiseWriter(express, b"")
    writer.begin(1)
    ready = Ready(usual, usual.key(), (), ttl_ms=1, caller=b"", remaining_s=None)
    if shown is None or not writer.put(shown, ready, b"i", b"i\x000"):
        raise RuntimeError(f"the express way is not sound after its warm-up: {shown}")
    batch = writer.batch()
    answer = apply(state, 1, batch)
    if batch.lines["quantity"].tolist() != [0, 1] or not writer.written().replies(answer.rows, 0):
        raise RuntimeError("promises are not sound after their warm-up")
    pack_problem(desk.p, np.zeros(1, np.int64), Room(), shape=(1, 1, 2), text=b"")


def _usual(order: UsualOrder | None) -> UsualOrder:
    """An order that the express way could read."""
    if order is None:
        raise RuntimeError("the express way reads no order in its warm-up")
    return order


def _warm_prices(state: State) -> None:
    """Raise a price and read it."""
    key = np.uint64(key_of(b"s"))
    find_stock(state.tables, key, key)
    prices = PacedPrices(1, scale=1)
    prices.begin(0, 1, 3)
    prices.reserved(0, 1, 1, 2)
    one = np.zeros((1, 1), np.int64)
    prices.opportunity_cost(one, one + 1, 2)


if __name__ == "__main__":
    warm_up()
