"""Names: every SKU, node, channel, group, supply, slot, date and owner the ledger knows.

A name is defined once and never removed, so its row may stand for it for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, index, outcomes, tables
from engine.compiled import kernel
from engine.hashing import combine

NONE = tables.NONE
GROUP = commands.GROUP
OK = outcomes.OK
NAMES_FULL = outcomes.NAMES_FULL
KEY_COLLISION = outcomes.KEY_COLLISION


@kernel
def find_name(st: Any, kind: int, key: np.uint64) -> int:
    """Row of the name of this kind, or NONE."""
    slots = st.name_index
    mask = slots.shape[0] - 1
    hashed = combine(np.uint64(key), np.uint64(kind))
    at = index.probe(slots, hashed, index.home(slots, hashed))
    while at >= 0:
        row = index.row_at(slots, at)
        if st.names[row].key == np.uint64(key) and st.names[row].kind == kind:
            return row
        at = index.probe(slots, hashed, (at + 1) & mask)
    return NONE


@kernel
def define_name(
    st: Any, kind: int, key: np.uint64, text: NDArray[np.uint8], start: int, stop: int
) -> int:
    """Row of the name, made if it is new. -NAMES_FULL or -KEY_COLLISION when it cannot be."""
    size = stop - start
    row = find_name(st, kind, key)
    if row >= 0:
        name = st.names[row]
        if name.text_bytes != size:
            return -KEY_COLLISION
        for i in range(size):
            if st.name_text[name.text_at + i] != text[start + i]:
                return -KEY_COLLISION
        return row
    meta = st.meta[0]
    row = meta.name_count
    if row >= st.names.shape[0] or meta.name_bytes + size > st.name_text.shape[0]:
        return -NAMES_FULL

    # From here it must succeed.
    name = st.names[row]
    name.key = np.uint64(key)
    name.kind = kind
    name.flags = 0
    name.first = 0
    name.count = 0
    name.text_at = meta.name_bytes
    name.text_bytes = size
    for i in range(size):
        st.name_text[meta.name_bytes + i] = text[start + i]
    meta.name_bytes += size
    meta.name_count += 1
    index.insert(st.name_index, combine(np.uint64(key), np.uint64(kind)), row)
    return row


@kernel
def define_group(
    st: Any,
    key: np.uint64,
    text: NDArray[np.uint8],
    start: int,
    stop: int,
    lines: NDArray[np.void],
    first: int,
    count: int,
) -> int:
    """Define or redefine a group as the nodes of `lines`, in that order. OK or a reason.

    A smaller group reuses its place among the members, a larger one takes a new place.
    """
    for i in range(first, first + count):
        if find_name(st, commands.NODE, lines[i].node_key) < 0:
            return outcomes.NODE_NOT_FOUND
    meta = st.meta[0]
    row = find_name(st, GROUP, key)
    fits = row >= 0 and count <= st.names[row].count
    if not fits and meta.group_member_count + count > st.group_members.shape[0]:
        return NAMES_FULL
    row = define_name(st, GROUP, key, text, start, stop)
    if row < 0:
        return -row

    # From here it must succeed.
    group = st.names[row]
    if not fits:
        group.first = meta.group_member_count
        meta.group_member_count += count
    group.count = count
    for i in range(count):
        st.group_members[group.first + i] = find_name(st, commands.NODE, lines[first + i].node_key)
    return OK
