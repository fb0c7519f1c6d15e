"""ExplainPlan on the wire: reasons, counterfactual costs, and decisions that replay."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from holdfast.v1 import admin_service_pb2 as admin
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused

pytestmark = pytest.mark.wire


def reasons(reply: routing.ExplainPlanResponse) -> dict[str, str]:
    return {
        node.node: routing.NotChosenReason.Name(node.reason).removeprefix("NOT_CHOSEN_REASON_")
        for node in reply.nodes
    }


async def explain(wire: Wire, **subject: Any) -> routing.ExplainPlanResponse:
    return await wire.routing.ExplainPlan(routing.ExplainPlanRequest(**subject))


async def test_every_node_and_service_has_its_reason_and_price(empty: Wire):
    await small.build(empty)
    reply = await explain(empty, order=small.order(("mug", 2)))
    assert reply.plan.cost_minor_units == 500 + 200 + 50 + 20
    found = {node.node: node for node in reply.nodes}
    assert found["newark"].chosen
    assert found["newark"].forced_cost_minor_units == 770
    # All have both mugs, so the others are dominated; their price is what a human adds up.
    assert reasons(reply) == {
        "newark": "UNSPECIFIED",
        "manhattan": "DOMINATED",
        "chicago": "DOMINATED",
    }
    assert found["manhattan"].forced_cost_minor_units == 700 + 200 + 40
    assert found["chicago"].forced_cost_minor_units == 1000 + 50 + 20
    services = {one.carrier_service: one for one in found["newark"].services}
    assert services["ground"].chosen
    assert services["air"].forced_cost_minor_units == 1700 + 70
    assert services["air"].reason in (
        routing.NOT_CHOSEN_REASON_COST,
        routing.NOT_CHOSEN_REASON_DOMINATED,
    )


async def test_what_keeps_a_node_out_is_named(empty: Wire):
    await small.build(empty)
    await empty.stock("mug", "chicago", 0)
    await empty.admin.FreezeNode(admin.FreezeNodeRequest(node="newark"))
    await small.rules(
        empty,
        """
        rules:
          - name: no-air
            exclude: {services: 'service.name == "air"'}
        """,
    )
    reply = await explain(empty, order=small.order(("mug", 2)))
    assert reasons(reply) == {
        "manhattan": "UNSPECIFIED",
        "newark": "CLOSED",
        "chicago": "NO_STOCK",
    }
    services = {one.carrier_service: one for one in reply.nodes[0].services}
    assert services["air"].reason == routing.NOT_CHOSEN_REASON_RULE
    assert services["air"].rule == "no-air"


async def chicago(wire: Wire, order: routing.RoutingOrder) -> tuple[str, dict[str, str]]:
    """Why Chicago is not in the plan; and why each service is not Newark's, which is."""
    reply = await explain(wire, order=order)
    found = {node.node: node for node in reply.nodes}
    assert found["newark"].chosen
    return reasons(reply)["chicago"], {
        one.carrier_service: routing.NotChosenReason.Name(one.reason).removeprefix(
            "NOT_CHOSEN_REASON_"
        )
        for one in found["newark"].services
    }


async def test_a_node_that_can_pick_no_more_lacks_capacity(empty: Wire):
    await small.build(empty)
    node = small.node("chicago", pick_capacity_per_day=0)
    await empty.network.UpsertNode(network.UpsertNodeRequest(node=node))
    assert (await chicago(empty, small.order(("mug", 2))))[0] == "CAPACITY"


async def test_a_full_pickup_lacks_capacity(empty: Wire):
    """Nothing by ground from Newark, nothing at all from Chicago."""
    await small.build(empty)
    pickups = [network.Pickup(node=place, minute=1020) for place in small.NODES]
    pickups[1].capacity = 0
    await small.upsert(empty, small.service("air", pickups=pickups))
    pickups[0].capacity = 0
    await small.upsert(empty, small.service("ground", pickups=pickups))
    order = small.order(("mug", 2), excluded_nodes=["manhattan"])
    assert await chicago(empty, order) == (
        "CAPACITY",
        {"ground": "CAPACITY", "air": "UNSPECIFIED"},
    )


