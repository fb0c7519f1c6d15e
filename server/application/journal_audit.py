"""Reads a journal as a history: who did what when, what the ledger was at a revision, is it whole.

Nothing here takes ownership or changes anything: a live server's journal may be read. Everything is
replayed, so every answer is the one that was given at the time. What is trimmed away can't be told;
then the history begins at the oldest snapshot.

Callers: ``holdfast journal``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine import commands, invariants, machine, reads
from engine.commands import CommandBatch
from engine.hashing import key_of, wide_key_of
from engine.outcomes import Outcomes
from engine.state import State
from server.application.journal_events import (
    STATE_NAMES,
    Event,
    Names,
    Wanted,
    events,
    held_before,
)
from server.application.ledger import outcome_checksum
from server.application.recovery import state_at_genesis
from server.journal.errors import (
    JournalCorrupted,
    JournalDiverged,
    JournalGap,
    JournalRefused,
    SnapshotDamaged,
)
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.journal.record import COMMANDS, Cursor, JournalRecord
from server.journal.snapshot import SnapshotName


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One position as it stood."""

    sku: str
    node: str
    on_hand: int
    held: int
    committed: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """One reservation as it stood. Times in ms since 1970."""

    reservation: str
    state: str
    owner: str
    create_ms: int
    expire_ms: int
    lines: tuple[tuple[str, str, int], ...]
    """SKU, node and the units still open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The ledger at a revision."""

    revision: int
    time_ms: int
    record: str
    """The last record that is in it, perhaps in part."""
    positions_count: int
    open_holds: int
    state_hash: str
    faults: tuple[str, ...]
    """What the invariants say of it; empty when it is sound."""
    positions: tuple[Position, ...]
    reservation: Reservation | None


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What became of checking a whole journal."""

    place: str
    begins_at: str
    """``the first record``, or the snapshot that stands for what is trimmed."""
    records: int = 0
    commands: int = 0
    epochs: int = 0
    last_record: str = ""
    revision: int = 0
    state_hash: str = ""
    snapshots_agreeing: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """One sentence each; empty when the journal is sound."""


async def open_existing(url: str, *, shard: int = 0, tenant: str = "default") -> Journal:
    """Open a journal for reading; unlike a server's start this never makes one."""
    return await open_journal(url, JournalIdentity(shard=shard, tenant=tenant), make=False)


def wanted(
    *,
    sku: str = "",
    node: str = "",
    reservation: str = "",
    request: str = "",
    caller: str = "",
    actor: str | None = None,
) -> Wanted:
    """What to look for, from names. A request id belongs to the caller who chose it."""
    return Wanted(
        sku_key=key_of(sku.encode()) if sku else 0,
        node_key=key_of(node.encode()) if node else 0,
        reservation_key=wide_key_of(reservation.encode()) if reservation else None,
        request_key=wide_key_of(f"{caller}\0{request}".encode()) if request else None,
        actor=actor,
    )


async def history(
    journal: Journal,
    asked: Wanted,
    *,
    from_revision: int = 0,
    to_revision: int | None = None,
) -> AsyncIterator[Event]:
    """The events that are asked for, in order. O(journal): all of it is replayed."""
    names = Names()
    start = await _begin(journal)
    async for record in _records(journal, start.cursor):
        if to_revision is not None and record.first_revision > to_revision:
            return
        if record.kind != COMMANDS:
            continue
        batch = _commands(record)
        before = held_before(start.state, batch)
        answered = machine.apply(start.state, record.now_ms, batch)
        _compare(start.state, record, answered)
        if record.last_revision < from_revision:
            continue
        for event in events(start.state, names, record, batch, answered, before, asked):
            if event.revision >= from_revision and (
                to_revision is None or event.revision <= to_revision
            ):
                yield event


async def verify(
    journal: Journal,
    *,
    on_record: Callable[[JournalRecord], None] | None = None,
) -> Verdict:
    """Read and replay everything there is; faults are in the verdict, not raised."""
    start = await _begin(journal)
    verdict = Verdict(place=journal.place, begins_at=start.name)
    saved = {name.record_id: name for name in await journal.snapshots.list()}
    last = start.cursor.record_id
    try:
        async for record in _records(journal, start.cursor):
            if record.kind == COMMANDS:
                batch = _commands(record)
                answered = machine.apply(start.state, record.now_ms, batch)
                _compare(start.state, record, answered)
                verdict.commands += len(batch)
            else:
                verdict.epochs += 1
            verdict.records += 1
            last = record.record_id
            if last in saved:
                await _compare_snapshot(journal, start.state, saved[last], verdict)
            if on_record is not None:
                on_record(record)
    except (JournalCorrupted, JournalDiverged) as error:
        verdict.faults.append(str(error))
    verdict.faults += invariants.check(start.state)
    verdict.last_record = str(last)
    verdict.revision = start.state.revision
    verdict.state_hash = invariants.state_hash(start.state).hex()
    return verdict


