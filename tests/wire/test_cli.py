"""The command line against the real server: tables, JSON, exit codes, one-line errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import holdfast
from holdfast.cli.app import app
from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

NODES = "node,type,country_code,postal_code\nWH-1,WAREHOUSE,US,35709\nWH-2,STORE,US,31904\n"
ITEMS = "sku,display_name\nSKU-1,Ball\nSKU-2,Bat\n"
STOCK = "sku,node,on_hand\nSKU-1,WH-1,10\nSKU-2,WH-1,3\nSKU-1,WH-2,4\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("ledger")) as running:
        yield running


class Shell:
    """Runs commands against one server."""

    def __init__(self, target: str) -> None:
        self.environment = {"HOLDFAST_TARGET": target}

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self.environment)

    def json(self, *arguments: str) -> Any:
        """The JSON a command prints; it must succeed."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, code: int, *arguments: str) -> str:
        """The one line of a command that fails with `code`."""
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, result.stderr
        return lines[0]


@pytest.fixture
def shell(server: RunningServer, tmp_path: Path) -> Shell:
    shell = Shell(server.target)
    for name, content in [("nodes", NODES), ("items", ITEMS), ("stock", STOCK)]:
        (tmp_path / f"{name}.csv").write_text(content)
    with holdfast.Client(server.target, timeout=20.0) as client:
        for reservation in client.list():
            if reservation.is_open:
                client.cancel(reservation.reservation_id)
    files = [str(tmp_path / f"{name}.csv") for name in ("stock", "items", "nodes")]
    # The word makes it a count of its own: every test begins with the same stock.
    result = shell.run("load", *files, "--again", tmp_path.name[-16:])
    assert result.exit_code == 0, result.output
    return shell


def test_files_are_loaded_in_the_order_they_need(shell: Shell, tmp_path: Path):
    result = shell.run("load", str(tmp_path / "stock.csv"))
    assert "3 rows of stock applied" in result.stdout
    result = shell.run("load", str(tmp_path / "stock.csv"))
    assert "the server has this file already" in result.stdout


def test_a_hold_goes_through_its_life(shell: Shell):
    held = shell.json("reserve", "SKU-1@WH-1=2", "SKU-2@WH-1", "--owner", "me", "--ttl", "60")
    name = held["reservation_id"]
    assert (held["state"], held["owner"]) == ("HELD", "me")
    assert [line["quantity"] for line in held["lines"]] == [2, 1]
    assert shell.json("confirm", name)["state"] == "CONFIRMED"
    assert shell.json("fulfill", name, "--line", "0=1")["lines"][0]["fulfilled_quantity"] == 1
    assert shell.json("cancel", name, "--line", "0=1")["lines"][0]["cancelled_quantity"] == 1
    assert shell.json("fulfill", name)["state"] == "FULFILLED"
    assert shell.json("show", name)["state"] == "FULFILLED"
    listed = shell.json("list", "--owner", "me", "--state", "fulfilled")["reservations"]
    assert name in [each["reservation_id"] for each in listed]


def test_people_get_tables(shell: Shell):
    held = shell.run("reserve", "SKU-1@WH-1=2", "--owner", "me")
    assert held.exit_code == 0
    assert "HELD for me, expires" in held.stdout
    assert "WH-1: 2" in held.stdout
    table = shell.run("availability", "SKU-1").stdout
    assert "to promise" in table
    assert [line.split()[:3] for line in table.splitlines() if "SKU-1" in line] == [
        ["SKU-1", "WH-1", "8"],
        ["SKU-1", "WH-2", "4"],
    ]
    assert "SKU-1" not in shell.run("list", "--owner", "nobody").stdout


def test_a_group_is_written_with_its_name(shell: Shell, server: RunningServer):
    with holdfast.Client(server.target) as client:
        client.node_groups.upsert(holdfast.NodeGroup("ALL", ("WH-1", "WH-2")))
    held = shell.json("reserve", "SKU-1@group:ALL=12")
    assert {take["node"]: take["quantity"] for take in held["lines"][0]["takes"]} == {
        "WH-1": 10,
        "WH-2": 2,
    }


