"""PlanOrders on the wire: what a wave costs, who gets the last unit, what is refused and held."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from holdfast.v1 import errors_pb2
from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Error, Wire, error_of_status

pytestmark = pytest.mark.wire

BUDGET_MS = 120_000
WORK_MS = 200
"""Far less: by the clock nothing ends here."""


@dataclass
class Wave:
    """What came back."""

    progress: list[routing.WaveProgress]
    results: list[routing.WaveOrderResult]
    summary: routing.WaveSummary

    def reasons(self) -> list[str]:
        names = [errors_pb2.ErrorReason.Name(one.reason) for one in self.results]
        return [name.removeprefix("ERROR_REASON_") for name in names]

    def error(self, number: int) -> Error:
        status = self.results[number].status
        code = next(one for one in grpc.StatusCode if one.value[0] == status.code)
        return error_of_status(status, code)

    def nodes(self) -> list[list[str]]:
        return [[one.node for one in result.plan.shipments] for result in self.results]


def settings(**fields: Any) -> routing.WaveSettings:
    made = routing.WaveSettings(**fields)
    if not made.HasField("budget"):
        made.budget.FromMilliseconds(BUDGET_MS)
    made.work.FromMilliseconds(WORK_MS)
    return made


async def wave(
    wire: Wire,
    orders: Iterable[routing.RoutingOrder] = (),
    asked: routing.WaveSettings | None = None,
    **more: Any,
) -> Wave:
    """Send one wave, all orders in one message."""
    requests = [
        routing.PlanOrdersRequest(settings=asked or settings()),
        routing.PlanOrdersRequest(orders=routing.WaveOrders(orders=orders, **more)),
    ]
    return await sent(wire, requests)


async def sent(wire: Wire, requests: list[routing.PlanOrdersRequest]) -> Wave:
    """One wave. grpc.aio loses the reason of a stream that is refused while it still sends: then it
    is sent again, as nothing has come of it."""
    while True:
        try:
            return await _sent_once(wire, requests)
        except grpc.aio.AioRpcError as error:
            if error.details() != "Internal error from Core":
                raise


async def _sent_once(wire: Wire, requests: list[routing.PlanOrdersRequest]) -> Wave:
    progress, results, summary = [], [], None
    async for message in wire.routing.PlanOrders(iter(requests)):
        kind = message.WhichOneof("content")
        if kind == "progress":
            progress.append(message.progress)
        elif kind == "results":
            results += message.results.results
        else:
            assert summary is None
            summary = message.summary
    assert summary is not None
    assert [one.order for one in results] == list(range(len(results)))
    return Wave(progress, results, summary)


async def refused(wire: Wire, requests: list[routing.PlanOrdersRequest]) -> Error:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sent(wire, requests)
    status = rpc_status.from_call(caught.value)
    return error_of_status(status, caught.value.code())


def orders_of(count: int, *lines: tuple[str, int], **fields: Any) -> list[routing.RoutingOrder]:
    return [small.order(*lines, reservation_id=f"o{at}", **fields) for at in range(count)]


async def test_a_wave_gives_the_last_unit_to_the_one_who_has_no_other(built: Wire):
    """Newark has one mug. Alone each of two orders would take it; San Francisco's has Chicago as
    the next best at 400 more, New York's the store at 200 + 20 instead of 50 + 10."""
    await built.stock("mug", "newark", 1)
    west = small.order(("mug", 1), zip_code="94105")
    east = small.order(("mug", 1))
    for orders in ([west, east], [east, west]):
        planned = await wave(built, orders)
        alone = [await small.plan(built, one) for one in orders]
        assert planned.reasons() == ["UNSPECIFIED"] * 2
        total = sum(one.plan.cost_minor_units for one in planned.results)
        assert planned.summary.cost_minor_units == total == planned.summary.wave_cost_minor_units
        assert planned.summary.bound_minor_units <= total
        assert planned.summary.status == routing.PLAN_STATUS_OPTIMAL
        assert planned.summary.source == routing.WAVE_SOURCE_SOLVER
        cheapest = sum(one.plans[0].cost_minor_units for one in alone)
        assert cheapest <= total <= planned.summary.sequential_cost_minor_units
        taken = [node for nodes in planned.nodes() for node in nodes]
        assert taken.count("newark") <= 1
    await built.verify()


