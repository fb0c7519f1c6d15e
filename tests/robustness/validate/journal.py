"""Reads a journal from its first record to its last, and replays it twice.

Once with the engine, as the server does at its start, and once with the independent model. Nothing
is claimed and nothing is changed: the journal of a server that runs may be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine import invariants, machine
from engine.commands import CommandBatch
from engine.state import Capacity, State
from server.application.ledger import outcome_checksum
from server.journal.genesis import Genesis, JournalIdentity
from server.journal.opening import open_journal
from server.journal.record import COMMANDS, EPOCH_START, JournalRecord
from tests.robustness.model.ledger import Balances, Ledger
from tests.robustness.validate.findings import OVERSOLD, REPLAY, TWO_EFFECTS, UNSOUND, Findings


@dataclass(frozen=True, slots=True)
class Book:
    """A whole journal: every record, verified, in its order."""

    ledger_seed: int
    records: list[JournalRecord]


async def read_book(url: str) -> Book:
    """Every record of the journal in `url`. Raises a JournalError naming a damaged one."""
    journal = await open_journal(url, JournalIdentity(), make=False)
    try:
        genesis: Genesis = journal.genesis
        records: list[JournalRecord] = []
        cursor = genesis.beginning
        while page := await journal.read(cursor):
            records += page
            cursor = page[-1].cursor
    finally:
        await journal.close()
    return Book(genesis.ledger_seed, records)


@dataclass(slots=True)
class Replayed:
    """What a journal says happened."""

    model: Ledger
    state: State
    balances_at: dict[int, Balances] = field(default_factory=dict)
    """Revision at the end of a record -> every position."""
    hashes: dict[int, str] = field(default_factory=dict)
    """Revision -> hash of the state, for those asked for."""
    epochs: int = 0

    @property
    def revision(self) -> int:
        """How far it goes."""
        return self.state.revision


def replay(book: Book, findings: Findings, *, hash_at: Iterable[int] = ()) -> Replayed:
    """Replay `book` into engine and model, noting where they differ from the records or each other.

    `hash_at`: revisions at whose record's end the state's hash is wanted.
    """
    wanted = set(hash_at)
    told = Replayed(
        Ledger(ledger_seed=book.ledger_seed),
        State.create(Capacity.first(), ledger_seed=book.ledger_seed),
        {0: {}},
    )
    model, state = told.model, told.state
    newest_ms = 0
    for record in book.records:
        told.epochs += record.kind == EPOCH_START
        if record.kind != COMMANDS:
            continue
        name = f"record {record.record_id}"
        if record.now_ms < newest_ms:
            findings.add(REPLAY, f"{name}: ledger time went back by {newest_ms - record.now_ms} ms")
        newest_ms = record.now_ms
        if record.first_revision != state.revision + 1:
            findings.add(
                REPLAY, f"{name}: begins at {record.first_revision}, not after {state.revision}"
            )
        batch = CommandBatch.from_bytes(record.payload)
        outcomes = machine.apply(state, record.now_ms, batch)
        if outcome_checksum(outcomes) != record.outcome_checksum:
            findings.add(REPLAY, f"{name}: the engine decides otherwise than was answered")
        if state.revision != record.last_revision:
            findings.add(
                REPLAY, f"{name}: ends at {state.revision}, was kept as {record.last_revision}"
            )
        model.apply(record.now_ms, batch)
        if model.revision != record.last_revision:
            findings.add(
                TWO_EFFECTS,
                f"{name}: ended at revision {record.last_revision}, by the model {model.revision}",
            )
            break  # nothing after it can be compared
        told.balances_at[model.revision] = model.balances()
        if model.revision in wanted:
            told.hashes[model.revision] = invariants.state_hash(state).hex()
    for line in model.oversold:
        findings.add(OVERSOLD, line)
    if model.units_oversold > len(model.oversold):
        findings.add(OVERSOLD, "units beyond one each", model.units_oversold - len(model.oversold))
    for line in invariants.check(state):
        findings.add(UNSOUND, f"after a replay: {line}")
    return told
