"""Calls of ReservationService."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from holdfast.calls.call import Call, Method, request_id_of, timeout_s
from holdfast.calls.paging import Pages
from holdfast.codec import read, read_enum, write, write_enum
from holdfast.failures import reason_name, short_line
from holdfast.times import Span, from_timestamp, to_duration
from holdfast.v1 import reservation_service_pb2 as wire
from holdfast.values.reservations import (
    BatchReservation,
    BulkOutcome,
    BulkReservation,
    CapacityRequest,
    Durability,
    FillPolicy,
    Hold,
    Line,
    LineLike,
    LineQuantity,
    LineQuantityLike,
    Reassignment,
    Reservation,
    ReservationState,
    ReturnDisposition,
)

_SERVICE = "ReservationService"
CREATE = Method(_SERVICE, "CreateReservation", wire.CreateReservationResponse)
BATCH_CREATE = Method(_SERVICE, "BatchCreateReservations", wire.BatchCreateReservationsResponse)
BULK_CREATE = Method(
    _SERVICE, "BulkCreateReservations", wire.BulkCreateReservationsResponse, slow=True
)
GET = Method(_SERVICE, "GetReservation", wire.GetReservationResponse)
LIST = Method(_SERVICE, "ListReservations", wire.ListReservationsResponse)
CONFIRM = Method(_SERVICE, "ConfirmReservation", wire.ConfirmReservationResponse, urgent=True)
CANCEL = Method(_SERVICE, "CancelReservation", wire.CancelReservationResponse, urgent=True)
EXTEND = Method(_SERVICE, "ExtendReservation", wire.ExtendReservationResponse)
REVISE = Method(_SERVICE, "ReviseReservation", wire.ReviseReservationResponse)
REASSIGN = Method(_SERVICE, "ReassignReservation", wire.ReassignReservationResponse)
FULFILL = Method(_SERVICE, "FulfillReservation", wire.FulfillReservationResponse)
RETURN = Method(_SERVICE, "ReturnReservation", wire.ReturnReservationResponse)


def reserve(
    lines: Iterable[LineLike],
    *,
    owner: str = "",
    ttl: Span | None = None,
    channel: str = "",
    reservation_id: str = "",
    fill_policy: FillPolicy = FillPolicy.UNSPECIFIED,
    replace_owner_holds: bool = False,
    capacities: Iterable[CapacityRequest] = (),
    durability: Durability = Durability.UNSPECIFIED,
    place_token: str = "",
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Hold `lines` until `ttl` seconds have passed: all of them, unless `fill_policy` allows less.

    ``client.reserve([("SKU-1", "WH-1", 2)], owner="cart-17", ttl=900)``

    `replace_owner_holds` lets go of the owner's earlier holds in the same step. `place_token` is
    that of a place in a waiting queue whose turn it is, for what is sold by turns. Raises
    InsufficientStock with `.short_lines`, CapacityExhausted, PurchaseLimitReached, SkuNotFound,
    NodeNotFound, NodeFrozen, ReservationExists, TurnRequired, PlaceEnded.
    """
    hold = Hold(
        lines=lines,
        owner=owner,
        ttl=ttl,
        channel=channel,
        reservation_id=reservation_id,
        request_id=request_id_of(request_id),
        fill_policy=fill_policy,
        replace_owner_holds=replace_owner_holds,
        capacities=capacities,
        durability=durability,
        place_token=place_token,
    )
    request = wire.CreateReservationRequest()
    _put_hold(hold, request)
    return Call(CREATE, request, _reservation, timeout_s(timeout), request.request_id)


def batch_reserve(
    holds: Iterable[Hold], *, request_id: str | None = None, timeout: Span | None = None
) -> Call[BatchReservation]:
    """Make several reservations in one atomic step: all of them or none.

    Raises what `reserve` raises; `short_lines[i].request` tells which reservation was short.
    """
    request = wire.BatchCreateReservationsRequest(request_id=request_id_of(request_id))
    for hold in holds:
        _put_hold(hold, request.requests.add())
    return Call(BATCH_CREATE, request, _batch, timeout_s(timeout), request.request_id)


