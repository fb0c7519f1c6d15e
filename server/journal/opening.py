"""From a journal's URL to the journal. The one list of implementations there are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from server.journal.errors import JournalRefused
from server.journal.genesis import JournalIdentity
from server.journal.port import Journal
from server.journal.redis_journal import RedisJournal
from server.journal.redis_place import SCHEMES, RedisPlace
from server.journal.sqlite_journal import SqliteJournal


async def open_journal(url: str, identity: JournalIdentity, *, make: bool = True) -> Journal:
    """Open ``sqlite:///PATH``, ``redis://...`` or ``rediss://...`` (see `RedisPlace`).

    A Redis URL may name shard and tenant itself; then they are what is wanted. Where there is no
    journal yet one is made, unless `make` is false.
    Raises JournalRefused and what the journal itself raises.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and parts.path.strip("/"):
        path = Path(unquote(parts.path))
        if not make and not await asyncio.to_thread(path.is_file):
            raise JournalRefused(f"{path} is not there; name the journal of a server")
        return await SqliteJournal.open(path, identity)
    if parts.scheme in SCHEMES:
        place = RedisPlace.parse(url)
        wanted = replace(
            identity,
            shard=identity.shard if place.shard is None else place.shard,
            tenant=place.tenant or identity.tenant,
        )
        return await RedisJournal.open(
            replace(place, shard=wanted.shard, tenant=wanted.tenant), wanted, make=make
        )
    raise JournalRefused(
        f"journal scheme {parts.scheme!r} is not known; use sqlite:///PATH or redis://HOST:PORT/DB"
    )
