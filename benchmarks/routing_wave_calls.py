"""When a wave over the wire has its first answer, and what it takes the server until then.

Waves of 1,000 and 5,000 orders of 1 to 6 lines over a network of 50 nodes and 6 services, their
stock one and a half times what they want, through `PlanOrders` of a server process. Counted is
processor time from sending the wave to its first answer, of the server's process and of its solver,
which is what a machine with nothing else to do takes at most; the wall clock is said too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zipcodes

from benchmarks.core_time import core_seconds
from benchmarks.measure import Say
from benchmarks.routing_network import define
from benchmarks.server_process import ServerProcess
from holdfast import Client
from holdfast.calls.feed import FeedChunk
from holdfast.values import network, routing

NODES, SERVICES = 50, 6
LEAST_NODES = 8
STOCK_SHARE = 1.5
SAFETY_UNITS = 2
SIZES = (1_000, 5_000)
BUDGET_S = 300.0
"""More than it takes where others use the machine: what counts is processor time."""
GAP_ENOUGH = 0.2
"""Waves end soon after their first answer: nothing later is measured."""


def run(say: Say) -> dict[str, float]:
    """Measure every size."""
    with (
        ServerProcess(core=None, flags=("--solver-start", "at_start")) as server,
        Client(server.target, timeout=300) as client,
    ):
        return {
            f"wave_first_answer_core_s_{orders}": _first_answer(server, client, orders, say)
            for orders in SIZES
        }


def _first_answer(server: ServerProcess, client: Client, orders: int, say: Say) -> float:
    """Processor seconds until the first answer of a wave."""
    wave = _define(client, orders)
    client.plan_orders(wave[:2], budget=120, work=0.01)  # waits until the solver is there
    solvers = _children(server.pid)
    found: list[tuple[float, float, float]] = []

    def note(progress: routing.WaveProgress) -> None:
        if progress.cost_minor_units and not found:
            wall_s = time.perf_counter() - began_s
            found.append((_cores_s([server.pid]) - before_s, _cores_s(solvers) - solver_s, wall_s))

    before_s, solver_s, began_s = _cores_s([server.pid]), _cores_s(solvers), time.perf_counter()
    plans = client.plan_orders(wave, budget=BUDGET_S, seed=1, gap_enough=GAP_ENOUGH, progress=note)
    if not found:
        raise RuntimeError(f"a wave of {orders} orders told no answer before its end")
    in_server_s, in_solver_s, wall_s = found[0]
    say(
        f"{orders:,} orders: first answer after {in_server_s:.2f} s of the server and "
        f"{in_solver_s:.2f} s of its solver, {wall_s:.1f} s by the clock; "
        f"{plans.summary.orders_planned} planned, {plans.summary.source.name}"
    )
    return in_server_s + in_solver_s


def _define(client: Client, orders: int) -> list[routing.RoutingOrder]:
    """A network with stock of its own for a wave, and the wave."""
    random = np.random.default_rng([2, orders])
    places = [place for place in zipcodes.list_all() if place["zip_code_type"] == "STANDARD"]
    codes = [place["zip_code"] for place in places]
    nodes = [f"node-{number:02d}" for number in range(NODES)]
    define(client, random, codes, nodes, SERVICES)
    items = [f"wave{orders}-{number}" for number in range(orders)]
    client.items.upsert_all(
        network.Item(name, weight_grams=int(random.integers(100, 1500))) for name in items
    )
    popularity = 1.0 / (1 + np.arange(len(items))) ** 0.8
    popularity /= popularity.sum()
    demand = np.zeros(len(items), np.int64)
    wave = []
    for _ in range(orders):
        lines = int(random.integers(1, 7))
        chosen = random.choice(len(items), lines, replace=False, p=popularity)
        units = random.geometric(0.7, lines)
        demand[chosen] += units
        wave.append(
            routing.RoutingOrder(
                lines=tuple(
                    routing.RoutingLine(items[item], quantity)
                    for item, quantity in zip(chosen.tolist(), units.tolist(), strict=True)
                ),
                destination=network.Place("US", codes[int(random.integers(len(codes)))]),
            )
        )
    applied = sum(
        one.applied_rows for one in client.ingest(f"wave-{orders}", _stock(random, items, demand))
    )
    if applied < len(items) * LEAST_NODES:
        raise RuntimeError(f"only {applied} positions were counted in")
    return wave


def _stock(
    random: np.random.Generator, items: list[str], demand: np.ndarray
) -> Iterator[FeedChunk]:
    """Of each item what is wanted and a little more, at a few nodes or at most of them."""
    for first in range(0, len(items), 500):
        skus, places, counts = [], [], []
        for item in range(first, min(len(items), first + 500)):
            spread = max(LEAST_NODES, int(random.beta(1.2, 2.2) * NODES))
            at = random.choice(NODES, spread, replace=False)
            units = int(np.ceil(demand[item] * STOCK_SHARE)) + SAFETY_UNITS
            there = random.multinomial(units, random.dirichlet(np.ones(spread)))
            for node, count in zip(at.tolist(), there.tolist(), strict=True):
                skus.append(items[item])
                places.append(f"node-{node:02d}")
                counts.append(count)
        yield FeedChunk(skus, places, counts)


def _children(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_children(child)]
    return found


def _cores_s(pids: list[int]) -> float:
    """Processor time that processes have used."""
    return sum(core_seconds(pid) or 0.0 for pid in pids)
