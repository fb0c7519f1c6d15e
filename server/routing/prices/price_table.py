"""Dual prices by the names of nodes and SKUs: only of those that have one.

Owns: `PriceTable`. What comes from a solver's process is checked here: it may have run wild.

Invariants
1. A price is above 0, and none is above the scale.
2. Of a node and a SKU there is one price at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.routing.waves.memory import FINENESS
from server.routing.prices.texts import packed, unpacked

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PriceTable:
    """P prices over N nodes and K SKUs."""

    nodes: Sequence[str]
    skus: Sequence[str]
    node: Integers
    """(P,) place among the nodes."""
    item: Integers
    """(P,) place among the SKUs."""
    due: Floats
    """(P,) in 1/`waves.memory.FINENESS` of a minor unit; where the next solve begins."""

    @staticmethod
    def of(nodes: Sequence[str], skus: Sequence[str], due: Floats) -> PriceTable:
        """From (N, K) of all of them."""
        node, item = np.nonzero(due > 0)
        some_nodes, node_place = np.unique(node, return_inverse=True)
        some_items, item_place = np.unique(item, return_inverse=True)
        return PriceTable(
            [nodes[one] for one in some_nodes],
            [skus[one] for one in some_items],
            node_place.astype(np.int64),
            item_place.astype(np.int64),
            due[node, item],
        )

    def __len__(self) -> int:
        return len(self.due)

    def numbers(self) -> dict[str, Any]:
        """For a frame."""
        node_sizes, node_text = packed([name.encode() for name in self.nodes])
        sku_sizes, sku_text = packed([name.encode() for name in self.skus])
        return {
            "due_node_sizes": node_sizes,
            "due_node_text": node_text,
            "due_sku_sizes": sku_sizes,
            "due_sku_text": sku_text,
            "due_node": self.node,
            "due_item": self.item,
            "due": self.due,
        }

    @staticmethod
    def from_numbers(numbers: Mapping[str, Any], *, scale: int) -> PriceTable:
        """Read what `numbers` made. Raises ValueError or KeyError for what is no such prices."""
        nodes = unpacked(numbers["due_node_sizes"], numbers["due_node_text"])
        skus = unpacked(numbers["due_sku_sizes"], numbers["due_sku_text"])
        node, item, due = numbers["due_node"], numbers["due_item"], numbers["due"]
        if due.ndim != 1 or not node.shape == item.shape == due.shape:
            raise ValueError("prices have more or fewer nodes or SKUs than prices")
        if len(due) and not (
            due.dtype == np.float64
            and node.dtype == item.dtype == np.int64
            and 0 <= node.min() <= node.max() < len(nodes)
            and 0 <= item.min() <= item.max() < len(skus)
            and 0 < due.min() <= due.max() <= scale * FINENESS
        ):
            raise ValueError(f"a price is of no node or SKU, or not above 0 and up to {scale}")
        return PriceTable(
            [name.decode() for name in nodes], [name.decode() for name in skus], node, item, due
        )

    @cached_property
    def price(self) -> Integers:
        """(N + 1, K + 1) in 1/FINENESS of a minor unit; the last row and column are of those that
        have no prices."""
        table = np.zeros((len(self.nodes) + 1, len(self.skus) + 1), np.int64)
        table[self.node, self.item] = np.rint(self.due)
        return table

    @cached_property
    def _node_place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.nodes)}

    @cached_property
    def _sku_place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.skus)}

    def node_places(self, names: Sequence[str]) -> Integers:
        """(n,) rows of `price`."""
        known, none = self._node_place, len(self.nodes)
        return np.fromiter((known.get(name, none) for name in names), np.int64, len(names))

    def sku_places(self, skus: Sequence[str]) -> Integers:
        """(n,) columns of `price`."""
        known, none = self._sku_place, len(self.skus)
        return np.fromiter((known.get(sku, none) for sku in skus), np.int64, len(skus))

    def over(self, nodes: Sequence[str], skus: Sequence[str]) -> Floats:
        """(n, k) where the next solve over these begins; 0 for those without a price."""
        table = np.zeros((len(self.nodes) + 1, len(self.skus) + 1))
        table[self.node, self.item] = self.due
        return table[np.ix_(self.node_places(nodes), self.sku_places(skus))]


NO_PRICES = PriceTable(
    [], [], np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64)
)
