"""Commands about stock: availability, watch, adjust, count."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from holdfast.cli.arguments import position_of
from holdfast.cli.connecting import Session, connected
from holdfast.values.availability import AvailabilityEvent
from holdfast.values.inventory import (
    Adjustment,
    AdjustmentReason,
    Count,
    InventoryPosition,
    ShortfallPolicy,
)

Skus = Annotated[list[str], typer.Argument(metavar="SKU...", show_default=False)]
Nodes = Annotated[list[str] | None, typer.Option("--node", help="Only this node. Repeatable.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Only the nodes of this group. Repeatable.")
]
ChannelName = Annotated[str, typer.Option("--channel", help="As this sales channel sees it.")]
Positions = Annotated[list[str], typer.Argument(metavar="SKU@NODE=NUMBER...", show_default=False)]


@connected
def availability(
    session: Session,
    skus: Skus,
    nodes: Nodes = None,
    groups: Groups = None,
    channel: ChannelName = "",
    need_by: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"],
            help="Count supply due by then, such as 2026-03-02T16:00Z.",
        ),
    ] = None,
    owner: Annotated[str, typer.Option(help="Leave this owner's own holds out.")] = "",
) -> None:
    """Show what may be promised."""
    found = session.client.availability(
        skus,
        nodes=nodes or (),
        node_groups=groups or (),
        channel=channel,
        need_by_time=need_by,
        owner=owner,
        max_staleness=0,
    )
    if session.printer.as_json:
        session.printer.json(found)
        return
    session.printer.table(
        ["sku", "node", "available", "to promise", "on hand", "held", "committed", "withheld",
         "incoming", "in transit", "shortfall"],
        [
            (
                each.sku,
                each.node,
                each.available,
                each.available_to_promise,
                each.on_hand,
                each.held,
                each.committed,
                each.withheld.total,
                each.incoming,
                each.in_transit,
                each.shortfall,
            )
            for each in found.positions
        ],
    )  # fmt: skip


@connected
def watch(
    session: Session,
    skus: Annotated[list[str] | None, typer.Argument(metavar="[SKU]...")] = None,
    nodes: Nodes = None,
    groups: Groups = None,
    channel: ChannelName = "",
    thresholds: Annotated[
        list[int] | None,
        typer.Option("--threshold", min=0, help="Report when it is crossed. Repeatable."),
    ] = None,
    thresholds_only: Annotated[
        bool, typer.Option("--thresholds-only", help="Report crossings and shortfalls only.")
    ] = False,
    events: Annotated[int, typer.Option(min=0, help="Stop after so many; 0: never.")] = 0,
) -> None:
    """Follow availability as it changes, until interrupted."""
    watching = session.client.watch(
        skus or (),
        nodes=nodes or (),
        node_groups=groups or (),
        channel=channel,
        thresholds=thresholds or (),
        thresholds_only=thresholds_only,
    )
    with watching as stream:
        for number, event in enumerate(stream, 1):
            if session.printer.as_json:
                session.printer.json(event)
            else:
                session.printer.line(_event_line(event))
            if number == events:
                return


@connected
def adjust(
    session: Session,
    positions: Positions,
    reason: Annotated[
        AdjustmentReason, typer.Option(case_sensitive=False, help="Why.")
    ] = AdjustmentReason.CORRECTION,
    reference: Annotated[str, typer.Option(help="Your document, such as a delivery note.")] = "",
    request_id: Annotated[str | None, typer.Option(help="Makes it repeatable.")] = None,
) -> None:
    """Add to stock, or take from it: SKU@NODE=+5, SKU@NODE=-2."""
    changes = [
        Adjustment(sku, node, delta, reason, reference)
        for sku, node, delta in map(position_of, positions)
    ]
    _show(session, session.client.adjust(changes, request_id=request_id).positions)


@connected
def count(
    session: Session,
    positions: Positions,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"],
            help="When it was counted, such as 2026-03-02T16:00Z; default: now.",
        ),
    ] = None,
    shortfall_policy: Annotated[
        ShortfallPolicy,
        typer.Option(case_sensitive=False, help="What to do with promises it does not cover."),
    ] = ShortfallPolicy.REPORT,
    reference: Annotated[str, typer.Option(help="Your document.")] = "",
    request_id: Annotated[str | None, typer.Option(help="Makes it repeatable.")] = None,
) -> None:
    """Set stock to what was counted: SKU@NODE=17. Holds are never wiped."""
    counts = [
        Count(sku, node, on_hand, as_of, shortfall_policy, reference)
        for sku, node, on_hand in map(position_of, positions)
    ]
    change = session.client.count(counts, request_id=request_id)
    if session.printer.as_json:
        session.printer.json(change)
    else:
        _show(session, tuple(result.position for result in change.results))


def _show(session: Session, positions: tuple[InventoryPosition, ...]) -> None:
    if session.printer.as_json:
        session.printer.json({"positions": positions})
        return
    session.printer.table(
        ["sku", "node", "on hand", "available", "held", "committed", "withheld", "shortfall"],
        [
            (
                each.sku,
                each.node,
                each.on_hand,
                each.available,
                each.held,
                each.committed,
                each.withheld.total,
                each.shortfall,
            )
            for each in positions
        ],
    )


def _event_line(event: AvailabilityEvent) -> str:
    position = event.position
    crossed = f" {event.threshold:,}" if event.type.endswith("THRESHOLD") else ""
    short = f", shortfall {position.shortfall:,}" if position.shortfall else ""
    return (
        f"{event.revision:>10}  {event.type}{crossed}  {position.sku} at {position.node}: "
        f"{position.available:,} available, {position.held:,} held, "
        f"{position.committed:,} committed, {position.on_hand:,} on hand{short}"
    )
