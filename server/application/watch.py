"""Watching positions: who is to be woken by what changed, and which of its positions changed.

A watch is state, not a log: nothing is queued for a watcher. It is woken, reads which of its
positions changed after the revision it was last told of, and is told their numbers as they are
then. A slow watcher is told less often, and what changed several times meanwhile is told once;
what it costs is bounded by the size of its watch set.

Invariants
1. A revision R is told only once everything up to R is durable, and then everything of the watch
   set that changed up to R has been told: resuming after R misses nothing and repeats nothing.
2. A position's revision is its own or that of a supply promised to it, whichever is later.

Callers: the transport's WatchAvailability. All on the event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import tables
from engine.compiled import kernel
from engine.positions import find_stock
from engine.state import State

_NO_ROWS: NDArray[np.int64] = np.zeros(0, np.int64)
DISCOVERY_ROWS = 500_000
"""Positions looked through in one go while a watch set is being made."""


@kernel
def _matching(
    st: Any,
    start: int,
    stop: int,
    skus: NDArray[np.int64],
    nodes: NDArray[np.int64],
    any_sku: bool,
    any_node: bool,
    out: NDArray[np.int64],
) -> tuple[int, int]:
    """Stock rows in [start, stop) of these SKUs and nodes (sorted name rows)."""
    found = 0
    row = start
    while row < stop and found < out.shape[0]:
        position = st.positions[row]
        row += 1
        if position.kind != tables.STOCK:
            continue
        if not any_sku:
            at = np.searchsorted(skus, np.int64(position.sku))
            if at >= skus.shape[0] or skus[at] != position.sku:
                continue
        if not any_node:
            at = np.searchsorted(nodes, np.int64(position.node))
            if at >= nodes.shape[0] or nodes[at] != position.node:
                continue
        out[found] = row - 1
        found += 1
    return found, row


@kernel
def _changed_after(
    st: Any, rows: NDArray[np.int64], revision: int, out: NDArray[np.int64], at: NDArray[np.int64]
) -> int:
    """Rows changed after `revision`, and the revision each changed at."""
    found = 0
    for i in range(rows.shape[0]):
        position = st.positions[rows[i]]
        changed = np.int64(position.changed_revision)
        supply = np.int64(position.link)
        while supply >= 0:
            changed = max(changed, st.positions[st.supplies[supply].position].changed_revision)
            supply = np.int64(st.supplies[supply].next)
        if changed > revision:
            out[found] = rows[i]
            at[found] = changed
            found += 1
    return found


@kernel
def _stocks(st: Any, rows: NDArray[np.int32], out: NDArray[np.int64]) -> None:
    """The stock row behind each changed row; itself where it is no supply."""
    for i in range(rows.shape[0]):
        position = st.positions[rows[i]]
        out[i] = rows[i]
        if position.kind == tables.SUPPLY and position.link >= 0:
            out[i] = st.supplies[position.link].stock


@kernel
def _pairs(
    st: Any, skus: NDArray[np.int64], nodes: NDArray[np.int64], out: NDArray[np.int64]
) -> int:
    """Stock rows of these SKUs at these nodes, where there are any."""
    found = 0
    for i in range(skus.shape[0]):
        for j in range(nodes.shape[0]):
            row = find_stock(st, st.names[skus[i]].key, st.names[nodes[j]].key)
            if row >= 0:
                out[found] = row
                found += 1
    return found


class WatchSetFull(Exception):
    """The watch set would hold more positions than it may."""


class WatchSet:
    """The stock positions of some SKUs at some nodes, those made later among them.

    `skus`, `nodes`: name rows; None: every one. Not both None.
    """

    def __init__(
        self,
        state: State,
        skus: NDArray[np.int64] | None,
        nodes: NDArray[np.int64] | None,
        *,
        positions_max: int,
    ) -> None:
        self.state = state
        self.rows = _NO_ROWS
        self._skus = np.unique(skus) if skus is not None else _NO_ROWS
        self._nodes = np.unique(nodes) if nodes is not None else _NO_ROWS
        self._any_sku, self._any_node = skus is None, nodes is None
        self._positions_max = positions_max
        self._seen = 0
        if skus is not None and nodes is not None:
            found = np.empty(len(self._skus) * len(self._nodes), np.int64)
            count = _pairs(state.tables, self._skus, self._nodes, found)
            self._add(found[:count])
            self._seen = int(state.meta["position_count"][0])

    async def discover_all(self) -> None:
        """Find the positions there are already, letting others have a turn now and then."""
        while self.discover(DISCOVERY_ROWS):  # noqa: ASYNC110 - a turn for others, no wait
            await asyncio.sleep(0)

    def discover(self, rows_max: int) -> bool:
        """Look through up to `rows_max` positions not seen yet. Whether more are left.

        Raises WatchSetFull.
        """
        count = int(self.state.meta["position_count"][0])
        stop = min(count, self._seen + rows_max)
        out = np.empty(1024, np.int64)
        while self._seen < stop:
            found, self._seen = _matching(
                self.state.tables,
                self._seen,
                stop,
                self._skus,
                self._nodes,
                self._any_sku,
                self._any_node,
                out,
            )
            self._add(out[:found])
        return self._seen < count

    def _add(self, rows: NDArray[np.int64]) -> None:
        if len(rows):
            self.rows = np.unique(np.concatenate((self.rows, rows)))
        if len(self.rows) > self._positions_max:
            raise WatchSetFull(f"{len(self.rows)} positions")

    def may_contain_new(self, row: int) -> bool:
        """Whether a position in this row has not been looked at yet."""
        return row >= self._seen

    def changed_after(self, revision: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows that changed after `revision`, at which revision), by revision. O(watch set)."""
        rows = np.empty(len(self.rows), np.int64)
        at = np.empty(len(self.rows), np.int64)
        found = _changed_after(self.state.tables, self.rows, revision, rows, at)
        order = np.argsort(at[:found], kind="stable")
        return rows[:found][order], at[:found][order]


