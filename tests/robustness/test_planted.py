"""A server with a bug in it is found out: by the fault that brings the bug to light, by name."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.robustness.failpoints.trapped import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("bug", "fault", "totals"),
    [
        ("acknowledges before the journal", 1, ["lost_acknowledgements"]),
        ("never syncs", 3, ["lost_acknowledgements", "failed_properties"]),
        ("drops a record", 1, ["lost_acknowledgements", "failed_properties"]),
        ("oversells", 7, ["replay_mismatches"]),
        ("acts twice", 6, ["doubled_effects"]),
        ("follows the wall clock", 10, ["failed_properties"]),
    ],
)
def test_a_planted_bug_is_found(bug: str, fault: int, totals: list[str]) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.robustness", "--quick", "--journal", "sqlite"),
            *("--fault", str(fault), "--plant", bug),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1, done.stdout
    assert any(report[name] for name in totals), done.stdout
