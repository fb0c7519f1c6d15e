"""The commands, put together; and the one place where an exception becomes an exit code."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from holdfast.cli import (
    exits,
    journal_commands,
    reservation_commands,
    server_commands,
    stock_commands,
)
from holdfast.cli.demo_command import demo
from holdfast.cli.load_command import load_files
from holdfast.cli.printing import complain
from holdfast.cli.queue_command import queue
from holdfast.cli.route_command import route

app = typer.Typer(
    name="holdfast",
    help="Reserve stock that is never oversold.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the ledger, 4 not reached in "
        "time, 5 not permitted, 6 rows left out, 7 the answer is no, 130 interrupted."
    ),
)

app.command(
    "serve",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)(server_commands.serve)
app.command("load")(load_files)
app.command("reserve")(reservation_commands.reserve)
app.command("confirm")(reservation_commands.confirm)
app.command("cancel")(reservation_commands.cancel)
app.command("fulfill")(reservation_commands.fulfill)
app.command("show")(reservation_commands.show)
app.command("list")(reservation_commands.list_)
app.command("availability")(stock_commands.availability)
app.command("watch")(stock_commands.watch)
app.command("adjust")(stock_commands.adjust)
app.command("count")(stock_commands.count)
app.command("route")(route)
app.command("queue")(queue)
app.command("verify")(server_commands.verify)
app.command("status")(server_commands.status)
app.command("snapshot")(server_commands.snapshot)
app.command("health")(server_commands.health)
app.command("demo")(demo)
app.add_typer(journal_commands.app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {importlib.metadata.version('holdfast')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Reserve stock that is never oversold."""


def main() -> None:
    """The program ``holdfast``."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(exits.INTERRUPTED)
    except OSError as error:
        complain(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
        sys.exit(exits.USAGE)
