"""Solvers that are killed, stopped, busy or not wanted: a wave has its answer, the ledger is sound.

Fault 16 of the list in docs/faults.md, on the real server with the real solver.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, error_of_status
from tests.wire.test_plan_orders import Wave, orders_of, settings, wave

pytestmark = pytest.mark.wire

ORDERS = 12
BUDGET_MS = 6_000


@pytest.fixture
async def ready(built: Wire) -> Wire:
    """With a solver that waits for a wave."""
    await built.server.solvers.ready()
    return built


def long(budget_ms: int = BUDGET_MS, **fields: Any) -> routing.WaveSettings:
    """A wave that a solver works on until it is stopped."""
    made = settings(**fields)
    made.work.FromMilliseconds(600_000)
    made.budget.FromMilliseconds(budget_ms)
    made.progress_interval.FromMilliseconds(10)
    return made


async def struck(wire: Wire, number: int, **fields: Any) -> Wave:
    """A wave in the middle of which its solver gets a signal."""
    await wire.stock("mug", "newark", 7)
    requests = [
        routing.PlanOrdersRequest(settings=long(**fields)),
        routing.PlanOrdersRequest(
            orders=routing.WaveOrders(orders=orders_of(ORDERS, ("mug", 1), ("rug", 1)))
        ),
    ]
    (pid,) = wire.server.solvers.pids
    told = Wave([], [], routing.WaveSummary())
    async for message in wire.routing.PlanOrders(iter(requests)):
        kind = message.WhichOneof("content")
        if kind == "progress":
            # The first answer of the solver: it is at work.
            if message.progress.cost_minor_units and not any(
                one.cost_minor_units for one in told.progress
            ):
                os.kill(pid, number)
            told.progress.append(message.progress)
        elif kind == "results":
            told.results.extend(message.results.results)
        else:
            told.summary.CopyFrom(message.summary)
    assert any(one.cost_minor_units for one in told.progress)
    return told


@pytest.mark.parametrize(
    ("number", "counted"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "hung")]
)
async def test_a_solver_that_dies_or_hangs_costs_neither_the_answer_nor_the_ledger(
    ready: Wire, number: int, counted: str
):
    told = await struck(ready, number, hold=True)
    summary = told.summary
    assert summary.source in (
        routing.WAVE_SOURCE_INTERRUPTED,
        routing.WAVE_SOURCE_SEQUENTIAL,
    )
    assert summary.orders_held == ORDERS, told.results
    assert getattr(ready.server.solvers.counts, counted) == 1
    taken: dict[tuple[str, str], int] = {}
    for one in told.results:
        units = {"mug": 1, "rug": 1}
        for shipment in one.plan.shipments:
            for line in shipment.lines:
                units[line.sku] -= line.quantity
                key = (line.sku, shipment.node)
                taken[key] = taken.get(key, 0) + line.quantity
        assert units == {"mug": 0, "rug": 0}
    for (sku, node), units_taken in taken.items():
        position = await ready.position(sku, node)
        assert position.held == units_taken
        assert position.available >= 0
    await ready.verify()
    # Another solver takes its place, and the next wave.
    await ready.server.solvers.ready()
    again = await wave(ready, [small.order(("rug", 1))])
    assert again.summary.source == routing.WAVE_SOURCE_SOLVER
    assert ready.server.solvers.counts.started == 2


async def test_a_solver_that_is_killed_while_idle_is_replaced(ready: Wire):
    (solver,) = ready.server.solvers._solvers
    os.kill(solver.pid, signal.SIGKILL)
    await solver.reader.read()  # its end has come through
    told = await wave(ready, orders_of(3, ("mug", 1)))
    assert told.summary.source == routing.WAVE_SOURCE_SOLVER
    assert told.summary.orders_planned == 3


@pytest.fixture
async def with_settings(tmp_path: Path) -> AsyncIterator[Any]:
    """Makes servers of one's own."""
    running: list[Wire] = []

    async def make(**settings: Any) -> Wire:
        made = Wire(tmp_path / f"data{len(running)}", **settings)
        await made.start()
        running.append(made)
        await small.build(made)
        return made

    yield make
    for one in running:
        await one.stop()


async def test_browned_out_or_without_solvers_orders_are_routed_one_after_another(
    with_settings: Any,
):
    for values in ({"brownout": "on"}, {"solvers": 0}):
        wire = await with_settings(**values)
        told = await wave(wire, orders_of(16, ("mug", 1)))
        assert told.summary.source == routing.WAVE_SOURCE_SEQUENTIAL
        assert told.summary.status == routing.PLAN_STATUS_HEURISTIC
        assert told.summary.bound_minor_units == 0
        assert (told.summary.orders_planned, wire.server.solvers.counts.started) == (15, 0)
        await wire.verify()


async def test_solvers_are_there_from_the_start_where_that_is_asked_for(with_settings: Any):
    wire = await with_settings(solver_start="at_start", solvers=2)
    assert wire.server.solvers.counts.started == 2
    await wire.server.solvers.ready()


async def begun(wire: Wire) -> Any:
    """A wave that a solver is at work on, and goes on to be until its caller goes."""
    requests = [
        routing.PlanOrdersRequest(settings=long(budget_ms=600_000)),
        routing.PlanOrdersRequest(orders=routing.WaveOrders(orders=orders_of(9, ("mug", 1)))),
    ]
    stream = wire.routing.PlanOrders(iter(requests))
    async for message in stream:
        if message.progress.cost_minor_units:
            return stream
    raise AssertionError("a solver tells an answer before its time is up")


async def test_more_waves_than_may_be_under_way_are_refused(with_settings: Any):
    wire = await with_settings(waves_waiting_max=0)
    await wire.server.solvers.ready()
    stream = await begun(wire)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wave(wire, [small.order(("mug", 1))])
    error = error_of_status(rpc_status.from_call(caught.value), caught.value.code())
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
    assert "waves_waiting_max" in error.message
    told = wire.server.metrics.text()
    assert _value(told, "holdfast_waves_refused_total") >= 1  # see `sent`
    assert _value(told, "holdfast_waves_under_way") == 1
    stream.cancel()
    await until_nobody_calls(wire)
    await wire.server.solvers.ready()  # another one: the first was at work for nobody
    while _value(wire.server.metrics.text(), "holdfast_waves_under_way"):  # noqa: ASYNC110
        await asyncio.sleep(0)  # the call has ended, and the wave's last steps are to come


async def until_nobody_calls(wire: Wire) -> None:
    """Until the server has heard that callers have gone."""
    while wire.server.open_calls:  # noqa: ASYNC110
        await asyncio.sleep(0)


def _value(text: bytes, name: str) -> float:
    (line,) = [one for one in text.decode().splitlines() if one.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_a_caller_who_goes_leaves_no_wave_behind(ready: Wire):
    stream = await begun(ready)
    stream.cancel()
    await until_nobody_calls(ready)
    while ready.server.solvers.counts.started < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)  # another one: the first was at work for nobody
    await ready.server.solvers.ready()
    told = await wave(ready, orders_of(2, ("mug", 1)))
    assert told.summary.source == routing.WAVE_SOURCE_SOLVER
