"""The lease: which living process writes a journal. For liveness only, never for safety.

Two writers who both believe that they hold it do no harm: the stream refuses the one with the lower
epoch (`redis_appends`). The lease spares people the take-over that nobody wanted, and tells a
standby when to begin.

It is one key with an expiry that Redis counts; no clock of ours takes part. Its value names the
connection of its holder as well. A process that dies closes its connections, and Redis knows at
once: then the lease is void before it expires, and a restart need not wait. A process that is
stopped, or whose machine is cut off, keeps its connection until the lease expires.

Callers: `redis_journal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from server.journal.errors import (
    JournalError,
    JournalFenced,
    JournalOwned,
    JournalRefused,
    JournalUnavailable,
)
from server.journal.redis_checks import look
from server.journal.redis_link import Link
from server.journal.redis_place import RedisPlace

_RENEWALS_PER_LEASE: Final = 3
_CONTENDERS_MAX: Final = 20


class Lease:
    """Held from `take` to `release`, or until another one has taken it."""

    def __init__(self, place: RedisPlace) -> None:
        """Nothing is asked of Redis yet."""
        self._place = place
        self._key = place.prefix + "lease"
        self._token = uuid.uuid4().hex
        self._holder = ""
        self._server = ""
        self._client = 0
        self._keeping: asyncio.Task[None] | None = None
        # A connection of its own, whose end is the end of this process.
        self._link = Link(place, on_connect=self._introduce)

    async def take(self, holder: str, *, by_force: bool = False) -> None:
        """Take a lease that is free or void. Raises JournalOwned naming the living holder.

        `by_force` takes it from that one, who hears of it at the next renewal or append.
        """
        self._holder = holder
        take = partial(self._take, by_force)
        for _ in range(_CONTENDERS_MAX):
            if await self._link.exclusively(take, repeatable=True):
                return
        raise JournalUnavailable(f"{self._place}: too many contend for {self._key}; try again")

    def keep(self, on_lost: Callable[[JournalError], None]) -> None:
        """Renew it from now on; `on_lost` is called once when another one has it."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep(on_lost))

    async def release(self) -> None:
        """Give it back, so that the next writer need not wait."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._keeping = None
        if self._holder:
            with contextlib.suppress(JournalError):  # then it expires by itself
                await self._link.exclusively(self._give_back)
        await self._link.close()

    # --- On the connection -----------------------------------------------------------------

    async def _introduce(self, link: Link) -> None:
        setup = await look(link)
        (self._client,) = await link.ask(("CLIENT", "ID"))
        self._server = setup.run_id

    def _value(self) -> bytes:
        return json.dumps(
            {
                "holder": self._holder,
                "token": self._token,
                "server": self._server,
                "client": self._client,
            },
            sort_keys=True,
        ).encode()

    async def _take(self, by_force: bool, link: Link) -> bool:
        _, value = await link.ask(("WATCH", self._key), ("GET", self._key))
        found = _read(value)
        is_taken = found.get("token") not in (None, self._token) and not by_force
        if is_taken and await _is_alive(link, found, self._server):
            await link.ask(("UNWATCH",))
            raise JournalOwned(
                f"{self._place} is written by {found.get('holder') or 'another process'}; stop "
                "that one first, or give this server a journal of its own"
            )
        return await self._write(link, ("SET", self._key, self._value(), "PX", self._ms))

    async def _renew(self, link: Link) -> bool:
        """Whether it is still ours. A lease that expired meanwhile and is free is taken again."""
        while True:
            _, value = await link.ask(("WATCH", self._key), ("GET", self._key))
            if _read(value).get("token") not in (None, self._token):
                await link.ask(("UNWATCH",))
                return False
            if await self._write(link, ("SET", self._key, self._value(), "PX", self._ms)):
                return True

    async def _give_back(self, link: Link) -> None:
        _, value = await link.ask(("WATCH", self._key), ("GET", self._key))
        if _read(value).get("token") == self._token:
            await self._write(link, ("DEL", self._key))

    async def _write(self, link: Link, command: tuple[Any, ...]) -> bool:
        """Whether nobody changed the key since it was read."""
        answers = await link.ask(("MULTI",), command, ("EXEC",))
        return answers[-1] is not None

    @property
    def _ms(self) -> int:
        return self._place.lease_ms

    async def _keep(self, on_lost: Callable[[JournalError], None]) -> None:
        pause_s = self._ms / 1e3 / _RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(pause_s)
            try:
                is_ours = await self._link.exclusively(self._renew, repeatable=True)
            except JournalUnavailable:
                continue  # the appends find out whether that matters
            except JournalError as error:
                on_lost(error)
                return
            if not is_ours:
                on_lost(
                    JournalFenced(
                        f"{self._place} has another writer now; this one ({self._holder}) must stop"
                    )
                )
                return


async def living_holder(link: Link, place: RedisPlace, server: str) -> str:
    """Who holds the lease and may be alive, by name; "" when nobody does. Takes nothing.

    `server` is the run id of the Redis that `link` is connected to.
    """
    (value,) = await link.ask(("GET", place.prefix + "lease"))
    found = _read(value)
    if "token" not in found or not await _is_alive(link, found, server):
        return ""
    return str(found.get("holder") or "another process")


async def _is_alive(link: Link, found: dict[str, Any], server: str) -> bool:
    """Whether the holder may still be there. In doubt it is, until the lease expires."""
    if found.get("server") != server:
        # Redis was restarted, and every connection to it ended. Its holder is back where every
        # contender is: whoever comes first has it.
        return False
    client = found.get("client")
    if not isinstance(client, int):
        return True
    try:
        (clients,) = await link.ask(("CLIENT", "LIST", "ID", client))
    except JournalRefused:
        return True
    return bool(clients.strip())


def _read(value: bytes | None) -> dict[str, Any]:
    """The holder's entry; empty when there is none, or none that can be read."""
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
