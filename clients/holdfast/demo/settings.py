"""What a demo is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """The settings of one demo."""

    scale: float = 1.0
    """Of TPC-DS; 1 has 18,000 items, 5 warehouses, 12 stores and 220,000 orders."""
    orders: int = 20_000
    """How many of the latest orders are replayed."""
    concurrency: int = 64
    """Steps under way at once."""
    seconds_max: float | None = None
    """After so many seconds no further orders begin; None: what three minutes leave over."""
    seed: int = 1
    journal: str = "sqlite"
    """What keeps the journal: ``sqlite``, or ``redis`` with a server of the demo's own."""
    kill: bool = True
    keep: bool = False
