"""Dual prices on the wire: off, in shadow, on; solved beside the server, by a process of its own.

Eighty mugs lie in Newark, five hundred in Chicago. Newark is 10 cheaper for Pittsburgh, in the
middle zone of both, and 310 cheaper for Philadelphia, which is near it. The channel "local" ships
from Newark alone. Fifty-one orders come in a second each: twenty of local, sixteen for
Philadelphia, fifteen for Pittsburgh; all take from Newark, and twenty-nine mugs are left there.

Stock is to last for as long again. Another twenty of local have no choice, so that nine are left
for Philadelphia's sixteen: a mug more in Newark would save one of these its 310. So Pittsburgh's,
which save 10 there, go from Chicago from now on.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import routing_service_pb2 as routing
from server.admission.brownout import Mode
from server.routing.prices.duals import DualOpportunity
from tests.redis_server import running
from tests.unit.server.application import pricer_with_faults as faults
from tests.wire import routing_network as small
from tests.wire.conftest import Wire
from tests.wire.test_opportunity_prices import (
    ON,
    PITTSBURGH,
    SHADOW,
    counted,
    source,
    with_newark,
)
from tests.wire.test_standby import keeps_up, serves

pytestmark = [pytest.mark.wire, pytest.mark.timeout(300)]

PHILADELPHIA = "19103"
PERIOD_S = 86_400
SECOND_MS = 1000
ORDERS = 51


def settings(mode: str, **others: Any) -> dict[str, Any]:
    return {
        "routing_prices": mode,
        "routing_prices_from": "duals",
        "routing_price_horizon_s": PERIOD_S,
        "solver_start": "at_start",
    } | others


async def shop(wire: Wire) -> None:
    """The network, and a clock that stands 101 seconds before the end of a period."""
    await with_newark(wire, newark=80, chicago=500)
    period_ms = PERIOD_S * SECOND_MS
    now_ms = wire.clock.now_ms()
    wire.clock.advance(period_ms - now_ms % period_ms - 101 * SECOND_MS)


@pytest.fixture(params=["off", "shadow", "on"])
async def priced(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    wire = Wire(tmp_path / "data", **settings(request.param))
    await wire.start()
    await shop(wire)
    yield wire
    await wire.stop()


def order(zip_code: str, **fields: Any) -> routing.RoutingOrder:
    made = small.order(("mug", 1), **fields)
    made.destination.postal_code = zip_code
    return made


async def promise(wire: Wire, zip_code: str, **fields: Any) -> routing.PromiseOrderResponse:
    """An order, a second after the one before it."""
    wire.clock.advance(SECOND_MS)
    reply: routing.PromiseOrderResponse = await wire.routing.PromiseOrder(
        routing.PromiseOrderRequest(order=order(zip_code, **fields))
    )
    return reply


async def sell(wire: Wire) -> None:
    """The orders of the first half, all from Newark."""
    kinds = [(PHILADELPHIA, ""), (PITTSBURGH, "local"), (PITTSBURGH, "")]
    left = [16, 20, 15]
    for number in range(ORDERS):
        # The one of which most are left, so that all kinds come evenly.
        kind = max(range(3), key=lambda one: (left[one] / (16, 20, 15)[one], -one))
        left[kind] -= 1
        zip_code, channel = kinds[kind]
        reply = await promise(wire, zip_code, channel=channel, reservation_id=f"r{number}")
        assert source(reply) == "newark"
    assert left == [0, 0, 0]
    await settled(wire)


async def settled(wire: Wire) -> None:
    """No solve is under way any more."""
    if wire.server.price_solves is not None:
        await wire.server.price_solves.settled()


def solves(wire: Wire) -> dict[str, float]:
    """How many solves there were, by outcome, and those left out, by reason; from the metrics."""
    found: dict[str, float] = {}
    for family in wire.server.metrics.registry.collect():
        for sample in family.samples:
            if sample.name == "holdfast_routing_price_solve_seconds_count":
                found[sample.labels["outcome"]] = sample.value
            elif sample.name == "holdfast_routing_price_solves_left_out_total":
                found[sample.labels["reason"]] = sample.value
            elif sample.name == "holdfast_routing_price_positions":
                found["positions"] = sample.value
    return {name: value for name, value in found.items() if value}


def newark_costs_more(wire: Wire) -> int:
    """What the prices that the server has now put on a mug in Newark, beside Chicago."""
    prices = wire.server.prices
    assert isinstance(prices, DualOpportunity)
    assert prices._known is not None
    table = prices._known.table
    newark, chicago = table.price[table.node_places(["newark", "chicago"]), 0]
    return int(newark - chicago) // 16


async def planned(wire: Wire) -> routing.PlanFulfillmentResponse:
    """What would be planned for Pittsburgh now, without what a clock has to do with."""
    reply: routing.PlanFulfillmentResponse = await wire.routing.PlanFulfillment(
        routing.PlanFulfillmentRequest(order=order(PITTSBURGH), max_plans=2)
    )
    reply.report.solve_nanoseconds = 0
    reply.report.network_version = 0
    return reply


async def test_scarce_stock_is_kept_for_those_to_whom_it_is_worth_most(priced: Wire):
    mode = priced.settings["routing_prices"]
    await sell(priced)
    pittsburgh = await promise(priced, PITTSBURGH, reservation_id="p")
    local = await promise(priced, PITTSBURGH, channel="local")
    assert source(local) == "newark"
    told = await priced.routing.ExplainPlan(routing.ExplainPlanRequest(reservation_id="p"))
    assert told.replayed
    assert told.plan == pittsburgh.plan
    assert told.report.opportunity == pittsburgh.report.opportunity
    if mode == "off":
        assert source(pittsburgh) == "newark"
        assert solves(priced) == {}
        assert priced.server.solvers.counts.jobs == 0
        assert not pittsburgh.report.HasField("opportunity")
        return
    # Twenty rounds do not bring a price to its 310 at once.
    assert 10 < newark_costs_more(priced) < 300
    # One at the first promise, without anything to go by, and one fifty promises later.
    assert solves(priced) == {"SOLVED": 2, "positions": 1}
    report = pittsburgh.report.opportunity
    assert (report.changes_plan, report.dearer_minor_units) == (True, 10)
    assert counted(priced) == {"true": 1, "false": ORDERS + 1, "dearer_by": 10}
    if mode == "shadow":
        assert source(pittsburgh) == "newark"
        assert (report.mode, list(report.other_nodes)) == (SHADOW, ["chicago"])
    else:
        assert source(pittsburgh) == "chicago"
        assert (report.mode, list(report.other_nodes)) == (ON, ["newark"])
        # What the price says of Newark is in its cost, and only there.
        costs = {
            one.shipments[0].node: one.cost_terms.opportunity_minor_units
            for one in (await planned(priced)).plans
        }
        assert costs["newark"] > 10
        assert costs["chicago"] == 0
    # To Philadelphia Newark is worth more than that.
    assert source(await promise(priced, PHILADELPHIA)) == "newark"


@pytest.mark.parametrize("priced", ["on"], indirect=True)
async def test_prices_are_the_same_after_a_restart(priced: Wire):
    await sell(priced)
    # An order planned anew is no new order, and moves no price.
    await priced.routing.ReplanOrder(
        routing.ReplanOrderRequest(reservation_id="r0", excluded_nodes=["newark"])
    )
    before = await planned(priced)
    assert before.plans[0].shipments[0].node == "chicago"
    price = newark_costs_more(priced)
    await priced.restart()
    # Until prices are known, an order is planned at its plain cost.
    first = await planned(priced)
    assert first.plans[0].shipments[0].node == "newark"
    await settled(priced)
    assert await planned(priced) == before
    assert newark_costs_more(priced) == price
    assert solves(priced) == {"SOLVED": 2, "positions": 1}
    # And they end with their period.
    priced.clock.advance(60 * SECOND_MS)
    after = await planned(priced)
    assert after.plans[0].shipments[0].node == "newark"
    assert after.plans[0].cost_terms.opportunity_minor_units == 0


async def test_a_standby_has_the_same_prices_before_and_after_it_takes_over(tmp_path: Path):
    with running() as redis:
        journal = redis.url("lease_ms=600000")
        primary = Wire(tmp_path / "first", **settings("on", journal=journal))
        await primary.start()
        await shop(primary)
        await sell(primary)
        told = await planned(primary)
        price = newark_costs_more(primary)
        standby = Wire(
            tmp_path / "second",
            **settings("on", journal=journal, standby=True, standby_reads=True),
        )
        standby.clock.advance(primary.clock.now_ms() - standby.clock.now_ms())
        await standby.start()
        await keeps_up(standby, primary)
        await planned(standby)
        await settled(standby)
        assert newark_costs_more(standby) == price
        assert (await planned(standby)).plans == told.plans
        await primary.stop()
        await serves(standby)
        await planned(standby)
        await settled(standby)
        assert newark_costs_more(standby) == price
        assert (await planned(standby)).plans == told.plans
        # Two solves when it was first asked, and two when it had read everything anew.
        assert solves(standby) == {"SOLVED": 4, "positions": 1}
        await standby.stop()


@pytest.mark.parametrize("fault", [faults.CRASH, faults.HANG])
async def test_a_solver_that_fails_changes_nothing_but_a_counter(tmp_path: Path, fault: str):
    wire = Wire(tmp_path / "data", **settings("on", solver_start="first_wave"))
    await wire.start()
    wire.server.solvers._command = (sys.executable, str(Path(faults.__file__)), fault)
    assert wire.server.price_solves is not None
    await wire.server.solvers.ready()
    if fault == faults.HANG:
        wire.server.price_solves._solve_s_max = 1.0
    await shop(wire)
    for number in range(3):
        reply = await promise(wire, PITTSBURGH, reservation_id=f"r{number}")
        assert source(reply) == "newark"
        assert reply.report.opportunity.mode == ON
        assert not reply.report.opportunity.changes_plan
    await settled(wire)
    outcome = "CRASHED" if fault == faults.CRASH else "HUNG"
    assert solves(wire) == {outcome: 1}
    assert source(await promise(wire, PITTSBURGH)) == "newark"
    await wire.verify()
    await wire.stop()


async def test_in_a_brown_out_nothing_is_solved(tmp_path: Path):
    wire = Wire(tmp_path / "data", **settings("on", solver_start="first_wave"))
    await wire.start()
    await shop(wire)
    await planned(wire)
    wire.server.admission.brownout.mode = Mode.ON
    await promise(wire, PITTSBURGH)
    await promise(wire, PITTSBURGH)
    await settled(wire)
    assert solves(wire) == {"browned_out": 1}
    assert wire.server.solvers.counts.started == 0
    await wire.stop()
