"""Every test of this directory runs against every journal there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.journal.harness import Harness, MemoryHarness, RedisHarness, SqliteHarness
from tests.redis_server import RedisServer, running


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    if request.param == "memory":
        return MemoryHarness()
    if request.param == "sqlite":
        return SqliteHarness(tmp_path)
    return RedisHarness(request.getfixturevalue("redis_server"))
