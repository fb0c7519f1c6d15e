"""The data are TPC-DS, loaded from the package, the same every time."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.demo.dataset import DAY_S, NEVER, read_season, read_stock
from holdfast.feeds.kinds import FeedKind
from holdfast.feeds.loading import prepare

pytest.importorskip("duckdb_extension_tpcds")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tpcds")
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "holdfast.demo.generate"),
            *("--scale", "0.01", "--orders", "200", "--directory", str(made)),
        ],
        env={"HOME": str(home), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(home.iterdir()) == []  # the extension comes from its package, not from a download
    return made


def test_the_season_is_the_latest_orders_in_their_order(directory: Path):
    season = read_season(directory)
    assert len(season.orders) == 200
    assert season.orders_total > 2_000
    arrivals = [order.arrival_s for order in season.orders]
    assert arrivals == sorted(arrivals)
    assert arrivals[0] >= 0
    assert len({order.order_id for order in season.orders}) == 200
    assert {order.order_id[0] for order in season.orders} == {"C", "W"}


def test_orders_say_where_to_and_by_which_ship_mode(directory: Path):
    orders = read_season(directory).orders
    network = json.loads((directory / "network.yaml").read_text())
    services = {each["carrier_service"] for each in network["carrier_services"]}
    assert len(services) == 20  # of TPC-DS' ship modes
    assert {order.ship_mode for order in orders} <= services
    assert len({order.ship_mode for order in orders}) > 10
    told = [order.postal_code for order in orders if order.postal_code]
    assert len(told) > 150
    assert all(len(code) == 5 and code.isdigit() for code in told)
    assert len(set(told)) > 50


def test_lines_can_be_reserved_as_they_are(directory: Path):
    season = read_season(directory)
    stock = read_stock(directory)
    lines = [line for order in season.orders for line in order.lines]
    assert season.line_count == len(lines)
    assert 8 < len(lines) / len(season.orders) < 13
    assert all(1 <= line.quantity <= 100 for line in lines)
    assert all(0 <= line.return_quantity <= line.quantity for line in lines)
    assert any(line.return_s != NEVER for line in lines)
    assert all(line.ship_s == NEVER or line.ship_s >= DAY_S for line in lines)
    assert all((line.sku, line.node) in stock for line in lines)
    for order in season.orders:
        assert len({(line.sku, line.node) for line in order.lines}) == len(order.lines)


def test_the_files_are_what_load_takes(directory: Path):
    for name, kind in [
        ("nodes.csv", FeedKind.NODES),
        ("items.csv", FeedKind.ITEMS),
        ("network.yaml", FeedKind.NETWORK),
        ("stock.csv", FeedKind.STOCK),
    ]:
        assert prepare(directory / name).kind is kind
    with (directory / "nodes.csv").open() as file:
        nodes = list(csv.DictReader(file))
    assert {node["type"] for node in nodes} == {"WAREHOUSE", "STORE"}
    assert all(len(node["postal_code"]) == 5 for node in nodes)


def test_without_the_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from holdfast.demo import generate

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(
        sys, "argv", ["generate", "--scale", "1", "--orders", "1", "--directory", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as caught:
        generate.main()
    assert caught.value.code == 2
    assert "pip install 'holdfast[demo]'" in capsys.readouterr().err
