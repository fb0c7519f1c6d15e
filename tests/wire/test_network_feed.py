"""`holdfast load` of a network file against the real server: the example, and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import holdfast
from holdfast.cli.app import app
from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

EXAMPLE = Path(__file__).parents[2] / "examples" / "network"
ROWS_REFUSED = 6
USAGE = 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path / "ledger") as running:
        yield running


def run(server: RunningServer, *arguments: str | Path) -> Result:
    environment = {"HOLDFAST_TARGET": server.target}
    return CliRunner().invoke(app, [str(one) for one in arguments], env=environment)


def test_the_example_is_loaded_with_one_command_and_routes_an_order(server: RunningServer):
    files = [*EXAMPLE.glob("*.csv"), *EXAMPLE.glob("*.yaml")]
    loaded = run(server, "load", *files)
    assert loaded.exit_code == 0, loaded.output
    assert "11 rows of network applied" in loaded.output
    assert "refused" not in loaded.output
    routed = run(server, "route", "KETTLE=2", "RUG", "--to", "10001", "--json")
    assert routed.exit_code == 0, routed.output
    (plan,) = json.loads(routed.stdout)["plans"]
    (shipment,) = plan["shipments"]
    assert (shipment["node"], shipment["carrier_service"]) == ("newark", "parcelway-ground")
    with holdfast.Client(server.target, timeout=20.0) as client:
        service = client.carrier_services.get("swift-air")
        assert {one.zone for one in service.rates} == {"middle", "far"}
        assert [one.node for one in service.pickups] == ["newark", "reno"]
        assert client.channels.get("web").delivery_time_max.days == 10
        assert client.nodes.get("newark").place.postal_code == "07102"
        # Once more: the same resources, changed by nothing.
        etag = service.etag
        assert run(server, "load", *files).exit_code == 0
        assert client.carrier_services.get("swift-air").etag == etag


def problems(server: RunningServer, path: Path, *more: Path) -> list[tuple[str, int, str, str]]:
    """(file, row, field, message) of each refused row."""
    found = run(server, "load", *more, path, "--json")
    assert found.exit_code == ROWS_REFUSED, found.output
    return [
        (Path(one["file"]).name, one["row"], one["field"], one["message"])
        for one in json.loads(found.stdout)["problems"]
    ]


BAD = """\
carriers:
  - {carrier: post}
  - {carrier: post}
  - {display_name: nameless}
carrier_services:
  - carrier_service: good
    carrier: post
    currency_code: USD
    rates: rates.csv
  - carrier_service: negative
    carrier: post
    currency_code: USD
    rates: rates.csv
  - carrier_service: nan
    carrier: post
    currency_code: USD
    rates: rates.csv
  - carrier_service: stranger
    carrier: nobody
    currency_code: USD
  - carrier_service: mistyped
    carrier: post
    currency_code: USD
    rate: rates.csv
channels:
  - {channel: slow, delivery_time_max: soon}
  - {channel: web}
routing_rules:
  - {routing_rules: broken, file: rules.yaml}
"""
RATES = """\
carrier_service,zone,weight_grams_max,price_minor_units
good,near,1000,500
good,near,2000,600
negative,near,1000,500
negative,near,2000,-600
nan,near,NaN,500
"""


def test_good_entries_land_and_bad_ones_are_named_by_file_row_and_field(
    server: RunningServer, tmp_path: Path
):
    (tmp_path / "network.yaml").write_text(BAD)
    (tmp_path / "rates.csv").write_text(RATES)
    (tmp_path / "rules.yaml").write_text(
        "rules:\n- name: a\n  exclude: {nodes: 'node.nothing ='}\n"
    )
    found = problems(server, tmp_path / "network.yaml")
    at = {(file, row, field): message for file, row, field, message in found}
    assert at.pop(("network.yaml", 3, "carrier")) == "post stands in line 2 already"
    assert at.pop(("network.yaml", 4, "carrier")) == "is missing"
    assert "is below 0" in at.pop(("rates.csv", 5, "price_minor_units"))
    assert "'NaN' is not a whole number" in at.pop(("rates.csv", 6, "weight_grams_max"))
    assert "nobody" in at.pop(("network.yaml", 18, ""))
    assert "did you mean 'rates'?" in at.pop(("network.yaml", 24, "rate"))
    assert "36h" in at.pop(("network.yaml", 26, "delivery_time_max"))
    ((where, message),) = at.items()
    assert where[0] == "rules.yaml"
    assert "line 3" in message
    with holdfast.Client(server.target, timeout=20.0) as client:
        assert [one.carrier_service for one in client.carrier_services.list()] == ["good"]
        assert len(client.carrier_services.get("good").rates) == 2
        assert [one.channel for one in client.channels.list()] == ["web"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("carriers: [\n", "line 2"),
        ("carriers: 3\n", "line 1: carriers must be a list"),
        ("nodes: []\ncarrier: []\n", "line 2: 'carrier' is not known (did you mean 'carriers'?)"),
        ("- a\n", "a network file has"),
        ("carriers: []\n", "names nothing"),
        (
            "carrier_services:\n- {carrier_service: a, carrier: b, currency_code: USD, "
            "rates: odd.csv}\n",
            "column 'weight' is not known",
        ),
        (
            "carrier_services:\n- {carrier_service: a, carrier: b, currency_code: USD, "
            "rates: none.csv}\n",
            "none.csv",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_whole(
    server: RunningServer, tmp_path: Path, text: str, message: str
):
    (tmp_path / "odd.csv").write_text("zone,weight\nnear,3\n")
    (tmp_path / "network.yaml").write_text(text)
    found = run(server, "load", tmp_path / "network.yaml")
    assert found.exit_code == USAGE, found.output
    assert message in found.output.replace("\n", " ")
