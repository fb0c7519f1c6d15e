"""Checkouts as columns: three lines, a request id, an owner, an id that the ledger makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogue import Catalogue
from benchmarks.names import numbered
from engine import commands
from engine.commands import HEADER, LINE, CommandBatch

LINES = 3
TTL_MS = 15 * 60 * 1000
_ACTOR = np.frombuffer(b"checkout", np.uint8)


class Orders:
    """Draws orders from a fixed seed: the same in every run, no two alike."""

    def __init__(self, shop: Catalogue, *, seed: int = 1, hot: int = 0) -> None:
        """`hot`: the first line of every order is one of that many positions; 0: any."""
        self._shop = shop
        self._random = np.random.default_rng(seed)
        self._hot = hot
        self._made = 0

    def positions(self, count: int) -> NDArray[np.int64]:
        """The positions `count` orders take from. Shape (count, LINES)."""
        drawn = self._random.integers(0, self._shop.positions, (count, LINES))
        if self._hot:
            drawn[:, 0] = self._random.integers(0, self._hot, count)
        return drawn

    def creates(self, count: int, *, ttl_ms: int = TTL_MS) -> CommandBatch:
        """`count` creates of LINES lines each."""
        shop = self._shop
        drawn = self.positions(count).reshape(-1)
        lines = np.zeros(count * LINES, LINE)
        lines["sku_key"] = shop.skus.keys[drawn // len(shop.nodes)]
        lines["node_key"] = shop.nodes.keys[drawn % len(shop.nodes)]
        lines["quantity"] = 1
        lines["line"] = np.tile(np.arange(LINES, dtype=np.uint16), count)
        lines["kind"] = commands.AT_NODE
        lines["policy"] = commands.ON_HAND
        owners = numbered("shopper-", count, first=self._made)
        headers = np.zeros(count, HEADER)
        headers["kind"] = commands.CREATE
        headers["fill_policy"] = commands.ALL_OR_NONE
        headers["line_count"] = LINES
        headers["owner_bytes"] = owners.texts.shape[1]
        headers["actor_bytes"] = len(_ACTOR)
        headers["text_bytes"] = owners.texts.shape[1] + len(_ACTOR)
        headers["request_hi"] = self.keys(count)
        headers["request_lo"] = self.keys(count)
        headers["owner_key"] = owners.keys
        headers["ttl_ms"] = ttl_ms
        text = np.concatenate((owners.texts, np.tile(_ACTOR, (count, 1))), axis=1)
        self._made += count
        return CommandBatch(headers, lines, text.reshape(-1))

    def columns(self, columns: int, rows: int, *, ttl_ms: int = TTL_MS) -> list[CommandBatch]:
        """Batches of `rows` creates each."""
        return [self.creates(rows, ttl_ms=ttl_ms) for _ in range(columns)]

    def keys(self, count: int) -> NDArray[np.uint64]:
        """Keys as a hash would give them: no two the same, none of them 0."""
        return self._random.integers(1, 1 << 64, count, np.uint64)


def on_reservations(
    kind: int, made: NDArray[np.void], request_keys: NDArray[np.uint64]
) -> CommandBatch:
    """One command of `kind` (confirm, cancel) for each outcome of a create."""
    headers = np.zeros(len(made), HEADER)
    headers["kind"] = kind
    headers["request_hi"] = request_keys
    headers["request_lo"] = request_keys
    headers["reservation_hi"] = made["reservation_hi"]
    headers["reservation_lo"] = made["reservation_lo"]
    return CommandBatch(headers, np.zeros(0, LINE), np.zeros(0, np.uint8))
