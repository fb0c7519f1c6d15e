"""The season as the demo replays it: orders with their lines, in the order of their arrival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DAY_S = 86_400
NEVER = -1


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of an order. Times in seconds of the season; NEVER where the data has none."""

    sku: str
    node: str
    quantity: int
    ship_s: int
    return_quantity: int
    return_s: int
    return_damaged: bool


@dataclass(frozen=True, slots=True)
class Order:
    """One order; `order_id` starts with C (catalogue) or W (web)."""

    order_id: str
    arrival_s: int
    lines: tuple[OrderLine, ...]
    ship_mode: str = ""
    """The carrier service asked for, by the first line's ship mode; empty: the data has none."""
    postal_code: str = ""
    """The ZIP code it goes to; empty: the data has none."""


@dataclass(frozen=True, slots=True)
class Season:
    """The orders, and where they come from."""

    orders: tuple[Order, ...]
    scale: float
    orders_total: int
    """Orders in the whole data set, of which these are the latest."""
    lines_skipped: int
    """Lines of the season without warehouse, quantity or time: TPC-DS leaves some empty."""

    @property
    def days(self) -> float:
        """The season's length."""
        if not self.orders:
            return 0.0
        return (self.orders[-1].arrival_s - self.orders[0].arrival_s) / DAY_S

    @property
    def line_count(self) -> int:
        """Lines of all orders."""
        return sum(len(order.lines) for order in self.orders)


def read_season(directory: Path) -> Season:
    """The season that `holdfast.demo.generate` wrote into `directory`."""
    with np.load(directory / "orders.npz") as columns:
        return Season(
            tuple(_orders({name: columns[name] for name in columns})),
            float(columns["scale"]),
            int(columns["orders_total"]),
            int(columns["lines_skipped"]),
        )


def read_stock(directory: Path) -> dict[tuple[str, str], int]:
    """The opening stock in units, by (sku, node)."""
    stock = {}
    with (directory / "stock.csv").open(encoding="utf-8") as file:
        next(file)
        for row in file:
            sku, node, on_hand = row.rstrip("\n").split(",")
            stock[sku, node] = int(on_hand)
    return stock


def _orders(columns: dict[str, np.ndarray]) -> Iterator[Order]:
    skus = [f"ITEM-{item:05d}" for item in columns["item"].tolist()]
    nodes = [f"WAREHOUSE-{warehouse}" for warehouse in columns["warehouse"].tolist()]
    lines = [
        OrderLine(*fields)
        for fields in zip(
            skus,
            nodes,
            columns["quantity"].tolist(),
            columns["ship_s"].tolist(),
            columns["return_quantity"].tolist(),
            columns["return_s"].tolist(),
            columns["return_damaged"].tolist(),
            strict=True,
        )
    ]
    end = 0
    for order_id, arrival_s, count, ship_mode, postal_code in zip(
        columns["order_id"].tolist(),
        columns["arrival_s"].tolist(),
        columns["line_count"].tolist(),
        columns["ship_mode"].tolist(),
        columns["postal_code"].tolist(),
        strict=True,
    ):
        start, end = end, end + count
        yield Order(order_id, arrival_s, tuple(lines[start:end]), ship_mode, postal_code)
