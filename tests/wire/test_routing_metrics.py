"""What routing counts, to the last order: who answered how and how long it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused

pytestmark = pytest.mark.wire

STRATEGIES = {
    "exact": routing.ROUTING_STRATEGY_UNSPECIFIED,
    "nearest": routing.ROUTING_STRATEGY_NEAREST,
    "priority": routing.ROUTING_STRATEGY_PRIORITY,
    "fewest_splits": routing.ROUTING_STRATEGY_FEWEST_SPLITS,
}


def counted(wire: Wire, name: str, *labels: str) -> dict[Any, float]:
    """The samples of this name that are not 0, by the values of these labels; one label: alone."""
    found = {}
    for family in wire.server.metrics.registry.collect():
        for sample in family.samples:
            if sample.name == f"holdfast_routing_{name}" and sample.value:
                key = tuple(sample.labels[label] for label in labels)
                found[key[0] if len(key) == 1 else key] = sample.value
    return found


def solved(wire: Wire) -> dict[Any, float]:
    return counted(wire, "solve_seconds_count", "method", "status")


async def test_solve_times_are_told_apart_by_method_and_answer(built: Wire):
    assert solved(built) == {}
    for times, strategy in enumerate(STRATEGIES.values(), 1):
        for _ in range(times):
            await small.plan(built, small.order(("mug", 2)), strategy=strategy)
    error = await refused(small.plan(built, small.order(("mug", 16))))
    assert error.metadata["constraint"] == "STOCK"
    assert solved(built) == {
        ("exact", "OPTIMAL"): 1,
        ("exact", "INFEASIBLE"): 1,
        ("nearest", "HEURISTIC"): 2,
        ("priority", "HEURISTIC"): 3,
        ("fewest_splits", "HEURISTIC"): 4,
    }


async def test_in_a_brownout_the_method_is_the_rule_of_thumb(tmp_path: Path):
    wire = Wire(tmp_path / "data", brownout="on")
    await wire.start()
    await small.build(wire)
    await small.plan(wire, small.order(("mug", 2)))
    assert solved(wire) == {("fewest_splits", "HEURISTIC"): 1}
    await wire.stop()


async def test_a_solve_time_is_that_of_the_report(built: Wire):
    reply = await small.plan(built, small.order(("mug", 2)), strategy=STRATEGIES["nearest"])
    seconds = reply.report.solve_nanoseconds / 1e9
    assert seconds > 0
    assert counted(built, "solve_seconds_sum", "method") == {"nearest": seconds}


@pytest.mark.parametrize("mode", ["shadow", "on"])
async def test_the_solve_with_prices_counts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
):
    """Each of the two solves takes 3 ms: one order, 6 ms, as its report says. The first two
    promises make a price."""
    wire = Wire(tmp_path / "data", routing_prices=mode)
    await wire.start()
    await small.build(wire)
    order = small.order(("mug", 1))
    for _ in range(2):
        await wire.routing.PromiseOrder(routing.PromiseOrderRequest(order=order))
    before = counted(wire, "solve_seconds_sum", "method")["exact"]
    now = iter(range(0, 1_000_000_000, 3_000_000))
    monkeypatch.setattr("server.routing.planning.time.perf_counter_ns", lambda: next(now))
    reply = await small.plan(wire, order)
    assert reply.report.opportunity.mode != routing.OpportunityReport.MODE_UNSPECIFIED
    assert reply.report.solve_nanoseconds == 6_000_000
    after = counted(wire, "solve_seconds_sum", "method")["exact"]
    assert after - before == pytest.approx(0.006)
    assert solved(wire) == {("exact", "OPTIMAL"): 3}
    await wire.stop()