def test_a_refusal_is_one_line_with_exit_code_3(shell: Shell):
    said = shell.refused(3, "reserve", "SKU-2@WH-1=5", "SKU-1@WH-1=11")
    assert said == (
        "holdfast: INSUFFICIENT_STOCK: SKU-2 at WH-1: 5 asked for, 3 available; "
        "SKU-1 at WH-1: 11 asked for, 10 available"
    )
    assert "RESERVATION_NOT_FOUND" in shell.refused(3, "confirm", "no-such")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reserve", "SKU-1@WH-1=0"], "quantity"),
        (["reserve", "SKU-1@WH-1", "--ttl", "-5"], "ttl"),
        (["reserve", "SKU-1@WH-1", "--ttl", "nan"], "finite"),
        (["reserve", "SKU-1@" + "x" * 65], "node"),
        (["list", "--limit", "5", "--owner", "x" * 65], "owner"),
    ],
)
def test_what_can_not_be_meant_is_one_line_with_exit_code_2(
    shell: Shell, arguments: list[str], said: str
):
    assert said in shell.refused(2, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reserve", "SKU-1"], "SKU@NODE"),
        (["reserve", "SKU-1@WH-1=two"], "SKU@NODE"),
        (["reserve", "@WH-1"], "SKU@NODE"),
        (["reserve"], "Missing argument"),
        (["adjust", "SKU-1@WH-1"], "SKU@NODE=NUMBER"),
        (["cancel", "r", "--line", "first=2"], "LINE=QUANTITY"),
        (["load", "x.csv", "--delimiter", "ab"], "one character"),
        (["count", "SKU-1@WH-1=1", "--as-of", "yesterday"], "as-of"),
        (["frobnicate"], "No such command"),
    ],
)
def test_wrong_usage_says_what_is_right(shell: Shell, arguments: list[str], said: str):
    result = shell.run(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_no_server_is_one_line_with_exit_code_4(unused_tcp_port: int):
    shell = Shell(f"127.0.0.1:{unused_tcp_port}")
    said = shell.refused(4, "availability", "SKU-1", "--timeout", "0.3")
    assert f"no answer from 127.0.0.1:{unused_tcp_port}" in said
    assert "holdfast health" in said


def test_stock_is_adjusted_and_counted(shell: Shell):
    changed = shell.json("adjust", "SKU-1@WH-1=-2", "SKU-2@WH-1=+5", "--reason", "found")
    assert [each["on_hand"] for each in changed["positions"]] == [8, 8]
    counted = shell.json("count", "SKU-1@WH-1=7")
    assert counted["results"][0]["correction"] == -1
    assert "7" in shell.run("count", "SKU-1@WH-1=7").stdout
    assert "INSUFFICIENT_STOCK" in shell.refused(3, "adjust", "SKU-1@WH-1=-8")


def test_a_watch_prints_one_json_line_for_each_event(shell: Shell):
    result = shell.run("watch", "SKU-1", "--node", "WH-1", "--events", "1", "--json")
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["position"]["available"] == 10
    assert "10 available" in shell.run("watch", "SKU-1", "--events", "2").stdout


def test_the_server_tells_of_itself(shell: Shell, server: RunningServer):
    assert shell.run("health").stdout.split() == [server.target, "SERVING"]
    assert shell.json("health", "--wait", "5") == {"target": server.target, "health": "SERVING"}
    assert "SERVING" in shell.run("status").stdout
    # The server of this test logs to the same output.
    said = shell.run("snapshot").stdout
    assert re.search(r"^\W*0\s+[\d,]+\s+[1-9][\d,]+\s+[\d.]+", said, re.MULTILINE), said
    status = shell.json("status", "--state-hash")
    assert len(status["state_hash"]) == 64
    found = shell.json("verify")
    assert (found["differences_total"], found["state_hash"]) == (0, status["state_hash"])
    assert "sound" in shell.run("verify").stdout


def test_a_load_with_bad_rows_lands_the_good_ones_with_exit_code_6(shell: Shell, tmp_path: Path):
    file = tmp_path / "bad.csv"
    file.write_text(
        "sku,node,on_hand\nSKU-1,WH-1,20\nSKU-9,WH-1,1\nSKU-2,WH-9,1\nSKU-2,WH-1,-1\n"
        "SKU-1,WH-2,NaN\nSKU-1,WH-1,21\nSKU-2,WH-2,2000000000\n"
    )
    problems = tmp_path / "problems.csv"
    result = shell.run("load", str(file), "--problems", str(problems))
    assert result.exit_code == 6
    assert "1 rows of stock applied, 6 refused" in result.stdout
    named = {
        (row.split(",")[1], row.split(",")[2], row.split(",")[4])
        for row in problems.read_text().splitlines()[1:]
    }
    assert named == {
        ("3", "sku", "SKU_NOT_FOUND"),
        ("4", "node", "NODE_NOT_FOUND"),
        ("5", "on_hand", "FIELD_INVALID"),
        ("6", "on_hand", "FIELD_INVALID"),
        ("7", "sku", "FIELD_INVALID"),
        ("8", "on_hand", "LIMIT_EXCEEDED"),
    }
    assert f"{file}: row 3" in result.stderr
    (position,) = shell.json("availability", "SKU-1", "--node", "WH-1")["positions"]
    assert position["on_hand"] == 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("sku,node,on_hand\n", "no rows"),
        ("sku,node,qty\nSKU-1,WH-1,1\n", "'qty' is not known"),
    ],
)
def test_a_file_that_is_no_feed_is_one_line_with_exit_code_2(
    shell: Shell, tmp_path: Path, content: str, said: str
):
    file = tmp_path / "bad.csv"
    file.write_text(content)
    assert said in shell.refused(2, "load", str(file))
    assert "No such file" in shell.refused(2, "load", str(tmp_path / "none.csv"))


def test_a_count_in_the_future_is_refused_row_by_row(shell: Shell, tmp_path: Path):
    file = tmp_path / "future.csv"
    file.write_text("sku,node,on_hand,as_of_time\nSKU-1,WH-1,5,2100-01-01T00:00:00Z\n")
    result = shell.run("load", str(file), "--json")
    assert result.exit_code == 6
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["row"], problem["field"], problem["reason"]) == (
        2,
        "as_of_time",
        "FIELD_INVALID",
    )


def test_a_journal_is_replayed_without_a_server(tmp_path: Path):
    with RunningServer(tmp_path) as server, holdfast.Client(server.target, timeout=20) as client:
        client.nodes.upsert(holdfast.Node("WH-1"))
        client.items.upsert(holdfast.Item("SKU-1"))
        client.count([holdfast.Count("SKU-1", "WH-1", 3)])
        client.reserve([("SKU-1", "WH-1", 2)])
        live = client.verify()
        # While the server runs, as after a kill: the journal is only read, in a copy.
        result = CliRunner().invoke(app, ["verify", "--data", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["state_hashes"] == [live.state_hash] * 2
    assert (found["revision"], found["faults"]) == (live.revision, [])
    assert not found["from_snapshot"]


def test_a_directory_without_a_journal_is_refused(shell: Shell, tmp_path: Path):
    assert "no journal.sqlite3" in shell.refused(2, "verify", "--data", str(tmp_path))