async def test_impossible_orders_have_their_reason_and_the_rest_is_routed(built: Wire):
    known = small.order(("mug", 1), reservation_id="good")
    orders = [
        small.order(("mug", 16)),
        known,
        small.order(("no-such-sku", 1)),
        small.order(("mug", 0)),
        small.order(("rug", 1), reservation_id="good"),
        small.order(("rug", 1), channel="no-such-channel"),
    ]
    planned = await wave(built, orders)
    assert planned.reasons() == [
        "NO_FEASIBLE_PLAN",
        "UNSPECIFIED",
        "SKU_NOT_FOUND",
        "FIELD_INVALID",
        "FIELD_INVALID",
        "CHANNEL_NOT_FOUND",
    ]
    none = planned.error(0)
    assert none.metadata["constraint"] == "STOCK"
    assert none.metadata["line"] == "orders[0].lines[0]"
    assert (none.metadata["requested"], none.metadata["available"]) == ("16", "15")
    assert planned.error(2).metadata["field"] == "orders[2].lines[0].sku"
    assert planned.error(3).metadata["field"] == "orders[3].lines[0].quantity"
    assert planned.error(4).fields == {"orders[4].reservation_id": "'good' is orders[1]'s already"}
    summary = planned.summary
    assert (summary.orders, summary.orders_planned, summary.shipments) == (6, 1, 1)


async def test_what_is_wrong_with_a_wave_names_field_value_and_limit(built: Wire):
    one = routing.PlanOrdersRequest(orders=routing.WaveOrders(orders=[small.order(("mug", 1))]))
    plain = routing.PlanOrdersRequest(settings=settings())

    def with_budget(ms: int, field: str = "budget") -> routing.PlanOrdersRequest:
        asked = settings()
        getattr(asked, field).FromMilliseconds(ms)
        return routing.PlanOrdersRequest(settings=asked)

    zero = await refused(built, [with_budget(0), one])
    assert (zero.reason, zero.fields) == (
        "FIELD_INVALID",
        {"settings.budget": "'0 ms' is below 1 ms"},
    )
    long = await refused(built, [with_budget(600_001), one])
    assert (long.reason, long.metadata["limit"], long.metadata["maximum"]) == (
        "LIMIT_EXCEEDED",
        "wave_budget_ms_max",
        "600000",
    )
    work = await refused(built, [with_budget(-5, "work"), one])
    assert work.fields == {"settings.work": "'-5 ms' is below 1 ms"}
    assert (await refused(built, [one])).metadata["field"] == "settings"
    assert (await refused(built, [])).metadata["field"] == "settings"
    assert (await refused(built, [plain, plain])).metadata["field"] == "settings"
    empty = await refused(built, [plain, routing.PlanOrdersRequest()])
    assert empty.metadata["field"] == "content"
    many = routing.WaveOrders(orders=[small.order(("mug", 1))] * 2501)
    twice = [routing.PlanOrdersRequest(orders=many)] * 2
    beyond = await refused(built, [plain, *twice])
    assert (beyond.reason, beyond.metadata["limit"], beyond.metadata["maximum"]) == (
        "LIMIT_EXCEEDED",
        "orders_per_wave_max",
        "5000",
    )
    assert beyond.metadata["value"] == "5002 orders"
    for field, name, reason in (
        ("replan_nodes", "nowhere", "NODE_NOT_FOUND"),
        ("replan_carrier_services", "never", "CARRIER_SERVICE_NOT_FOUND"),
    ):
        asked = routing.PlanOrdersRequest(orders=routing.WaveOrders(**{field: [name]}))
        error = await refused(built, [plain, asked])
        assert (error.reason, error.metadata["field"]) == (reason, f"orders.{field}[0]")
    named = routing.PlanOrdersRequest(orders=routing.WaveOrders(reservation_ids=["a", "a"]))
    assert (await refused(built, [plain, named])).reason == "FIELD_INVALID"


