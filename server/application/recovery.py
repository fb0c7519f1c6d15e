"""From a journal back to the state: the newest good snapshot, then every record after it.

Replay gives the very same state because the engine is deterministic. Each record holds the revision
it ended at and a checksum of its decisions; a replay that comes to others stops right there.

Callers: `server.lifecycle` (at start, and as the sequencer's `rebuild`), `standby` (again and
again, to keep up with another writer), the snapshot process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine import invariants, machine
from engine.commands import CommandBatch
from engine.formats import format_command
from engine.resize import resize_command, too_small
from engine.state import Capacity, State
from engine.tables import FORMAT
from server.application.hold_origins import HoldOrigins
from server.application.ledger import Engine, Ledger, outcome_checksum
from server.journal.errors import (
    JournalCorrupted,
    JournalDiverged,
    JournalError,
    JournalGap,
    JournalRefused,
    JournalUnavailable,
    SnapshotDamaged,
)
from server.journal.genesis import Genesis
from server.journal.port import Journal
from server.journal.record import COMMANDS, Cursor, Entry, JournalRecord
from server.journal.snapshot import Snapshot, SnapshotHeader, SnapshotName


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """What a recovery found and how long it took. Durations in seconds."""

    revision: int
    positions: int
    open_holds: int
    snapshot: SnapshotName | None
    snapshots_skipped: tuple[str, ...]
    """Why each newer snapshot could not be used."""
    records: int
    commands: int
    load_s: float
    replay_s: float


@dataclass(slots=True)
class Replayed:
    """A state and the place in the journal it stands for; both move on with each record."""

    state: State
    cursor: Cursor
    origins: HoldOrigins = field(default_factory=HoldOrigins)


async def recover(
    journal: Journal,
    capacity: Capacity,
    *,
    holder: str,
    on_lost: Callable[[JournalError], None],
    engine: Engine = machine,
) -> tuple[Ledger, RecoveryReport]:
    """Claim `journal`, then replay it to the end: the ledger may be served afterwards.

    The claim comes first: it ends every other writer, so that the end stays the end.
    Raises a JournalError that says why nothing may be served.
    """
    tail = await journal.claim(holder, on_lost)
    replayed, report = await replay(journal, engine=engine)
    if replayed.cursor != tail:
        raise JournalGap(
            str(tail.record_id),
            f"is this writer's own start, but reading ended at record {replayed.cursor.record_id}",
        )
    await make_ready(replayed.state, journal, capacity, engine)
    epoch = tail.record_id.epoch
    return Ledger(replayed.state, journal, replayed.origins, epoch), report


def is_ready(state: State, capacity: Capacity) -> bool:
    """Whether the state has the sizes configured and the format of this version."""
    return state.capacity == capacity and state.format_number == FORMAT


async def make_ready(state: State, journal: Journal, capacity: Capacity, engine: Engine) -> None:
    """Give the tables the sizes configured, and the state this version's format, by commands of the
    journal: one record, or none where it is ready.

    Raises JournalRefused when the ledger does not fit into the tables; nothing is changed then.
    """
    if is_ready(state, capacity):
        return
    problems = too_small(state, capacity)
    if problems:
        raise JournalRefused(
            f"{journal.place} does not fit into the tables configured: {'; '.join(problems)}. "
            "Configure at least as much room"
        )
    missing = []
    if state.capacity != capacity:
        missing.append(resize_command(capacity))
    if state.format_number != FORMAT:
        missing.append(format_command())
    command = CommandBatch.join(missing)
    first_revision = state.revision + 1
    answered = await asyncio.to_thread(engine.apply, state, state.now_ms, command)
    await journal.append(
        Entry(
            first_revision,
            state.revision,
            state.now_ms,
            outcome_checksum(answered),
            command.to_bytes(),
        )
    )


async def replay(
    journal: Journal,
    *,
    engine: Engine = machine,
    to_revision: int | None = None,
) -> tuple[Replayed, RecoveryReport]:
    """The state after every record there is, or after `to_revision`. Takes no ownership.

    Raises JournalCorrupted, JournalGap or JournalDiverged naming the record.
    """
    started_s = time.perf_counter()
    loaded = await _load_newest(journal, to_revision)
    loaded_s = time.perf_counter()
    try:
        replayed = Replayed(loaded.state, loaded.cursor, loaded.origins)
        records, commands = await _replay_records(journal, replayed, engine, to_revision)
    except JournalGap as gap:
        unusable = "; ".join(loaded.skipped)
        if not unusable:
            raise
        raise JournalGap(gap.record, f"{gap.reason}. Not usable: {unusable}") from gap
    state = replayed.state
    meta = state.meta[0]
    report = RecoveryReport(
        revision=state.revision,
        positions=int(meta["position_count"]),
        open_holds=int(meta["held_count"]),
        snapshot=loaded.name,
        snapshots_skipped=loaded.skipped,
        records=records,
        commands=commands,
        load_s=loaded_s - started_s,
        replay_s=time.perf_counter() - loaded_s,
    )
    return replayed, report


async def take_snapshot(replayed: Replayed, journal: Journal) -> SnapshotName:
    """Keep the state beside its journal. Nothing may be applied to it meanwhile."""
    state = replayed.state
    header = SnapshotHeader(
        genesis=journal.genesis,
        cursor=replayed.cursor,
        revision=state.revision,
        now_ms=state.now_ms,
        state_hash=invariants.state_hash(state),
    )
    sections = [*state.sections(), *replayed.origins.sections(state)]
    return await journal.snapshots.save(Snapshot(header, sections))


def snapshot_bytes(state: State) -> int:
    """How large a snapshot of this state is, but for its manifest."""
    return sum(rows.nbytes for _, rows in state.sections())


@dataclass(frozen=True, slots=True)
class _Loaded:
    state: State
    cursor: Cursor
    name: SnapshotName | None
    skipped: tuple[str, ...]
    origins: HoldOrigins


async def _load_newest(journal: Journal, to_revision: int | None) -> _Loaded:
    """The newest snapshot that is whole, or an empty state when there is none."""
    tail = await journal.tail()
    skipped: list[str] = []
    for name in await journal.snapshots.list():
        if to_revision is not None and name.revision > to_revision:
            continue
        try:
            snapshot = await journal.snapshots.load(name)
        except (SnapshotDamaged, JournalUnavailable) as error:
            skipped.append(str(error))
            continue
        header = snapshot.header
        if header.genesis != journal.genesis:
            skipped.append(f"snapshot at record {name.record_id}: belongs to another ledger")
            continue
        if header.cursor.record_id > tail.record_id:
            raise JournalGap(
                str(header.cursor.record_id),
                f"is in a snapshot, but {journal.place} ends at record {tail.record_id}: it is "
                "older than its snapshots. Bring back the journal that belongs to them",
            )
        try:
            origins, sections = HoldOrigins.taken_from(snapshot.sections)
            state = await asyncio.to_thread(State.restore, sections)
        except ValueError as error:
            raise JournalRefused(f"snapshot at record {name.record_id}: {error}") from error
        return _Loaded(state, header.cursor, name, tuple(skipped), origins)
    state = state_at_genesis(journal.genesis)
    return _Loaded(state, journal.genesis.beginning, None, tuple(skipped), HoldOrigins())


def state_at_genesis(genesis: Genesis) -> State:
    """What a journal begins with: an empty ledger of its format."""
    return State.create(
        Capacity.first(),
        ledger_seed=genesis.ledger_seed,
        format_number=genesis.format_version,
    )


async def _replay_records(
    journal: Journal, replayed: Replayed, engine: Engine, to_revision: int | None
) -> tuple[int, int]:
    """Apply every record after `replayed`: how many records and commands they were."""
    records = commands = 0
    page = await journal.read(replayed.cursor)
    while page:
        # The next page is read and verified on the journal's thread while this one is applied.
        following = asyncio.ensure_future(journal.read(page[-1].cursor))
        try:
            for record in page:
                if to_revision is not None and record.last_revision > to_revision:
                    await asyncio.gather(following, return_exceptions=True)
                    return records, commands
                batch = apply_record(replayed, record, engine=engine)
                commands += len(batch) if batch is not None else 0
                records += 1
        except BaseException:
            await asyncio.gather(following, return_exceptions=True)
            raise
        page = await following
    return records, commands


def apply_record(
    replayed: Replayed, record: JournalRecord, *, engine: Engine = machine
) -> CommandBatch | None:
    """Apply the record that follows `replayed`; returns its commands, None when it has none.

    Raises JournalDiverged, JournalCorrupted: the state is worth nothing then.
    """
    batch = _apply(engine, replayed, record)
    replayed.cursor = record.cursor
    return batch


def _apply(engine: Engine, replayed: Replayed, record: JournalRecord) -> CommandBatch | None:
    if record.kind != COMMANDS:
        return None
    state = replayed.state
    before = state.revision
    name = str(record.record_id)
    if record.first_revision != state.revision + 1:
        raise JournalDiverged(
            f"journal record {name} begins at revision {record.first_revision}, "
            f"replay has come to revision {state.revision}"
        )
    try:
        batch = CommandBatch.from_bytes(record.payload)
    except ValueError as error:
        raise JournalCorrupted(name, str(error)) from error
    outcomes = engine.apply(state, record.now_ms, batch)
    if state.revision != record.last_revision:
        raise JournalDiverged(
            f"journal record {name} ended at revision {record.last_revision}, "
            f"replay ends it at {state.revision}; start the version of Holdfast that wrote it"
        )
    if outcome_checksum(outcomes) != record.outcome_checksum:
        raise JournalDiverged(
            f"journal record {name}: replay decides otherwise than was answered; "
            "start the version of Holdfast that wrote it"
        )
    replayed.origins.note(state, before, batch, outcomes)
    return batch
