"""Is the ledger sound? Every balance recomputed from its sources, every chain walked.

`differences` recomputes everything in one moment (`engine.verification` does so beside traffic);
`check` adds the structures' own invariants and is what tests call after every step. Both are
O(rows) and change nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import recompute, tables
from engine.reindex import rebuild_indices
from engine.state import State

BUCKETS = ("safety_stock", "damaged", "quality_control", "frozen")


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored balance that is not what its sources say."""

    position: int
    field: str
    stored: int
    recomputed: int


def differences(state: State) -> list[Difference]:
    """Stored balances against reservations, fences and movements; oversold positions too."""
    rows = int(state.meta["position_count"][0])
    positions = state.positions[:rows]
    held, committed, fenced, on_hand = (np.zeros(rows, np.int64) for _ in range(4))
    recompute.sum_promises(state.tables, held, committed, np.zeros(5, np.int64))
    recompute.sum_fences(state.tables, fenced)
    recompute.sum_movements(state.tables, on_hand)
    buckets = state.withheld[:rows]
    withheld = np.zeros(rows, np.int64)
    for bucket in BUCKETS:
        withheld += buckets[bucket]
    found: list[Difference] = []
    stock = positions["kind"] == tables.STOCK
    sources: list[tuple[str, NDArray[np.int64], NDArray[np.bool_]]] = [
        ("held", held, np.ones(rows, np.bool_)),
        ("committed", committed, np.ones(rows, np.bool_)),
        ("fenced", fenced, stock),
        ("on_hand", on_hand, stock),
        ("withheld", withheld, np.ones(rows, np.bool_)),
    ]
    for field, recomputed, where in sources:
        found += [
            Difference(int(row), field, int(positions[field][row]), int(recomputed[row]))
            for row in np.flatnonzero((positions[field] != recomputed) & where)
        ]
    free = available_column(state)
    unexplained = (free < 0) & ((positions["flags"] & tables.SHORT) == 0)
    found += [
        Difference(int(row), "available", int(free[row]), 0) for row in np.flatnonzero(unexplained)
    ]
    return found


def available_column(state: State) -> NDArray[np.int64]:
    """available of every position: on_hand - held - committed - withheld. Shape (positions,)."""
    positions = state.positions[: int(state.meta["position_count"][0])]
    free = positions["on_hand"].astype(np.int64)
    for field in ("held", "committed", "withheld"):
        free -= positions[field]
    return free


def check(state: State) -> list[str]:
    """Everything that is not as it must be, in words; empty when the ledger is sound."""
    meta = state.meta[0]
    found = [
        f"position {d.position}: {d.field} is {d.stored}, its sources say {d.recomputed}"
        for d in differences(state)
    ]
    rows = int(meta["position_count"])
    counts = np.zeros(5, np.int64)
    recompute.sum_promises(state.tables, np.zeros(rows, np.int64), np.zeros(rows, np.int64), counts)
    stored = (meta["held_count"], meta["confirmed_count"], meta["terminal_count"])
    for name, counted, kept in zip(
        ("held", "confirmed", "terminal"), counts[:3], stored, strict=True
    ):
        if counted != kept:
            found.append(f"{name} reservations: {counted} found, {kept} counted")
    if counts[3] != meta["take_count"]:
        found.append(f"takes: {counts[3]} found, {meta['take_count']} counted")
    if counts[4]:
        found.append(f"takes: {counts[4]} are out of place")
    positions, buckets = state.positions[:rows], state.withheld[:rows]
    for field in ("held", "committed", *BUCKETS):
        table = buckets if field in BUCKETS else positions
        negative = int((table[field] < 0).sum())
        if negative:
            found.append(f"positions: {field} is negative in {negative}")
    wrong = recompute.check_heap(state.tables)
    if wrong:
        found.append(f"expiry heap: {wrong} entries out of place")
    wrong = recompute.check_waiting(state.tables)
    if wrong:
        found.append(f"waiting lists: {wrong} entries out of place")
    found += _check_indices(state)
    return found


def _check_indices(state: State) -> list[str]:
    """Compare every index, as a set of entries, with one rebuilt from the tables."""
    names = [name for name in state.arrays if name.endswith("_index")]
    fresh = {
        name: np.zeros_like(array) if name in names else array
        for name, array in state.arrays.items()
    }
    rebuild_indices(State(state.capacity, fresh).tables)
    return [
        f"{name}: entries differ from the table's"
        for name in names
        if not np.array_equal(np.sort(state.arrays[name]), np.sort(fresh[name]))
    ]


_RUNNING_BATCH = (
    "batch_revision",
    "changed_count",
    "changed_overflow",
    "reference_bytes",
    "group_revision",
    "group_left",
    "holds_told",
)


class StateHash:
    """A hash of the state, taken in steps. It means something only if no command came between."""

    def __init__(self, state: State) -> None:
        """Begin. O(documents), as they are brought into order first."""
        self._digest = hashlib.sha256()
        self._sections = iter(state.sections())
        self._rows = np.zeros(0, np.uint8)
        self._hashed = 0

    def step(self, size_bytes: int) -> bool:
        """Hash up to `size_bytes` more; whether nothing is left."""
        while self._hashed == len(self._rows):
            section = next(self._sections, None)
            if section is None:
                return True
            self._enter(*section)
        part = self._rows[self._hashed : self._hashed + size_bytes]
        self._digest.update(part.data)
        self._hashed += len(part)
        return False

    def _enter(self, name: str, rows: NDArray[Any]) -> None:
        self._digest.update(name.encode())
        self._digest.update(len(rows).to_bytes(8, "little"))
        if name == "meta":
            # What describes only the running batch is no part of the state.
            rows = rows.copy()
            for field in _RUNNING_BATCH:
                rows[field] = 0
        self._rows = np.ascontiguousarray(rows).view(np.uint8).reshape(-1)
        self._hashed = 0

    def digest(self) -> bytes:
        """The 32 bytes, once the last step is done."""
        return self._digest.digest()


def state_hash(state: State) -> bytes:
    """32 bytes that two states share exactly when they hold the same and will do the same."""
    taken = StateHash(state)
    while not taken.step(1 << 30):
        pass
    return taken.digest()
