"""The examples do what they say, against the real server."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import aio
from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture
def client(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[holdfast.Client]:
    monkeypatch.setenv("HOLDFAST_TARGET", server.target)
    with holdfast.Client(timeout=20) as client:
        client.nodes.upsert(holdfast.Node("WH-1"))
        client.items.upsert_all([holdfast.Item(f"SKU-{number}") for number in range(8)])
        for reservation in client.list():
            if reservation.is_open:
                client.cancel(reservation.reservation_id)
        client.count([holdfast.Count("SKU-1", "WH-1", 5), holdfast.Count("SKU-2", "WH-1", 1)])
        yield client


def run(name: str) -> dict[str, Any]:
    """The names of an example, not run as a program."""
    return runpy.run_path(str(EXAMPLES / name))


def test_the_first_reservation_is_five_lines(
    client: holdfast.Client, server: RunningServer, capsys: pytest.CaptureFixture[str]
):
    code = (EXAMPLES / "first_reservation.py").read_text()
    program = code.split('"""', 2)[2].strip()
    assert len([line for line in program.splitlines() if line]) <= 5
    exec(program.replace("127.0.0.1:7420", server.target), {})
    assert " HELD until 20" in capsys.readouterr().out


def test_a_checkout_confirms_or_says_what_is_short(client: holdfast.Client):
    checkout = run("checkout.py")["checkout"]
    assert "on its way" in checkout(client, "cart-1", [("SKU-1", "WH-1", 4)])
    said = checkout(client, "cart-2", [("SKU-1", "WH-1", 2), ("SKU-2", "WH-1", 3)])
    assert "SKU-1: only 1 left; SKU-2: only 1 left" in said
    assert "did not go through" in checkout(client, "broke", [("SKU-2", "WH-1", 1)])
    assert client.position("SKU-2", "WH-1").available == 1


def test_a_checkout_runs_as_a_program(
    client: holdfast.Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["checkout.py", "SKU-1@WH-1=2"])
    runpy.run_path(str(EXAMPLES / "checkout.py"), run_name="__main__")
    assert "on its way" in capsys.readouterr().out


def test_a_feed_is_not_applied_twice(
    client: holdfast.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["stock_feed.py", "tuesday"])
    for _ in range(2):
        runpy.run_path(str(EXAMPLES / "stock_feed.py"), run_name="__main__")
    assert capsys.readouterr().out.count("2 rows applied") == 4
    assert client.position("SKU-7", "WH-1").on_hand == 23


async def test_a_watch_prints_what_is_left(
    client: holdfast.Client, capsys: pytest.CaptureFixture[str]
):
    async with aio.Client() as shop:
        await shop.reserve([("SKU-1", "WH-1", 2)])
    await run("watch.py")["follow"](["SKU-1"], 1)
    assert capsys.readouterr().out == "SNAPSHOT: SKU-1 at WH-1: 3 left\n"
