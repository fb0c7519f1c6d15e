"""Ledgers for the kernels' benchmarks. Figures are core-seconds: see `benchmarks.measure`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.catalogue import Catalogue, catalogue, roomy, stocked
from benchmarks.engine_columns import touched
from benchmarks.orders import Orders
from engine.state import State

POSITIONS = 200_000
ROWS_TOUCHED = 1 << 20


@pytest.fixture(scope="module")
def shop() -> Catalogue:
    """10,000 SKUs at 20 nodes."""
    return catalogue(POSITIONS)


@pytest.fixture(scope="module")
def state(shop: Catalogue) -> State:
    """A ledger of the module's own, stocked, its pages used before."""
    made = stocked(State.create(roomy()), shop)
    touched(made, ROWS_TOUCHED)
    return made


@pytest.fixture(scope="module")
def orders(shop: Catalogue) -> Orders:
    """Orders over the whole catalogue."""
    return Orders(shop)


@pytest.fixture
def per_command(benchmark: Any) -> Callable[[int], None]:
    """Note how many commands a round has: the report then says us a command."""

    def note(commands: int) -> None:
        benchmark.extra_info["us_per_command"] = benchmark.stats.stats.min / commands * 1e6

    return note
