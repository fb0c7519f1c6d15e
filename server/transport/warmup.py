"""Run every compiled kernel of the transport once, and read what routing reads but once, so that no
caller waits for it."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine import commands, tables
from engine.hashing import key_of
from engine.machine import apply
from engine.requests import find_request
from engine.routing.warmup import warm_up as warm_up_routing
from engine.routing.waves.warmup import warm_up as warm_up_waves
from engine.state import Capacity, State
from engine.warmup import warm_up as warm_up_engine
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import network_service_pb2 as network_messages
from holdfast.v1 import reservation_service_pb2 as messages
from server import ledger_metrics
from server.application.watch import WatchHub, WatchSet
from server.routing.assembly import assemble
from server.routing.geography import locate
from server.routing.items import ItemFacts
from server.routing.lanes import Destination
from server.routing.network import Documents, Network
from server.routing.orders import Order
from server.routing.planning import Planner
from server.routing.version import solver_version
from server.transport import in_use, scan
from server.transport.columns import Columns, line
from server.transport.decode import Caller, decode
from server.transport.decode_feed import decode_feed
from server.transport.encode import encode_creates, encode_results
from server.transport.position_columns import find_rows, read_positions
from server.transport.resources import CHANNEL, NODE
from server.transport.services import admin


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
    # The package reads its 42,000 centroids with the first question: a second of the event loop.
    locate("US", "10001")
    state = _ledger()
    _warm_creates(state)
    _warm_routing(state)
    rows = np.array([0], np.int64)
    read_positions(state, rows, channel="c", need_by_ms=5, owner="o")
    keys = state.names["key"][:1]
    find_rows(state, keys, keys)
    find_request(state.tables, np.uint64(1), np.uint64(1))
    scan.positions(state, tables.STOCK, 0, 10)
    scan.reservations(state, 0, 10)
    scan.movements(state, 0, 10)
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


if __name__ == "__main__":
    warm_up()
