"""Kernels are compiled before the first test here: no test's time is the compiler's."""

from __future__ import annotations

import pytest

from engine.routing.waves.warmup import warm_up


def pytest_collection_finish(session: pytest.Session) -> None:
    if any("unit/engine/routing/prices" in item.nodeid for item in session.items):
        warm_up()
