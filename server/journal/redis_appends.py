"""The writer's connection: appends go out one behind the other, answers come back in order.

Every record is one XADD with the id ``<epoch>-<sequence>``. That id is what makes it safe
1. A deposed writer: a newer epoch's record lies in the stream, so Redis refuses its lower ids.
2. A lost connection: what was on its way is sent again under the same ids, and Redis takes each of
   them once. Before that the end of the stream is read: it must be a record that was acknowledged
   or one on its way, bit for bit, or the journal is not the one it was.

A record found there after a reconnection may lie in Redis' memory only; it counts as durable after
the next write has been answered, because syncing Redis' file syncs everything before.

Callers: `redis_journal`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from server.journal.errors import (
    JournalError,
    JournalFenced,
    JournalGap,
    JournalUnavailable,
)
from server.journal.record import Cursor, Entry, RecordId, SealedRecord, seal, unseal
from server.journal.redis_checks import judge, look
from server.journal.redis_link import Command, Link, LinkLost
from server.journal.redis_place import RedisPlace

FIELD: Final = b"r"
# A connection that broke is made again at once, and once more a moment later. Callers wait for
# their answer meanwhile; longer than this they are better told.
_RECONNECT_AFTER_S: Final = (0.0, 0.02)
# Reconnections that brought nothing forward.
_FRUITLESS_MAX: Final = 3


class _Refused(Exception):
    """Redis refused an id: the end of the stream tells why."""


class Appends:
    """The appends of one claimed journal, from the record after `tail` on."""

    def __init__(
        self, place: RedisPlace, tail: Cursor, on_durable: Callable[[RecordId], None]
    ) -> None:
        """`on_durable` hears of each acknowledged record before its caller does."""
        self._place = place
        self._link = Link(place)
        self._on_durable = on_durable
        self._loop = asyncio.get_running_loop()
        self._newest = tail
        self._durable = tail.record_id
        self._pending: deque[tuple[SealedRecord, asyncio.Future[RecordId]]] = deque()
        self._sent = 0
        self._fruitless = 0
        self._to_send = asyncio.Event()
        self._to_hear = asyncio.Event()
        self._closing = False
        self.broken: JournalError | None = None
        self._work = self._loop.create_task(self._run())

    def append(self, entry: Entry) -> asyncio.Future[RecordId]:
        """Seal and queue one record. O(bytes)."""
        future: asyncio.Future[RecordId] = self._loop.create_future()
        error = self.broken
        if error is None and self._closing:
            error = JournalUnavailable(f"{self._place} is closed")
        if error is not None:
            future.set_exception(error)
            return future
        last = self._newest.record_id
        sealed = seal(self._newest, RecordId(last.epoch, last.sequence + 1), entry)
        self._newest = sealed.cursor
        self._pending.append((sealed, future))
        self._to_send.set()
        return future

    async def close(self) -> Cursor | None:
        """Wait for what is on its way, then hang up. The place after it; None when one failed."""
        self._closing = True
        self._to_send.set()
        self._to_hear.set()
        await asyncio.wait([self._work])
        end = self._newest if self.broken is None else None
        self._break(JournalUnavailable(f"{self._place} is closed"))
        await self._link.close()
        return end

    # --- The connection's life ---------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not (self._closing and not self._pending):
                await self._until_lost()
        except JournalError as error:
            self._break(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may seem to be on its way
            self._break(JournalUnavailable(f"{self._place}: {error!r}"))

    async def _until_lost(self) -> None:
        """Send and hear until all is done, when closing, or the connection is lost; mend it."""
        tasks = [self._loop.create_task(work) for work in (self._send(), self._hear())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [error for error in ended if isinstance(error, Exception)]
        for error in errors:
            if not isinstance(error, LinkLost | _Refused):
                raise error
        if errors:
            await self._mend()

    async def _send(self) -> None:
        while True:
            while self._sent < len(self._pending):
                sealed, _ = self._pending[self._sent]
                self._sent += 1
                self._to_hear.set()
                await self._link.send(self._commands(sealed))
            if self._closing:
                return
            self._to_send.clear()
            await self._to_send.wait()

    def _commands(self, sealed: SealedRecord) -> list[Command]:
        record_id = str(sealed.cursor.record_id)
        append: Command = (
            "XADD", self._place.stream, "NOMKSTREAM", record_id, FIELD, sealed.buffer,
        )  # fmt: skip
        return [append, self._wait] if self._place.replicas else [append]

    @property
    def _wait(self) -> Command:
        return ("WAIT", self._place.replicas, self._place.replicas_ms)

    async def _hear(self) -> None:
        while True:
            while self._sent:
                try:
                    answer = await self._link.receive()
                except JournalUnavailable as error:
                    if "equal or smaller" in str(error):
                        raise _Refused from error
                    raise
                if answer is None:
                    raise JournalGap(
                        str(self._durable),
                        f"was acknowledged, but {self._place} has no stream {self._place.stream} "
                        "any more; bring it back from a backup",
                    )
                if self._place.replicas:
                    check_replicas(self._place, await self._link.receive())
                self._fruitless = 0
                self._settle()
            if self._closing and not self._pending:
                return
            self._to_hear.clear()
            await self._to_hear.wait()

    def _settle(self) -> None:
        """The oldest record is durable."""
        sealed, future = self._pending.popleft()
        self._sent = max(0, self._sent - 1)
        self._durable = sealed.cursor.record_id
        self._on_durable(self._durable)
        if not future.done():  # cancelled by its awaiter; it was done all the same
            future.set_result(self._durable)

    def _break(self, error: JournalError) -> None:
        self.broken = self.broken or error
        while self._pending:
            _, future = self._pending.popleft()
            if not future.done():
                future.set_exception(self.broken)

    # --- After a loss ------------------------------------------------------------------------

    async def _mend(self) -> None:
        """Connect again and find out what arrived. Raises what ends the journal's use."""
        self._fruitless += 1
        self._sent = 0
        lost: JournalUnavailable = LinkLost(f"{self._place} breaks off every connection")
        if self._fruitless <= _FRUITLESS_MAX:
            for pause_s in _RECONNECT_AFTER_S:
                await asyncio.sleep(pause_s)
                try:
                    await self._link.connect()
                    await self._compare()
                except JournalUnavailable as error:
                    lost = error
                else:
                    return
        raise lost

    async def _compare(self) -> None:
        """Settle what arrived before the connection was lost; the rest is to be sent again."""
        judge(await look(self._link), self._place)
        newest = await newest_record(self._link, self._place)
        found = newest[0] if newest is not None else RecordId(0, 0)
        own_epoch = self._newest.record_id.epoch
        if found.epoch > own_epoch or found > self._newest.record_id:
            raise JournalFenced(
                f"{self._place} has gone on to record {found} without this writer of epoch "
                f"{own_epoch}; it must stop"
            )
        if found < self._durable:
            raise JournalGap(
                str(self._durable),
                f"was acknowledged, but {self._place} ends at record {found}: it came back "
                "with older data. Bring back what it held, or the replica that has it",
            )
        arrived = sum(sealed.cursor.record_id <= found for sealed, _ in self._pending)
        if arrived:
            sealed = self._pending[arrived - 1][0]
            if newest is None or unseal(newest[1], found).chain != sealed.cursor.chain:
                raise JournalFenced(
                    f"{self._place} holds another record {found} than this writer's; it must stop"
                )
            await write_through(self._link, self._place)
            for _ in range(arrived):
                self._settle()