def bulk_reserve(holds: Iterable[Hold], *, timeout: Span | None = None) -> Call[BulkReservation]:
    """Make up to 4096 independent reservations in one message, each with its own outcome.

    Refusals are outcomes here, not exceptions. Each is repeatable by its own request_id.
    """
    request = wire.BulkCreateReservationsRequest()
    for hold in holds:
        row = request.requests.add()
        _put_hold(hold, row)
        row.request_id = request_id_of(hold.request_id)
    request_ids = [row.request_id for row in request.requests]

    def outcomes(reply: wire.BulkCreateReservationsResponse) -> BulkReservation:
        return BulkReservation(
            tuple(
                _bulk_outcome(result, request_id)
                for result, request_id in zip(reply.results, request_ids, strict=True)
            ),
            reply.revision,
        )

    # Safe to repeat only when each of its rows is; the message has no request_id of its own.
    repeatable = request_ids[0] if request_ids and all(request_ids) else ""
    return Call(BULK_CREATE, request, outcomes, timeout_s(timeout), repeatable)


def get(reservation_id: str, *, timeout: Span | None = None) -> Call[Reservation]:
    """Read one reservation. Raises ReservationNotFound."""
    request = wire.GetReservationRequest(reservation_id=reservation_id)
    return Call(GET, request, _reservation, timeout_s(timeout), is_read=True)


def list_(
    *,
    owner: str = "",
    state: ReservationState = ReservationState.UNSPECIFIED,
    sku: str = "",
    node: str = "",
    channel: str = "",
    page_size: int = 0,
    timeout: Span | None = None,
) -> Pages[Reservation]:
    """Go through the reservations that match every given filter, oldest first, page by page."""
    request = wire.ListReservationsRequest(
        owner=owner, sku=sku, node=node, channel=channel, page_size=page_size
    )
    write_enum(request, "state", state)

    def items(reply: wire.ListReservationsResponse) -> Iterator[Reservation]:
        for reservation in reply.reservations:
            yield read(Reservation, reservation, revision=reply.revision)

    return Pages(LIST, request, items, timeout_s(timeout))