async def test_an_empty_wave_has_an_empty_answer(built: Wire):
    planned = await wave(built)
    assert planned.results == []
    assert planned.summary.orders == planned.summary.cost_minor_units == 0
    assert planned.summary.source == routing.WAVE_SOURCE_UNSPECIFIED


async def test_the_same_seed_and_work_have_the_same_answer(built: Wire):
    zips = ("10002", "60601", "94105", "30301", "98101")
    orders = [
        small.order(("mug", 1 + at % 2), ("rug", 1), zip_code=zips[at % 5]) for at in range(7)
    ]
    asked = settings(seed=7)
    first, again = [await wave(built, orders, asked) for _ in range(2)]
    assert first.summary.deterministic
    assert first.results == again.results
    assert first.summary.bound_minor_units == again.summary.bound_minor_units


async def test_a_wave_is_held_as_promises_are_and_repeats_itself(built: Wire):
    """Fifteen mugs, twenty orders of one: fifteen are held, five refused for stock."""
    asked = settings(hold=True, request_id="w1")
    orders = orders_of(20, ("mug", 1))
    held = await wave(built, orders, asked)
    assert held.reasons().count("UNSPECIFIED") == 15
    assert held.reasons().count("NO_FEASIBLE_PLAN") == 5
    assert held.summary.orders_held == held.summary.orders_planned == 15
    for node in small.NODES:
        assert (await built.position("mug", node)).available == 0
    again = await wave(built, orders, asked)
    assert again.reasons() == held.reasons()
    for one, other in zip(held.results, again.results, strict=True):
        assert (one.plan, one.reservation_id, one.revision) == (
            other.plan,
            other.reservation_id,
            other.revision,
        )
    await built.restart()
    after = await wave(built, orders, asked)
    assert [one.plan for one in after.results] == [one.plan for one in held.results]
    # Another order in the same place of the same wave is another request.
    orders[0].lines[0].sku = "rug"
    other = await wave(built, orders, asked)
    assert other.reasons()[0] == "REQUEST_ID_REUSED"
    await built.verify()


async def test_a_held_plan_of_a_wave_is_explained_and_replayed(built: Wire):
    await wave(built, orders_of(3, ("mug", 2)), settings(hold=True))
    for at in range(3):
        told = await built.routing.ExplainPlan(routing.ExplainPlanRequest(reservation_id=f"o{at}"))
        assert told.replayed
        assert told.report.status == routing.PLAN_STATUS_WAVE
        assert any(node.chosen for node in told.nodes)


async def test_waves_and_promises_at_once_leave_stock_consistent(built: Wire):
    """Three waves and single orders want fifteen mugs: fifteen units are held, by whomever."""
    waves = [
        wave(
            built,
            [small.order(("mug", 1), reservation_id=f"w{name}-{at}") for at in range(8)],
            settings(hold=True),
        )
        for name in range(3)
    ]
    singles = [
        built.routing.PromiseOrder(
            routing.PromiseOrderRequest(order=small.order(("mug", 1), reservation_id=f"s{at}"))
        )
        for at in range(10)
    ]
    answers = await asyncio.gather(*waves, *singles, return_exceptions=True)
    held = sum(one.summary.orders_held for one in answers if isinstance(one, Wave))
    held += sum(isinstance(one, routing.PromiseOrderResponse) for one in answers)
    assert held == 15
    for one in answers:
        if isinstance(one, Wave):
            assert set(one.reasons()) <= {"UNSPECIFIED", "NO_FEASIBLE_PLAN", "PLAN_STALE"}
    for node in small.NODES:
        assert (await built.position("mug", node)).available == 0
    await built.verify()


