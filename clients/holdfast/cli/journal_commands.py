"""``holdfast journal``: what a ledger's journal says happened. Reads only; no server is needed."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import exits
from holdfast.cli.printing import Printer, complain
from holdfast.cli.reading_journals import run

app = typer.Typer(
    name="journal",
    help="Read a journal: what happened, what was, is it whole. Changes nothing.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_LINES_SHOWN = 3

Journal = Annotated[
    str,
    typer.Option(
        envvar="HOLDFAST_JOURNAL",
        metavar="URL",
        help="sqlite:///PATH or redis://HOST:PORT/DB?shard=N; instead of --data.",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        envvar="HOLDFAST_DATA",
        metavar="DIRECTORY",
        help="A server's data directory: the journal in it is read.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
Sku = Annotated[str, typer.Option(help="Only what concerns this SKU.")]
Node = Annotated[str, typer.Option(help="Only what concerns this node.")]
Reservation = Annotated[str, typer.Option(help="Only this reservation.")]
_DATA_DEFAULT = Path("holdfast-data")


@app.command("inspect")
def inspect(
    journal: Journal = "",
    data: Data = _DATA_DEFAULT,
    sku: Sku = "",
    node: Node = "",
    reservation: Reservation = "",
    request: Annotated[str, typer.Option(help="Only this request id.")] = "",
    caller: Annotated[
        str, typer.Option(help="Who sent --request, when callers show certificates.")
    ] = "",
    actor: Annotated[str | None, typer.Option(help="Only what this caller sent.")] = None,
    from_revision: Annotated[int, typer.Option("--from", min=0, metavar="REVISION")] = 0,
    to_revision: Annotated[int | None, typer.Option("--to", min=0, metavar="REVISION")] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Most commands shown, the newest of them.")
    ] = 1_000,
    as_json: Json = False,
) -> None:
    """List the commands that concern a SKU, a reservation, a request or a caller."""
    journal_audit = _audit()

    async def gather() -> tuple[int, deque[Any]]:
        opened = await journal_audit.open_existing(_url(journal, data))
        asked = journal_audit.wanted(
            sku=sku, node=node, reservation=reservation, request=request, caller=caller, actor=actor
        )
        count = 0
        kept: deque[Any] = deque(maxlen=limit)
        try:
            async for event in journal_audit.history(
                opened,
                asked,
                from_revision=from_revision,
                to_revision=to_revision,
            ):
                count += 1
                kept.append(event)
        finally:
            await opened.close()
        return count, kept

    count, kept = run(gather())
    printer = Printer(as_json=as_json)
    if as_json:
        for event in kept:
            printer.json({**asdict(event), "time": _time(event.time_ms)})
        return
    printer.table(
        ["revision", "time (UTC)", "command", "outcome", "state", "reservation", "owner", "by",
         "lines", "record"],
        [
            (
                event.revision,
                _time(event.time_ms),
                event.what,
                event.outcome,
                event.state,
                event.reservation,
                event.owner,
                event.actor,
                _lines(event),
                event.record,
            )
            for event in kept
        ],
    )  # fmt: skip
    left_out = f", the newest {len(kept):,} shown" if count > len(kept) else ""
    printer.line(f"{count:,} commands{left_out}")


@app.command("verify")
def verify(journal: Journal = "", data: Data = _DATA_DEFAULT, as_json: Json = False) -> None:
    """Check every record, replay all of them, compare the snapshots; exit code 7 on a fault."""
    journal_audit = _audit()

    async def check() -> Any:
        opened = await journal_audit.open_existing(_url(journal, data))
        try:
            return await journal_audit.verify(opened)
        finally:
            await opened.close()

    verdict = run(check())
    printer = Printer(as_json=as_json)
    if as_json:
        printer.json(verdict)
    else:
        agreeing = ", ".join(verdict.snapshots_agreeing) or "none"
        printer.line(
            f"{'NOT SOUND' if verdict.faults else 'sound'}: {verdict.place} from "
            f"{verdict.begins_at} to record {verdict.last_record}, {verdict.records:,} records, "
            f"{verdict.commands:,} commands, revision {verdict.revision:,}, state hash "
            f"{verdict.state_hash}; snapshots that agree: {agreeing}"
        )
        for fault in verdict.faults:
            complain(fault)
    if verdict.faults:
        raise typer.Exit(exits.NO)


@app.command("replay")
def replay(
    journal: Journal = "",
    data: Data = _DATA_DEFAULT,
    to_revision: Annotated[
        int | None,
        typer.Option("--to", min=0, metavar="REVISION", help="Right after it. Default: the end."),
    ] = None,
    sku: Sku = "",
    node: Node = "",
    reservation: Reservation = "",
    as_json: Json = False,
) -> None:
    """Show the ledger as it was at a revision: positions, a reservation, the state's hash."""
    journal_audit = _audit()

    async def past() -> Any:
        opened = await journal_audit.open_existing(_url(journal, data))
        try:
            return await journal_audit.replay_to(
                opened,
                to_revision,
                sku=sku,
                node=node,
                reservation=reservation,
            )
        finally:
            await opened.close()

    found = run(past())
    printer = Printer(as_json=as_json)
    if as_json:
        printer.json({**asdict(found), "time": _time(found.time_ms)})
    else:
        _show(printer, found)
    if reservation and found.reservation is None:
        complain(f"reservation {reservation} is not there at revision {found.revision}")
        raise typer.Exit(exits.REFUSED)


def _show(printer: Printer, found: Any) -> None:
    printer.line(
        f"revision {found.revision:,} (record {found.record}, {_time(found.time_ms)} UTC): "
        f"{found.positions_count:,} positions, {found.open_holds:,} open holds, "
        f"{'NOT SOUND' if found.faults else 'sound'}, state hash {found.state_hash}"
    )
    if found.positions:
        printer.table(
            ["sku", "node", "on hand", "held", "committed", "available"],
            [(p.sku, p.node, p.on_hand, p.held, p.committed, p.available) for p in found.positions],
        )
    if found.reservation is not None:
        made = found.reservation
        printer.line(
            f"reservation {made.reservation}: {made.state}, owner {made.owner or '-'}, made "
            f"{_time(made.create_ms)}, expires {_time(made.expire_ms)}"
        )
        printer.table(["sku", "node", "open"], made.lines)
    for fault in found.faults:
        complain(fault)


def _audit() -> Any:
    """The server's part of this: the client is installed where the server is not."""
    try:
        from server.application import journal_audit
    except ImportError as error:
        complain(f"the server is not installed here ({error})")
        raise typer.Exit(exits.USAGE) from None
    return journal_audit


def _url(journal: str, data: Path) -> str:
    return journal or f"sqlite:///{(data / 'journal.sqlite3').absolute()}"


def _time(ms: int) -> str:
    if ms <= 0:
        return "-"
    return datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _lines(event: Any) -> str:
    shown = [
        f"{line.quantity} x {line.sku}" + (f" @ {line.node}" if line.node else "")
        for line in event.lines[:_LINES_SHOWN]
    ]
    more = event.line_count - len(shown)
    return ", ".join(shown) + (f", {more} more" if more > 0 else "")
