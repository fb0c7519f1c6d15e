"""Requests of ReservationService as columns.

Each function checks one message and adds its command to `Columns`. `path` is put before the names
of fields in errors (``requests[3].``). Checks go on after the first violation; the caller ends
with `Checker.refuse` before it uses the columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine import commands, limits
from holdfast.v1 import inventory_service_pb2 as inventory
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import types_pb2
from server.transport.columns import Columns, LineRow, line
from server.transport.validation import Checker

FILL_POLICIES = {
    types_pb2.FILL_POLICY_ALL_OR_NONE: commands.ALL_OR_NONE,
    types_pb2.FILL_POLICY_PARTIAL_LINES: commands.PARTIAL_LINES,
    types_pb2.FILL_POLICY_PARTIAL_QUANTITY: commands.PARTIAL_QUANTITY,
}
SUPPLY_POLICIES = {
    types_pb2.SUPPLY_POLICY_ON_HAND: commands.ON_HAND,
    types_pb2.SUPPLY_POLICY_INCOMING: commands.INCOMING,
    types_pb2.SUPPLY_POLICY_BACKORDER: commands.BACKORDER,
}
DURABILITIES = {
    types_pb2.DURABILITY_JOURNALED: types_pb2.DURABILITY_JOURNALED,
    types_pb2.DURABILITY_MEMORY: types_pb2.DURABILITY_MEMORY,
}
DISPOSITIONS = {
    messages.RETURN_DISPOSITION_RESTOCK: 0,
    messages.RETURN_DISPOSITION_DAMAGED: commands.DAMAGED,
    messages.RETURN_DISPOSITION_QUALITY_CONTROL: commands.QUALITY_CONTROL,
}


def is_memory_only(check: Checker, request: messages.CreateReservationRequest, path: str) -> bool:
    """Whether the answer may leave before the journal holds the command."""
    durability = check.enumerated(
        f"{path}durability",
        request.durability,
        DURABILITIES,
        default=types_pb2.DURABILITY_JOURNALED,
    )
    return durability == types_pb2.DURABILITY_MEMORY


def _stock_lines(
    check: Checker, lines: Sequence[messages.ReservationLineRequest], path: str
) -> list[LineRow]:
    rows = []
    check.count(f"{path}lines", len(lines), "lines_per_reservation_max")
    for number, item in enumerate(lines[: limits.lines_per_reservation_max]):
        here = f"{path}lines[{number}]."
        source = item.WhichOneof("source")
        node = group = b""
        if source == "node":
            node = check.identifier(f"{here}node", item.node, "node_bytes_max", required=True)
        elif source == "node_group":
            group = check.identifier(
                f"{here}node_group", item.node_group, "node_bytes_max", required=True
            )
        else:
            check.required(f"{here}source", "needs a node or a node_group")
        need_by_ms = 0
        if item.HasField("need_by_time"):
            need_by_ms = check.time_ms(f"{here}need_by_time", item.need_by_time)
            check.not_past(f"{here}need_by_time", need_by_ms)
        rows.append(
            line(
                sku=check.identifier(f"{here}sku", item.sku, "sku_bytes_max", required=True),
                node=node,
                scope=group,
                time_ms=need_by_ms,
                quantity=check.quantity(f"{here}quantity", item.quantity),
                number=number,
                kind=commands.IN_GROUP if group else commands.AT_NODE,
                policy=check.enumerated(
                    f"{here}supply_policy",
                    item.supply_policy,
                    SUPPLY_POLICIES,
                    default=commands.ON_HAND,
                ),
            )
        )
    return rows


def _capacity_lines(
    check: Checker, takes: Sequence[messages.CapacityTakeRequest], path: str, first: int
) -> list[LineRow]:
    """Rows of the capacities; they are numbered on from the stock's, at `first`."""
    rows = []
    check.count(
        f"{path}capacity_takes", len(takes), "capacity_takes_per_reservation_max", required=False
    )
    for index, item in enumerate(takes[: limits.capacity_takes_per_reservation_max]):
        here = f"{path}capacity_takes[{index}]."
        kind, resource, node = capacity_resource(check, item, here)
        rows.append(
            line(
                sku=resource,
                node=node,
                quantity=check.quantity(f"{here}quantity", item.quantity),
                number=first + index,
                kind=kind,
            )
        )
    return rows


