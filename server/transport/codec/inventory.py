"""Requests of InventoryService as columns. Conventions are those of `codec.reservations`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import commands, limits
from engine.commands import HEADER, LINE, CommandBatch
from engine.hashing import wide_key_of
from holdfast.v1 import inventory_service_pb2 as messages
from holdfast.v1 import types_pb2
from server.transport.codec.reservations import capacity_resource
from server.transport.columns import Columns, LineRow, line, name_key, request_key
from server.transport.validation import Checker

SHORTFALL_POLICIES = {
    types_pb2.SHORTFALL_POLICY_REPORT: commands.REPORT,
    types_pb2.SHORTFALL_POLICY_CANCEL_NEWEST_HOLDS: commands.CANCEL_NEWEST_HOLDS,
    types_pb2.SHORTFALL_POLICY_REPLAN: commands.REPLAN,
}
BUCKETS = {
    types_pb2.WITHHELD_BUCKET_SAFETY_STOCK: commands.SAFETY_STOCK,
    types_pb2.WITHHELD_BUCKET_DAMAGED: commands.DAMAGED,
    types_pb2.WITHHELD_BUCKET_QUALITY_CONTROL: commands.QUALITY_CONTROL,
    types_pb2.WITHHELD_BUCKET_FROZEN: commands.FROZEN,
}
SUPPLY_TYPES = {
    messages.SUPPLY_TYPE_PURCHASE_ORDER: commands.PURCHASE_ORDER,
    messages.SUPPLY_TYPE_TRANSFER: commands.TRANSFER_SUPPLY,
    messages.SUPPLY_TYPE_PREORDER: commands.PREORDER,
}
# An adjustment's reason is kept as its movement's; the ledger's own reasons are below this.
ADJUSTMENT_BASE = 16
_ADJUSTMENT_REASONS = {
    value: ADJUSTMENT_BASE + value
    for value in messages.AdjustmentReason.values()
    if value != messages.ADJUSTMENT_REASON_UNSPECIFIED
}


def request_id_of(check: Checker, text: str) -> bytes:
    """The id that makes a request repeatable; may be empty."""
    return check.identifier("request_id", text, "request_id_bytes_max")


def sku_of(check: Checker, text: str, path: str = "") -> bytes:
    """A SKU that must be given."""
    return check.identifier(f"{path}sku", text, "sku_bytes_max", required=True)


def node_of(check: Checker, text: str, path: str = "", *, field: str = "node") -> bytes:
    """A node that must be given."""
    return check.identifier(f"{path}{field}", text, "node_bytes_max", required=True)


def _reference(check: Checker, items: Sequence[Any], name: str) -> bytes:
    """The one reference of a command: its entries may each name it, but not different ones."""
    found = b""
    for index, item in enumerate(items):
        text = check.identifier(f"{name}[{index}].reference", item.reference, "reference_bytes_max")
        if text and found and text != found:
            check.invalid(
                f"{name}[{index}].reference",
                item.reference,
                "differs from another entry's: one request has one reference",
            )
        found = found or text
    return found


def _shortfall_policy(check: Checker, value: int, path: str = "") -> int:
    return check.enumerated(
        f"{path}shortfall_policy", value, SHORTFALL_POLICIES, default=commands.REPORT
    )


def adjust(
    columns: Columns, check: Checker, request: messages.AdjustInventoryRequest, caller: bytes
) -> None:
    """AdjustInventory."""
    items = request.adjustments[: limits.adjustments_per_request_max]
    check.count("adjustments", len(request.adjustments), "adjustments_per_request_max")
    rows = []
    for index, item in enumerate(items):
        here = f"adjustments[{index}]."
        rows.append(
            line(
                sku=sku_of(check, item.sku, here),
                node=node_of(check, item.node, here),
                quantity=check.change(f"{here}delta", item.delta),
                number=index,
                kind=commands.AT_NODE,
                policy=check.enumerated(
                    f"{here}reason",
                    item.reason,
                    _ADJUSTMENT_REASONS,
                    default=_ADJUSTMENT_REASONS[messages.ADJUSTMENT_REASON_CORRECTION],
                ),
            )
        )
    columns.add(
        commands.ADJUST,
        caller=caller,
        flags=commands.TELL_BALANCES,
        request_id=request_id_of(check, request.request_id),
        reference=_reference(check, items, "adjustments"),
        lines=rows,
    )


def count(
    columns: Columns, check: Checker, request: messages.CountInventoryRequest, caller: bytes
) -> None:
    """CountInventory."""
    items = request.counts[: limits.adjustments_per_request_max]
    check.count("counts", len(request.counts), "adjustments_per_request_max")
    rows = []
    seen: dict[tuple[str, str], int] = {}
    for index, item in enumerate(items):
        here = f"counts[{index}]."
        before = seen.setdefault((item.sku, item.node), index)
        if before != index:
            check.invalid(
                f"{here}sku", item.sku, f"is counted at this node by counts[{before}] too"
            )
        as_of_ms = 0
        if item.HasField("as_of_time"):
            as_of_ms = check.time_ms(f"{here}as_of_time", item.as_of_time)
        rows.append(
            line(
                sku=sku_of(check, item.sku, here),
                node=node_of(check, item.node, here),
                time_ms=as_of_ms,
                quantity=check.whole(f"{here}on_hand", item.on_hand, "units_per_position_max"),
                number=index,
                kind=commands.AT_NODE,
                policy=_shortfall_policy(check, item.shortfall_policy, here),
            )
        )
    columns.add(
        commands.COUNT,
        caller=caller,
        flags=commands.TELL_BALANCES,
        request_id=request_id_of(check, request.request_id),
        reference=_reference(check, items, "counts"),
        lines=rows,
    )


def supply_id_made(caller: bytes, request_id: bytes, index: int) -> bytes:
    """Name of a supply the caller gave none: the same again when the request is repeated.

    A UUID of version 8 (RFC 9562, 5.8: made as one likes) where it is made from the request.
    """
    if not request_id:
        return str(uuid.uuid4()).encode()
    high, low = wide_key_of(caller + b"\0" + request_id + b"\0%d" % index)
    number = (high << 64 | low) & ~(0xF << 76 | 3 << 62) | 8 << 76 | 2 << 62
    return str(uuid.UUID(int=number)).encode()


def transfer(
    columns: Columns, check: Checker, request: messages.TransferInventoryRequest, caller: bytes
) -> None:
    """TransferInventory; with an expected time its lines become supplies, each of a name."""
    check.count("lines", len(request.lines), "adjustments_per_request_max")
    source = node_of(check, request.source_node, field="source_node")
    destination = node_of(check, request.destination_node, field="destination_node")
    if source and source == destination:
        check.invalid("destination_node", request.destination_node, "is the source_node")
    expected_ms = 0
    if request.HasField("expected_time"):
        expected_ms = check.time_ms("expected_time", request.expected_time)
        check.not_past("expected_time", expected_ms)
    request_id = request_id_of(check, request.request_id)
    rows: list[LineRow] = []
    names: list[bytes] = []
    for index, item in enumerate(request.lines[: limits.adjustments_per_request_max]):
        here = f"lines[{index}]."
        name = check.identifier(f"{here}supply_id", item.supply_id, "supply_id_bytes_max")
        if expected_ms:
            names.append(name or supply_id_made(caller, request_id, index))
            if names[-1] in names[:-1]:
                check.invalid(f"{here}supply_id", item.supply_id, "is given to two lines")
        elif name:
            check.invalid(f"{here}supply_id", item.supply_id, "needs an expected_time")
        rows.append(
            line(
                sku=sku_of(check, item.sku, here),
                node=source,
                scope=destination,
                time_ms=expected_ms,
                quantity=check.quantity(f"{here}quantity", item.quantity),
                number=index,
                kind=commands.AT_NODE,
                text_bytes=len(names[-1]) if expected_ms else 0,
            )
        )
    columns.add(
        commands.TRANSFER,
        caller=caller,
        flags=commands.TELL_BALANCES,
        request_id=request_id,
        reference=check.identifier("reference", request.reference, "reference_bytes_max"),
        lines=rows,
        line_texts=names,
    )


def withhold(
    columns: Columns, check: Checker, request: messages.WithholdInventoryRequest, caller: bytes
) -> None:
    """WithholdInventory."""
    items = request.withholdings[: limits.adjustments_per_request_max]
    check.count("withholdings", len(request.withholdings), "adjustments_per_request_max")
    rows = []
    for index, item in enumerate(items):
        here = f"withholdings[{index}]."
        which = item.WhichOneof("change")
        units = 0
        if which == "quantity":
            units = check.quantity(f"{here}quantity", item.quantity, low=0)
        elif which == "delta":
            units = check.change(f"{here}delta", item.delta)
        else:
            check.required(f"{here}change", "needs a quantity or a delta")
        rows.append(
            line(
                sku=sku_of(check, item.sku, here),
                node=node_of(check, item.node, here),
                quantity=units,
                number=index,
                kind=commands.AT_NODE,
                policy=check.enumerated(f"{here}bucket", item.bucket, BUCKETS, default=None),
                flags=1 if which == "quantity" else 0,
            )
        )
    columns.add(
        commands.WITHHOLD,
        caller=caller,
        flags=commands.TELL_BALANCES,
        request_id=request_id_of(check, request.request_id),
        reference=_reference(check, items, "withholdings"),
        lines=rows,
    )


def _supply_id(check: Checker, text: str) -> bytes:
    return check.identifier("supply_id", text, "supply_id_bytes_max", required=True)


def upsert_supply(
    columns: Columns, check: Checker, request: messages.UpsertSupplyRequest, caller: bytes
) -> None:
    """UpsertSupply."""
    name = _supply_id(check, request.supply_id)
    kind = check.enumerated("type", request.type, SUPPLY_TYPES, default=None)
    source = check.identifier("source_node", request.source_node, "node_bytes_max")
    if request.source_node and kind != commands.TRANSFER_SUPPLY:
        check.invalid("source_node", request.source_node, "is only for supplies of type TRANSFER")
    expected_ms = 0
    if request.HasField("expected_time"):
        expected_ms = check.time_ms("expected_time", request.expected_time)
    else:
        check.required("expected_time")
    row = line(
        sku=sku_of(check, request.sku),
        node=node_of(check, request.node),
        scope=name,
        time_ms=expected_ms,
        quantity=check.quantity("quantity", request.quantity),
        kind=commands.AT_NODE,
        policy=kind,
        text_bytes=len(name),
        flags=_shortfall_policy(check, request.shortfall_policy),
    )
    columns.add(
        commands.UPSERT_SUPPLY,
        caller=caller,
        channel=source,
        request_id=request_id_of(check, request.request_id),
        lines=[row],
        line_texts=[name],
    )


def receive_supply(
    columns: Columns, check: Checker, request: messages.ReceiveSupplyRequest, caller: bytes
) -> None:
    """ReceiveSupply."""
    if request.quantity == 0 and not request.final:
        check.invalid("quantity", 0, "is only for a final receipt")
    row = line(
        scope=_supply_id(check, request.supply_id),
        quantity=check.quantity("quantity", request.quantity, low=0),
        flags=_shortfall_policy(check, request.shortfall_policy),
    )
    columns.add(
        commands.RECEIVE_SUPPLY,
        caller=caller,
        request_id=request_id_of(check, request.request_id),
        flags=commands.FINAL if request.final else 0,
        reference=check.identifier("reference", request.reference, "reference_bytes_max"),
        lines=[row],
    )


def cancel_supply(
    columns: Columns, check: Checker, request: messages.CancelSupplyRequest, caller: bytes
) -> None:
    """CancelSupply."""
    row = line(
        scope=_supply_id(check, request.supply_id),
        flags=_shortfall_policy(check, request.shortfall_policy),
    )
    columns.add(
        commands.CANCEL_SUPPLY,
        caller=caller,
        request_id=request_id_of(check, request.request_id),
        lines=[row],
    )


def set_backorder_limit(
    columns: Columns, check: Checker, request: messages.SetBackorderLimitRequest, caller: bytes
) -> None:
    """SetBackorderLimit."""
    row = line(
        sku=sku_of(check, request.sku),
        node=node_of(check, request.node),
        quantity=check.quantity("quantity", request.quantity, low=0),
        kind=commands.AT_NODE,
    )
    columns.add(
        commands.SET_BACKORDER_LIMIT,
        caller=caller,
        request_id=request_id_of(check, request.request_id),
        lines=[row],
    )


def set_capacity(
    columns: Columns, check: Checker, request: messages.SetCapacityRequest, caller: bytes
) -> None:
    """SetCapacity. Unset: as much as a position can count."""
    kind, resource, node = capacity_resource(check, request, "")
    units = limits.quantity_max
    if request.HasField("quantity"):
        units = check.quantity("quantity", request.quantity, low=0)
    row = line(sku=resource, node=node, quantity=units, kind=kind, text_bytes=len(resource))
    columns.add(
        commands.SET_CAPACITY,
        caller=caller,
        request_id=request_id_of(check, request.request_id),
        lines=[row],
        line_texts=[resource],
    )


def set_channel_fence(
    columns: Columns, check: Checker, request: messages.SetChannelFenceRequest, caller: bytes
) -> None:
    """SetChannelFence. Unset: nothing is set aside any more."""
    units = 0
    if request.HasField("quantity"):
        units = check.quantity("quantity", request.quantity, low=0)
    row = line(
        sku=sku_of(check, request.sku),
        node=node_of(check, request.node),
        scope=check.identifier("channel", request.channel, "channel_bytes_max", required=True),
        quantity=units,
        kind=commands.AT_NODE,
    )
    columns.add(
        commands.SET_CHANNEL_FENCE,
        caller=caller,
        request_id=request_id_of(check, request.request_id),
        lines=[row],
    )


def set_purchase_limit(
    columns: Columns, check: Checker, request: messages.SetPurchaseLimitRequest, caller: bytes
) -> None:
    """SetPurchaseLimit. Unset: no limit any more."""
    units = 0
    if request.HasField("quantity"):
        units = check.quantity("quantity", request.quantity, low=0)
    columns.add(
        commands.SET_PURCHASE_LIMIT,
        caller=caller,
        request_id=request_id_of(check, request.request_id),
        flags=purchase_limit_flags(is_set=request.HasField("quantity")),
        lines=[line(sku=sku_of(check, request.sku), quantity=units)],
    )


def purchase_limit_flags(*, is_set: bool) -> int:
    """What tells a purchase limit of 0 units from none."""
    return 0 if is_set else commands.UNLIMITED


def feed_request_id(feed_id: bytes, sequence: int) -> bytes:
    """What stands for request_id of a feed's chunk."""
    return feed_id + b"\0%d" % sequence


