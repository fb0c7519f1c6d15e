"""Calls of InventoryService about countable limits beside stock."""

from __future__ import annotations

from typing import Any

from holdfast.calls.call import Call, Method, request_id_of, timeout_s
from holdfast.calls.paging import Pages
from holdfast.codec import read, write
from holdfast.times import Span
from holdfast.v1 import inventory_service_pb2 as wire
from holdfast.values.capacities import (
    Capacity,
    CarrierSlot,
    ChannelFence,
    NodeCapacity,
    PurchaseLimit,
)

_SERVICE = "InventoryService"
SET_CAPACITY = Method(_SERVICE, "SetCapacity", wire.SetCapacityResponse)
LIST_CAPACITIES = Method(_SERVICE, "ListCapacities", wire.ListCapacitiesResponse)
SET_FENCE = Method(_SERVICE, "SetChannelFence", wire.SetChannelFenceResponse)
LIST_FENCES = Method(_SERVICE, "ListChannelFences", wire.ListChannelFencesResponse)
SET_PURCHASE_LIMIT = Method(_SERVICE, "SetPurchaseLimit", wire.SetPurchaseLimitResponse)


def set_capacity(
    resource: NodeCapacity | CarrierSlot,
    quantity: int | None,
    *,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Capacity | None]:
    """Set a node's capacity on a day, or a carrier slot's; None: no limit any more.

    Returns the capacity and its use, None when it was removed.
    """
    request = wire.SetCapacityRequest(request_id=request_id_of(request_id))
    if isinstance(resource, NodeCapacity):
        write(resource, request.node_capacity)
    else:
        write(resource, request.carrier_slot)
    if quantity is not None:
        request.quantity = quantity
    return Call(SET_CAPACITY, request, _capacity, timeout_s(timeout), request.request_id)


def capacities(
    *, node: str = "", page_size: int = 0, timeout: Span | None = None
) -> Pages[Capacity]:
    """Go through capacities and their use, page by page."""
    request = wire.ListCapacitiesRequest(node=node, page_size=page_size)
    return Pages(
        LIST_CAPACITIES,
        request,
        lambda reply: [read(Capacity, each) for each in reply.capacities],
        timeout_s(timeout),
    )


def set_channel_fence(
    channel: str,
    sku: str,
    node: str,
    quantity: int | None,
    *,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[ChannelFence | None]:
    """Set aside units of a position for one channel; None: no fence any more."""
    request = wire.SetChannelFenceRequest(
        request_id=request_id_of(request_id), channel=channel, sku=sku, node=node
    )
    if quantity is not None:
        request.quantity = quantity
    return Call(SET_FENCE, request, _fence, timeout_s(timeout), request.request_id)


def channel_fences(
    *,
    channel: str = "",
    sku: str = "",
    node: str = "",
    page_size: int = 0,
    timeout: Span | None = None,
) -> Pages[ChannelFence]:
    """Go through ring-fences and their use, page by page."""
    request = wire.ListChannelFencesRequest(
        channel=channel, sku=sku, node=node, page_size=page_size
    )
    return Pages(
        LIST_FENCES,
        request,
        lambda reply: [read(ChannelFence, each) for each in reply.channel_fences],
        timeout_s(timeout),
    )


def set_purchase_limit(
    sku: str,
    quantity: int | None,
    *,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[PurchaseLimit]:
    """Set how many units of a SKU one owner may have, from now on; None: no limit any more."""
    request = wire.SetPurchaseLimitRequest(request_id=request_id_of(request_id), sku=sku)
    if quantity is not None:
        request.quantity = quantity
    return Call(SET_PURCHASE_LIMIT, request, _limit, timeout_s(timeout), request.request_id)


def _capacity(reply: wire.SetCapacityResponse) -> Capacity | None:
    return read(Capacity, reply.capacity) if reply.HasField("capacity") else None


def _fence(reply: wire.SetChannelFenceResponse) -> ChannelFence | None:
    return read(ChannelFence, reply.channel_fence) if reply.HasField("channel_fence") else None


def _limit(reply: Any) -> PurchaseLimit:
    return read(PurchaseLimit, reply)
