"""The shop that is measured: every SKU is stocked at every node.

Position ``p`` is SKU ``p // nodes`` at node ``p % nodes``, so a workload is drawn as numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.names import Names, numbered
from engine import commands, limits
from engine.commands import HEADER, LINE, CommandBatch
from engine.machine import apply
from engine.state import Capacity, State

NODES = 20
UNITS_PER_POSITION = 100_000_000
_ROWS_PER_COMMAND = limits.rows_per_ingest_chunk_max


@dataclass(frozen=True, slots=True)
class Catalogue:
    """SKUs and nodes; positions are all pairs of them."""

    skus: Names
    nodes: Names

    @property
    def positions(self) -> int:
        """How many there are."""
        return len(self.skus) * len(self.nodes)


def catalogue(positions: int, nodes: int = NODES) -> Catalogue:
    """One of `positions` positions, which `nodes` divides."""
    if positions % nodes:
        raise ValueError(f"{positions} positions are not {nodes} nodes times some SKUs")
    return Catalogue(numbered("SKU-", positions // nodes), numbered("WAREHOUSE-", nodes, digits=4))


def _one_command(kind: int, lines: np.ndarray, text: np.ndarray) -> CommandBatch:
    headers = np.zeros(1, HEADER)
    headers["kind"] = kind
    headers["line_count"] = len(lines)
    headers["text_bytes"] = len(text)
    headers["flags"] = commands.PER_LINE
    return CommandBatch(headers, lines, text)


def definitions(shop: Catalogue) -> Iterator[CommandBatch]:
    """Commands that make the names known."""
    for kind, names in ((commands.NODE, shop.nodes), (commands.SKU, shop.skus)):
        for first in range(0, len(names), _ROWS_PER_COMMAND):
            keys = names.keys[first : first + _ROWS_PER_COMMAND]
            lines = np.zeros(len(keys), LINE)
            lines["sku_key"] = keys
            lines["policy"] = kind
            lines["text_bytes"] = names.texts.shape[1]
            text = names.texts[first : first + _ROWS_PER_COMMAND].reshape(-1)
            yield _one_command(commands.DEFINE_NAMES, lines, text)


def counts(shop: Catalogue, units: int = UNITS_PER_POSITION) -> Iterator[CommandBatch]:
    """Commands that count `units` into every position, as a feed does."""
    nodes = len(shop.nodes)
    for first in range(0, shop.positions, _ROWS_PER_COMMAND):
        row = np.arange(first, min(first + _ROWS_PER_COMMAND, shop.positions))
        lines = np.zeros(len(row), LINE)
        lines["sku_key"] = shop.skus.keys[row // nodes]
        lines["node_key"] = shop.nodes.keys[row % nodes]
        lines["quantity"] = units
        lines["policy"] = commands.REPORT
        yield _one_command(commands.COUNT, lines, np.zeros(0, np.uint8))


def roomy() -> Capacity:
    """Room for all that a benchmark makes; rows that are not used cost nothing."""
    return Capacity(
        positions=1 << 24,
        names=1 << 20,
        reservations=1 << 22,
        takes=1 << 24,
        requests=1 << 22,
        reply_details=1 << 24,
    )


def stocked(state: State, shop: Catalogue) -> State:
    """Put the whole catalogue into an empty ledger. Raises RuntimeError when not all of it fits."""
    for batch in (*definitions(shop), *counts(shop)):
        outcome = apply(state, 1, batch).rows[0]
        if outcome["code"] or outcome["affected"] != len(batch.lines):
            raise RuntimeError(f"the catalogue does not fit: {outcome}")
    return state
