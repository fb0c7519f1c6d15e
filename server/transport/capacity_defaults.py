"""A node's pick capacity on days for which none was set: what its document says.

The ledger knows only capacities that were set. The first reservation that takes from such a day
sets it, in the same piece, right before it; two that do so at once set the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine import commands
from engine.hashing import key_of
from engine.positions import SCOPE_CAPACITY, find_position, position_key
from engine.state import State
from holdfast.v1 import network_service_pb2 as network
from holdfast.v1 import reservation_service_pb2 as messages
from server.documents import NODE
from server.transport.columns import Columns, line


def add_defaults(
    columns: Columns,
    state: State,
    takes: Iterable[messages.CapacityTakeRequest],
    caller: bytes,
) -> int:
    """Add SET_CAPACITY for node days that need it; how many."""
    wanted = {
        (take.node_capacity.node, take.node_capacity.date)
        for take in takes
        if take.WhichOneof("resource") == "node_capacity"
    }
    added = 0
    for node, day in sorted(wanted):
        units = _default(state, node)
        if units is not None and not _is_set(state, node, day):
            set_capacity(columns, commands.NODE_CAPACITY, day, node, units, caller)
            added += 1
    return added


def set_capacity(
    columns: Columns, kind: int, name: str, node: str, units: int, caller: bytes
) -> None:
    """SET_CAPACITY of a day (NODE_CAPACITY) or a slot (CARRIER_SLOT) at a node."""
    encoded = name.encode()
    columns.add(
        commands.SET_CAPACITY,
        caller=caller,
        lines=[
            line(
                sku=encoded,
                node=node.encode(),
                quantity=units,
                kind=kind,
                text_bytes=len(encoded),
            )
        ],
        line_texts=[encoded],
    )


def _default(state: State, node: str) -> int | None:
    kept = state.documents.get((NODE, node))
    if kept is None:
        return None
    document = network.Node.FromString(kept[0])
    return document.pick_capacity_per_day if document.HasField("pick_capacity_per_day") else None


def _is_set(state: State, node: str, day: str) -> bool:
    keys = np.uint64(key_of(day.encode())), np.uint64(key_of(node.encode()))
    return bool(find_position(state.tables, position_key(*keys, SCOPE_CAPACITY)) >= 0)
