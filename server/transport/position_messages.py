"""Positions as messages: from the numbers of `position_columns`, or as an answer tells them."""

from __future__ import annotations

import numpy as np

from engine import commands
from holdfast.v1 import availability_service_pb2 as availability
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import types_pb2
from server.transport.names import Names, PositionNames
from server.transport.render import timestamp

BUCKETS = ("safety_stock", "damaged", "quality_control", "frozen")
_SUPPLY_KINDS = {
    commands.PURCHASE_ORDER: inventory.SUPPLY_TYPE_PURCHASE_ORDER,
    commands.TRANSFER_SUPPLY: inventory.SUPPLY_TYPE_TRANSFER,
    commands.PREORDER: inventory.SUPPLY_TYPE_PREORDER,
}


def _withheld(numbers: np.void) -> types_pb2.WithheldQuantities:
    return types_pb2.WithheldQuantities(**{name: int(numbers[name]) for name in BUCKETS})


def inventory_position(numbers: np.void, sku: str, node: str) -> inventory.InventoryPosition:
    """The balances of one SKU at one node, from `position_columns.NUMBERS`."""
    return _inventory_position(numbers, sku, node, update_ms=int(numbers["update_ms"]))


def told_position(told: np.void, sku: str, node: str) -> inventory.InventoryPosition:
    """The balances of one SKU at one node, from `engine.outcomes.BALANCE`."""
    update_ms = int(told["update_low"]) | int(told["update_high"]) << 16
    return _inventory_position(told, sku, node, update_ms=update_ms)


def _inventory_position(
    numbers: np.void, sku: str, node: str, *, update_ms: int
) -> inventory.InventoryPosition:
    on_hand, held, committed = (int(numbers[name]) for name in ("on_hand", "held", "committed"))
    available = on_hand - held - committed
    available -= sum(int(numbers[name]) for name in BUCKETS)
    made = inventory.InventoryPosition(
        sku=sku,
        node=node,
        on_hand=on_hand,
        held=held,
        committed=committed,
        withheld=_withheld(numbers),
        available=available,
        incoming=int(numbers["incoming"]),
        in_transit=int(numbers["in_transit"]),
        supply_promised=int(numbers["supply_promised"]),
        shortfall=max(0, -available),
        backorder_limit=int(numbers["backorder_limit"]),
        backordered=int(numbers["backordered"]),
        etag=int(numbers["changed_revision"]),
    )
    if numbers["count_ms"]:
        made.count_time.CopyFrom(timestamp(int(numbers["count_ms"])))
    if update_ms:
        made.update_time.CopyFrom(timestamp(update_ms))
    return made


def supply_message(told: np.void, names: Names, source_node: str = "") -> inventory.Supply:
    """A supply, from `engine.outcomes.BALANCE`; `source_node` where the request says it."""
    called = names.position(int(told["position"]))
    standing = inventory.Supply.STATE_OPEN
    if not told["open"]:
        standing = inventory.Supply.STATE_CANCELLED
        if told["received"] > 0:
            standing = inventory.Supply.STATE_RECEIVED
    return inventory.Supply(
        supply_id=called.scope,
        sku=called.sku,
        node=called.node,
        type=_SUPPLY_KINDS.get(int(told["type"]), inventory.SUPPLY_TYPE_UNSPECIFIED),
        quantity=int(told["on_hand"]),
        promised_quantity=int(told["held"]) + int(told["committed"]),
        received_quantity=int(told["received"]),
        expected_time=timestamp(int(told["expected_ms"])),
        state=standing,
        source_node=source_node or names.text(int(told["source"]) - 1),
        etag=int(told["changed_revision"]),
    )


def _free(told: np.void) -> int:
    return int(told["on_hand"]) - int(told["held"]) - int(told["committed"])


def capacity_message(told: np.void, called: PositionNames) -> inventory.Capacity:
    """A capacity, from `engine.outcomes.BALANCE` and its names."""
    made = inventory.Capacity(
        quantity=int(told["on_hand"]) + int(told["used_up"]),
        held=int(told["held"]),
        committed=int(told["committed"]),
        available=_free(told),
    )
    if called.is_slot:
        made.carrier_slot.slot, made.carrier_slot.node = called.sku, called.node
    else:
        made.node_capacity.date, made.node_capacity.node = called.sku, called.node
    return made


def fence_message(told: np.void, called: PositionNames) -> inventory.ChannelFence:
    """A ring-fence, from `engine.outcomes.BALANCE` and its names."""
    return inventory.ChannelFence(
        channel=called.scope,
        sku=called.sku,
        node=called.node,
        quantity=int(told["on_hand"]),
        held=int(told["held"]),
        committed=int(told["committed"]),
        available=_free(told),
    )


def position_availability(
    numbers: np.void, sku: str, node: str, *, now_ms: int
) -> availability.PositionAvailability:
    """What may be promised of one SKU at one node."""
    available = int(numbers["available"])
    made = availability.PositionAvailability(
        sku=sku,
        node=node,
        on_hand=int(numbers["on_hand"]),
        held=int(numbers["held"]),
        committed=int(numbers["committed"]),
        withheld=_withheld(numbers),
        available=available,
        available_to_promise=int(numbers["available_to_promise"]),
        available_to_sell=int(numbers["available_to_sell"]),
        incoming=int(numbers["incoming"]),
        in_transit=int(numbers["in_transit"]),
        shortfall=max(0, -available),
        as_of_time=timestamp(now_ms),
        backorder_available=max(0, int(numbers["backorder_limit"]) - int(numbers["backordered"])),
    )
    if numbers["next_ms"]:
        made.next_available_time.CopyFrom(timestamp(int(numbers["next_ms"])))
    return made
