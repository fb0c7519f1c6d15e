"""The command ``holdfast demo``."""

from __future__ import annotations

import enum
import importlib.util
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from holdfast.cli import exits
from holdfast.cli.printing import Printer, complain
from holdfast.errors import HoldfastError


class JournalKind(enum.Enum):
    """What may keep the demo's journal."""

    SQLITE = "sqlite"
    REDIS = "redis"


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running afterwards, until Ctrl-C.")
    ] = False,
    scale: Annotated[
        float,
        typer.Option(min=0.01, max=10, help="Scale of TPC-DS; 1 takes about 1.3 GB."),
    ] = 1.0,
    orders: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="Replay the last so many orders.")
    ] = 20_000,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, help="Steps of orders under way at once.")
    ] = 64,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            show_default=False,
            help="Begin no further orders after so long; default: what three minutes leave over.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the shoppers' tempers.")] = 1,
    journal: Annotated[
        JournalKind,
        typer.Option(help="What keeps the journal; redis: in a server of the demo's own."),
    ] = JournalKind.SQLITE,
) -> None:
    """Replay real retail orders (TPC-DS), kill the server in the middle, check everything.

    Works in a temporary directory, on loopback, and leaves nothing behind. Exit code 0 only when
    no unit was oversold, no acknowledgement lost, and the replayed journal gives the same state.
    """
    # Only here: numpy and the data's generator are not needed by other commands.
    missing = [name for name in ("duckdb", "duckdb_extension_tpcds") if not _has(name)]
    if missing:
        complain(f"the demo needs {' and '.join(missing)}: pip install 'holdfast[demo]'")
        raise typer.Exit(exits.USAGE)
    from holdfast.demo.redis_server import RedisFailed, journal_server
    from holdfast.demo.report import HOW_TO_GO_ON, text_of
    from holdfast.demo.run import Demo, DemoFailed
    from holdfast.demo.server import ServerFailed, ServerProcess
    from holdfast.demo.settings import DemoSettings

    settings = DemoSettings(
        scale=scale,
        orders=orders,
        concurrency=concurrency,
        seconds_max=seconds,
        seed=seed,
        journal=journal.value,
        keep=keep,
    )
    printer = Printer(as_json=as_json)
    # A demo that is told to stop must still end its servers and remove their directories.
    for told in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, lambda *_: sys.exit(exits.INTERRUPTED))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory,
            journal_server(settings.journal, complain) as url,
            ServerProcess(Path(directory), url) as server,
            _Progress() as progress,
        ):
            running = Demo(settings, Path(directory), server, progress.say, progress.advance)
            report = running.run()
            progress.stop()
            if as_json:
                printer.json(report.as_dict())
            else:
                printer.line(text_of(report))
            if keep:
                _keep(server)
    except (DemoFailed, ServerFailed, RedisFailed, HoldfastError, ExceptionGroup) as error:
        complain(_first(error))
        raise typer.Exit(exits.FAILED) from None
    if not as_json:
        printer.line(HOW_TO_GO_ON)
    if not report.sound:
        raise typer.Exit(exits.NO)


class _Progress:
    """What happens now, on standard error: a bar for people, lines for logs."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._started = time.perf_counter()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not self._is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def say(self, text: str) -> None:
        """Tell what happens now."""
        self._progress.update(self._task, description=text)
        if not self._is_terminal:
            seconds = time.perf_counter() - self._started
            print(f"[{seconds:6.1f} s] {text}", file=sys.stderr, flush=True)

    def advance(self, done: int, total: int) -> None:
        """Tell how much is done."""
        self._progress.update(self._task, completed=done, total=total)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _keep(server: Any) -> None:
    """Leave the server running until Ctrl-C."""
    server.start()
    print(
        f"\nThe server runs on {server.target}, with the season's stock and orders:\n"
        f"  export HOLDFAST_TARGET={server.target}\n"
        "  holdfast availability ITEM-00001\n"
        "  holdfast reserve ITEM-00001@WAREHOUSE-1=2 --owner me\n"
        "  holdfast list --state CONFIRMED --limit 10\n"
        "  holdfast watch ITEM-00001\n"
        "Ctrl-C ends it and removes its data.",
        file=sys.stderr,
    )
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _first(error: BaseException) -> str:
    """The message of an error, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