class Watcher:
    """One stream: its watch set, and whether it has reason to look."""

    def __init__(self) -> None:
        self.set: WatchSet | None = None
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have it look."""
        self._woken.set()

    def rest(self) -> None:
        """It looks now: what comes from here on is a new reason."""
        self._woken.clear()

    async def wait(self, seconds: float) -> bool:
        """Until there is reason to look; False when `seconds` passed without one."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True


class WatchHub:
    """All watchers. Hears of every durable batch and wakes those it concerns."""

    def __init__(self, *, watches_max: int) -> None:
        self.watches_max = watches_max
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def is_full(self) -> bool:
        """Whether no further watcher may come."""
        return len(self._watchers) >= self.watches_max

    def add(self) -> Watcher:
        """A new watcher; the caller removes it."""
        watcher = Watcher()
        self._watchers.add(watcher)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """It watches no more."""
        self._watchers.discard(watcher)

    def wake_all(self) -> None:
        """Have everyone look: the server drains, or the state is another one."""
        for watcher in self._watchers:
            watcher.wake()

    def changed(self, state: State, rows: NDArray[np.int32]) -> None:
        """Positions in these rows changed, durably. O(rows + watchers)."""
        if not self._watchers:
            return
        stocks = np.empty(len(rows), np.int64)
        _stocks(state.tables, rows, stocks)
        stocks = np.unique(stocks)
        newest = int(stocks[-1]) if len(stocks) else -1
        for watcher in self._watchers:
            watched = watcher.set
            if watched is None:
                continue
            if (
                watched.state is not state
                or watched.may_contain_new(newest)
                or _any_common(stocks, watched.rows)
            ):
                watcher.wake()


def _any_common(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    """Whether two sorted arrays share a value. O(shorter * log longer)."""
    if len(a) > len(b):
        a, b = b, a
    if not len(a):
        return False
    places = np.searchsorted(b, a)
    places[places == len(b)] = 0
    return bool((b[places] == a).any())
