"""`holdfast route`, the client's routing methods and the example, against the real server."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import holdfast
from holdfast import aio
from holdfast.cli.app import app
from holdfast.values import network, routing
from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

EXAMPLES = Path(__file__).parents[2] / "examples"
WEEK = network.Calendar(tuple(network.Weekday)[1:])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("ledger")) as running:
        with holdfast.Client(running.target, timeout=20) as client:
            _build(client)
        yield running


def _build(client: holdfast.Client) -> None:
    """Two nodes, one near the customer, one near service that is priced by weight."""
    for name, zip_code in (("near", "07102"), ("far", "94105")):
        client.nodes.upsert(
            network.Node(
                name,
                place=network.Place("US", zip_code, time_zone="UTC"),
                calendar=WEEK,
                pickup=name == "near",
            )
        )
    client.carriers.upsert(network.Carrier("post"))
    client.carrier_services.upsert(
        network.CarrierService(
            "ground",
            "post",
            "USD",
            lanes=(network.Lane("near", distance_km_max=500), network.Lane("far")),
            rates=(network.Rate("near", 5000, 700), network.Rate("far", 5000, 1500)),
            transits=(network.Transit("near", 1, 2), network.Transit("far", 4, 6)),
            pickups=(network.Pickup("near", 600), network.Pickup("far", 600)),
            calendar=WEEK,
            co2e_grams_per_parcel=300,
        )
    )
    client.items.upsert(network.Item("SKU-1", weight_grams=1000))
    for node in ("near", "far"):
        client.count([holdfast.Count("SKU-1", node, 100)])


@pytest.fixture
def client(server: RunningServer) -> Iterator[holdfast.Client]:
    with holdfast.Client(server.target, timeout=20) as client:
        yield client


def run(server: RunningServer, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["route", *arguments], env={"HOLDFAST_TARGET": server.target})


def order(quantity: int = 1) -> holdfast.RoutingOrder:
    return holdfast.RoutingOrder(
        (holdfast.RoutingLine("SKU-1", quantity),), holdfast.Place("US", "10001")
    )


def test_a_plan_is_printed_for_people_and_as_json(server: RunningServer):
    shown = run(server, "SKU-1=2", "--to", "10001")
    assert shown.exit_code == 0, shown.output
    for word in ("near", "ground", "2 x SKU-1", "7.00 USD", "proven: no plan is cheaper"):
        assert word in shown.stdout
    told = json.loads(run(server, "SKU-1=2", "--to", "US:10001", "--json").stdout)
    assert told["plans"][0]["cost_minor_units"] == 700
    assert told["report"]["proven_optimal"] is True
    ranked = json.loads(run(server, "SKU-1", "--to", "10001", "--plans", "3", "--json").stdout)
    assert [plan["cost_minor_units"] for plan in ranked["plans"]] == [700, 1500]


def test_explain_says_why_not_from_elsewhere(server: RunningServer):
    shown = run(server, "SKU-1", "--to", "10001", "--explain")
    assert shown.exit_code == 0, shown.output
    for word in ("chosen", "DOMINATED", "15.00 USD", "8.00 USD", "the same plan again"):
        assert word in shown.stdout
    told = json.loads(run(server, "SKU-1", "--to", "10001", "--explain", "--json").stdout)
    assert [node["forced_cost_minor_units"] for node in told["nodes"]] == [700, 1500]


def test_a_promise_is_held_and_explained_by_its_name(server: RunningServer):
    held = run(server, "SKU-1", "--to", "10001", "--promise", "--id", "order-7", "--owner", "ann")
    assert held.exit_code == 0, held.output
    assert "held as order-7" in held.stdout
    shown = run(server, "--reservation", "order-7")
    assert shown.exit_code == 0, shown.output
    assert "the same plan again" in shown.stdout


def test_a_customer_may_collect(server: RunningServer):
    told = json.loads(run(server, "SKU-1", "--pickup", "any", "--json").stdout)
    shipment = told["plans"][0]["shipments"][0]
    assert (shipment["node"], shipment["fulfillment_type"]) == ("near", "PICKUP")
    assert told["plans"][0]["cost_minor_units"] == 0


def test_refusals_are_one_line(server: RunningServer):
    for arguments, code, words in (
        (("SKU-1=1000", "--to", "10001"), 3, "STOCK: 1000 asked for"),
        (("SKU-1", "--to", "00000"), 2, "is no postal code that is known"),
        (("SKU-9", "--to", "10001"), 3, "no such sku: 'SKU-9'"),
        (("SKU-1=x", "--to", "10001"), 2, "must be a whole number"),
        (("SKU-1", "--at", "north"), 2, "write LATITUDE,LONGITUDE"),
    ):
        result = run(server, *arguments)
        assert words in result.stderr, (arguments, result.stderr)
        assert result.exit_code == code, (arguments, result.stderr)
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_the_client_promises_and_moves(client: holdfast.Client):
    made = client.promise_order(order(), request_id="p-1")
    assert made.plan.shipments[0].node == "near"
    assert made.reservation.is_open
    assert client.promise_order(order(), request_id="p-1") == made
    moved = client.replan_order(made.reservation.reservation_id, excluded_nodes=["near"])
    assert moved.plan.shipments[0].node == "far"
    explained = client.explain_plan(made.reservation.reservation_id)
    assert explained.replayed
    assert explained.plan == moved.plan
    with pytest.raises(holdfast.errors.NoFeasiblePlan) as refusal:
        client.promise_order(order(1000))
    assert refusal.value.metadata["constraint"] == "STOCK"
    with pytest.raises(ValueError, match="and not both"):
        client.explain_plan()


async def test_the_asyncio_client_has_the_same(server: RunningServer):
    async with aio.Client(server.target, timeout=20) as client:
        found = await client.plan_fulfillment(order(), include_pareto_plans=True)
        assert found.plans[0].cost_minor_units == 700
        assert found.pareto_plans[0] == found.plans[0]
        assert found.report.status is routing.PlanStatus.OPTIMAL


def test_the_example_offers_and_promises(client: holdfast.Client):
    names = runpy.run_path(str(EXAMPLES / "promise.py"))
    assert names["offer"](client, order())[0].startswith("7.00 USD, 1 parcel(s) by ")
    assert "ships from near" in names["promise"](client, order())
    assert "can not deliver" in names["promise"](client, order(1000))
