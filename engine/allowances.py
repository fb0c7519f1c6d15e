"""What may be promised besides stock: capacity, channels' fences, owners' purchase limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, tables
from engine.balances import write_balance
from engine.compiled import Integer, kernel
from engine.hashing import combine
from engine.names import define_name, find_name
from engine.positions import (
    SCOPE_CAPACITY,
    SCOPE_SLOT,
    change,
    find_position,
    make_position,
    mark_short,
    need_stock,
    position_key,
)
from engine.waiting import serve_backorders

NONE = tables.NONE
_ZERO = np.uint64(0)


@kernel
def set_capacity(
    st: Any,
    line: Any,
    text: NDArray[np.uint8],
    text_at: int,
    outcome: Any,
    details: NDArray[np.void],
    at: int,
) -> Integer:
    """Set a node's pick capacity on a day, or a carrier's pickup slot (node 0: any node). Details
    written.

    What was used up by shipments stays used: setting the same capacity twice changes nothing.
    """
    node = NONE
    if line.node_key != _ZERO:
        node = find_name(st, commands.NODE, line.node_key)
        if node < 0:
            outcome.code = outcomes.NODE_NOT_FOUND
            return 0
    slot = line.kind == commands.CARRIER_SLOT
    key = position_key(line.sku_key, line.node_key, SCOPE_SLOT if slot else SCOPE_CAPACITY)
    row = find_position(st, key)
    if row < 0:
        kind = commands.SLOT if slot else commands.DATE
        name = define_name(st, kind, line.sku_key, text, text_at, text_at + line.text_bytes)
        if name < 0:
            outcome.code = -name
            return 0
        row = make_position(st, key, tables.CAPACITY, name, node, NONE)
        if row < 0:
            outcome.code = -row
            return 0

    # From here it must succeed.
    left = line.quantity + np.int64(st.withheld[row].movement_base)
    change(st, row, left - np.int64(st.positions[row].on_hand), 0, 0)
    mark_short(st, row)
    outcome.affected = row
    return write_balance(st, details, at, 0, row, 0) - at


@kernel
def set_channel_fence(
    st: Any, line: Any, outcome: Any, details: NDArray[np.void], at: int
) -> Integer:
    """Set apart units of a stock that only one channel may sell. Details written."""
    channel = find_name(st, commands.CHANNEL, line.scope_key)
    if channel < 0:
        outcome.code = outcomes.CHANNEL_NOT_FOUND
        return 0
    stock = need_stock(st, line.sku_key, line.node_key)
    if stock < 0:
        outcome.code = -stock
        return 0
    key = combine(st.positions[stock].key, line.scope_key)
    row = find_position(st, key)
    if row < 0:
        position = st.positions[stock]
        row = make_position(
            st, key, tables.FENCE, np.int64(position.sku), np.int64(position.node), channel
        )
        if row < 0:
            outcome.code = -row
            return 0
        st.positions[row].link = stock

    # From here it must succeed.
    st.positions[stock].flags |= tables.FENCED
    change(st, row, line.quantity - np.int64(st.positions[row].on_hand), 0, 0)
    mark_short(st, row)
    serve_backorders(st, stock)
    outcome.affected = row
    return write_balance(st, details, at, 0, row, 0) - at


@kernel
def set_purchase_limit(st: Any, header: Any, line: Any, outcome: Any) -> None:
    """Units of a SKU that one owner may buy, or with UNLIMITED no limit. O(positions)."""
    sku = find_name(st, commands.SKU, line.sku_key)
    if sku < 0:
        outcome.code = outcomes.SKU_NOT_FOUND
        return
    name = st.names[sku]
    before = np.int64(name.first)
    limited = (header.flags & commands.UNLIMITED) == 0
    limit = np.int64(line.quantity) if limited else np.int64(0)
    for row in range(st.meta[0].position_count):
        position = st.positions[row]
        if position.sku != sku:
            continue
        if position.kind == tables.STOCK:
            if limited:
                position.flags |= tables.LIMITED
            else:
                position.flags &= ~np.uint8(tables.LIMITED)
        elif position.kind == tables.LIMIT:
            change(st, row, limit - before, 0, 0)
            mark_short(st, row)
    name.first = limit
    if limited:
        name.flags |= tables.SKU_HAS_LIMIT
    else:
        name.flags &= ~np.uint8(tables.SKU_HAS_LIMIT)
    outcome.affected = sku
