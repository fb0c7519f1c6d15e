"""Positions: the balances of everything countable, and the one way to change them.

Per position ``available = on_hand - held - committed - withheld``; for stock, what the fences of
channels may still sell is set apart from that in `fenced`.

Invariants
1. Balances change through `change` and `withhold` alone; both keep `fenced` and `changed` true.
2. ``stock.fenced`` is the sum over its fences of max(0, available).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import commands, index, outcomes, tables
from engine.compiled import Integer, inlined, kernel
from engine.hashing import combine
from engine.names import find_name

NONE = tables.NONE
STOCK = tables.STOCK
FENCE = tables.FENCE
FENCED = tables.FENCED
LIMITED = tables.LIMITED
SHORT = tables.SHORT
SKU_HAS_LIMIT = tables.SKU_HAS_LIMIT
POSITIONS_FULL = outcomes.POSITIONS_FULL

# Tags that keep the keys of different kinds of positions apart.
_SCOPE_STOCK = np.uint64(0)
SCOPE_CAPACITY = np.uint64(1)
SCOPE_SLOT = np.uint64(2)
SCOPE_BACKORDER = np.uint64(3)
SCOPE_LIMIT = np.uint64(4)
SCOPE_SUPPLY = np.uint64(5)


@kernel
def carries_units(kind: int) -> bool:
    """Whether takes of such a position are a line's own units, not shares in an allowance."""
    return kind == STOCK or kind == tables.SUPPLY


@kernel
def position_key(sku_key: np.uint64, node_key: np.uint64, scope_key: np.uint64) -> np.uint64:
    """Key of a position; scope 0 is the stock itself."""
    key = combine(np.uint64(sku_key), np.uint64(node_key))
    return key if scope_key == _SCOPE_STOCK else combine(key, np.uint64(scope_key))


@inlined
def find_position(st: Any, key: np.uint64) -> Integer:
    """Row of the position, or NONE."""
    slots = st.position_index
    mask = slots.shape[0] - 1
    at = index.probe(slots, key, index.home(slots, key))
    while at >= 0:
        row = index.row_at(slots, at)
        if st.positions[row].key == key:
            return row
        at = index.probe(slots, key, (at + 1) & mask)
    return NONE


@inlined
def find_stock(st: Any, sku_key: np.uint64, node_key: np.uint64) -> Integer:
    """Row of a SKU's stock at a node, or NONE."""
    return find_position(st, combine(np.uint64(sku_key), np.uint64(node_key)))


@kernel
def make_position(st: Any, key: np.uint64, kind: int, sku: int, node: int, scope: int) -> Integer:
    """A new empty position, or -POSITIONS_FULL."""
    meta = st.meta[0]
    row = meta.position_count
    if row >= st.positions.shape[0]:
        return -POSITIONS_FULL

    # From here it must succeed.
    meta.position_count += 1
    position = st.positions[row]
    position.key = key
    position.kind = kind
    position.flags = 0
    position.sku = sku
    position.node = node
    position.scope = scope
    position.on_hand = 0
    position.held = 0
    position.committed = 0
    position.withheld = 0
    position.fenced = 0
    position.link = NONE
    position.movement = NONE
    position.changed_revision = 0
    index.insert(st.position_index, key, row)
    touch(st, row)
    return row


@kernel
def need_stock(st: Any, sku_key: np.uint64, node_key: np.uint64) -> Integer:
    """Row of a SKU's stock at a node, made if it is new; else minus a reason."""
    key = combine(np.uint64(sku_key), np.uint64(node_key))
    row = find_position(st, key)
    if row >= 0:
        return row
    sku = find_name(st, commands.SKU, sku_key)
    if sku < 0:
        return -outcomes.SKU_NOT_FOUND
    node = find_name(st, commands.NODE, node_key)
    if node < 0:
        return -outcomes.NODE_NOT_FOUND
    row = make_position(st, key, STOCK, sku, node, NONE)
    if row >= 0 and st.names[sku].flags & SKU_HAS_LIMIT:
        st.positions[row].flags |= LIMITED
    return row