def capacity_resource(
    check: Checker,
    item: messages.CapacityTakeRequest | inventory.SetCapacityRequest,
    path: str,
) -> tuple[int, bytes, bytes]:
    """(kind of line, date or slot, node) of a countable capacity."""
    which = item.WhichOneof("resource")
    if which == "node_capacity":
        here = f"{path}node_capacity."
        day = check.day(f"{here}date", item.node_capacity.date)
        node = check.identifier(
            f"{here}node", item.node_capacity.node, "node_bytes_max", required=True
        )
        return commands.NODE_CAPACITY, day, node
    if which == "carrier_slot":
        here = f"{path}carrier_slot."
        slot = check.identifier(
            f"{here}slot", item.carrier_slot.slot, "slot_bytes_max", required=True
        )
        node = check.identifier(
            f"{here}node", item.carrier_slot.node, "node_bytes_max", required=True
        )
        return commands.CARRIER_SLOT, slot, node
    check.required(f"{path}resource", "needs a node_capacity or a carrier_slot")
    return commands.NODE_CAPACITY, b"", b""


def _request_id(check: Checker, text: str, path: str = "") -> bytes:
    return check.identifier(f"{path}request_id", text, "request_id_bytes_max")


def _reservation_id(check: Checker, text: str, path: str = "") -> bytes:
    return check.identifier(
        f"{path}reservation_id", text, "reservation_id_bytes_max", required=True
    )


def _etag(check: Checker, value: int) -> int:
    if value >= 1 << 63:
        check.invalid("etag", value, "is no revision of the ledger")
        return 0
    return value


def create(
    columns: Columns,
    check: Checker,
    request: messages.CreateReservationRequest,
    caller: bytes,
    *,
    path: str = "",
    member_id: bytes | None = None,
    amount: int = 0,
) -> None:
    """CreateReservation. `member_id` (its request_id) and `amount` are set by a batch around it."""
    ttl_ms = limits.hold_ttl_ms_default
    if request.HasField("ttl"):
        ttl_ms = check.milliseconds(f"{path}ttl", request.ttl, "hold_ttl_ms_max", low=1)
    if member_id is None:
        member_id = _request_id(check, request.request_id, path)
    elif request.request_id:
        check.invalid(
            f"{path}request_id", request.request_id, "must be empty: the batch has its own"
        )
    owner = check.identifier(f"{path}owner", request.owner, "owner_bytes_max")
    if request.replace_owner_holds and not owner:
        check.required(f"{path}owner", "is required with replace_owner_holds")
    rows = _stock_lines(check, request.lines, path)
    rows += _capacity_lines(check, request.capacity_takes, path, len(rows))
    is_memory_only(check, request, path)
    columns.add(
        commands.CREATE,
        caller=caller,
        request_id=member_id,
        reservation_id=check.identifier(
            f"{path}reservation_id", request.reservation_id, "reservation_id_bytes_max"
        ),
        owner=owner,
        channel=check.identifier(f"{path}channel", request.channel, "channel_bytes_max"),
        fill_policy=check.enumerated(
            f"{path}fill_policy",
            request.fill_policy,
            FILL_POLICIES,
            default=commands.ALL_OR_NONE,
        ),
        flags=commands.REPLACE_OWNER_HOLDS if request.replace_owner_holds else 0,
        ttl_ms=ttl_ms,
        amount=amount,
        lines=rows,
    )


def batch_create(
    columns: Columns,
    check: Checker,
    request: messages.BatchCreateReservationsRequest,
    caller: bytes,
) -> None:
    """BatchCreateReservations: its requests as one atomic group of CREATEs."""
    most = limits.reservations_per_batch_create_max
    count = check.count("requests", len(request.requests), "reservations_per_batch_create_max")
    request_id = _request_id(check, request.request_id)
    for index, item in enumerate(request.requests[:most]):
        # Each member gets an id of its own, so that each member's answer is remembered.
        member_id = request_id + b"\0%d" % index if request_id else b""
        create(
            columns,
            check,
            item,
            caller,
            path=f"requests[{index}].",
            member_id=member_id,
            amount=count - index,
        )


def _by_line(
    check: Checker, lines: Iterable[types_pb2.LineQuantity], *, required: bool = False
) -> list[LineRow]:
    rows = []
    items = list(lines)
    check.count("lines", len(items), "takes_per_reservation_max", required=required)
    for index, item in enumerate(items[: limits.takes_per_reservation_max]):
        here = f"lines[{index}]."
        rows.append(
            line(
                node=check.identifier(f"{here}node", item.node, "node_bytes_max"),
                quantity=check.quantity(f"{here}quantity", item.quantity),
                number=_line_number(check, f"{here}line", item.line),
                kind=commands.BY_LINE,
            )
        )
    return rows


def _line_number(check: Checker, field: str, value: int) -> int:
    # A line this large exists in no reservation: the ledger answers LINE_NOT_FOUND.
    return min(value, 0xFFFE)


def confirm(
    columns: Columns,
    check: Checker,
    request: messages.ConfirmReservationRequest,
    caller: bytes,
) -> None:
    """ConfirmReservation."""
    columns.add(
        commands.CONFIRM,
        caller=caller,
        request_id=_request_id(check, request.request_id),
        reservation_id=_reservation_id(check, request.reservation_id),
        etag=_etag(check, request.etag),
        lines=_by_line(check, request.lines) if request.lines else (),
    )


