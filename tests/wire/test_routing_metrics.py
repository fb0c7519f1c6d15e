"""What routing counts, to the last order: who answered how and how long it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import commands
from engine.commands import CommandBatch
from holdfast.v1 import routing_service_pb2 as routing
from server.application.gateway import Gateway
from server.routing.limits import replans_max
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
    order = small.order(("mug", 2))
    order.attributes["gift"] = "yes"  # not a usual one, which is searched for all the same
    await small.plan(wire, order)
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


async def test_what_is_promised_is_counted_with_its_shipments_and_cost(built: Wire):
    """Two mugs from Newark cost 770 in one shipment; of seven and seven two nodes have some."""
    await promise(built, ("mug", 2))
    split = await promise(built, ("mug", 7), ("rug", 7))
    await small.plan(built, small.order(("mug", 2)))  # no promise
    assert len(split.plan.shipments) == 2
    assert counted(built, "promises_total") == {(): 2}
    assert counted(built, "shipments_count") == {(): 2}
    assert counted(built, "shipments_sum") == {(): 1 + 2}
    assert counted(built, "cost_minor_units_sum") == {(): 770 + split.plan.cost_minor_units}
    assert solved(built) == {("exact", "OPTIMAL"): 3}
    assert counted(built, "gap_share_count") == {(): 3}
    assert counted(built, "gap_share_sum") == {}  # all are proven
    assert counted(built, "conflicts_total", "reason") == counted(built, "replans_total") == {}


async def test_a_gap_is_that_of_the_report(built: Wire):
    """A search that is cut after its first step; a rule of thumb knows no bound."""
    cut = await small.plan(built, small.order(("mug", 7), ("rug", 7)), work_budget=1)
    gap = cut.report.gap_ppm
    assert gap > 0
    assert counted(built, "gap_share_sum")[()] == pytest.approx(gap / 1_000_000, abs=1e-6)
    await refused(small.plan(built, small.order(("mug", 16))))
    assert counted(built, "gap_share_count") == {(): 1}  # no plan, no gap
    await small.plan(built, small.order(("mug", 1)), strategy=STRATEGIES["nearest"])
    assert counted(built, "gap_share_sum")[()] == pytest.approx(1 + gap / 1_000_000, abs=1e-6)


async def promise(
    wire: Wire, *lines: tuple[str, int], request_id: str = "", strategy: str = "exact"
) -> Any:
    return await wire.routing.PromiseOrder(
        routing.PromiseOrderRequest(
            request_id=request_id, order=small.order(*lines), strategy=STRATEGIES[strategy]
        )
    )


def others_are_faster(wire: Wire, monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """So many holds find the stock gone, which is there again for the plan after. A list that grows
    by one with each hold."""
    holds: list[int] = []
    submit = Gateway.submit

    async def late(self: Gateway, batch: CommandBatch, **how: Any) -> Any:
        if not (batch.headers["kind"] == commands.CREATE).any():
            return await submit(self, batch, **how)
        holds.append(len(holds))
        if len(holds) > times:
            return await submit(self, batch, **how)
        for place in small.NODES:
            await wire.stock("mug", place, 0)
        answer = await submit(self, batch, **how)
        for place in small.NODES:
            await wire.stock("mug", place, 5)
        return answer

    monkeypatch.setattr(Gateway, "submit", late)
    return holds


@pytest.mark.parametrize("strategy", ["exact", "nearest"])
@pytest.mark.parametrize("request_id", ["", "r1"])
async def test_an_order_that_others_are_always_faster_than_is_planned_so_often_and_no_more(
    built: Wire, monkeypatch: pytest.MonkeyPatch, strategy: str, request_id: str
):
    """The usual order is tried without messages first, the other with them."""
    holds = others_are_faster(built, monkeypatch, replans_max + 1)
    error = await refused(promise(built, ("mug", 1), request_id=request_id, strategy=strategy))
    assert (error.reason, error.metadata["replans"]) == ("PLAN_STALE", str(replans_max))
    assert len(holds) == replans_max + 1
    assert counted(built, "solve_seconds_count", "method") == {strategy: replans_max + 1}
    assert counted(built, "conflicts_total", "reason") == {"INSUFFICIENT_STOCK": replans_max + 1}
    assert counted(built, "replans_total") == {(): replans_max}
    assert counted(built, "promises_total") == {}
    # Nothing is decided: the same request is planned anew, and this time nobody is faster.
    made = await promise(built, ("mug", 1), request_id=request_id, strategy=strategy)
    assert made.replans == (replans_max + 1 if request_id else 0)
    assert counted(built, "replans_total") == {(): replans_max + bool(request_id)}
    assert counted(built, "promises_total") == {(): 1}


@pytest.mark.parametrize("strategy", ["exact", "nearest"])
async def test_an_order_that_meets_another_once_is_planned_once_more(
    built: Wire, monkeypatch: pytest.MonkeyPatch, strategy: str
):
    others_are_faster(built, monkeypatch, 1)
    made = await promise(built, ("mug", 1), strategy=strategy)
    assert made.replans == 1
    assert counted(built, "conflicts_total", "reason") == {"INSUFFICIENT_STOCK": 1}
    assert counted(built, "replans_total") == counted(built, "promises_total") == {(): 1}
    assert solved(built)[strategy, "OPTIMAL" if strategy == "exact" else "HEURISTIC"] == 2
