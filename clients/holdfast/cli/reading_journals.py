"""Running what reads a journal: what is wrong with it becomes a line and an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

from holdfast.cli import exits
from holdfast.cli.printing import complain

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which reads a journal. Raises typer.Exit when the journal refuses."""
    # Only here: the client is installed where the server is not.
    from server.journal.errors import JournalError, JournalRefused, JournalUnavailable

    try:
        return asyncio.run(work)
    except JournalRefused as error:
        complain(str(error))
        raise typer.Exit(exits.USAGE) from None
    except JournalUnavailable as error:
        complain(str(error))
        raise typer.Exit(exits.UNREACHED) from None
    except JournalError as error:
        complain(str(error))
        raise typer.Exit(exits.NO) from None