async def test_where_the_pickup_in_time_has_gone_the_cutoff_has_passed(empty: Wire):
    """On Thursday is too late for a carrier that comes on Friday; ground is never that fast."""
    await small.build(empty)
    pickups = [network.Pickup(node=place, minute=1020) for place in small.NODES]
    pickups[1].days.append(network.WEEKDAY_FRIDAY)
    await small.upsert(empty, small.service("air", pickups=pickups))
    transits = [network.Transit(zone=zone, days_min=2, days_max=9) for zone in small.ZONES]
    await small.upsert(empty, small.service("ground", transits=transits))
    order = small.order(("mug", 2), excluded_nodes=["manhattan"])
    order.deliver_by_time.FromDatetime(datetime(2023, 11, 16, 12))
    assert await chicago(empty, order) == (
        "CUTOFF_PASSED",
        {"ground": "CUTOFF_PASSED", "air": "UNSPECIFIED"},
    )


async def test_where_no_lane_begins_there_is_no_lane(empty: Wire):
    """From Chicago no service goes anywhere, and by ground none from Newark either."""
    await small.build(empty)
    lanes = [network.Lane(origin_postal_prefix="606"), *small.service("air").lanes]
    await small.upsert(empty, small.service("air", lanes=lanes))
    await small.upsert(empty, small.service("ground", lanes=[network.Lane()]))
    assert await chicago(empty, small.order(("mug", 2))) == (
        "NO_LANE",
        {"ground": "NO_LANE", "air": "UNSPECIFIED"},
    )


async def test_what_no_service_there_takes_is_not_carried(empty: Wire):
    """Batteries go by air alone, which does not call at Chicago."""
    await small.build(empty)
    await empty.items("rug", weight_grams=2500, flags=["lithium_battery"])
    await small.upsert(empty, small.service("ground", refused_flags=["lithium_battery"]))
    pickups = [network.Pickup(node=place, minute=1020) for place in ("newark", "manhattan")]
    await small.upsert(empty, small.service("air", pickups=pickups))
    assert await chicago(empty, small.order(("rug", 1))) == (
        "NOT_CARRIED",
        {"ground": "NOT_CARRIED", "air": "UNSPECIFIED"},
    )


async def test_a_split_is_forced_where_a_node_has_only_some(empty: Wire):
    await small.build(empty)
    await empty.stock("mug", "chicago", 1)
    reply = await explain(empty, order=small.order(("mug", 2)))
    found = {node.node: node for node in reply.nodes}
    # One mug each: 600 + 50 + 10 from newark, 900 + 50 + 10 from chicago.
    assert found["chicago"].forced_cost_minor_units == 660 + 960


async def test_a_decision_replays_whatever_has_changed_since(empty: Wire):
    await small.build(empty)
    made = await empty.routing.PromiseOrder(
        routing.PromiseOrderRequest(order=small.order(("mug", 2), ("rug", 3), reservation_id="a"))
    )
    await empty.stock("mug", "newark", 0)
    await small.upsert(
        empty,
        small.service(
            "ground",
            rates=[network.Rate(zone="near", weight_grams_max=1000, price_minor_units=99999)],
        ),
    )
    await empty.restart()
    reply = await explain(empty, reservation_id="a")
    assert reply.replayed
    assert reply.plan == made.plan
    assert reply.report == made.report
    assert reply.planned_revision < made.revision
    assert reasons(reply)["newark"] == "UNSPECIFIED"


async def test_what_was_never_promised_is_not_explained(empty: Wire):
    await small.build(empty)
    unknown = await refused(explain(empty, reservation_id="nope"))
    assert unknown.reason == "RESERVATION_NOT_FOUND"
    nothing = await refused(explain(empty))
    assert (nothing.reason, list(nothing.fields)) == ("FIELD_REQUIRED", ["subject"])
