"""Reading many positions at once: their numbers as columns, for every reply that shows balances.

One compiled pass over the rows asked for; its cost does not depend on how many reservations are
open. The numbers are those of one moment: nothing is applied while a pass runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, reservations, tables
from engine.balances import last_count_ms, update_ms
from engine.compiled import kernel
from engine.hashing import key_of
from engine.positions import available, find_fence, find_stock
from engine.state import State

NUMBERS = np.dtype(
    [
        (name, "i8")
        for name in (
            "row",  # -1: nothing was ever recorded
            "sku",  # name row
            "node",
            "on_hand",
            "held",
            "committed",
            "safety_stock",
            "damaged",
            "quality_control",
            "frozen",
            "available",
            "available_to_promise",
            "available_to_sell",
            "incoming",
            "in_transit",
            "supply_promised",
            "backorder_limit",
            "backordered",
            "next_ms",
            "count_ms",
            "update_ms",
            "changed_revision",
        )
    ]
)

_BEYOND = tables.BACKORDER_SUPPLY
_TRANSFER = commands.TRANSFER_SUPPLY
_FENCED = tables.FENCED


@kernel
def _read_stock(
    st: Any,
    row: int,
    channel_key: np.uint64,
    need_by_ms: int,
    own: int,
    own_fenced: int,
    numbers: Any,
) -> None:
    """The numbers of one stock position; `own` units are counted as free."""
    position = st.positions[row]
    free = available(st, row) + own
    numbers.row = row
    numbers.sku = position.sku
    numbers.node = position.node
    numbers.on_hand = position.on_hand
    numbers.held = position.held - own
    numbers.committed = position.committed
    numbers.safety_stock = st.withheld[row].safety_stock
    numbers.damaged = st.withheld[row].damaged
    numbers.quality_control = st.withheld[row].quality_control
    numbers.frozen = st.withheld[row].frozen
    numbers.available = free
    numbers.changed_revision = position.changed_revision
    promise = np.int64(0)
    incoming = np.int64(0)
    in_transit = np.int64(0)
    promised = np.int64(0)
    numbers.backorder_limit = 0
    numbers.backordered = 0
    numbers.next_ms = 0
    at = np.int64(position.link)
    while at >= 0:
        supply = st.supplies[at]
        told = st.positions[supply.position]
        units = np.int64(told.held) + told.committed
        if supply.type == _BEYOND:
            numbers.backorder_limit = told.on_hand
            numbers.backordered = units
        else:
            left = available(st, supply.position)
            promised += units
            if numbers.next_ms == 0 and left > 0:
                numbers.next_ms = supply.expected_ms
            if need_by_ms == 0 or supply.expected_ms <= need_by_ms:
                if need_by_ms != 0:
                    promise += left
                if supply.type == _TRANSFER:
                    in_transit += told.on_hand
                else:
                    incoming += told.on_hand
        at = np.int64(supply.next)
    numbers.incoming = incoming
    numbers.in_transit = in_transit
    numbers.supply_promised = promised
    numbers.available_to_promise = free + promise
    sell = free
    if position.flags & _FENCED:
        mine = np.int64(0)
        fence = find_fence(st, row, channel_key)
        if fence >= 0:
            mine = max(np.int64(0), available(st, fence) + own_fenced)
        # What other channels' fences keep; the owner's own fenced holds come back to its fence.
        shared = max(np.int64(0), free - position.fenced - own_fenced)
        sell = min(free, mine + shared)
    numbers.available_to_sell = sell + promise
    numbers.update_ms = update_ms(st, row)
    numbers.count_ms = last_count_ms(st, row)


@kernel
def _clear(numbers: Any) -> None:
    numbers.row = -1
    numbers.sku = -1
    numbers.node = -1
    numbers.on_hand = 0
    numbers.held = 0
    numbers.committed = 0
    numbers.safety_stock = 0
    numbers.damaged = 0
    numbers.quality_control = 0
    numbers.frozen = 0
    numbers.available = 0
    numbers.available_to_promise = 0
    numbers.available_to_sell = 0
    numbers.incoming = 0
    numbers.in_transit = 0
    numbers.supply_promised = 0
    numbers.backorder_limit = 0
    numbers.backordered = 0
    numbers.next_ms = 0
    numbers.count_ms = 0
    numbers.update_ms = 0
    numbers.changed_revision = 0


@kernel
def _read(
    st: Any,
    rows: NDArray[np.int64],
    channel_key: np.uint64,
    need_by_ms: int,
    own: NDArray[np.int64],
    own_fenced: NDArray[np.int64],
    out: NDArray[np.void],
) -> None:
    for i in range(rows.shape[0]):
        if rows[i] < 0:
            _clear(out[i])
        else:
            _read_stock(st, rows[i], channel_key, need_by_ms, own[i], own_fenced[i], out[i])


@kernel
def _sum_owned(
    st: Any,
    owner_key: np.uint64,
    sorted_rows: NDArray[np.int64],
    units: NDArray[np.int64],
    fenced: NDArray[np.int64],
    channel_key: np.uint64,
) -> None:
    """Units the owner's open holds take from each of the rows, and from the channel's fence."""
    row = reservations.first_owned(st, owner_key)
    while row >= 0:
        take_row = np.int64(st.reservations[row].first_take)
        while take_row >= 0:
            take = st.takes[take_row]
            position = st.positions[take.position]
            of_fence = position.kind == tables.FENCE
            wanted = np.int64(position.link) if of_fence else np.int64(take.position)
            at = np.searchsorted(sorted_rows, wanted)
            if at < sorted_rows.shape[0] and sorted_rows[at] == wanted:
                if not of_fence:
                    units[at] += take.quantity
                elif find_fence(st, wanted, channel_key) == take.position:
                    fenced[at] += take.quantity
            take_row = np.int64(take.next)
        row = np.int64(st.reservations[row].next_owned)


@kernel
def _find(
    st: Any, sku_keys: NDArray[np.uint64], node_keys: NDArray[np.uint64], out: NDArray[np.int64]
) -> None:
    for i in range(sku_keys.shape[0]):
        for j in range(node_keys.shape[0]):
            out[i, j] = find_stock(st, sku_keys[i], node_keys[j])


def find_rows(
    state: State, sku_keys: NDArray[np.uint64], node_keys: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Stock rows of every SKU at every node, shape (skus, nodes); -1 where there never was any."""
    out = np.empty((len(sku_keys), len(node_keys)), np.int64)
    _find(state.tables, sku_keys, node_keys, out)
    return out


def read_positions(
    state: State,
    rows: NDArray[np.int64],
    *,
    channel: str = "",
    need_by_ms: int = 0,
    owner: str = "",
) -> NDArray[np.void]:
    """The numbers (`NUMBERS`) of these stock rows; zeros for -1. O(rows + the owner's holds)."""
    out = np.empty(len(rows), NUMBERS)
    channel_key = np.uint64(key_of(channel.encode()) if channel else 0)
    own = np.zeros(len(rows), np.int64)
    own_fenced = np.zeros(len(rows), np.int64)
    if owner:
        order = np.argsort(rows, kind="stable")
        units = np.zeros(len(rows), np.int64)
        fenced = np.zeros(len(rows), np.int64)
        owner_key = np.uint64(key_of(owner.encode()))
        _sum_owned(state.tables, owner_key, rows[order], units, fenced, channel_key)
        own[order] = units
        own_fenced[order] = fenced
    _read(state.tables, rows, channel_key, need_by_ms, own, own_fenced, out)
    return out
