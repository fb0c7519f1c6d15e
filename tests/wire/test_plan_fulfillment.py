"""PlanFulfillment on the wire, over a network whose prices a human can check."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import routing_service_pb2 as routing
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused

pytestmark = pytest.mark.wire


async def test_the_cheapest_way_is_found_and_priced(empty: Wire):
    await small.build(empty)
    reply = await small.plan(empty, small.order(("mug", 2), ("rug", 1)), max_plans=3)
    best = reply.plans[0]
    assert [one.node for one in best.shipments] == ["newark"]
    shipment = best.shipments[0]
    # 4.3 kg near by ground: 500 + 5 x 100; handling 50 + 3 x 10.
    assert (shipment.carrier_service, shipment.zone) == ("ground", "near")
    assert best.cost_minor_units == 1000 + 80
    assert best.cost_terms == routing.CostTerms(parcels_minor_units=1000, handling_minor_units=80)
    assert [(one.sku, one.quantity) for one in shipment.lines] == [("mug", 2), ("rug", 1)]
    assert shipment.parcels[0].charged_weight_grams == 4300
    assert best.co2e_grams == 200
    assert reply.report.proven_optimal
    assert reply.report.status == routing.PLAN_STATUS_OPTIMAL
    assert reply.currency_code == "USD"
    assert [plan.shipments[0].node for plan in reply.plans] == ["newark", "manhattan", "chicago"]
    assert [plan.cost_minor_units for plan in reply.plans] == [1080, 1000 + 260, 1300 + 80]


async def test_the_nearest_and_the_fewest_splits_may_be_dearer(built: Wire):
    """To Manhattan the store is nearest: 700 + 200 + 40, where Newark asks 700 + 70."""
    order = small.order(("mug", 2))
    nearest = await small.plan(built, order, strategy=routing.ROUTING_STRATEGY_NEAREST)
    assert nearest.plans[0].shipments[0].node == "manhattan"
    assert nearest.plans[0].cost_minor_units == 940
    assert nearest.report.status == routing.PLAN_STATUS_HEURISTIC
    assert not nearest.report.proven_optimal
    exact = await small.plan(built, order, strategy=routing.ROUTING_STRATEGY_EXACT)
    assert exact.plans[0].cost_minor_units == 770
    await built.network.UpsertNode(network.UpsertNodeRequest(node=small.node("newark", priority=9)))
    ranked = await small.plan(built, order, strategy=routing.ROUTING_STRATEGY_PRIORITY)
    assert ranked.plans[0].shipments[0].node == "manhattan"


async def test_a_brownout_leaves_the_search_out_where_that_is_cheaper(tmp_path: Path):
    """For an order with attributes. The search of a usual one costs less than the rule of thumb."""
    wire = Wire(tmp_path / "data", brownout="on")
    await wire.start()
    try:
        await small.build(wire)
        order = small.order(("mug", 2), ("rug", 1))
        usual = await small.plan(wire, order)
        order.attributes["gift"] = "yes"
        reply = await small.plan(wire, order)
    finally:
        await wire.stop()
    assert usual.report.status == routing.PLAN_STATUS_OPTIMAL
    assert reply.report.status == routing.PLAN_STATUS_HEURISTIC
    assert not reply.report.proven_optimal
    assert reply.plans[0].shipments


async def test_days_are_counted_by_pickups_and_calendars(built: Wire):
    """It is Tuesday, 17:13 in New York: the carrier comes on Wednesday, and once more on Friday."""
    reply = await small.plan(built, small.order(("mug", 1)))
    shipment = reply.plans[0].shipments[0]
    assert shipment.pick_date == "2023-11-14"
    assert shipment.ready_time.ToDatetime() == datetime(2023, 11, 15, 22)
    # Near by ground is one working day: until Thursday's midnight in New York.
    assert shipment.delivery_window.end_time.ToDatetime() == datetime(2023, 11, 17, 5)
    assert reply.plans[0].delivery_window.end_time == shipment.delivery_window.end_time
    await small.upsert(
        built,
        small.service(
            "ground",
            pickups=[network.Pickup(node="newark", minute=1020, days=[network.WEEKDAY_FRIDAY])],
        ),
    )
    await small.upsert(built, small.service("air", pickups=[]))
    calendar = network.Calendar(holidays=["2023-11-18"])  # Monday to Saturday, less the 18th
    made = small.service(
        "ground",
        pickups=[network.Pickup(node="newark", minute=1020, days=[network.WEEKDAY_FRIDAY])],
    )
    made.calendar.CopyFrom(calendar)
    await small.upsert(built, made)
    reply = await small.plan(built, small.order(("mug", 1)))
    shipment = reply.plans[0].shipments[0]
    assert shipment.ready_time.ToDatetime() == datetime(2023, 11, 17, 22)
    # Friday, then Monday: Saturday is off and Sunday is not worked.
    assert shipment.delivery_window.end_time.ToDatetime() == datetime(2023, 11, 21, 5)


async def test_a_deadline_makes_it_dearer_or_late(built: Wire):
    """To Los Angeles by ground takes five days from any node, by air two."""
    order = small.order(("mug", 1), zip_code="90001")
    slow = await small.plan(built, order)
    assert slow.plans[0].shipments[0].carrier_service == "ground"
    order.deliver_by_time.FromDatetime(datetime(2023, 11, 18))  # the 17th, over there
    fast = await small.plan(built, order)
    assert fast.plans[0].shipments[0].carrier_service == "air"
    assert fast.plans[0].shipments[0].days_late == 0
    order.late_cost_per_day_minor_units = 10
    late = await small.plan(built, order)
    assert late.plans[0].shipments[0].carrier_service == "ground"
    assert late.plans[0].shipments[0].days_late == 3
    assert late.plans[0].cost_terms.lateness_minor_units == 30
    order.days_late_max = 2
    bounded = await small.plan(built, order)
    assert bounded.plans[0].shipments[0].carrier_service == "air"
    order.days_late_max = 0
    order.ClearField("late_cost_per_day_minor_units")
    order.deliver_by_time.FromDatetime(datetime(2023, 11, 15))
    error = await refused(small.plan(built, order))
    assert error.metadata["constraint"] == "TOO_LATE"


async def test_a_channel_sells_from_its_nodes_and_within_its_time(built: Wire):
    channel = network.Channel(channel="web", nodes=["chicago"])
    await built.network.UpsertChannel(network.UpsertChannelRequest(channel=channel))
    reply = await small.plan(built, small.order(("mug", 1), channel="web"))
    assert reply.plans[0].shipments[0].node == "chicago"
    channel.delivery_time_max.FromSeconds(2 * 86_400)
    await built.network.UpsertChannel(network.UpsertChannelRequest(channel=channel))
    reply = await small.plan(built, small.order(("mug", 1), channel="web"))
    assert reply.plans[0].shipments[0].carrier_service == "air"
    error = await refused(small.plan(built, small.order(("mug", 6), channel="web")))
    assert (error.metadata["constraint"], error.metadata["available"]) == ("NODE_CLOSED", "5")


async def test_heavy_shipments_go_in_parcels_and_flags_in_the_right_service(built: Wire):
    """Five rugs weigh 12.5 kg: two parcels of at most 10 kg."""
    reply = await small.plan(built, small.order(("rug", 5)))
    parcels = reply.plans[0].shipments[0].parcels
    assert sorted(one.charged_weight_grams for one in parcels) == [2500, 10000]
    assert sorted(one.rate_minor_units for one in parcels) == [800, 1500]
    await built.items("rug", weight_grams=2500, flags=["lithium_battery"])
    surcharge = network.Surcharge(flag="lithium_battery", amount_minor_units=25)
    await small.upsert(built, small.service("air", refused_flags=["lithium_battery"]))
    await small.upsert(built, small.service("ground", surcharges=[surcharge]))
    reply = await small.plan(built, small.order(("rug", 1)), max_plans=3)
    assert {one.shipments[0].carrier_service for one in reply.plans} == {"ground"}
    assert reply.plans[0].cost_terms.parcels_minor_units == 825
    await small.upsert(built, small.service("ground", refused_flags=["lithium_battery"]))
    error = await refused(small.plan(built, small.order(("rug", 1))))
    assert error.metadata["constraint"] == "NOT_CARRIED"


async def test_size_counts_where_it_is_larger_than_weight(built: Wire):
    """A box of 50 x 40 x 25 cm counts as 10 kg at 5,000 cm3 a kg."""
    await built.items("mug", weight_grams=900, length_mm=500, width_mm=400, height_mm=250)
    await small.upsert(built, small.service("ground", dimensional_divisor=5000))
    reply = await small.plan(built, small.order(("mug", 1)))
    assert reply.plans[0].shipments[0].parcels[0].charged_weight_grams == 10_000
    await small.upsert(
        built, small.service("ground", dimensional_divisor=5000, parcel_length_mm_max=400)
    )
    reply = await small.plan(built, small.order(("mug", 1)))
    assert reply.plans[0].shipments[0].carrier_service == "air"


async def test_the_customer_may_collect(built: Wire):
    order = small.order(("mug", 1), fulfillment_type=routing.FULFILLMENT_TYPE_PICKUP)
    reply = await small.plan(built, order)
    shipment = reply.plans[0].shipments[0]
    assert (shipment.node, shipment.carrier) == ("manhattan", "")
    assert shipment.fulfillment_type == routing.FULFILLMENT_TYPE_PICKUP
    assert reply.plans[0].cost_minor_units == 220
    assert not shipment.parcels
    order.pickup_node = "newark"
    error = await refused(small.plan(built, order))
    assert (error.reason, list(error.fields)) == ("FIELD_INVALID", ["order.pickup_node"])
    order.pickup_node = ""
    order.lines[0].quantity = 6
    error = await refused(small.plan(built, order))
    assert error.metadata["constraint"] == "NODE_CLOSED"


async def test_the_pareto_set_has_what_is_faster_greener_and_in_fewer_parcels(built: Wire):
    reply = await small.plan(
        built, small.order(("mug", 1), zip_code="90001"), include_pareto_plans=True
    )
    found = {
        (plan.shipments[0].carrier_service, plan.cost_minor_units) for plan in reply.pareto_plans
    }
    assert ("ground", reply.plans[0].cost_minor_units) in found
    assert any(service == "air" for service, _ in found)
    found = [measures(plan) for plan in reply.pareto_plans]
    assert found == sorted(found)
    for one in found:
        assert not any(
            other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in found
        )


CRITERIA = ("cost", "speed", "splits", "co2e", "risk")


def measures(plan: Any) -> tuple[int, ...]:
    """What plans are compared by, the less the better."""
    return (
        plan.cost_minor_units,
        plan.delivery_window.end_time.seconds,
        len(plan.shipments),
        plan.co2e_grams,
        -plan.delivery_window.probability_ppm,
    )


def better_in(one: Any, other: Any) -> list[str]:
    """The criteria in which one plan is better than another."""
    pairs = zip(CRITERIA, measures(one), measures(other), strict=True)
    return [name for name, mine, others in pairs if mine < others]


SLOW = [network.Transit(zone="near", days_min=2, days_max=2)]
SAME_DAY = [network.Transit(zone=zone, days_min=1, days_max=1) for zone in small.ZONES]


@pytest.mark.parametrize(
    ("criterion", "ground", "air"),
    [
        ("speed", {"transits": SLOW}, {}),
        ("co2e", {}, {"co2e_grams_per_parcel": 50}),
        ("risk", {"reliability_ppm": 990_000}, {}),
        (
            "cost",
            {"transits": SLOW, "reliability_ppm": 990_000},
            {"co2e_grams_per_parcel": 50},
        ),
    ],
)
async def test_each_criterion_adds_a_plan_to_the_pareto_set(
    empty: Wire, criterion: str, ground: dict[str, Any], air: dict[str, Any]
):
    """From Newark, near: by air it is 1,000 dearer, of more CO2e, as fast and as sure. Then ground
    is made worse or air better in one thing, or air better in all but cost."""
    await small.build(empty)
    for place in ("chicago", "manhattan"):
        await empty.stock("mug", place, 0)
    order = small.order(("mug", 1))
    reply = await small.plan(empty, order, include_pareto_plans=True)
    assert [one.shipments[0].carrier_service for one in reply.pareto_plans] == ["ground"]
    await small.upsert(empty, small.service("ground", **ground))
    await small.upsert(empty, small.service("air", **air))
    reply = await small.plan(empty, order, include_pareto_plans=True)
    first, second = reply.pareto_plans
    assert (first.shipments[0].carrier_service, first.cost_minor_units) == ("ground", 660)
    assert (second.shipments[0].carrier_service, second.cost_minor_units) == ("air", 1660)
    if criterion == "cost":
        assert better_in(first, second) == ["cost"]
    else:
        assert better_in(second, first) == [criterion]


async def test_fewer_splits_add_a_plan_to_the_pareto_set(empty: Wire):
    """The mug in Newark, the rug in Manhattan, both in Chicago at a handling of 1,000; by ground a
    day from anywhere, without CO2e."""
    await small.build(empty)
    chicago = small.node("chicago", parcel_handling_cost=small.money(1000))
    await empty.network.UpsertNode(network.UpsertNodeRequest(node=chicago))
    await empty.stock("rug", "newark", 0)
    await empty.stock("mug", "manhattan", 0)
    await small.upsert(empty, small.service("ground", transits=SAME_DAY, co2e_grams_per_parcel=0))
    order = small.order(("mug", 1), ("rug", 1))
    reply = await small.plan(empty, order, include_pareto_plans=True)
    first, second = reply.pareto_plans
    assert sorted(one.node for one in first.shipments) == ["manhattan", "newark"]
    assert [one.node for one in second.shipments] == ["chicago"]
    assert (first.cost_minor_units, second.cost_minor_units) == (660 + 1020, 2220)
    assert better_in(second, first) == ["splits"]


async def test_a_change_of_the_network_counts_from_the_next_call(built: Wire):
    before = await small.plan(built, small.order(("mug", 1)))
    dearer = small.service("ground")
    for rate in dearer.rates:
        rate.price_minor_units += 1
    await small.upsert(built, dearer)
    after = await small.plan(built, small.order(("mug", 1)))
    assert after.plans[0].cost_minor_units == before.plans[0].cost_minor_units + 1
    assert after.report.network_version > before.report.network_version
    await built.restart()
    again = await small.plan(built, small.order(("mug", 1)))
    assert again.plans == after.plans


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"zip_code": "00000"}, "FIELD_INVALID", "order.destination.postal_code"),
        ({"zip_code": "1000"}, "FIELD_INVALID", "order.destination.postal_code"),
        ({"shipments_max": 9}, "LIMIT_EXCEEDED", "order.shipments_max"),
        ({"late_cost_per_day_minor_units": -1}, "FIELD_INVALID", None),
        ({"days_late_max": 366}, "LIMIT_EXCEEDED", "order.days_late_max"),
        ({"attributes": {"a": "x" * 65}}, "LIMIT_EXCEEDED", "order.attributes"),
        ({"channel": "nope"}, "CHANNEL_NOT_FOUND", None),
        ({"excluded_nodes": ["nope"]}, "NODE_NOT_FOUND", None),
        ({"excluded_carrier_services": ["nope"]}, "CARRIER_SERVICE_NOT_FOUND", None),
        ({"pickup_node": "manhattan"}, "FIELD_INVALID", "order.pickup_node"),
    ],
)
async def test_what_an_order_can_not_mean_is_refused(
    built: Wire, change: dict[str, Any], reason: str, field: str | None
):
    error = await refused(small.plan(built, small.order(("mug", 1), **change)))
    assert error.reason == reason
    if field is not None:
        assert list(error.fields) == [field]


async def test_bad_lines_and_budgets_are_named(built: Wire):
    for order, reason, field in (
        (small.order(), "FIELD_REQUIRED", "order.lines"),
        (small.order(("mug", 0)), "FIELD_INVALID", "order.lines[0].quantity"),
        (small.order(("mug", -1)), "FIELD_INVALID", "order.lines[0].quantity"),
        (small.order(("mug", 1), ("mug", 1)), "FIELD_INVALID", "order.lines[1].sku"),
        (small.order(("mug", 1_000_001)), "LIMIT_EXCEEDED", "order.lines[0].quantity"),
        (
            small.order(*[(f"s{number}", 1) for number in range(63)]),
            "LIMIT_EXCEEDED",
            "order.lines",
        ),
    ):
        error = await refused(small.plan(built, order))
        assert (error.reason, next(iter(error.fields))) == (reason, field)
    unknown = await refused(small.plan(built, small.order(("nope", 1))))
    assert (unknown.reason, unknown.metadata["field"]) == (
        "SKU_NOT_FOUND",
        "order.lines[0].sku",
    )
    for fields, field in (
        ({"work_budget": -1}, "work_budget"),
        ({"work_budget": 1_000_001}, "work_budget"),
        ({"max_plans": 17}, "max_plans"),
        ({"strategy": 9}, "strategy"),
    ):
        error = await refused(small.plan(built, small.order(("mug", 1)), **fields))
        assert list(error.fields) == [field]
    nowhere = routing.RoutingOrder(lines=[routing.RoutingLine(sku="mug", quantity=1)])
    error = await refused(small.plan(built, nowhere))
    assert (error.reason, list(error.fields)) == ("FIELD_REQUIRED", ["order.destination"])
    not_a_number = small.order(("mug", 1))
    not_a_number.destination.latitude = float("nan")
    not_a_number.destination.longitude = 3.0
    error = await refused(small.plan(built, not_a_number))
    assert list(error.fields) == ["order.destination.latitude"]


async def test_a_smallest_budget_still_finds_a_plan_and_says_what_it_knows(built: Wire):
    reply = await small.plan(built, small.order(("mug", 7), ("rug", 7)), work_budget=1)
    assert len(reply.plans) == 1
    bound = reply.report.bound_minor_units
    assert 0 <= bound <= reply.plans[0].cost_minor_units
    assert reply.report.proven_optimal == (bound == reply.plans[0].cost_minor_units)


async def test_no_plan_names_the_constraint_and_the_line(built: Wire):
    larger = await refused(small.plan(built, small.order(("rug", 1), ("mug", 16))))
    assert larger.metadata["constraint"] == "STOCK"
    assert (larger.metadata["line"], larger.metadata["sku"]) == ("order.lines[1]", "mug")
    whole = await refused(small.plan(built, small.order(("mug", 6), ship_complete=True)))
    assert whole.metadata["constraint"] == "SHIP_COMPLETE"
    few = await refused(small.plan(built, small.order(("mug", 11), shipments_max=2)))
    assert few.metadata["constraint"] == "SHIPMENTS_MAX"
    await built.items("mug", weight_grams=10_001)
    heavy = await refused(small.plan(built, small.order(("mug", 1))))
    assert heavy.metadata["constraint"] == "TOO_HEAVY"


async def test_an_order_larger_than_any_node_is_split_or_refused_by_name(built: Wire):
    """Three nodes that pick three units a day each, on three days at most."""
    for place in small.NODES:
        await built.network.UpsertNode(
            network.UpsertNodeRequest(node=small.node(place, pick_capacity_per_day=3))
        )
    whole = await small.plan(built, small.order(("mug", 9)))
    assert sorted(one.lines[0].quantity for one in whole.plans[0].shipments) == [3, 3, 3]
    error = await refused(small.plan(built, small.order(("mug", 10))))
    assert (error.reason, error.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "PICK_CAPACITY")


async def test_a_budget_of_zero_is_the_usual_one(built: Wire):
    order = small.order(("mug", 7), ("rug", 7))
    usual = await small.plan(built, order)
    zero = await small.plan(built, order, work_budget=0)
    assert zero.plans == usual.plans
    assert zero.report.proven_optimal


async def test_lanes_without_rates_lead_nowhere(built: Wire):
    for name in small.RATES:
        made = small.service(name, rates=[])
        await small.upsert(built, made)
    error = await refused(small.plan(built, small.order(("mug", 1))))
    assert error.metadata["constraint"] == "NO_LANE"


NEVER = network.Calendar(
    working_days=[network.WEEKDAY_MONDAY],
    holidays=[(date(2023, 11, 13) + timedelta(days=7 * week)).isoformat() for week in range(130)],
)


async def test_nodes_that_never_work_can_pick_nothing(built: Wire):
    """One that works is enough; without it the answer says that there may be no working day."""
    for place in ("newark", "manhattan", "chicago"):
        reply = await small.plan(built, small.order(("mug", 1)))
        assert [one.node for one in reply.plans[0].shipments] == [place]
        node = small.node(place, calendar=NEVER)
        await built.network.UpsertNode(network.UpsertNodeRequest(node=node))
    error = await refused(small.plan(built, small.order(("mug", 1))))
    assert (error.reason, error.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "PICK_CAPACITY")
    assert error.metadata["available"] == "0"
    assert "no working day" in error.message


async def test_carriers_that_never_work_have_no_lane(built: Wire):
    """One that works is enough; without it the answer says that there may be no working day."""
    for name in ("ground", "air"):
        reply = await small.plan(built, small.order(("mug", 1)))
        assert reply.plans[0].shipments[0].carrier_service == name
        made = small.service(name)
        made.calendar.CopyFrom(NEVER)
        await small.upsert(built, made)
    error = await refused(small.plan(built, small.order(("mug", 1))))
    assert (error.reason, error.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "NO_LANE")
    assert "no working day" in error.message


async def test_an_empty_network_ships_nothing(empty: Wire):
    await empty.items("mug")
    error = await refused(small.plan(empty, small.order(("mug", 1))))
    assert (error.reason, error.metadata["constraint"]) == ("NO_FEASIBLE_PLAN", "NETWORK")
    await empty.nodes("alone")
    await empty.stock("mug", "alone", 1)
    error = await refused(small.plan(empty, small.order(("mug", 1))))
    assert error.metadata["constraint"] == "NO_LANE"


async def test_negative_weights_and_too_many_zones_are_refused(built: Wire):
    item = network.UpsertItemRequest(item=network.Item(sku="mug", weight_grams=-1))
    error = await refused(built.network.UpsertItem(item))
    assert list(error.fields) == ["item.weight_grams"]
    rates = [
        network.Rate(zone=f"z{number}", weight_grams_max=1000, price_minor_units=1)
        for number in range(65)
    ]
    error = await refused(small.upsert(built, small.service("ground", rates=rates)))
    assert (error.reason, list(error.fields)) == ("LIMIT_EXCEEDED", ["carrier_service.rates"])
    assert error.metadata["limit"] == "zones_max"
