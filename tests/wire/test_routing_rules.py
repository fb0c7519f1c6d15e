"""Routing rules on the wire: what each does to a plan, and what is refused with line and reason."""

from __future__ import annotations

import pytest

from holdfast.v1 import network_service_pb2 as network
from tests.wire import routing_network as small
from tests.wire.conftest import Wire, refused

pytestmark = pytest.mark.wire


async def nodes_of(wire: Wire, *lines: tuple[str, int], **fields: object) -> list[str]:
    reply = await small.plan(wire, small.order(*lines, **fields))
    return [one.node for one in reply.plans[0].shipments]


async def test_exclude_takes_nodes_and_services_away(empty: Wire):
    await small.build(empty)
    await small.rules(
        empty,
        """
        rules:
          - name: hazmat-not-from-newark
            when: '"hazmat" in order.flags'
            exclude: {nodes: 'node.postal_code.startsWith("071")'}
            reason: the fire brigade says so
        """,
    )
    assert await nodes_of(empty, ("mug", 1)) == ["newark"]
    await empty.items("mug", weight_grams=900, flags=["hazmat"])
    reply = await small.plan(empty, small.order(("mug", 1)))
    assert [one.node for one in reply.plans[0].shipments] == ["manhattan"]
    outcome = reply.rule_outcomes[0]
    assert (outcome.rule, outcome.action) == ("hazmat-not-from-newark", "exclude")
    assert outcome.reason == "the fire brigade says so"


async def test_prefer_is_worth_what_it_says(empty: Wire):
    """Manhattan costs 600 + 220 for a mug, Newark 600 + 60: a preference must be worth 160."""
    await small.build(empty)
    for worth, node in ((159, "newark"), (161, "manhattan")):
        await small.rules(
            empty,
            f"""
            rules:
              - name: stores-first
                prefer: {{nodes: 'node.type == "STORE"', worth: {worth}}}
            """,
        )
        assert await nodes_of(empty, ("mug", 1)) == [node]


@pytest.mark.parametrize(
    ("services", "service", "cost"),
    [
        ('service.name == "ground"', "air", 1600 + 60),
        ('service.carrier == "post"', "air", 1600 + 60),
        ('service.carrier == "sky"', "ground", 600 + 60),
    ],
)
async def test_exclude_takes_services_away(empty: Wire, services: str, service: str, cost: int):
    """Ground is of the carrier post, air of another one."""
    await small.build(empty)
    await empty.network.UpsertCarrier(
        network.UpsertCarrierRequest(carrier=network.Carrier(carrier="sky"))
    )
    await small.upsert(empty, small.service("air", carrier="sky"))
    await small.rules(empty, f"rules: [{{name: not-by, exclude: {{services: '{services}'}}}}]")
    best = (await small.plan(empty, small.order(("mug", 1)))).plans[0]
    assert (best.shipments[0].carrier_service, best.cost_minor_units) == (service, cost)


@pytest.mark.parametrize("nodes", ['"coast" in node.groups', '"damp" in node.flags'])
async def test_nodes_are_told_by_their_groups_and_flags(empty: Wire, nodes: str):
    """Newark is of the group, and damp: what is cheapest there comes from the store."""
    await small.build(empty)
    await small.rules(empty, f"rules: [{{name: not-from, exclude: {{nodes: '{nodes}'}}}}]")
    assert await nodes_of(empty, ("mug", 1)) == ["newark"]
    coast = network.NodeGroup(node_group="coast", nodes=["newark"])
    await empty.network.UpsertNodeGroup(network.UpsertNodeGroupRequest(node_group=coast))
    damp = small.node("newark")
    damp.flags.append("damp")
    await empty.network.UpsertNode(network.UpsertNodeRequest(node=damp))
    assert await nodes_of(empty, ("mug", 1)) == ["manhattan"]


async def test_a_preferred_service_is_worth_what_it_says(empty: Wire):
    """A mug by air is 1,000 dearer than by ground."""
    await small.build(empty)
    for worth, service, cost in ((999, "ground", 660 + 999), (1001, "air", 1660)):
        await small.rules(
            empty,
            f"""
            rules:
              - name: fast-first
                prefer: {{services: 'service.name == "air"', worth: {worth}}}
            """,
        )
        best = (await small.plan(empty, small.order(("mug", 1)))).plans[0]
        assert (best.shipments[0].carrier_service, best.cost_minor_units) == (service, cost)


