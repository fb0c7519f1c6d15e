"""From a journal's URL to the journal. The one list of implementations there are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from server.journal.errors import JournalRefused
from server.journal.genesis import JournalIdentity
from server.journal.port import Journal
from server.journal.sqlite_journal import SqliteJournal


async def open_journal(url: str, identity: JournalIdentity) -> Journal:
    """Open ``sqlite:///PATH``. Raises JournalRefused and what the journal itself raises."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and parts.path.strip("/"):
        return await SqliteJournal.open(Path(unquote(parts.path)), identity)
    raise JournalRefused(f"journal {url!r} is not known; use sqlite:///PATH")
