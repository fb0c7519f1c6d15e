"""Whether something may be deleted: what still stands on a node, item, group, carrier, channel."""

from __future__ import annotations

from typing import Any

from engine import outcomes, reads, tables
from engine.compiled import kernel
from engine.state import State
from holdfast.v1 import network_service_pb2 as network
from server import documents
from server.transport.resources import (
    CARRIER,
    CHANNEL,
    ITEM,
    NODE,
    NODE_GROUP,
    Resource,
)


@kernel
def _position_in_use(st: Any, sku: int, node: int) -> int:
    """The first position of this SKU or node that has stock, supply or promises; -1: none."""
    for row in range(st.meta[0].position_count):
        position = st.positions[row]
        if (sku < 0 or position.sku == sku) and (node < 0 or position.node == node):
            counts = position.kind == tables.STOCK or position.kind == tables.SUPPLY
            if counts and position.on_hand != 0:
                return row
            if position.held != 0 or position.committed != 0:
                return row
    return -1


@kernel
def _channel_in_use(st: Any, channel: int) -> int:
    """1: a fence sets units aside for the channel; 2: it has an open reservation; 0: neither."""
    for row in range(st.meta[0].position_count):
        position = st.positions[row]
        used = position.on_hand != 0 or position.held != 0 or position.committed != 0
        if used and position.kind == tables.FENCE and position.scope == channel:
            return 1
    for row in range(st.meta[0].reservation_high):
        reservation = st.reservations[row]
        is_open = reservation.state == outcomes.HELD or reservation.state == outcomes.CONFIRMED
        if is_open and reservation.channel == channel:
            return 2
    return 0


def why_in_use(state: State, resource: Resource, name: str) -> str:
    """What keeps `name` from being deleted, in words; "" when nothing does. O(positions)."""
    if resource is NODE:
        row = reads.find_name(state, resource.name_kind, name)
        if row >= 0 and _position_in_use(state.tables, -1, row) >= 0:
            return "it has stock, supply or open reservations"
        return _named_by(state, documents.NODE_GROUP, "nodes", name) or _named_by(
            state, documents.CHANNEL, "nodes", name
        )
    if resource is ITEM:
        row = reads.find_name(state, resource.name_kind, name)
        if row >= 0 and _position_in_use(state.tables, row, -1) >= 0:
            return "it has stock, supply or open reservations"
    if resource is NODE_GROUP:
        return _named_by(state, documents.CHANNEL, "node_groups", name)
    if resource is CARRIER:
        return _named_by(state, documents.CARRIER_SERVICE, "carrier", name)
    if resource is CHANNEL:
        row = reads.find_name(state, resource.name_kind, name)
        found = _channel_in_use(state.tables, row) if row >= 0 else 0
        return ("", "it has ring-fences", "it has open reservations")[found]
    return ""


_MESSAGES: dict[int, Any] = {
    documents.NODE_GROUP: (network.NodeGroup, "node group"),
    documents.CHANNEL: (network.Channel, "channel"),
    documents.CARRIER_SERVICE: (network.CarrierService, "carrier service"),
}


def _named_by(state: State, kind: int, field: str, name: str) -> str:
    message, title = _MESSAGES[kind]
    for (document, key), (body, _) in state.documents.items():
        if document != kind:
            continue
        value = getattr(message.FromString(body), field)
        if name == value or (not isinstance(value, str) and name in value):
            return f"{title} {key!r} names it"
    return ""
