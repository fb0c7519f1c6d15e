"""Availability of a SKU that half the world has in its cart costs what it costs of any other."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine import balances, hashing, index, movements, positions, reservations
from engine.hashing import key_of
from server.transport import position_columns
from tests.ledger import Ledger

HOLDS_AT_ONCE = 50


class Row:
    """A row whose fields are attributes, as they are for compiled code."""

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return self._row[name]


class Counted:
    """A table that counts the rows that are looked at."""

    def __init__(self, name: str, rows: Any, looks: Counter[str]) -> None:
        self._name, self._rows, self._looks = name, rows, looks
        self.shape = rows.shape

    def __getitem__(self, at: Any) -> Any:
        self._looks[self._name] += 1
        found = self._rows[at]
        return Row(found) if isinstance(found, np.void) else found


def uncompile(patch: pytest.MonkeyPatch) -> None:
    """Let the kernels of a query run as they are written, so that their steps can be counted."""
    for module in (position_columns, reservations, positions, balances, movements, index, hashing):
        for name, found in list(vars(module).items()):
            if hasattr(found, "py_func"):
                patch.setattr(module, name, found.py_func)
    record = np.dtype((np.record, position_columns.NUMBERS))  # fields by attribute
    patch.setattr(position_columns, "NUMBERS", record)


def query(ledger: Ledger, owner: str = "") -> tuple[Counter[str], dict[str, int]]:
    """Rows looked at, by table, and what is told of the pears in Berlin."""
    looks: Counter[str] = Counter()
    tables = ledger.state.seen_by_kernels()
    counted = {name: Counted(name, rows, looks) for name, rows in tables.items()}
    state: Any = SimpleNamespace(tables=SimpleNamespace(**counted))
    keys = [np.array([key_of(text)], np.uint64) for text in (b"pear", b"berlin")]
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore"):  # hashes wrap around
        uncompile(patch)
        rows = position_columns.find_rows(state, *keys).ravel()
        out = position_columns.read_positions(state, rows, owner=owner)
    return looks, {name: int(out[name][0]) for name in ("held", "available")}


def test_open_holds_on_one_sku_cost_a_query_nothing() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 1_000)
    ledger.create([("pear", "berlin", 1)], owner="somebody")
    few, told = query(ledger)
    assert told == {"held": 1, "available": 999}
    for _ in range(10):
        hold = ledger.creating([("pear", "berlin", 1)])
        assert all(answer.ok for answer in ledger.run(*[hold] * HOLDS_AT_ONCE))
    many, told = query(ledger)
    assert told == {"held": 501, "available": 499}
    assert many == few
    assert not many.keys() & {"reservations", "takes"}
    # Whoever asks as an owner pays for his own holds alone.
    mine, told = query(ledger, owner="somebody")
    assert told == {"held": 500, "available": 500}
    assert mine["takes"] == 1
