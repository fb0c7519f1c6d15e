"""Every alert fires when it should and keeps quiet when it should not, by Prometheus' own promtool.

The series are in deploy/prometheus/tests. promtool comes from the PATH or from Debian, by
.ci/promtool; only where there is neither is it left out.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus"
TESTS = sorted((RULES / "tests").glob("*.yml"))


@pytest.fixture(scope="module")
def promtool() -> str:
    found = subprocess.run([ROOT / ".ci/promtool"], capture_output=True, text=True, timeout=110)
    if found.returncode == 3:
        pytest.skip("no promtool on the PATH, and no Debian to get it from")
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()[-1]


def run(promtool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=110)


def alerts() -> set[str]:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def test_the_rules_are_sound(promtool: str) -> None:
    done = run(promtool, "check", "rules", RULES / "recording.yml", RULES / "alerts.yml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_every_alert_fires_and_keeps_quiet_as_told(promtool: str, file: Path) -> None:
    done = run(promtool, "test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_shown_to_fire_and_to_keep_quiet() -> None:
    told: dict[str, set[bool]] = {}
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                told.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert told == {name: {True, False} for name in alerts()}


def changed(rule: dict[str, Any]) -> dict[str, Any]:
    """The alert made deaf."""
    return {**rule, "expr": f"({rule['expr']}) and on() vector(0) > 1"}


def test_a_deaf_alert_would_be_found(promtool: str, tmp_path: Path) -> None:
    name = "HoldfastAvailabilityBurns"
    shutil.copytree(RULES, tmp_path / "prometheus")
    file = tmp_path / "prometheus/alerts.yml"
    told = yaml.safe_load(file.read_text())
    for group in told["groups"]:
        group["rules"] = [
            changed(rule) if rule["alert"] == name else rule for rule in group["rules"]
        ]
    file.write_text(yaml.safe_dump(told))
    done = run(promtool, "test", "rules", tmp_path / "prometheus/tests/slow_burns.yml")
    assert done.returncode != 0
    assert name in done.stdout + done.stderr
