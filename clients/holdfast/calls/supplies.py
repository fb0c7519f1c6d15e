"""Calls of InventoryService about what comes: supplies and backorders."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from holdfast.calls.call import Call, Method, request_id_of, timeout_s
from holdfast.calls.paging import Pages
from holdfast.codec import read, write_enum
from holdfast.times import Span, to_timestamp
from holdfast.v1 import inventory_service_pb2 as wire
from holdfast.values.inventory import (
    InventoryPosition,
    ShortfallPolicy,
    Supply,
    SupplyChange,
    SupplyReceipt,
    SupplyState,
    SupplyType,
)

_SERVICE = "InventoryService"
UPSERT = Method(_SERVICE, "UpsertSupply", wire.UpsertSupplyResponse)
RECEIVE = Method(_SERVICE, "ReceiveSupply", wire.ReceiveSupplyResponse)
CANCEL = Method(_SERVICE, "CancelSupply", wire.CancelSupplyResponse)
LIST = Method(_SERVICE, "ListSupplies", wire.ListSuppliesResponse)
SET_BACKORDER_LIMIT = Method(_SERVICE, "SetBackorderLimit", wire.SetBackorderLimitResponse)


def upsert_supply(
    supply_id: str,
    sku: str,
    node: str,
    quantity: int,
    expected_time: datetime,
    *,
    type: SupplyType = SupplyType.PURCHASE_ORDER,
    source_node: str = "",
    shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[SupplyChange]:
    """Announce `quantity` units of `sku` at `node`, or change what was announced.

    Raises SupplyClosed, SupplyExists, SkuNotFound, NodeNotFound, LedgerLimitReached.
    """
    request = wire.UpsertSupplyRequest(
        request_id=request_id_of(request_id),
        supply_id=supply_id,
        sku=sku,
        node=node,
        quantity=quantity,
        expected_time=to_timestamp(expected_time),
        source_node=source_node,
    )
    write_enum(request, "type", type)
    write_enum(request, "shortfall_policy", shortfall_policy)
    return Call(UPSERT, request, _change, timeout_s(timeout), request.request_id)


def receive_supply(
    supply_id: str,
    quantity: int,
    *,
    final: bool = False,
    shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED,
    reference: str = "",
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[SupplyReceipt]:
    """Receive units of a supply: they, and the reservations against them, move to on_hand.

    `final`: nothing more will come, the rest is cancelled. Raises SupplyNotFound, SupplyClosed.
    """
    request = wire.ReceiveSupplyRequest(
        request_id=request_id_of(request_id),
        supply_id=supply_id,
        quantity=quantity,
        final=final,
        reference=reference,
    )
    write_enum(request, "shortfall_policy", shortfall_policy)
    return Call(RECEIVE, request, _receipt, timeout_s(timeout), request.request_id)


def cancel_supply(
    supply_id: str,
    *,
    shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[SupplyChange]:
    """Cancel what a supply has still to bring. Raises SupplyNotFound, SupplyClosed."""
    request = wire.CancelSupplyRequest(request_id=request_id_of(request_id), supply_id=supply_id)
    write_enum(request, "shortfall_policy", shortfall_policy)
    return Call(CANCEL, request, _change, timeout_s(timeout), request.request_id)


def supplies(
    *,
    sku: str = "",
    node: str = "",
    state: SupplyState = SupplyState.UNSPECIFIED,
    page_size: int = 0,
    timeout: Span | None = None,
) -> Pages[Supply]:
    """Go through supplies by expected time, page by page."""
    request = wire.ListSuppliesRequest(sku=sku, node=node, page_size=page_size)
    write_enum(request, "state", state)
    return Pages(
        LIST,
        request,
        lambda reply: [read(Supply, each) for each in reply.supplies],
        timeout_s(timeout),
    )


def set_backorder_limit(
    sku: str,
    node: str,
    quantity: int,
    *,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[InventoryPosition]:
    """Let `quantity` units of a position be promised beyond all supply; 0: none."""
    request = wire.SetBackorderLimitRequest(
        request_id=request_id_of(request_id), sku=sku, node=node, quantity=quantity
    )
    return Call(SET_BACKORDER_LIMIT, request, _position, timeout_s(timeout), request.request_id)


def _change(reply: Any) -> SupplyChange:
    return read(SupplyChange, reply)


def _receipt(reply: Any) -> SupplyReceipt:
    return read(SupplyReceipt, reply)


def _position(reply: Any) -> InventoryPosition:
    return read(InventoryPosition, reply.position)
