"""``holdfast verify --data`` and ``--journal``: replays a journal twice, without a server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import typer

from holdfast.cli import exits
from holdfast.cli.connecting import Session
from holdfast.cli.printing import complain
from holdfast.cli.reading_journals import run

JOURNAL = "journal.sqlite3"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What two replays of one journal came to."""

    state_hashes: tuple[str, ...]
    revision: int
    records: int
    faults: tuple[str, ...]
    """What the invariants of the state say; empty when it is sound."""
    from_snapshot: bool
    """Whether the journal's beginning is trimmed, so that a snapshot stood for it."""


def replay(session: Session, data: Path | None, journal: str = "") -> None:
    """Print what the replays came to, of the journal in `data` or at the URL `journal`.

    Exit code 7 when they differ or the state is not sound.
    """
    try:
        found = _replay_url_twice(journal) if data is None else _replay_twice(data)
    except ImportError as error:
        complain(f"the server is not installed here ({error})")
        raise typer.Exit(exits.USAGE) from None
    equal = len(set(found.state_hashes)) == 1
    if session.printer.as_json:
        session.printer.json(found)
    else:
        start = "a snapshot" if found.from_snapshot else "the first record"
        hashes = ", ".join(sorted(set(found.state_hashes)))
        session.printer.line(
            f"{'NOT SOUND' if found.faults else 'sound'}: {found.records:,} records from {start} "
            f"to revision {found.revision:,}, replayed twice with "
            f"{'one hash' if equal else 'DIFFERENT HASHES'}: {hashes}"
        )
        for fault in found.faults:
            complain(fault)
    if not equal or found.faults:
        raise typer.Exit(exits.NO)


def _replay_twice(data: Path) -> Replayed:
    """Replay the journal in `data` twice, from its first record where it still has it."""
    from server.journal.errors import JournalError, JournalGap

    if not (data / JOURNAL).is_file():
        complain(f"{data}: no {JOURNAL} there; --data names a server's data directory")
        raise typer.Exit(exits.USAGE)
    # In a copy: opening a journal that was not closed properly tidies it up.
    with tempfile.TemporaryDirectory(prefix="holdfast-verify-") as directory:
        copy = Path(directory)
        for file in data.glob(f"{JOURNAL}*"):
            if file.is_file():
                shutil.copy2(file, copy / file.name)
        try:
            try:
                return asyncio.run(_replay_copy(copy))
            except JournalGap:  # its beginning is trimmed: a snapshot stands for it
                snapshots = f"{JOURNAL}.snapshots"
                shutil.copytree(data / snapshots, copy / snapshots)
                return asyncio.run(_replay_copy(copy))
        except (JournalError, FileNotFoundError) as error:
            complain(str(error))
            raise typer.Exit(exits.NO) from None


def _replay_url_twice(url: str) -> Replayed:
    """Replay a journal in Redis twice, from its newest snapshot if it has one. Only reads."""
    if not url.startswith(("redis://", "rediss://")):
        complain(f"--journal {url}: redis://... or rediss://...; for SQLite give --data DIRECTORY")
        raise typer.Exit(exits.USAGE)
    return run(_replay_at(url))


async def _replay_copy(copy: Path) -> Replayed:
    return await _replay_at(f"sqlite://{copy / JOURNAL}")


async def _replay_at(url: str) -> Replayed:
    # Only here: the client is installed where the server is not.
    from engine import invariants
    from server.application import journal_audit, recovery

    journal = await journal_audit.open_existing(url)
    try:
        first, _ = await recovery.replay(journal)
        first_hash = invariants.state_hash(first.state).hex()
        del first  # two states at once would take twice the memory
        second, report = await recovery.replay(journal)
        return Replayed(
            (first_hash, invariants.state_hash(second.state).hex()),
            report.revision,
            report.records,
            tuple(invariants.check(second.state)),
            report.snapshot is not None,
        )
    finally:
        await journal.close()
