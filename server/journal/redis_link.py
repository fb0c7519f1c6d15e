"""One connection to Redis: commands go out and answers come back in the same order.

Everything Redis may answer instead of a result is turned into a `JournalError` here, with one
sentence that says what to do. Nothing is retried unless the caller says it may be.

Callers: everything in this package whose name begins with ``redis_``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import redis.asyncio as redis
from redis import exceptions

from server.journal.errors import (
    JournalError,
    JournalMismatch,
    JournalRefused,
    JournalUnavailable,
)
from server.journal.redis_place import RedisPlace

Word: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Word, ...]
T = TypeVar("T")

# To find a server that answers takes less; one that does not is as good as gone.
_CONNECT_S: Final = 1.0
_READ_BYTES: Final = 256 * 1024
_FAULTS: Final = (exceptions.RedisError, OSError, TimeoutError)
_ELSEWHERE: Final = ("MOVED", "ASK ", "CLUSTERDOWN", "CROSSSLOT", "TRYAGAIN")


class LinkLost(JournalUnavailable):
    """The connection is gone, or Redis kept silent: what was asked last may have happened."""


class Link:
    """A connection that is made by its first use, and made again after it was lost.

    `call` and `exclusively` may be used by several tasks, they take turns. `send` and `receive` are
    for one task each, and are never mixed with the other two.
    """

    def __init__(
        self, place: RedisPlace, *, on_connect: Callable[[Link], Awaitable[None]] | None = None
    ) -> None:
        """`on_connect` runs after each connecting, before anything else is sent."""
        self._place = place
        self._on_connect = on_connect
        self._turn = asyncio.Lock()
        self._timeout_s = place.timeout_ms / 1e3
        self._connection: redis.Connection | None = None

    async def connect(self) -> None:
        """Reach the server and log in. Raises JournalRefused, JournalUnavailable."""
        await self.close()
        connection = _connection(self._place)
        is_made = False
        try:
            async with asyncio.timeout(_CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
            self._connection = connection
            if self._on_connect is not None:
                await self._on_connect(self)
            is_made = True
        except _FAULTS as error:
            raise translated(self._place, error) from error
        finally:
            if not is_made:
                self._connection = None
                await _closed(connection)

    async def close(self) -> None:
        """Hang up. What was not answered yet may have happened."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await _closed(connection)

    async def send(self, commands: Iterable[Command]) -> None:
        """Send without waiting for the answers. Raises LinkLost."""
        if self._connection is None:
            raise LinkLost(f"{self._place} is not connected")
        try:
            for command in commands:
                # Large values are not copied together with the words before them.
                packed = self._connection.pack_command(*command)
                await self._connection.send_packed_command(packed, check_health=False)
        except _FAULTS as error:
            raise translated(self._place, error) from error

    async def receive(self) -> Any:
        """The next answer. Raises LinkLost after `timeout_ms`, other errors as Redis sent them."""
        if self._connection is None:
            raise LinkLost(f"{self._place} is not connected")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connection.read_response(
                    disable_decoding=True, timeout=math.inf, disconnect_on_error=False
                )
        except _FAULTS as error:
            raise translated(self._place, error) from error

    async def ask(self, *commands: Command) -> list[Any]:
        """Send `commands` together and gather their answers; the first error is raised, after
        all were heard. For `exclusively` and `on_connect`.
        """
        await self.send(commands)
        answers: list[Any] = []
        failed: JournalError | None = None
        for _ in commands:
            try:
                answers.append(await self.receive())
            except LinkLost:
                await self.close()
                raise
            except JournalError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return answers

    async def exclusively(
        self, work: Callable[[Link], Awaitable[T]], *, repeatable: bool = False
    ) -> T:
        """Run `work` while nobody else uses the connection, which is made when there is none.

        A `repeatable` one is run a second time when the connection was lost.
        """
        async with self._turn:
            if self._connection is not None and repeatable:
                try:
                    return await work(self)
                except LinkLost:
                    pass
            if self._connection is None:
                await self.connect()
            try:
                return await work(self)
            except BaseException:
                # Perhaps in the middle of an exchange or of a transaction: begin anew.
                await self.close()
                raise

    async def call(self, *command: Word, repeatable: bool = True) -> Any:
        """One command, one answer."""
        return (await self.calls([command], repeatable=repeatable))[0]

    async def calls(self, commands: Sequence[Command], *, repeatable: bool = True) -> list[Any]:
        """Several commands in one go."""
        return await self.exclusively(lambda link: link.ask(*commands), repeatable=repeatable)


def _connection(place: RedisPlace) -> redis.Connection:
    options: dict[str, Any] = {
        "host": place.host,
        "port": place.port,
        "db": place.database,
        "username": place.username or None,
        "password": place.password or None,
        "protocol": 2,
        "socket_timeout": None,  # every use has a limit of its own
        "socket_connect_timeout": _CONNECT_S,
        "socket_keepalive": True,
        "socket_read_size": _READ_BYTES,
        "driver_info": None,  # one command less to permit
    }
    if not place.tls:
        return redis.Connection(**options)
    return redis.SSLConnection(
        ssl_ca_certs=place.ca or None,
        ssl_certfile=place.certificate or None,
        ssl_keyfile=place.key or None,
        ssl_check_hostname=True,
        **options,
    )


async def _closed(connection: redis.Connection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except (exceptions.RedisError, OSError):
        return


def translated(place: RedisPlace, error: Exception) -> JournalError:
    """What `error` means for a journal in `place`."""
    text = " ".join(str(error).split())
    if isinstance(error, exceptions.AuthenticationError):
        return JournalRefused(
            f"{place} refuses this user or password ({text}); correct them in the journal setting, "
            "or in the file that password_file names"
        )
    if isinstance(error, exceptions.NoPermissionError):
        return JournalRefused(
            f"{place} does not permit what the journal needs ({text}); give the user the rules in "
            "docs/redis.md"
        )
    if isinstance(error, exceptions.BusyLoadingError):
        return JournalUnavailable(f"{place} is still loading its data; it answers when it is done")
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return LinkLost(f"{place} does not answer; see whether it runs, or is overloaded")
    if isinstance(error, exceptions.ConnectionError | OSError):
        return LinkLost(
            f"{place} is not reached ({text}); see whether it runs and is the right one"
        )
    if "WRONGTYPE" in text or "wrong kind of value" in text:
        return JournalMismatch(
            f"{place} holds data under the journal's keys that is not Holdfast's; give the journal "
            "a database of its own"
        )
    if text.startswith(_ELSEWHERE) or type(error).__name__ in ("MovedError", "AskError"):
        return JournalRefused(
            f"{place} is part of a Redis Cluster, which the journal does not use; "
            "point the journal setting at a single primary"
        )
    if "unknown command" in text or "unknown subcommand" in text:
        return JournalRefused(
            f"{place} does not know what the journal needs ({text}); use Redis 6.2 or later, "
            "with no command renamed"
        )
    return JournalUnavailable(f"{place}: {text}")