async def build_dear_whole(wire: Wire) -> None:
    """Mugs in Newark, rugs in Manhattan, both in Chicago, where a shipment's handling is 1,000.

    A mug and a rug are 600 + 60 and 800 + 220 in two shipments, 1,200 + 1,020 in one.
    """
    await small.build(wire)
    chicago = small.node("chicago", parcel_handling_cost=small.money(1000))
    await wire.network.UpsertNode(network.UpsertNodeRequest(node=chicago))
    await wire.stock("rug", "newark", 0)
    await wire.stock("mug", "manhattan", 0)


SPLIT, WHOLE = (["manhattan", "newark"], 660 + 1020), (["chicago"], 2220)


async def of_mug_and_rug(wire: Wire, *groups: str) -> tuple[list[str], int]:
    """Nodes and cost. `groups`: which the mug and the rug are kept together in."""
    order = small.order(("mug", 1), ("rug", 1))
    for line, group in zip(order.lines, groups, strict=False):
        line.keep_together_group = group
    best = (await small.plan(wire, order)).plans[0]
    return sorted(one.node for one in best.shipments), best.cost_minor_units


async def test_a_group_of_the_order_ships_whole_also_where_that_is_dearer(empty: Wire):
    await build_dear_whole(empty)
    assert await of_mug_and_rug(empty) == SPLIT
    assert await of_mug_and_rug(empty, "one", "other") == SPLIT
    assert await of_mug_and_rug(empty, "set", "set") == WHOLE


async def test_all_lines_are_kept_together(empty: Wire):
    await build_dear_whole(empty)
    assert await of_mug_and_rug(empty) == SPLIT
    await small.rules(empty, "rules: [{name: together, keep_together: true}]")
    assert await of_mug_and_rug(empty) == WHOLE


async def test_lines_of_a_flag_are_kept_together(empty: Wire):
    await build_dear_whole(empty)
    await small.rules(empty, "rules: [{name: sets, keep_together: '\"set\" in line.flags'}]")
    await empty.items("mug", weight_grams=900, flags=["set"])
    assert await of_mug_and_rug(empty) == SPLIT  # the rug is not of the set
    await empty.items("rug", weight_grams=2500, flags=["set"])
    assert await of_mug_and_rug(empty) == WHOLE


async def test_a_line_is_kept_whole(empty: Wire):
    """Five mugs lie at three nodes."""
    await small.build(empty)
    await empty.stock("mug", "newark", 1)
    await empty.stock("mug", "chicago", 2)
    await empty.stock("mug", "manhattan", 2)
    assert len(await nodes_of(empty, ("mug", 5))) == 3
    await small.rules(empty, "rules: [{name: together, keep_together: 'line.sku == \"mug\"'}]")
    error = await refused(small.plan(empty, small.order(("mug", 5))))
    assert error.metadata["constraint"] == "KEPT_TOGETHER"


async def test_ship_complete_and_not_split_below_a_value(empty: Wire):
    """A mug is worth 2,000: two orders of five lie at two nodes."""
    await small.build(empty)
    await empty.stock("mug", "newark", 3)
    await empty.stock("mug", "chicago", 3)
    await empty.stock("mug", "manhattan", 0)
    assert len(await nodes_of(empty, ("mug", 5))) == 2
    await small.rules(empty, "rules: [{name: whole, do_not_split_below: 10000}]")
    assert len(await nodes_of(empty, ("mug", 5))) == 2  # worth 10,000: not below
    error = await refused(small.plan(empty, small.order(("mug", 4))))
    assert error.metadata["constraint"] == "SHIP_COMPLETE"
    await small.rules(empty, "rules: [{name: whole, ship_complete: true}]")
    error = await refused(small.plan(empty, small.order(("mug", 5))))
    assert error.metadata["constraint"] == "SHIP_COMPLETE"


async def test_vip_service_and_review(empty: Wire):
    await small.build(empty)
    await small.rules(
        empty,
        """
        rules:
          - name: vip
            when: order.attributes.tier == "vip"
            vip_service: service.name == "air"
          - name: look
            when: order.value >= 4000
            hold_for_review: true
        """,
    )
    plain = await small.plan(empty, small.order(("mug", 1)))
    assert plain.plans[0].shipments[0].carrier_service == "ground"
    assert not plain.hold_for_review
    vip = await small.plan(empty, small.order(("mug", 2), attributes={"tier": "vip"}))
    assert vip.plans[0].shipments[0].carrier_service == "air"
    assert vip.hold_for_review


