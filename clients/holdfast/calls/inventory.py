"""Calls of InventoryService about balances: positions, counts, transfers, feeds' neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from holdfast.calls.call import Call, Method, request_id_of, timeout_s
from holdfast.calls.paging import Pages
from holdfast.codec import read, write
from holdfast.times import Span, to_timestamp
from holdfast.v1 import inventory_service_pb2 as wire
from holdfast.values.inventory import (
    Adjustment,
    Count,
    CountChange,
    InventoryMovement,
    InventoryPosition,
    PositionChange,
    TransferChange,
    TransferLine,
    Verification,
    Withholding,
)

_SERVICE = "InventoryService"
GET_POSITION = Method(_SERVICE, "GetInventoryPosition", wire.GetInventoryPositionResponse)
LIST_POSITIONS = Method(_SERVICE, "ListInventoryPositions", wire.ListInventoryPositionsResponse)
ADJUST = Method(_SERVICE, "AdjustInventory", wire.AdjustInventoryResponse)
COUNT = Method(_SERVICE, "CountInventory", wire.CountInventoryResponse)
TRANSFER = Method(_SERVICE, "TransferInventory", wire.TransferInventoryResponse)
WITHHOLD = Method(_SERVICE, "WithholdInventory", wire.WithholdInventoryResponse)
LIST_MOVEMENTS = Method(_SERVICE, "ListInventoryMovements", wire.ListInventoryMovementsResponse)
VERIFY = Method(_SERVICE, "VerifyInventory", wire.VerifyInventoryResponse, slow=True)


def position(sku: str, node: str, *, timeout: Span | None = None) -> Call[InventoryPosition]:
    """Read the balances of one SKU at one node.

    Raises PositionNotFound, SkuNotFound, NodeNotFound.
    """
    request = wire.GetInventoryPositionRequest(sku=sku, node=node)
    return Call(GET_POSITION, request, _position, timeout_s(timeout), is_read=True)


def positions(
    *,
    sku: str = "",
    node: str = "",
    shortfall_only: bool = False,
    page_size: int = 0,
    timeout: Span | None = None,
) -> Pages[InventoryPosition]:
    """Go through the positions that match every given filter, page by page."""
    request = wire.ListInventoryPositionsRequest(
        sku=sku, node=node, shortfall_only=shortfall_only, page_size=page_size
    )
    return Pages(
        LIST_POSITIONS,
        request,
        lambda reply: [read(InventoryPosition, each) for each in reply.positions],
        timeout_s(timeout),
    )


def adjust(
    adjustments: Iterable[Adjustment],
    *,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[PositionChange]:
    """Add to on_hand, or take from it where negative: all adjustments or none.

    Raises InsufficientStock when more would be taken than is available.
    """
    request = wire.AdjustInventoryRequest(request_id=request_id_of(request_id))
    for adjustment in adjustments:
        write(adjustment, request.adjustments.add())
    return Call(ADJUST, request, _change, timeout_s(timeout), request.request_id)


def count(
    counts: Iterable[Count], *, request_id: str | None = None, timeout: Span | None = None
) -> Call[CountChange]:
    """Set on_hand to what was counted: all counts or none.

    Movements the ledger recorded after a count's `as_of_time` are netted, and holds are never
    wiped; where less was found than is promised, `shortfall_policy` says what happens. Raises
    CountOutOfDate when a later count is already known.
    """
    request = wire.CountInventoryRequest(request_id=request_id_of(request_id))
    for each in counts:
        write(each, request.counts.add())
    return Call(COUNT, request, _count_change, timeout_s(timeout), request.request_id)


def transfer(
    source_node: str,
    destination_node: str,
    lines: Iterable[TransferLine],
    *,
    expected_time: datetime | None = None,
    reference: str = "",
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[TransferChange]:
    """Move units from node to node, all lines or none.

    At once; or, with `expected_time`, as supplies in transit until `receive_supply`. Raises
    InsufficientStock, NodeFrozen.
    """
    request = wire.TransferInventoryRequest(
        request_id=request_id_of(request_id),
        source_node=source_node,
        destination_node=destination_node,
        reference=reference,
    )
    for line in lines:
        write(line, request.lines.add())
    if expected_time is not None:
        request.expected_time.CopyFrom(to_timestamp(expected_time))
    return Call(TRANSFER, request, _transfer, timeout_s(timeout), request.request_id)


def withhold(
    withholdings: Iterable[Withholding],
    *,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[PositionChange]:
    """Move units between available and a withheld bucket, all entries or none.

    Raises InsufficientStock when more would be withheld than is available.
    """
    request = wire.WithholdInventoryRequest(request_id=request_id_of(request_id))
    for withholding in withholdings:
        write(withholding, request.withholdings.add())
    return Call(WITHHOLD, request, _change, timeout_s(timeout), request.request_id)


def movements(
    *,
    sku: str = "",
    node: str = "",
    reservation_id: str = "",
    request_id: str = "",
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    page_size: int = 0,
    timeout: Span | None = None,
) -> Pages[InventoryMovement]:
    """Go through what changed the balances, oldest first, page by page."""
    request = wire.ListInventoryMovementsRequest(
        sku=sku,
        node=node,
        reservation_id=reservation_id,
        request_id=request_id,
        page_size=page_size,
    )
    if start_time is not None:
        request.start_time.CopyFrom(to_timestamp(start_time))
    if end_time is not None:
        request.end_time.CopyFrom(to_timestamp(end_time))
    return Pages(
        LIST_MOVEMENTS,
        request,
        lambda reply: [read(InventoryMovement, each) for each in reply.movements],
        timeout_s(timeout),
    )


def verify(
    *,
    sku: str = "",
    node: str = "",
    skip_state_hash: bool = False,
    timeout: Span | None = None,
) -> Call[Verification]:
    """Recompute every balance from reservations and movements, and report differences."""
    request = wire.VerifyInventoryRequest(sku=sku, node=node, skip_state_hash=skip_state_hash)
    return Call(VERIFY, request, _verification, timeout_s(timeout), is_read=True)


def _position(reply: Any) -> InventoryPosition:
    return read(InventoryPosition, reply.position)


def _change(reply: Any) -> PositionChange:
    return read(PositionChange, reply)


def _count_change(reply: Any) -> CountChange:
    return read(CountChange, reply)


def _transfer(reply: Any) -> TransferChange:
    return read(TransferChange, reply)


def _verification(reply: Any) -> Verification:
    return read(Verification, reply)
