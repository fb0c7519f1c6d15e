"""Writes a journal of the format in force: ``python -m tests.contract.upgrade.make DIRECTORY``.

Run once at a release that changes a format; what it wrote is kept for good, because every later
version must read it. The story is a seeded walk through every command the engine knows.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engine import machine, reads
from engine.balances import read_balance
from engine.commands import CommandBatch
from engine.state import State
from server.application.ledger import outcome_checksum
from server.application.recovery import Replayed, recover, take_snapshot
from server.journal.errors import JournalError
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.journal.record import Entry
from tests import columns
from tests.property import test_walks
from tests.property.pair import ROOM, SETUP, Pair

WHO = JournalIdentity(ledger_id="the-ledger-of-format-1")
SEED = 31  # format 3: supplies of every source, long and short texts; before: 11
BALANCES = ("kind", "on_hand", "held", "committed", "withheld")


def story() -> list[tuple[int, CommandBatch]]:
    """(ledger time, batch), in order."""
    pair = Pair()
    test_walks.walk(SEED, pair, [])
    told = [(pair.batches[0][0], batch) for batch in SETUP]
    told += [
        (now_ms, columns.join(*(each.batch() for each in operations)))
        for now_ms, operations, _ in pair.batches
    ]
    return told


def told_of(state: State) -> dict[str, Any]:
    """What later versions must come to as well, however they keep it."""
    meta = state.meta[0]
    count = int(meta["position_count"])
    positions = state.positions[:count]
    rows = np.array([positions[name].astype(np.int64) for name in BALANCES])
    return {
        "revision": state.revision,
        "now_ms": state.now_ms,
        "held": int(meta["held_count"]),
        "confirmed": int(meta["confirmed_count"]),
        "ended": int(meta["terminal_count"]),
        "short_units": int(meta["short_units"]),
        "balances": rows.T.tolist(),
        **_causes_of(state),
    }


def _causes_of(state: State) -> dict[str, Any]:
    """Since format 3: what made each movement that is kept, and where supplies come from."""
    meta, size = state.meta[0], len(state.movements)
    numbers = range(int(meta["movement_oldest"]), int(meta["movement_next"]))
    told = [
        read_balance(state, row)
        for row in state.supplies["position"][: int(meta["supply_count"])].tolist()
    ]
    return {
        "causes": [list(reads.movement_cause(state, number % size)) for number in numbers],
        "sources": [reads.name_text(state, int(supply["source"]) - 1) for supply in told],
    }


def lost(error: JournalError) -> None:
    """Nobody else writes it."""
    raise AssertionError(str(error))


async def write(directory: Path) -> None:
    """Write journal, snapshot and what they tell."""
    journal = await open_journal(f"sqlite://{directory}/journal.sqlite3", WHO)
    ledger, _ = await recover(journal, ROOM, holder="the writer", on_lost=lost)
    state = ledger.state
    batches = story()
    for number, (now_ms, batch) in enumerate(batches):
        first = state.revision + 1
        answered = machine.apply(state, now_ms, batch)
        entry = Entry(
            first, state.revision, state.now_ms, outcome_checksum(answered), batch.to_bytes()
        )
        await journal.append(entry)
        if number == len(batches) // 2:
            await take_snapshot(Replayed(state, await journal.tail()), journal)
    await journal.close()
    (directory / "journal.sqlite3.lock").unlink(missing_ok=True)  # names this machine
    (directory / "expected.json").write_text(json.dumps(told_of(state), indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]).absolute()))