async def test_the_objective_prices_splits_co2e_and_failures(empty: Wire):
    await small.build(empty)
    await small.upsert(empty, small.service("ground", reliability_ppm=900_000))
    await small.rules(
        empty,
        "objective: {split_cost: 300, co2e_price_per_tonne: 10000, failed_delivery_cost: 5000}",
    )
    await empty.stock("mug", "newark", 1)
    await empty.stock("mug", "manhattan", 1)
    await empty.stock("mug", "chicago", 0)
    reply = await small.plan(empty, small.order(("mug", 2)))
    terms = reply.plans[0].cost_terms
    assert terms.split_minor_units == 300
    assert terms.co2e_minor_units == 2 * 2  # 200 g each at 100.00 a tonne
    assert terms.service_minor_units == 2 * 500  # a tenth of 50.00 each
    assert reply.plans[0].shipments[0].delivery_window.probability_ppm == 900_000
    assert reply.plans[0].delivery_window.probability_ppm == 810_000


@pytest.mark.parametrize(
    ("yaml", "line", "reason"),
    [
        ("rules: [", 1, "is no YAML"),
        ("rules:\n  - name: a\n", 2, "needs one action"),
        ("rules:\n  - ship_complete: true\n", 2, "needs a name"),
        ("rules:\n  - name: a\n    exlude: {}\n", 3, "'exlude' is not known here"),
        ("rules:\n  - name: a\n    when: order.valeu > 3\n    ship_complete: true", 3, "valeu"),
        ("rules:\n  - name: a\n    when: 1 +\n    ship_complete: true\n", 3, "Syntax error"),
        ("rules:\n  - name: a\n    when: node.name == 'x'\n    ship_complete: true", 3, "'node'"),
        ("rules:\n  - name: a\n    when: order.value\n    ship_complete: true\n", 3, "gives int"),
        ("rules:\n  - name: a\n    do_not_split_below: -3\n", 3, "'-3'"),
        ("rules:\n  - name: a\n    do_not_split_below: .nan\n", 3, "'.nan'"),
        ("rules:\n  - name: a\n    prefer: {nodes: node.pickup}\n", 3, "needs worth"),
        (
            "rules:\n  - {name: a, ship_complete: true}\n  - {name: a, ship_complete: true}",
            3,
            "line 2's already",
        ),
        ("objective: {split_cost: 1.5}", 1, "'1.5'"),
        ("objective: {currency: EUR}", 1, "no carrier service has prices"),
        ("rules:\n  - name: a\n    exclude: {nodes: 'true'}", 2, "leaves no nodes"),
        (
            "rules:\n"
            "  - {name: a, vip_service: 'service.name == \"air\"'}\n"
            "  - {name: b, exclude: {services: 'service.name == \"air\"'}}\n",
            3,
            "rule 'b' ('rules' line 3) leaves no services together with rule 'a'",
        ),
        (
            "rules:\n"
            "  - {name: a, prefer: {nodes: node.pickup, worth: 3}}\n"
            "  - {name: b, exclude: {nodes: node.pickup}}\n",
            3,
            "prefers what",
        ),
    ],
)
async def test_a_bad_rule_is_refused_with_line_and_reason(
    built: Wire, yaml: str, line: int, reason: str
):
    error = await refused(small.rules(built, yaml))
    assert error.reason == "FIELD_INVALID"
    assert error.metadata["field"] == "routing_rules.yaml"
    assert error.metadata["value"] == f"line {line}"
    assert f"'rules' line {line}:" in error.message
    assert reason in error.message
    missing = await refused(
        built.network.GetRoutingRules(network.GetRoutingRulesRequest(routing_rules="rules"))
    )
    assert missing.reason == "ROUTING_RULES_NOT_FOUND"


async def test_rules_of_two_sets_must_agree(empty: Wire):
    await small.build(empty)
    await small.rules(empty, "objective: {split_cost: 100}", name="a")
    error = await refused(small.rules(empty, "objective: {split_cost: 200}", name="b"))
    assert "contradicts that of 'a'" in error.message
    await small.rules(empty, "rules: [{name: one, vip_service: 'service.name == \"air\"'}]", "b")
    error = await refused(
        small.rules(empty, "rules: [{name: two, vip_service: 'service.name != \"air\"'}]", "c")
    )
    assert "leaves no services together with rule 'one' ('b' line 1)" in error.message
