"""Stock, pick capacity and pickup slots as they stand, straight into a problem's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.positions import available, find_fence, find_position, find_stock, sellable

_NONE = np.uint64(0)


@kernel
def read_stock(
    st: Any,
    sku_keys: NDArray[np.uint64],
    node_keys: NDArray[np.uint64],
    channel_key: np.uint64,
    units: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> None:
    """(N, L) units a channel may take of every line at every node, and the positions' rows."""
    for node in range(node_keys.shape[0]):
        for line in range(sku_keys.shape[0]):
            row = find_stock(st, sku_keys[line], node_keys[node])
            rows[node, line] = row
            units[node, line] = 0
            if row >= 0:
                fence = find_fence(st, row, channel_key)
                units[node, line] = sellable(st, row, channel_key, fence)


@kernel
def read_left(
    st: Any,
    keys: NDArray[np.uint64],
    defaults: NDArray[np.int64],
    left: NDArray[np.int64],
    known: NDArray[np.int64],
) -> None:
    """What each capacity has left, never negative; its default where none was set (known: 0)."""
    for at in range(keys.shape[0]):
        left[at] = defaults[at]
        known[at] = 0
        if keys[at] != _NONE:
            row = find_position(st, keys[at])
            if row >= 0:
                left[at] = max(np.int64(0), available(st, row))
                known[at] = 1
