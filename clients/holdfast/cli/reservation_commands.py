"""Commands about reservations: reserve, confirm, cancel, fulfill, show, list."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from holdfast.cli.arguments import LINE_HELP, line_of, line_quantity_of
from holdfast.cli.connecting import Session, connected
from holdfast.values.reservations import FillPolicy, Reservation, ReservationState

ReservationId = Annotated[str, typer.Argument(metavar="RESERVATION_ID", show_default=False)]
RequestId = Annotated[
    str | None,
    typer.Option(help="Makes the command repeatable: the same id has the same one effect."),
]
Etag = Annotated[int, typer.Option(min=0, help="Only if the reservation has not changed since.")]
Lines = Annotated[
    list[str] | None,
    typer.Option(
        "--line", metavar="LINE=QUANTITY", help="Only these units; lines count from 0. Repeatable."
    ),
]


@connected
def reserve(
    session: Session,
    lines: Annotated[list[str], typer.Argument(metavar="LINE...", help=LINE_HELP)],
    owner: Annotated[str, typer.Option(help="Whom it is for: a cart, a shopper.")] = "",
    ttl: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long to hold.")] = None,
    channel: Annotated[str, typer.Option(help="The sales channel.")] = "",
    reservation_id: Annotated[str, typer.Option("--id", help="Its name; default: made.")] = "",
    fill_policy: Annotated[
        FillPolicy, typer.Option(case_sensitive=False, help="What to do when units are short.")
    ] = FillPolicy.ALL_OR_NONE,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let go of the owner's earlier holds.")
    ] = False,
    place_token: Annotated[
        str, typer.Option(help="Of a place in a waiting queue whose turn it is.")
    ] = "",
    request_id: RequestId = None,
) -> None:
    """Hold stock: all lines or none."""
    _show(
        session,
        session.client.reserve(
            [line_of(line) for line in lines],
            owner=owner,
            ttl=ttl,
            channel=channel,
            reservation_id=reservation_id,
            fill_policy=fill_policy,
            replace_owner_holds=replace,
            place_token=place_token,
            request_id=request_id,
        ),
    )


@connected
def confirm(
    session: Session, reservation_id: ReservationId, etag: Etag = 0, request_id: RequestId = None
) -> None:
    """Turn a hold into a commitment that does not expire."""
    _show(session, session.client.confirm(reservation_id, etag=etag, request_id=request_id))


@connected
def cancel(
    session: Session,
    reservation_id: ReservationId,
    lines: Lines = None,
    etag: Etag = 0,
    request_id: RequestId = None,
) -> None:
    """Give a reservation back, or a part of it."""
    quantities = [line_quantity_of(line) for line in lines or ()]
    _show(
        session,
        session.client.cancel(reservation_id, lines=quantities, etag=etag, request_id=request_id),
    )


@connected
def fulfill(
    session: Session,
    reservation_id: ReservationId,
    lines: Lines = None,
    etag: Etag = 0,
    request_id: RequestId = None,
) -> None:
    """Record a shipment of everything that is open, or of a part."""
    quantities = [line_quantity_of(line) for line in lines or ()]
    _show(
        session,
        session.client.fulfill(reservation_id, lines=quantities, etag=etag, request_id=request_id),
    )


@connected
def show(session: Session, reservation_id: ReservationId) -> None:
    """Show one reservation."""
    _show(session, session.client.get(reservation_id))


@connected
def list_(
    session: Session,
    owner: Annotated[str, typer.Option(help="Only this owner's.")] = "",
    state: Annotated[
        ReservationState | None, typer.Option(case_sensitive=False, help="Only in this state.")
    ] = None,
    sku: Annotated[str, typer.Option(help="Only with this SKU.")] = "",
    node: Annotated[str, typer.Option(help="Only those that take from this node.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
) -> None:
    """List reservations, oldest first."""
    found = list(
        itertools.islice(
            session.client.list(
                owner=owner, state=state or ReservationState.UNSPECIFIED, sku=sku, node=node
            ),
            limit,
        )
    )
    if session.printer.as_json:
        session.printer.json({"reservations": found})
        return
    session.printer.table(
        ["reservation", "state", "owner", "lines", "units", "created", "expires"],
        [
            (
                each.reservation_id,
                each.state,
                each.owner,
                len(each.lines),
                sum(line.quantity for line in each.lines),
                each.create_time,
                each.expire_time,
            )
            for each in found
        ],
    )


def _show(session: Session, reservation: Reservation) -> None:
    printer = session.printer
    if printer.as_json:
        printer.json(reservation)
        return
    expiry = f", expires {reservation.expire_time:%H:%M:%S} UTC" if reservation.expire_time else ""
    owner = f" for {reservation.owner}" if reservation.owner else ""
    printer.line(
        f"{reservation.reservation_id}  {reservation.state}{owner}{expiry}"
        f"  (etag {reservation.etag}, revision {reservation.revision})"
    )
    printer.table(
        ["line", "sku", "asked", "where", "open", "short", "fulfilled", "cancelled", "returned"],
        [
            (
                index,
                line.sku,
                line.quantity,
                ", ".join(f"{take.node}: {take.quantity}" for take in line.takes),
                line.open_quantity,
                line.shortfall_quantity,
                line.fulfilled_quantity,
                line.cancelled_quantity,
                line.returned_quantity,
            )
            for index, line in enumerate(reservation.lines)
        ],
    )
