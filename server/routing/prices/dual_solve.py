"""Dual prices worked out from kept decisions: what a solver's process does with a `DualJob`.

The orders of the sample are the problems that the decisions keep, without the prices they were
decided with: each may go to the nodes that had something of it then, as far as it was there.

Stock is what the sample's orders saw of it since it came (`begin_ms`): of each node and SKU what
was there for the last one, less what it and those after it have taken. So the ledger of that
moment is not needed again. Orders of a channel see its ring-fence, and others do not: what is seen
counts for each channel by itself, and the most of it. A position that none of them has seen yet is
taken to have plenty.

The same job gives the same prices on every machine: searches are counted, not timed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.routing import limits
from engine.routing.prices.duals.prices import EVERY, SAMPLE
from engine.routing.prices.duals.solving import Sample
from engine.routing.problem import Problem
from engine.routing.tariff import Tariff
from engine.routing.view import View
from engine.routing.waves.wave import WaveOrder
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.decisions import Decision, parts_of, unpack_problem, unpack_tariff
from server.routing.prices.dual_job import DualJob
from server.routing.prices.price_table import NO_PRICES, PriceTable

Integers = NDArray[np.int64]

PLENTY: Final = 1 << 40
"""Units at a position that no order of the sample has seen since stock came."""
POSITIONS_MAX: Final = 1 << 22
"""Nodes times SKUs of a sample; of one with more the oldest orders are left out."""
_LEFT_TIMES: Final = 10
"""Leaving an order costs so many times what its plan cost."""


@dataclass(frozen=True, slots=True)
class Came:
    """An order that came, and what was promised of it."""

    time_ms: int
    channel: str
    nodes: Sequence[str]
    skus: Sequence[str]
    problem: Problem
    """Without opportunity costs."""
    taken: Sequence[tuple[int, int, int]]
    """(node, line, units) of its plan."""
    unrouted_cost: int


def solved(job: DualJob, *, positions_max: int = POSITIONS_MAX) -> PriceTable:
    """The prices of the stock that is left until the horizon."""
    came = [_came(body, job) for body in job.decisions]
    came, since_ms = _alike(came, job.since_ms, positions_max)
    to_come_ms, seen_ms = job.horizon_ms - job.now_ms, job.now_ms - since_ms
    if not came or seen_ms <= 0 or to_come_ms <= 0:
        return NO_PRICES
    nodes, node = _numbered([one.nodes for one in came])
    skus, item = _numbered([one.skus for one in came])
    orders = [
        WaveOrder(one.problem, at, of, one.unrouted_cost)
        for one, at, of in zip(came, node, item, strict=True)
    ]
    stock = _stock_left(came, orders, (len(nodes), len(skus)), job.begin_ms)
    due = Sample(orders, stock).ascend(
        job.before.over(nodes, skus),
        weight=to_come_ms / seen_ms,
        price_max=job.scale,
        rounds=job.rounds,
    )
    return PriceTable.of(nodes, skus, due)


def _came(body: bytes, job: DualJob) -> Came:
    tariff, directory = parts_of(Decision.from_bytes(body).problem)
    return _read(body, job.tariffs[tariff], job.directories[directory])


@lru_cache(maxsize=SAMPLE + EVERY)
def _read(body: bytes, tariff: bytes, directory: bytes) -> Came:
    """A kept decision. Most are read again with the next job."""
    decision = Decision.from_bytes(body)
    kept, names = unpack_problem(decision.problem, _tariff(tariff), directory)
    arrays = kept.arrays._replace(opportunity_cost=np.zeros_like(kept.arrays.opportunity_cost))
    order = messages.RoutingOrder.FromString(decision.order)
    # What the ledger adds to a reply has the same field numbers in both kinds.
    plan = messages.PromiseOrderResponse.FromString(decision.reply).plan
    place_of = {name: place for place, name in enumerate(names.nodes)}
    cost = plan.cost_minor_units - plan.cost_terms.opportunity_minor_units
    return Came(
        time_ms=decision.time_ms,
        channel=order.channel,
        nodes=names.nodes,
        skus=[line.sku for line in order.lines],
        problem=Problem(kept.tariff, arrays, View(arrays._asdict())),
        taken=[
            (place_of[one.node], line.line, line.quantity)
            for one in plan.shipments
            for line in one.lines
        ],
        unrouted_cost=min(limits.cost_max, _LEFT_TIMES * cost + 1),
    )


@lru_cache(maxsize=64)
def _tariff(packed: bytes) -> Tariff:
    return unpack_tariff(packed)


def _alike(came: Sequence[Came], since_ms: int, positions_max: int) -> tuple[list[Came], int]:
    """The last orders that can be looked at together, and since when they came: with as many
    services as the last one, and not over too many positions."""
    kept: list[Came] = []
    nodes: set[str] = set()
    skus: set[str] = set()
    for one in reversed(came):
        nodes.update(one.nodes)
        skus.update(one.skus)
        services = one.problem.tariff.services
        is_other = bool(kept) and services != kept[0].problem.tariff.services
        if is_other or len(nodes) * len(skus) > positions_max:
            since_ms = max(since_ms, one.time_ms)
            break
        kept.append(one)
    return kept[::-1], since_ms


def _numbered(names: Iterable[Sequence[str]]) -> tuple[list[str], list[Integers]]:
    """All names in the order in which they come up first, and the places of each row's."""
    place: dict[str, int] = {}
    rows = [
        np.array([place.setdefault(name, len(place)) for name in row], np.int64) for row in names
    ]
    return list(place), rows


def _stock_left(
    came: Sequence[Came], orders: Sequence[WaveOrder], shape: tuple[int, int], begin_ms: int
) -> Integers:
    """(N, K) units."""
    most = np.full(shape, -1)
    for channel in sorted({one.channel for one in came}):
        left = np.full(shape, -1)
        for one, order in zip(came, orders, strict=True):
            if one.time_ms < begin_ms:
                continue
            if one.channel == channel:
                left[np.ix_(order.node, order.item)] = one.problem.arrays.stock
            for node, line, units in one.taken:
                at = order.node[node], order.item[line]
                if left[at] >= 0:
                    left[at] = max(0, left[at] - units)
        most = np.maximum(most, left)
    return np.where(most < 0, PLENTY, most)