def confirm(
    reservation_id: str,
    *,
    lines: Iterable[LineQuantityLike] = (),
    etag: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Turn a hold into a commitment that does not expire.

    With `lines` only these quantities are confirmed, and the rest is cancelled in the same step.
    Raises ReservationExpired, ReservationNotFound, StateTransitionNotAllowed, EtagMismatch.
    """
    request = wire.ConfirmReservationRequest(
        request_id=request_id_of(request_id), reservation_id=reservation_id, etag=etag
    )
    _put_quantities(lines, request.lines)
    return Call(CONFIRM, request, _reservation, timeout_s(timeout), request.request_id)


def cancel(
    reservation_id: str,
    *,
    lines: Iterable[LineQuantityLike] = (),
    etag: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Give back the whole reservation, or with `lines` only these quantities.

    Raises ReservationExpired, ReservationNotFound, StateTransitionNotAllowed,
    LineQuantityExceeded, EtagMismatch.
    """
    request = wire.CancelReservationRequest(
        request_id=request_id_of(request_id), reservation_id=reservation_id, etag=etag
    )
    _put_quantities(lines, request.lines)
    return Call(CANCEL, request, _reservation, timeout_s(timeout), request.request_id)


def extend(
    reservation_id: str,
    *,
    ttl: Span | None = None,
    etag: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Let a hold last at least `ttl` seconds from now; it is never shortened.

    Raises ReservationExpired, ReservationNotFound, StateTransitionNotAllowed, EtagMismatch.
    """
    request = wire.ExtendReservationRequest(
        request_id=request_id_of(request_id), reservation_id=reservation_id, etag=etag
    )
    if ttl is not None:
        request.ttl.CopyFrom(to_duration(ttl))
    return Call(EXTEND, request, _reservation, timeout_s(timeout), request.request_id)


def revise(
    reservation_id: str,
    lines: Iterable[LineLike],
    *,
    capacities: Iterable[CapacityRequest] = (),
    fill_policy: FillPolicy = FillPolicy.UNSPECIFIED,
    etag: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Replace a reservation's lines by `lines` in one step, or change nothing.

    Its own units count as free. Raises what `reserve` raises, and ReservationExpired,
    ReservationNotFound, StateTransitionNotAllowed, EtagMismatch.
    """
    request = wire.ReviseReservationRequest(
        request_id=request_id_of(request_id), reservation_id=reservation_id, etag=etag
    )
    write_enum(request, "fill_policy", fill_policy)
    _put_lines(lines, request.lines)
    _put_capacities(capacities, request.capacity_takes)
    return Call(REVISE, request, _reservation, timeout_s(timeout), request.request_id)


def reassign(
    reservation_id: str,
    reassignments: Iterable[Reassignment],
    *,
    etag: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Move units of lines from node to node, all moves or none.

    Raises InsufficientStock, LineNotFound, LineQuantityExceeded, NodeNotFound, NodeFrozen and
    what `confirm` raises.
    """
    request = wire.ReassignReservationRequest(
        request_id=request_id_of(request_id), reservation_id=reservation_id, etag=etag
    )
    for move in reassignments:
        write(move, request.reassignments.add())
    return Call(REASSIGN, request, _reservation, timeout_s(timeout), request.request_id)


def fulfill(
    reservation_id: str,
    *,
    lines: Iterable[LineQuantityLike] = (),
    etag: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Record a shipment of everything that is open, or with `lines` of these quantities.

    Raises StateTransitionNotAllowed (it must be confirmed), LineQuantityExceeded, EtagMismatch.
    """
    request = wire.FulfillReservationRequest(
        request_id=request_id_of(request_id), reservation_id=reservation_id, etag=etag
    )
    _put_quantities(lines, request.lines)
    return Call(FULFILL, request, _reservation, timeout_s(timeout), request.request_id)


def return_(
    reservation_id: str,
    lines: Iterable[LineQuantityLike],
    *,
    disposition: ReturnDisposition = ReturnDisposition.UNSPECIFIED,
    node: str = "",
    etag: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Reservation]:
    """Take shipped units back, for sale or withheld, at `node` or where each was shipped from.

    Raises LineQuantityExceeded when more come back than were shipped, and what `fulfill` raises.
    """
    request = wire.ReturnReservationRequest(
        request_id=request_id_of(request_id), reservation_id=reservation_id, etag=etag, node=node
    )
    write_enum(request, "disposition", disposition)
    _put_quantities(lines, request.lines)
    return Call(RETURN, request, _reservation, timeout_s(timeout), request.request_id)


def _put_hold(hold: Hold, request: wire.CreateReservationRequest) -> None:
    request.request_id = hold.request_id or ""
    request.reservation_id = hold.reservation_id
    request.owner = hold.owner
    request.channel = hold.channel
    request.replace_owner_holds = hold.replace_owner_holds
    request.place_token = hold.place_token
    write_enum(request, "fill_policy", hold.fill_policy)
    write_enum(request, "durability", hold.durability)
    if hold.ttl is not None:
        request.ttl.CopyFrom(to_duration(hold.ttl))
    _put_lines(hold.lines, request.lines)
    _put_capacities(hold.capacities, request.capacity_takes)


def _put_lines(lines: Iterable[LineLike], into: Any) -> None:
    for line in lines:
        if isinstance(line, Line):
            write(line, into.add())
            continue
        # The short form is the common one, and a third of the cost of a Line.
        sku, node, quantity = line
        into.add(sku=sku, node=node, quantity=quantity)


def _put_quantities(lines: Iterable[LineQuantityLike], into: Any) -> None:
    for line in lines:
        if isinstance(line, LineQuantity):
            into.add(line=line.line, quantity=line.quantity, node=line.node)
        else:
            index, quantity = line
            into.add(line=index, quantity=quantity)


def _put_capacities(capacities: Iterable[CapacityRequest], into: Any) -> None:
    for capacity in capacities:
        write(capacity, into.add())


def _reservation(reply: Any) -> Reservation:
    return read(Reservation, reply.reservation, revision=reply.revision)


def _batch(reply: wire.BatchCreateReservationsResponse) -> BatchReservation:
    return BatchReservation(
        tuple(read(Reservation, each, revision=reply.revision) for each in reply.reservations),
        reply.revision,
    )


def _bulk_outcome(result: wire.BulkCreateResult, request_id: str) -> BulkOutcome:
    return BulkOutcome(
        reservation_id=result.reservation_id,
        state=read_enum(ReservationState, result, "state"),
        reason=reason_name(result.reason),
        expire_time=(
            from_timestamp(result.expire_time) if result.HasField("expire_time") else None
        ),
        short_lines=tuple([short_line(shortage) for shortage in result.shortages]),
        revision=result.revision,
        request_id=request_id,
    )
