"""PlanFulfillment and PromiseOrder against CreateReservation of the same lines, over the wire.

Two server processes on one core, journaled in SQLite with synchronous=FULL, of which one is idle
while the other is measured: a server lets in little routing while others sell (docs/overload.md),
and for seconds after. A network of 80 nodes and 6 services, orders of 1 to 4 lines to 2,000 ZIP
codes. Rounds of the three alternate, and what counts is the
median of the rounds' ratios; the same by the server's processor time a call, which depends less on
what else the machine does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import numpy as np
import zipcodes

from benchmarks.calls import Call, Caller, closed_loop
from benchmarks.measure import Say, Spread, no_collector, pin, two_cores
from benchmarks.routing_network import define
from benchmarks.server_process import ServerProcess
from holdfast import Client
from holdfast.calls.feed import FeedChunk
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import routing_service_pb2 as routing
from holdfast.values import network

NODES, SERVICES, SKUS, PLACES = 80, 6, 400, 2000
SHARE_WITH_STOCK = 0.4
ROUNDS = 6
ROUND_S = 1.5
_ORDERS_A_ROUND = 24_000
_SERVICE = "/holdfast.v1"


def run(say: Say) -> dict[str, float]:
    """Measure."""
    server_core, caller_core = two_cores()
    random = np.random.default_rng(1)
    # As `unary` does: a crowd of callers that wait for each other is measured, not shed.
    flags = ("--pending-calls-max", "0")
    with (
        ServerProcess(core=server_core, flags=flags, claims_memory=True) as selling,
        ServerProcess(core=server_core, flags=flags, claims_memory=True) as routed,
    ):
        pin(caller_core)
        found = [place for place in zipcodes.list_all() if place["zip_code_type"] == "STANDARD"]
        codes = [place["zip_code"] for place in found]
        for server in (selling, routed):
            with Client(server.target, timeout=60) as client:
                has = _define(client, np.random.default_rng(1), codes)
        return asyncio.run(_measure(selling, routed, random, codes[:PLACES], has, say))


def _define(client: Client, random: np.random.Generator, codes: list[str]) -> np.ndarray:
    """The network and its stock; which SKU lies at which node."""
    nodes = [f"node-{number:03d}" for number in range(NODES)]
    define(client, random, codes, nodes, SERVICES)
    client.items.upsert_all(
        network.Item(f"sku-{number}", weight_grams=int(random.integers(100, 1500)))
        for number in range(SKUS)
    )
    has = random.random((SKUS, NODES)) < SHARE_WITH_STOCK
    rows = np.argwhere(has).tolist()
    chunk = FeedChunk(
        [f"sku-{sku}" for sku, _ in rows], [nodes[node] for _, node in rows], [10**6] * len(rows)
    )
    if sum(result.applied_rows for result in client.ingest("stock", [chunk])) != len(rows):
        raise RuntimeError("not all stock was applied")
    return has


class _Requests:
    """The same orders three times over: to plan, to promise, and as plain holds."""

    def __init__(self, random: np.random.Generator, codes: list[str], has: np.ndarray) -> None:
        self._random = random
        self._codes = codes
        self._has = has
        self._next = 0

    def make(self, count: int) -> dict[str, list[bytes]]:
        """`count` of each."""
        made: dict[str, list[bytes]] = {"create": [], "plan": [], "promise": []}
        for _ in range(count):
            self._next += 1
            order = routing.RoutingOrder(owner=f"shopper-{self._next}")
            order.destination.country_code = "US"
            order.destination.postal_code = self._codes[int(self._random.integers(PLACES))]
            hold = reservations.CreateReservationRequest(
                request_id=f"create-{self._next}", owner=order.owner
            )
            lines = int(self._random.integers(1, 5))
            for sku in self._random.choice(SKUS, lines, replace=False).tolist():
                units = int(self._random.integers(1, 4))
                order.lines.add(sku=f"sku-{sku}", quantity=units)
                node = int(np.argmax(self._has[sku]))
                hold.lines.add(sku=f"sku-{sku}", node=f"node-{node:03d}", quantity=units)
            made["create"].append(hold.SerializeToString())
            made["plan"].append(routing.PlanFulfillmentRequest(order=order).SerializeToString())
            promise = routing.PromiseOrderRequest(request_id=f"promise-{self._next}", order=order)
            made["promise"].append(promise.SerializeToString())
        return made


async def _measure(
    selling: ServerProcess,
    routed: ServerProcess,
    random: np.random.Generator,
    codes: list[str],
    has: np.ndarray,
    say: Say,
) -> dict[str, float]:
    seller, caller = Caller(selling.target), Caller(routed.target)
    methods: dict[str, list[Call]] = {
        "create": seller.method(f"{_SERVICE}.ReservationService/CreateReservation"),
        "plan": caller.method(f"{_SERVICE}.RoutingService/PlanFulfillment"),
        "promise": caller.method(f"{_SERVICE}.RoutingService/PromiseOrder"),
    }
    requests = _Requests(random, codes, has)
    for message in requests.make(PLACES)["plan"]:  # lane tables of most places
        await methods["plan"][0](message)
    rates: dict[str, list[float]] = {name: [] for name in methods}
    costs: dict[str, list[float]] = {name: [] for name in methods}
    for round_ in range(-1, ROUNDS):
        ready = requests.make(_ORDERS_A_ROUND)
        for name in sorted(methods, reverse=bool(round_ % 2)):
            messages: Iterator[bytes] = iter(ready[name])
            if name == "plan":
                messages = itertools.cycle(ready[name])
            server = selling if name == "create" else routed
            before = server.core_s()
            with no_collector():
                answered, seconds = await closed_loop(methods[name], messages, seconds=ROUND_S)
            if round_ >= 0:  # the first round is to warm up
                rates[name].append(answered / seconds)
                after = server.core_s()
                if before is not None and after is not None:
                    costs[name].append((after - before) / answered * 1e6)
    say(f"turned away: {caller.turned_away + seller.turned_away}")
    await caller.close()
    await seller.close()
    measured = {}
    for name, calls in rates.items():
        spent = f"; {Spread.of(costs[name]).show(',.0f')} us of the core a call" if costs else ""
        say(f"{name}: {Spread.of(calls).show(',.0f')} calls/s{spent}")
    for name in ("plan", "promise"):
        ratios = [one / other for one, other in zip(rates[name], rates["create"], strict=True)]
        say(f"{name} over create, round by round: {Spread.of(ratios).show('.3f')}")
        measured[f"{name}_over_create_ratio"] = Spread.of(ratios).median
        if costs[name]:
            shares = [one / other for one, other in zip(costs["create"], costs[name], strict=True)]
            measured[f"{name}_over_create_core_ratio"] = Spread.of(shares).median
    return measured