async def newest_record(link: Link, place: RedisPlace) -> tuple[RecordId, bytes] | None:
    """Id and bytes of the newest entry; None when there is none. Inside an exchange of `link`."""
    (entries,) = await link.ask(("XREVRANGE", place.stream, "+", "-", "COUNT", 1))
    return entry_of(entries[0]) if entries else None


def entry_of(answer: list[object]) -> tuple[RecordId, bytes]:
    """One stream entry: its id and its record's bytes (empty when it is none of ours)."""
    name, values = answer
    assert isinstance(name, bytes)
    assert isinstance(values, list)
    epoch, _, sequence = name.decode().partition("-")
    is_ours = len(values) == 2 and values[0] == FIELD
    return RecordId(int(epoch), int(sequence)), values[1] if is_ours else b""


async def write_through(link: Link, place: RedisPlace) -> None:
    """Return once everything Redis holds of this journal is as durable as it gets there."""
    commands: list[Command] = [("SET", place.prefix + "touched", 1)]
    if place.replicas:
        commands.append(("WAIT", place.replicas, place.replicas_ms))
    answers = await link.ask(*commands)
    if place.replicas:
        check_replicas(place, answers[-1])


def check_replicas(place: RedisPlace, answered: int) -> None:
    """Raise JournalUnavailable when fewer replicas have a write than must."""
    if answered < place.replicas:
        raise JournalUnavailable(
            f"{place}: {answered} of {place.replicas} replicas confirmed within "
            f"{place.replicas_ms} ms; see to the replicas"
        )