async def test_what_a_wave_leaves_is_picked_on_a_later_day(built: Wire):
    """Newark picks two units a day, the others have none of it."""
    for node in ("chicago", "manhattan"):
        await built.stock("mug", node, 0)
    from holdfast.v1 import network_service_pb2 as network

    await built.network.UpsertNode(
        network.UpsertNodeRequest(node=small.node("newark", pick_capacity_per_day=2))
    )
    held = await wave(built, orders_of(5, ("mug", 1)), settings(hold=True))
    assert held.reasons() == ["UNSPECIFIED"] * 5
    days = sorted(one.plan.shipments[0].pick_date for one in held.results)
    assert days == ["2023-11-14"] * 2 + ["2023-11-15"] * 2 + ["2023-11-16"]
    assert held.summary.orders_later == 3
    await built.verify()


async def test_a_wave_picks_on_a_later_day_rather_than_at_a_dearer_node(built: Wire):
    """Newark picks two units a day. The store costs 160 more, Chicago 300."""
    from holdfast.v1 import network_service_pb2 as network

    await built.stock("mug", "newark", 9)
    await built.network.UpsertNode(
        network.UpsertNodeRequest(node=small.node("newark", pick_capacity_per_day=2))
    )
    held = await wave(built, orders_of(5, ("mug", 1)), settings(hold=True))
    assert held.nodes() == [["newark"]] * 5
    days = sorted(one.plan.shipments[0].pick_date for one in held.results)
    assert days == ["2023-11-14"] * 2 + ["2023-11-15"] * 2 + ["2023-11-16"]
    assert (held.summary.orders_later, held.summary.conflicts) == (3, 0)
    assert held.summary.cost_minor_units < held.summary.wave_cost_minor_units
    await built.verify()


async def test_a_wave_picks_an_order_that_is_too_large_for_the_day_on_the_next_one(built: Wire):
    """One unit is left of Newark's day. That is enough for an order which goes from Chicago, and so
    it is the wave's day there."""
    from holdfast.v1 import network_service_pb2 as network

    await built.network.UpsertNode(
        network.UpsertNodeRequest(node=small.node("newark", pick_capacity_per_day=2))
    )
    await built.routing.PromiseOrder(routing.PromiseOrderRequest(order=small.order(("rug", 1))))
    orders = [
        small.order(("mug", 2), reservation_id="large"),
        small.order(("mug", 1), reservation_id="small", zip_code="60601"),
    ]
    planned = await wave(built, orders)
    shipments = [one.plan.shipments[0] for one in planned.results]
    assert [(one.node, one.pick_date) for one in shipments] == [
        ("newark", "2023-11-15"),
        ("chicago", "2023-11-14"),
    ]


async def test_a_wave_passes_by_no_queue_and_no_quota(tmp_path: Path):
    """Mugs are sold by turns; a caller may hold four orders, and two rugs."""
    (tmp_path / "queues.toml").write_text('[queues.mugs]\nskus = ["mug"]\n')
    (tmp_path / "quotas.toml").write_text(
        "[default]\nopen_holds_max = 4\nunits_per_sku_max = 2\n"
        "requests_per_second = 1000\nrequests_burst = 1\n"
    )
    wire = Wire(tmp_path / "data", queues=tmp_path / "queues.toml", quotas=tmp_path / "quotas.toml")
    await wire.start()
    try:
        await small.build(wire)
        orders = [
            small.order(("mug", 1), reservation_id="by-turn"),
            *[small.order(("rug", 1), reservation_id=f"rug-{at}") for at in range(3)],
        ]
        proposed = await wave(wire, orders)
        assert proposed.reasons() == ["UNSPECIFIED"] * 4
        held = await wave(wire, orders, settings(hold=True))
        assert held.reasons()[0] == "TURN_REQUIRED"
        assert sorted(held.reasons()[1:]) == ["QUOTA_EXCEEDED", "UNSPECIFIED", "UNSPECIFIED"]
        assert held.summary.orders_held == 2
        refused_one = held.reasons().index("QUOTA_EXCEEDED")
        assert held.error(refused_one).metadata["limit"] == "units_per_sku_max"
        await wire.verify()
    finally:
        await wire.stop()