@kernel
def available(st: Any, row: int) -> Integer:
    """Units that may be promised now; below 0 is a shortfall."""
    position = st.positions[row]
    return np.int64(position.on_hand) - position.held - position.committed - position.withheld


@kernel
def touch(st: Any, row: int) -> None:
    """Note that the running command changes this position. O(1)."""
    meta = st.meta[0]
    position = st.positions[row]
    if position.changed_revision <= meta.batch_revision:
        if meta.changed_count < st.changed.shape[0]:
            st.changed[meta.changed_count] = row
            meta.changed_count += 1
        else:
            meta.changed_overflow = 1
    position.changed_revision = meta.revision + 1


@kernel
def _settle(st: Any, row: int, before: int) -> None:
    """After a balance changed: carry a fence's rest into its stock, keep the SHORT flag true."""
    position = st.positions[row]
    after = available(st, row)
    if position.kind == FENCE:
        st.positions[position.link].fenced += max(0, after) - max(0, before)
        touch(st, position.link)
    if position.flags & SHORT:
        if after >= 0:
            position.flags &= ~np.uint8(SHORT)
        if position.kind == STOCK:
            st.meta[0].short_units += max(0, -after) - max(0, -before)
    touch(st, row)


@kernel
def change(st: Any, row: int, on_hand: int, held: int, committed: int) -> None:
    """Add to a position's balances. Exactly undone by the negated call."""
    before = available(st, row)
    position = st.positions[row]
    position.on_hand += on_hand
    position.held += held
    position.committed += committed
    _settle(st, row, before)


@kernel
def withhold(st: Any, row: int, bucket: int, units: int) -> None:
    """Add to one of a position's withheld buckets."""
    before = available(st, row)
    buckets = st.withheld[row]
    if bucket == commands.SAFETY_STOCK:
        buckets.safety_stock += units
    elif bucket == commands.DAMAGED:
        buckets.damaged += units
    elif bucket == commands.QUALITY_CONTROL:
        buckets.quality_control += units
    else:
        buckets.frozen += units
    st.positions[row].withheld += units
    _settle(st, row, before)


@kernel
def withheld_in(st: Any, row: int, bucket: int) -> Integer:
    """Units in one of a position's withheld buckets."""
    buckets = st.withheld[row]
    if bucket == commands.SAFETY_STOCK:
        return np.int64(buckets.safety_stock)
    if bucket == commands.DAMAGED:
        return np.int64(buckets.damaged)
    if bucket == commands.QUALITY_CONTROL:
        return np.int64(buckets.quality_control)
    return np.int64(buckets.frozen)


@kernel
def mark_short(st: Any, row: int) -> None:
    """A count or a smaller supply left less than is promised: flag it until it is made good."""
    short = -available(st, row)
    position = st.positions[row]
    if short > 0 and not position.flags & SHORT:
        position.flags |= SHORT
        if position.kind == STOCK:
            st.meta[0].short_units += short


@kernel
def sellable(st: Any, row: int, channel_key: np.uint64, fence: int) -> Integer:
    """Units of stock that a caller of this channel may take; `fence` is its fence's row or NONE."""
    free = available(st, row)
    position = st.positions[row]
    if not position.flags & FENCED:
        return max(0, free)
    own = 0
    if fence >= 0:
        own = max(0, available(st, fence))
    return max(0, min(free, own + max(0, free - position.fenced)))


@kernel
def find_fence(st: Any, row: int, channel_key: np.uint64) -> Integer:
    """Row of the channel's fence on a stock position, or NONE."""
    position = st.positions[row]
    if channel_key == np.uint64(0) or not position.flags & FENCED:
        return NONE
    return find_position(st, combine(position.key, np.uint64(channel_key)))