async def replay_to(
    journal: Journal,
    revision: int | None,
    *,
    sku: str = "",
    node: str = "",
    reservation: str = "",
) -> Past:
    """The ledger right after `revision`, or at the end. Raises JournalRefused when it is not there.

    An atomic batch of requests is one step: a revision within it means before all of it.
    """
    start = await _begin(journal)
    state = start.state
    if revision is not None and revision < state.revision:
        raise JournalRefused(
            f"{journal.place} begins at {start.name}: revision {revision} is trimmed away"
        )
    last = start.cursor.record_id
    now_ms = state.now_ms
    async for record in _records(journal, start.cursor):
        if revision is not None and record.first_revision > revision:
            break
        last = record.record_id
        if record.kind != COMMANDS:
            continue
        now_ms = record.now_ms
        batch = _commands(record)
        if revision is None or record.last_revision <= revision:
            _compare(state, record, machine.apply(state, record.now_ms, batch))
            continue
        for step in _steps(batch):
            is_beyond = len(step) > 1 and state.revision + len(step) > revision
            if state.revision >= revision or is_beyond:
                break
            machine.apply(state, record.now_ms, step)
        break
    else:
        if revision is not None and state.revision < revision:
            raise JournalRefused(
                f"{journal.place} has no revision {revision}: it ends at revision {state.revision}"
            )
    return Past(
        revision=state.revision,
        time_ms=now_ms,
        record=str(last),
        positions_count=int(state.meta["position_count"][0]),
        open_holds=int(state.meta["held_count"][0]),
        state_hash=invariants.state_hash(state).hex(),
        faults=tuple(invariants.check(state)),
        positions=_positions(state, sku, node),
        reservation=_reservation(state, reservation),
    )


# --- Replaying ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    """Where the history begins."""

    state: State
    cursor: Cursor
    name: str


async def _begin(journal: Journal) -> _Start:
    """The first record, or the oldest snapshot where the beginning is trimmed."""
    beginning = journal.genesis.beginning
    try:
        await journal.read(beginning, bytes_max=1)
    except JournalGap as gap:
        for name in reversed(await journal.snapshots.list()):
            snapshot = await journal.snapshots.load(name)
            state = State.restore(snapshot.sections)
            if invariants.state_hash(state) != snapshot.header.state_hash:
                raise JournalCorrupted(
                    str(name.record_id), "its snapshot gives a state of another hash"
                ) from gap
            return _Start(
                state,
                snapshot.header.cursor,
                f"the snapshot at record {name.record_id}, revision {name.revision}",
            )
        raise
    return _Start(state_at_genesis(journal.genesis), beginning, "the first record")


async def _records(journal: Journal, cursor: Cursor) -> AsyncIterator[JournalRecord]:
    while page := await journal.read(cursor):
        for record in page:
            yield record
        cursor = page[-1].cursor


def _commands(record: JournalRecord) -> CommandBatch:
    try:
        return CommandBatch.from_bytes(record.payload)
    except ValueError as error:
        raise JournalCorrupted(str(record.record_id), str(error)) from error


def _compare(state: State, record: JournalRecord, answered: Outcomes) -> None:
    if (
        state.revision != record.last_revision
        or outcome_checksum(answered) != record.outcome_checksum
    ):
        raise JournalDiverged(
            f"journal record {record.record_id}: replay decides otherwise than was answered "
            f"(revision {state.revision}, recorded {record.last_revision}); use the version of "
            "Holdfast that wrote it"
        )


async def _compare_snapshot(
    journal: Journal, state: State, name: SnapshotName, verdict: Verdict
) -> None:
    try:
        snapshot = await journal.snapshots.load(name)
    except SnapshotDamaged as error:
        verdict.faults.append(str(error))
        return
    if snapshot.header.state_hash == invariants.state_hash(state):
        verdict.snapshots_agreeing.append(str(name.record_id))
    else:
        verdict.faults.append(f"snapshot at record {name.record_id}: replay comes to another state")


def _steps(batch: CommandBatch) -> list[CommandBatch]:
    """The commands of a batch one by one, those of an atomic group together. O(batch)."""
    headers = batch.headers
    lines = np.concatenate(([0], np.cumsum(headers["line_count"], dtype=np.int64)))
    texts = np.concatenate(([0], np.cumsum(headers["text_bytes"], dtype=np.int64)))
    steps = []
    first = 0
    while first < len(headers):
        header = headers[first]
        is_group = int(header["kind"]) == commands.CREATE and int(header["amount"]) > 1
        end = min(first + (int(header["amount"]) if is_group else 1), len(headers))
        steps.append(
            CommandBatch(
                headers[first:end].copy(),
                batch.lines[lines[first] : lines[end]].copy(),
                batch.text[texts[first] : texts[end]].copy(),
            )
        )
        first = end
    return steps


# --- Telling --------------------------------------------------------------------------------


def _positions(state: State, sku: str, node: str) -> tuple[Position, ...]:
    if not sku and not node:
        return ()
    rows = [reads.find_name(state, kind, text) if text else -1
            for kind, text in ((commands.SKU, sku), (commands.NODE, node))]  # fmt: skip
    if (sku and rows[0] < 0) or (node and rows[1] < 0):
        return ()
    return tuple(
        _position(state, int(row)) for row in reads.stock_rows(state, sku=rows[0], node=rows[1])
    )


def _position(state: State, row: int) -> Position:
    found: Any = state.positions[row]
    return Position(
        sku=reads.name_text(state, int(found["sku"])),
        node=reads.name_text(state, int(found["node"])),
        on_hand=int(found["on_hand"]),
        held=int(found["held"]),
        committed=int(found["committed"]),
        available=reads.available(state, row),
    )


def _reservation(state: State, reservation: str) -> Reservation | None:
    row = reads.reservation_row(state, reservation) if reservation else -1
    if row < 0:
        return None
    found: Any = state.reservations[row]
    takes = [state.takes[take] for take in reads.takes_of(state, row)]
    names = []
    for take in takes:
        position = state.positions[int(take["position"])]
        names.append(
            (
                reads.name_text(state, int(position["sku"])),
                reads.name_text(state, int(position["node"])),
                int(take["quantity"]),
            )
        )
    return Reservation(
        reservation=reads.reservation_id(state, row),
        state=STATE_NAMES.get(int(found["state"]), ""),
        owner=reads.reservation_owner(state, row),
        create_ms=int(found["create_ms"]),
        expire_ms=int(found["expire_ms"]),
        lines=tuple(names),
    )
