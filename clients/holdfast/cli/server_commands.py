"""Commands about the server: serve, health, status, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.calls.health import Health
from holdfast.cli import exits
from holdfast.cli.connecting import Session, connected
from holdfast.cli.printing import complain

_SNAPSHOT_S_MAX = 600.0


def serve(context: typer.Context) -> None:
    """Serve the ledger over gRPC. `holdfast serve --help` lists every flag."""
    try:
        # Only here: the client is installed where the server is not.
        from server.__main__ import main as run_server
    except ImportError as error:
        complain(f"the server is not installed here ({error})")
        raise typer.Exit(exits.USAGE) from None
    raise typer.Exit(run_server(context.args, program="holdfast serve"))


@connected
def health(
    session: Session,
    service: Annotated[str, typer.Option(help="One service instead of the server.")] = "",
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Wait so long until it serves.")
    ] = 0.0,
) -> None:
    """Say whether the server serves; exit code 7 when it does not, 4 when it is not there."""
    if wait:
        session.client.wait_until_serving(wait, service=service)
    answer = session.client.health(service)
    if session.printer.as_json:
        session.printer.json({"target": session.client.target, "health": answer})
    else:
        session.printer.line(f"{session.client.target}  {answer}")
    if answer is not Health.SERVING:
        raise typer.Exit(exits.NO)


@connected
def status(
    session: Session,
    state_hash: Annotated[
        bool, typer.Option("--state-hash", help="Hash the state, which reads the whole ledger.")
    ] = False,
) -> None:
    """Show shards, journal and limits."""
    found = session.client.status(include_state_hash=state_hash)
    if session.printer.as_json:
        session.printer.json(found)
        return
    session.printer.line(f"{session.client.target}  version {found.version}")
    session.printer.table(
        ["shard", "state", "epoch", "revision", "positions", "reservations", "open holds",
         "journal", "durability", "bytes", "message"],
        [
            (
                shard.shard,
                shard.state,
                shard.epoch,
                shard.revision,
                shard.positions,
                shard.reservations,
                shard.open_holds,
                shard.journal.kind,
                shard.journal.durability,
                shard.journal.size_bytes,
                shard.message,
            )
            for shard in found.shards
        ],
    )  # fmt: skip
    session.printer.table(
        ["limit", "used", "maximum"],
        [(limit.limit, limit.used, limit.maximum) for limit in found.limits],
    )
    if found.state_hash:
        session.printer.line(f"state hash {found.state_hash}")


@connected
def snapshot(session: Session) -> None:
    """Write a snapshot of the ledger now, so that a restart replays only what comes after it."""
    written = session.client.create_snapshot(timeout=_SNAPSHOT_S_MAX)
    if session.printer.as_json:
        session.printer.json(written)
        return
    session.printer.table(
        ["shard", "revision", "bytes", "seconds"],
        [
            (
                each.shard,
                each.revision,
                each.size_bytes,
                round(each.write_time.total_seconds(), 3) if each.write_time else "",
            )
            for each in written.snapshots
        ],
    )


@connected
def verify(
    session: Session,
    sku: Annotated[str, typer.Option(help="Only this SKU.")] = "",
    node: Annotated[str, typer.Option(help="Only this node.")] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            exists=True,
            file_okay=False,
            help="Instead of asking a server: replay the journal of this data directory, twice.",
        ),
    ] = None,
    journal: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Instead of asking a server: replay the journal at this redis:// URL, twice.",
        ),
    ] = "",
) -> None:
    """Recompute every balance from reservations and movements; exit code 7 on differences."""
    if data is not None and journal:
        complain("--data and --journal: give one of them")
        raise typer.Exit(exits.USAGE)
    if data is not None or journal:
        from holdfast.cli.replaying import replay

        replay(session, data, journal)
        return
    found = session.client.verify(sku=sku, node=node, timeout=120.0)
    if session.printer.as_json:
        session.printer.json(found)
    elif found.sound:
        session.printer.line(
            f"sound: {found.positions_checked:,} positions and {found.reservations_checked:,} "
            f"reservations at revision {found.revision:,}; state hash "
            f"{found.state_hash or 'not taken, as the ledger kept changing'}"
        )
    else:
        session.printer.table(
            ["position", "kind", "number", "stored", "recomputed"],
            [
                (each.position, each.kind, each.field, each.stored, each.recomputed)
                for each in found.differences
            ],
            title=f"{found.differences_total:,} differences",
        )
    if not found.sound:
        raise typer.Exit(exits.NO)
