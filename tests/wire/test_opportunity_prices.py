"""Opportunity prices on the wire: off, in shadow, on; what is scarce is kept for who has no other.

Two mugs lie in Newark, fifty in Chicago. Pittsburgh is in the middle zone of both; Newark, whose
handling is 10 cheaper, is the cheapest for it. The channel "local" ships from Newark alone.

With prices a unit sold of two raises Newark's price by 500 x 100 / 400 / root(3) = 72: the next one
for Pittsburgh goes from Chicago, 10 dearer, and Newark's last mug stays for the channel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from server.documents import ROUTING_DECISION
from server.routing.decision_log import name_of
from server.routing.decisions import Decision, Key
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused

pytestmark = pytest.mark.wire

PITTSBURGH = "15222"
ON, SHADOW = routing.OpportunityReport.MODE_ON, routing.OpportunityReport.MODE_SHADOW
HOUR_MS = 3_600_000


async def with_newark(wire: Wire, *, newark: int, chicago: int) -> None:
    """The network, and newark besides, which is all that the channel ``local`` has."""
    await small.build(wire)
    await wire.network.UpsertNode(
        network.UpsertNodeRequest(node=small.node("newark", parcel_handling_cost=small.money(40)))
    )
    await wire.stock("mug", "newark", newark)
    await wire.stock("mug", "chicago", chicago)
    await wire.stock("mug", "manhattan", 0)
    await wire.network.UpsertChannel(
        network.UpsertChannelRequest(channel=network.Channel(channel="local", nodes=["newark"]))
    )


@pytest.fixture(params=["off", "shadow", "on"])
async def priced(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    wire = Wire(tmp_path / "data", routing_prices=request.param)
    await wire.start()
    await with_newark(wire, newark=2, chicago=50)
    yield wire
    await wire.stop()


async def promise(wire: Wire, **fields: Any) -> routing.PromiseOrderResponse:
    order = small.order(("mug", 1), **fields)
    order.destination.postal_code = PITTSBURGH
    reply: routing.PromiseOrderResponse = await wire.routing.PromiseOrder(
        routing.PromiseOrderRequest(order=order)
    )
    return reply


def source(reply: Any) -> str:
    plan = reply.plan if hasattr(reply, "plan") else reply.plans[0]
    (shipment,) = plan.shipments
    return str(shipment.node)


def counted(wire: Wire) -> dict[str, float]:
    """What was planned with prices, from the metrics."""
    found = {}
    for family in wire.server.metrics.registry.collect():
        for sample in family.samples:
            if sample.name.startswith("holdfast_routing_priced"):
                key = sample.labels.get("changed", "dearer_by")
                found[key] = sample.value
    return found


async def test_scarce_local_stock_is_kept_for_those_who_have_no_other_node(priced: Wire):
    mode = priced.settings["routing_prices"]
    first, second = await promise(priced, reservation_id="a"), await promise(priced)
    assert source(first) == "newark"
    if mode == "on":
        assert source(second) == "chicago"
        report = second.report.opportunity
        assert (report.mode, report.changes_plan, report.dearer_minor_units) == (ON, True, 10)
        assert list(report.other_nodes) == ["newark"]
        assert source(await promise(priced, channel="local")) == "newark"
        assert counted(priced) == {"true": 1, "false": 2, "dearer_by": 10}
        return
    assert source(second) == "newark"
    error = await refused(promise(priced, channel="local"))
    assert (error.reason, error.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "NODE_CLOSED")
    if mode == "off":
        assert not second.report.HasField("opportunity")
        assert counted(priced) == {"true": 0, "false": 0, "dearer_by": 0}
        return
    report = second.report.opportunity
    assert (report.mode, report.changes_plan, report.dearer_minor_units) == (SHADOW, True, 10)
    assert list(report.other_nodes) == ["chicago"]
    assert counted(priced) == {"true": 1, "false": 1, "dearer_by": 10}


async def test_a_decision_says_what_prices_did_and_is_replayed(priced: Wire):
    mode = priced.settings["routing_prices"]
    await promise(priced)
    second = await promise(priced, reservation_id="b")
    told = await priced.routing.ExplainPlan(routing.ExplainPlanRequest(reservation_id="b"))
    assert told.replayed
    assert told.plan == second.plan
    assert told.report.opportunity == second.report.opportunity
    assert told.report.HasField("opportunity") == (mode != "off")


async def test_prices_are_the_same_after_a_restart(priced: Wire):
    mode = priced.settings["routing_prices"]
    await promise(priced, reservation_id="a")
    priced.clock.advance(HOUR_MS)
    await promise(priced, reservation_id="b", channel="local")
    order = small.order(("mug", 1))
    order.destination.postal_code = PITTSBURGH
    await priced.stock("mug", "newark", 9)

    async def planned() -> routing.PlanFulfillmentResponse:
        reply: routing.PlanFulfillmentResponse = await priced.routing.PlanFulfillment(
            routing.PlanFulfillmentRequest(order=order, max_plans=2)
        )
        reply.report.solve_nanoseconds = 0
        reply.report.network_version = 0
        return reply

    before = await planned()
    costs = {one.shipments[0].node: one.cost_terms.opportunity_minor_units for one in before.plans}
    assert (costs["newark"] > 0) == (mode == "on")
    await priced.restart()
    assert await planned() == before


@pytest.mark.parametrize("priced", ["on"], indirect=True)
async def test_prices_fall_with_time_and_begin_anew_when_stock_comes(priced: Wire):
    await promise(priced)
    order = small.order(("mug", 1))
    order.destination.postal_code = PITTSBURGH

    async def price() -> int:
        """Of Newark, beside Chicago."""
        reply = await priced.routing.PlanFulfillment(
            routing.PlanFulfillmentRequest(order=order, max_plans=2)
        )
        plans = {one.shipments[0].node: one for one in reply.plans}
        return int(plans["newark"].cost_terms.opportunity_minor_units)

    first = await price()
    assert first == 72
    priced.clock.advance(6 * HOUR_MS)
    second = await price()
    assert 0 < second < first
    priced.clock.advance(7 * 24 * HOUR_MS)  # a period later
    assert await price() == 0


@pytest.mark.parametrize(
    ("source_of_prices", "kept"),
    [
        ("pace", {"problem": b"HFP9 and what a newer version packs"}),
        ("duals", {"command": b"HFC9 and what a newer version sends"}),
    ],
)
async def test_a_decision_that_can_not_be_read_costs_no_promise(
    tmp_path: Path, source_of_prices: str, kept: dict[str, bytes]
):
    wire = Wire(tmp_path / "data", routing_prices="on", routing_prices_from=source_of_prices)
    await wire.start()
    await small.build(wire)
    await wire.stock("mug", "newark", 5)
    parts = {
        "order": b"",
        "reply": b"a plan",
        "refusal": b"",
        "command": b"",
        "problem": b"",
        **kept,
    }
    decision = Decision(
        key=Key((1, 2), (3, 4)),
        time_ms=wire.clock.now_ms(),
        attempt=0,
        revision=1,
        strategy=0,
        work_budget=1,
        **parts,
    )
    documents = wire.state.documents
    documents[ROUTING_DECISION, name_of("other", 1)] = decision.to_bytes(), wire.state.revision
    with structlog.testing.capture_logs() as logs:
        for number in range(3):
            assert (await promise(wire, reservation_id=f"r{number}")).reservation.reservation_id
    told = [log for log in logs if "opportunity prices failed" in log["event"]]
    assert [log["log_level"] for log in told] == ["error"]
    await wire.stop()