def cancel(
    columns: Columns,
    check: Checker,
    request: messages.CancelReservationRequest,
    caller: bytes,
) -> None:
    """CancelReservation."""
    columns.add(
        commands.CANCEL,
        caller=caller,
        request_id=_request_id(check, request.request_id),
        reservation_id=_reservation_id(check, request.reservation_id),
        etag=_etag(check, request.etag),
        lines=_by_line(check, request.lines) if request.lines else (),
    )


def extend(
    columns: Columns,
    check: Checker,
    request: messages.ExtendReservationRequest,
    caller: bytes,
) -> None:
    """ExtendReservation."""
    ttl_ms = limits.hold_ttl_ms_default
    if request.HasField("ttl"):
        ttl_ms = check.milliseconds("ttl", request.ttl, "hold_ttl_ms_max", low=1)
    columns.add(
        commands.EXTEND,
        caller=caller,
        request_id=_request_id(check, request.request_id),
        reservation_id=_reservation_id(check, request.reservation_id),
        etag=_etag(check, request.etag),
        ttl_ms=ttl_ms,
    )


def revise(
    columns: Columns,
    check: Checker,
    request: messages.ReviseReservationRequest,
    caller: bytes,
) -> None:
    """ReviseReservation."""
    rows = _stock_lines(check, request.lines, "")
    rows += _capacity_lines(check, request.capacity_takes, "", len(rows))
    columns.add(
        commands.REVISE,
        caller=caller,
        request_id=_request_id(check, request.request_id),
        reservation_id=_reservation_id(check, request.reservation_id),
        etag=_etag(check, request.etag),
        fill_policy=check.enumerated(
            "fill_policy", request.fill_policy, FILL_POLICIES, default=commands.ALL_OR_NONE
        ),
        lines=rows,
    )


def reassign(
    columns: Columns,
    check: Checker,
    request: messages.ReassignReservationRequest,
    caller: bytes,
) -> None:
    """ReassignReservation."""
    rows = []
    check.count("reassignments", len(request.reassignments), "takes_per_reservation_max")
    for index, item in enumerate(request.reassignments[: limits.takes_per_reservation_max]):
        here = f"reassignments[{index}]."
        source = check.identifier(
            f"{here}source_node", item.source_node, "node_bytes_max", required=True
        )
        destination = check.identifier(
            f"{here}destination_node", item.destination_node, "node_bytes_max", required=True
        )
        if source and source == destination:
            check.invalid(f"{here}destination_node", item.destination_node, "is the source_node")
        rows.append(
            line(
                node=source,
                scope=destination,
                quantity=check.quantity(f"{here}quantity", item.quantity, low=0),
                number=_line_number(check, f"{here}line", item.line),
                kind=commands.BY_LINE,
            )
        )
    columns.add(
        commands.REASSIGN,
        caller=caller,
        request_id=_request_id(check, request.request_id),
        reservation_id=_reservation_id(check, request.reservation_id),
        etag=_etag(check, request.etag),
        lines=rows,
    )


def fulfill(
    columns: Columns,
    check: Checker,
    request: messages.FulfillReservationRequest,
    caller: bytes,
) -> None:
    """FulfillReservation."""
    columns.add(
        commands.FULFILL,
        caller=caller,
        request_id=_request_id(check, request.request_id),
        reservation_id=_reservation_id(check, request.reservation_id),
        etag=_etag(check, request.etag),
        lines=_by_line(check, request.lines) if request.lines else (),
    )


def give_back(
    columns: Columns,
    check: Checker,
    request: messages.ReturnReservationRequest,
    caller: bytes,
) -> None:
    """ReturnReservation."""
    bucket = check.enumerated("disposition", request.disposition, DISPOSITIONS, default=0)
    destination = check.identifier("node", request.node, "node_bytes_max")
    rows = []
    check.count("lines", len(request.lines), "takes_per_reservation_max")
    for index, item in enumerate(request.lines[: limits.takes_per_reservation_max]):
        here = f"lines[{index}]."
        rows.append(
            line(
                node=check.identifier(f"{here}node", item.node, "node_bytes_max"),
                scope=destination,
                quantity=check.quantity(f"{here}quantity", item.quantity),
                number=_line_number(check, f"{here}line", item.line),
                kind=commands.BY_LINE,
                policy=bucket,
            )
        )
    columns.add(
        commands.RETURN,
        caller=caller,
        request_id=_request_id(check, request.request_id),
        reservation_id=_reservation_id(check, request.reservation_id),
        etag=_etag(check, request.etag),
        lines=rows,
    )
