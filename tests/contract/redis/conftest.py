"""A Redis of its own for each test: these stop it, kill it and change its files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_server import RedisServer, running


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running() as made:
        yield made
