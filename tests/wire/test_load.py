"""A scenario from beginning to end at the small scale: real server, real generators, real judge."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.house import ServerProcess
from loadtests.measures import INVARIANTS, RESULT_KEYS

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
SHORT = """
title = "Short"
description = "One second of everything."
[[phase]]
name = "only"
seconds = 1
rate = 40
[shop]
skus = 20
carrier_services = 2
[[journey]]
name = "all steps"
steps = ["browse", "hold", "track", "extend", "think:0.05", "confirm"]
share = 0.4
[[journey]]
name = "is promised"
steps = ["plan", "promise"]
share = 0.3
[[journey]]
name = "leaves"
steps = ["hold", "cancel"]
share = 0.3
"""
EVENTFUL = """
title = "Eventful"
description = "A feed, holds that end, attackers, callers cut off and a restart, one after another."
[[phase]]
name = "only"
seconds = 6
rate = 40
[quick]
phase_s = 6
rate = 40
holds = 1_000
rows = 80
connections = 2
[shop]
skus = 20
[callers]
timeout_s = 3.0
checkout_patience_s = 10
[[journey]]
name = "buys"
steps = ["browse", "hold", "think:0.05", "confirm"]
[[event]]
kind = "feed"
phase = "only"
rows = 80
[[event]]
kind = "expiry"
phase = "only"
after_s = 1
holds = 1_000
[[event]]
kind = "hostile"
phase = "only"
attack = "rapid_reset"
after_s = 1.5
for_s = 1
connections = 2
per_second = 1_000
[[event]]
kind = "reconnect"
phase = "only"
after_s = 2.5
[[event]]
kind = "restart"
phase = "only"
after_s = 3
"""
IMPOSSIBLE = """
[[bar]]
measure = "lost_acknowledgements"
at_least = 1
"""
INVARIANT_BARS = "".join(
    f'[[bar]]\nmeasure = "{name}"\nat_most = 0\n' for name in sorted(INVARIANTS)
)

# Locust by its library: it ends when enough was called, however long that takes.
LOCUST = """
import argparse, json, sys
import gevent
from locust.env import Environment
from loadtests.locustfile import Shopper, _open_shop

options = argparse.Namespace(open_shop=True, shop_skus=20, shop_nodes=2, shop_units=50)
environment = Environment(user_classes=[Shopper], host=sys.argv[1], parsed_options=options)
runner = environment.create_local_runner()
_open_shop(environment)
runner.start(20, spawn_rate=20)
names = lambda: {entry.name for entry in environment.stats.entries.values()}
wanted = {"CreateReservation", "PlanFulfillment"}
while environment.stats.total.num_requests < 40 or not wanted <= names():
    gevent.sleep(0.01)
runner.quit()
print(json.dumps([
    [entry.name, entry.method, entry.num_requests] for entry in environment.stats.entries.values()
]))
"""


def load(*arguments: str, out: Path) -> tuple[int, dict[str, Any], str]:
    """Status, last line, and everything else that was said."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", *arguments, "--quick", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    return done.returncode, json.loads(lines[-1]), done.stdout + done.stderr


def test_a_flash_sale_keeps_its_invariants_and_leaves_a_report(tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    status, line, told = load("flash_sale", "--picture", str(picture), out=tmp_path)
    assert status == 0, told
    assert list(line) == ["scenario", *RESULT_KEYS]
    assert (line["oversold_units"], line["lost_acknowledgements"]) == (0, 0)
    report = json.loads((tmp_path / "flash_sale/report.json").read_text())
    assert report["is_quick"]
    assert {bar["measure"] for bar in report["bars"]} == INVARIANTS
    assert sum(report["measured"][name] for name in INVARIANTS) == 0
    assert 0 < report["acknowledged"] <= report["commands"]
    assert "<svg" in (tmp_path / "flash_sale/report.html").read_text()
    assert picture.read_text().startswith("<svg")


def test_a_missed_bar_is_a_failed_run(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text(SHORT + IMPOSSIBLE)
    status, line, told = load(str(file), out=tmp_path)
    assert status == 1, told
    assert line["scenario"] == "short"
    assert "MISSED" in told
    report = json.loads((tmp_path / "short/report.json").read_text())
    steps = {row["step"] for row in report["latencies_ms"]}
    # On a busy machine some are turned away, and what was turned away has no latency.
    assert steps
    assert steps <= {"browse", "plan", "promise", "hold", "track", "extend", "confirm", "cancel"}


def test_every_kind_of_event_happens_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "eventful.toml"
    file.write_text(EVENTFUL + INVARIANT_BARS)
    status, _, told = load(str(file), out=tmp_path)
    assert status == 0, told
    report = json.loads((tmp_path / "eventful/report.json").read_text())
    measured = report["measured"]
    assert {bar["measure"] for bar in report["bars"]} == INVARIANTS
    assert {name: measured[name] for name in INVARIANTS} == dict.fromkeys(INVARIANTS, 0)
    assert measured["feed_rows"] == 80
    assert measured["expired_holds"] >= 1_000
    assert measured["drain_seconds"] > 0
    notes = " | ".join(report["notes"])
    for happened in ("feed: 80 rows", "1,000 holds were made", "rapid_reset: ", "drained in"):
        assert happened in notes
    cut = re.search(r"callers connected (\d+) times, to have (\d+) connections", notes)
    assert cut is not None, notes
    assert int(cut[1]) > int(cut[2])


def test_a_scenario_that_can_not_be_meant_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SHORT + "[callers]\nprocesses = 0\n")
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "wrong.toml: [callers] processes: must lie between 1 and 64, not 0" in done.stderr
    assert done.stdout == ""


def test_locust_counts_every_call_by_its_method(tmp_path: Path) -> None:
    """Locust changes the process it runs in, so it gets one of its own."""
    server = ServerProcess(flags=["--data", str(tmp_path / "data")], cores=None)
    server.launch()
    try:
        asyncio.run(server.ready())
        done = subprocess.run(
            [sys.executable, "-c", LOCUST, server.target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )
    finally:
        asyncio.run(server.kill())
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    methods = {name.removesuffix(" (sold out)") for name, _, _ in rows}
    assert {"QueryAvailability", "CreateReservation", "PlanFulfillment"} <= methods
    assert methods <= {
        *("QueryAvailability", "CreateReservation", "ConfirmReservation"),
        *("PlanFulfillment", "PromiseOrder"),
        *("CancelReservation", "GetReservation"),
    }
    assert {kind for _, kind, _ in rows} == {"grpc"}
    assert sum(requests for _, _, requests in rows) >= 40
