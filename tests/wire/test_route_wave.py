"""`holdfast route FILE` and the clients' plan_orders, against the real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import holdfast
from holdfast import aio, errors
from holdfast.cli.app import app
from holdfast.values import network, routing
from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

WEEK = network.Calendar(tuple(network.Weekday)[1:])
WORK_S = 0.2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """Ten mugs near New York, ten in San Francisco; one parcel costs 7.00 near and 15.00 far."""
    with RunningServer(tmp_path / "ledger") as running:
        with holdfast.Client(running.target, timeout=20) as client:
            for name, zip_code in (("near", "07102"), ("far", "94105")):
                client.nodes.upsert(
                    network.Node(
                        name,
                        place=network.Place("US", zip_code, time_zone="UTC"),
                        calendar=WEEK,
                    )
                )
            client.carriers.upsert(network.Carrier("post"))
            for service, dearer in (("ground", 0), ("air", 900)):
                client.carrier_services.upsert(
                    network.CarrierService(
                        service,
                        "post",
                        "USD",
                        lanes=(network.Lane("near", distance_km_max=500), network.Lane("far")),
                        rates=(
                            network.Rate("near", 5000, 700 + dearer),
                            network.Rate("far", 5000, 1500 + dearer),
                        ),
                        transits=(network.Transit("near", 1, 2), network.Transit("far", 4, 6)),
                        pickups=(network.Pickup("near", 600), network.Pickup("far", 600)),
                        calendar=WEEK,
                    )
                )
            client.items.upsert(network.Item("mug", weight_grams=1000))
            for node in ("near", "far"):
                client.count([holdfast.Count("mug", node, 10)])
        yield running


def run(server: RunningServer, *arguments: str) -> Any:
    options = ("--work", str(WORK_S), "--budget", "60")
    return CliRunner().invoke(
        app, ["route", *arguments, *options], env={"HOLDFAST_TARGET": server.target}
    )


def orders_file(folder: Path, *rows: str) -> str:
    path = folder / "orders.csv"
    path.write_text("\n".join(("order,sku,quantity,postal_code", *rows, "")))
    return str(path)


def order(name: str, quantity: int = 1, zip_code: str = "10001") -> holdfast.RoutingOrder:
    return holdfast.RoutingOrder(
        (holdfast.RoutingLine("mug", quantity),),
        holdfast.Place("US", zip_code),
        reservation_id=name,
    )


class _Page(HTMLParser):
    """What a page shows, and whether it loads anything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.text: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.loads += [name for name, _ in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_file_of_orders_is_planned_shown_held_and_drawn(server: RunningServer, tmp_path: Path):
    file = orders_file(tmp_path, "a,mug,2,10001", "b,mug,1,94105", "c,mug,1,60601")
    page = tmp_path / "wave.html"
    shown = run(server, file, "--hold", "--request-id", "w1", "--plot", str(page))
    assert shown.exit_code == 0, shown.output
    for words in (
        "near (2 x mug)",
        "3 of 3 orders in 3 shipments for 29.00 USD",
        "proven: no plan of the wave is cheaper",
        "3 held in",
        "repeatable under --request-id w1",
        f"drawn in {page}",
    ):
        assert words in shown.stdout, shown.stdout
    drawn = _Page(page.read_text())
    assert drawn.tags["svg"] == 4
    assert drawn.loads == []
    text = " ".join(drawn.text)
    for words in ("A wave of 3 orders", "29.00 USD", "ground", "near", "far", "parcels"):
        assert words in text
    again = json.loads(run(server, file, "--hold", "--request-id", "w1", "--json").stdout)
    assert [one["held"] for one in again["results"]] == [True] * 3
    assert again["summary"]["cost_minor_units"] == 2900
    with holdfast.Client(server.target, timeout=20) as client:
        assert client.position("mug", "near").held == 2 + 1 * (
            again["results"][2]["plan"]["shipments"][0]["node"] == "near"
        )


def test_what_is_wrong_is_told_by_row_and_the_rest_is_planned(
    server: RunningServer, tmp_path: Path
):
    file = orders_file(
        tmp_path, "a,mug,x,10001", "b,mug,1,10001", "c,mug,99,10001", "d,saucer,1,10001"
    )
    told = run(server, file)
    assert told.exit_code == 6
    assert "1 of 3 orders" in told.stdout
    lines = told.stderr.strip().splitlines()
    assert len(lines) == 3
    assert "orders.csv: row 2, quantity: 'x' is not a whole number" in lines[0]
    assert "orders.csv: row 4, order c:" in lines[1]
    assert "STOCK: 99 asked for, 20 there" in lines[1]
    assert "orders.csv: row 5, order d:" in lines[2]
    assert "no such sku: 'saucer'" in lines[2]
    as_json = json.loads(run(server, file, "--json").stdout)
    assert [one["reason"] for one in as_json["problems"]] == [
        "FIELD_INVALID",
        "NO_FEASIBLE_PLAN",
        "SKU_NOT_FOUND",
    ]
    assert as_json["results"][1]["error"]["metadata"]["constraint"] == "STOCK"


def test_wrong_usage_is_one_line(server: RunningServer, tmp_path: Path):
    file = orders_file(tmp_path, "a,mug,1,10001")
    for arguments, words in (
        ((file, "--plot", "wave.gif"), "name it .html"),
        (("mug", "--plot", "wave.html"), "give a file of orders"),
        (("mug", "--replan-node", "near"), "without SKUs"),
        ((str(tmp_path / "none.csv"),), "No such file"),
    ):
        result = run(server, *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_promised_orders_leave_a_node_or_a_carrier(server: RunningServer):
    with holdfast.Client(server.target, timeout=20) as client:
        for name in ("a", "b"):
            client.promise_order(order(name))
        client.freeze_node("near")
        proposed = run(server, "--replan-node", "near")
        assert "2 promised orders could move, saving -16.00 USD" in proposed.stdout, proposed.output
        assert client.position("mug", "near").held == 2
        moved = run(server, "--replan-node", "near", "--hold")
        assert "2 promised orders moved" in moved.stdout
        assert client.position("mug", "far").held == 2
        assert client.position("mug", "near").held == 0
        client.unfreeze_node("near")
        back = client.plan_orders(
            reservation_ids=["a", "b"], hold=True, work=WORK_S, budget=60, seed=3
        )
        # They had been told to leave for good.
        assert [one.kept for one in back.results] == [True, True]
        down = client.plan_orders(
            replan_carrier_services=["ground"], hold=True, work=WORK_S, budget=60
        )
        assert down.summary.orders_moved == 2
        assert {one.plan.shipments[0].carrier_service for one in down.results} == {"air"}


async def test_both_clients_plan_the_same(server: RunningServer):
    heard: list[routing.WaveProgress] = []
    orders = [order(f"o{at}", zip_code=("10001", "94105")[at % 2]) for at in range(12)]
    asked: dict[str, Any] = {"work": WORK_S, "budget": 60, "seed": 5}
    with holdfast.Client(server.target, timeout=20) as client:
        mine = client.plan_orders(orders, **asked, progress=heard.append)
    async with aio.Client(server.target, timeout=20) as awaiting:
        theirs = await awaiting.plan_orders(orders, **asked)
        assert [one.plan for one in mine.results] == [one.plan for one in theirs.results]
        assert heard
        assert heard[-1].orders == 12
        assert mine.summary.deterministic
        assert mine.request_id == ""
        held = await awaiting.plan_orders(orders, **asked, hold=True)
        assert held.summary.orders_held == 12
        assert held.request_id
        none = await awaiting.plan_orders([order("x", 50)], **asked)
        assert isinstance(none.results[0].error, errors.NoFeasiblePlan)
        with pytest.raises(errors.NodeNotFound):
            await awaiting.plan_orders(replan_nodes=["nowhere"])
        with pytest.raises(ValueError, match="budget must be above 0 seconds"):
            await awaiting.plan_orders(orders, budget=0)
