"""Every test of this directory runs against every journal there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.journal.harness import Harness, MemoryHarness, SqliteHarness


@pytest.fixture(params=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return MemoryHarness() if request.param == "memory" else SqliteHarness(tmp_path)
