"""Positions as messages, from the numbers of `position_columns`."""

from __future__ import annotations

import numpy as np

from holdfast.v1 import availability_service_pb2 as availability
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import types_pb2
from server.transport.render import timestamp


def _withheld(numbers: np.void) -> types_pb2.WithheldQuantities:
    return types_pb2.WithheldQuantities(
        safety_stock=int(numbers["safety_stock"]),
        damaged=int(numbers["damaged"]),
        quality_control=int(numbers["quality_control"]),
        frozen=int(numbers["frozen"]),
    )


def inventory_position(numbers: np.void, sku: str, node: str) -> inventory.InventoryPosition:
    """The balances of one SKU at one node."""
    available = int(numbers["available"])
    made = inventory.InventoryPosition(
        sku=sku,
        node=node,
        on_hand=int(numbers["on_hand"]),
        held=int(numbers["held"]),
        committed=int(numbers["committed"]),
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
    # The ledger keeps the time of movements only: the position's is known while none came after.
    if numbers["movement_ms"] and numbers["movement_revision"] == numbers["changed_revision"]:
        made.update_time.CopyFrom(timestamp(int(numbers["movement_ms"])))
    return made


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
