"""``holdfast queue``: a place in a waiting queue."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.connecting import Session, connected


@connected
def queue(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="QUEUE", show_default=False)],
    owner: Annotated[str, typer.Option(help="Whom the place is for; asked again: the same place.")],
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for its turn.")
    ] = 0,
) -> None:
    """Take a place in a waiting queue, or see how far it has come."""
    place = session.client.join_queue(name, owner)
    if wait:
        place = session.client.wait_for_turn(place, timeout=wait)
    printer = session.printer
    if printer.as_json:
        printer.json(place)
        return
    expected = place.expected_wait
    parts = [
        f"{place.queue}  {place.state} for {place.owner}",
        f"{place.places_ahead} ahead" if place.state == "WAITING" else "",
        f"about {expected.total_seconds():.0f} s" if expected is not None else "",
        f"until {place.turn_end_time:%H:%M:%S} UTC" if place.turn_end_time else "",
    ]
    printer.line(", ".join(part for part in parts if part))
    printer.line(f"place token: {place.place_token}")