def ingest_columns(
    caller: bytes,
    feed_id: bytes,
    sequence: int,
    *,
    sku_keys: Any,
    node_keys: Any,
    quantities: Any,
    times_ms: Any,
    policy: int,
) -> CommandBatch:
    """A chunk of a feed as one COUNT whose lines apply one by one. Arrays of one length.

    The feed's name stands for the request's in its movements, and is their reference.
    """
    count_of_lines = len(sku_keys)
    headers = np.zeros(1, HEADER)
    header = headers[0]
    header["kind"] = commands.COUNT
    header["flags"] = commands.PER_LINE
    header["line_count"] = count_of_lines
    header["text_bytes"] = len(feed_id) + len(caller) + len(feed_id)
    header["owner_bytes"] = len(feed_id)
    header["actor_bytes"] = len(caller)
    header["reference_bytes"] = len(feed_id)
    request_hi, request_lo = request_key(caller, feed_request_id(feed_id, sequence))
    header["request_hi"], header["request_lo"] = request_hi, request_lo
    lines = np.zeros(count_of_lines, LINE)
    lines["sku_key"] = sku_keys
    lines["node_key"] = node_keys
    lines["quantity"] = quantities
    lines["time_ms"] = times_ms
    lines["line"] = np.arange(count_of_lines, dtype=np.uint16)
    lines["kind"] = commands.AT_NODE
    lines["policy"] = policy
    text = np.frombuffer(bytearray(feed_id + caller + feed_id), np.uint8)
    return CommandBatch(headers, lines, text)


def keys_of(names: Sequence[str]) -> list[int]:
    """64-bit keys of names; each distinct one is hashed once."""
    found: dict[str, int] = {}
    return [
        found[name] if name in found else found.setdefault(name, name_key(name.encode()))
        for name in names
    ]
