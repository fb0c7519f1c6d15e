"""What made a movement, and where a transfer comes from, is told after a crash as before it: from
the records of every journal, from its snapshots, and from a journal of an older format."""

from __future__ import annotations

import pytest

from engine import commands, invariants, machine, reads, tables
from engine.balances import read_balance
from engine.commands import CommandBatch
from engine.reads import Cause
from engine.state import Capacity, State
from server.application.ledger import Ledger, outcome_checksum
from server.application.recovery import Replayed, recover, replay, take_snapshot
from server.journal.errors import JournalError
from server.journal.genesis import FORMAT_VERSION
from server.journal.record import COMMANDS, Entry
from tests import columns
from tests.columns import Line
from tests.contract.journal.harness import WHO, Harness, genesis_of

FORMATS = range(1, FORMAT_VERSION + 1)


def lost(error: JournalError) -> None:
    """Nobody else writes it."""
    raise AssertionError(str(error))


async def opened(harness: Harness) -> Ledger:
    ledger, _ = await recover(await harness.open(), Capacity.small(), holder="it", on_lost=lost)
    return ledger


async def apply(ledger: Ledger, *batches: CommandBatch) -> None:
    """Apply them as one batch, and journal it."""
    state, batch = ledger.state, columns.join(*batches)
    first = state.revision + 1
    answered = machine.apply(state, 1_000 * first, batch)
    assert not answered.rows["code"].any()
    checksum = outcome_checksum(answered)
    entry = Entry(first, state.revision, state.now_ms, checksum, batch.to_bytes())
    await ledger.journal.append(entry)


def adjust(units: int, **header: str) -> CommandBatch:
    return columns.command(commands.ADJUST, [Line("pear", "berlin", quantity=units)], **header)


def causes(state: State) -> list[Cause]:
    return [reads.movement_cause(state, n) for n in range(int(state.meta["movement_next"][0]))]


def source(state: State, supply: str) -> str:
    told = read_balance(state, int(state.supplies["position"][reads.supply_row(state, supply)]))
    return reads.name_text(state, int(told["source"]) - 1)


async def begin(harness: Harness, format_version: int) -> Ledger:
    """A ledger in which units have moved, in a journal that began in this format."""
    journal = await harness.open()
    harness.set_genesis(genesis_of(WHO, format_version=format_version))
    await journal.close()
    ledger = await opened(harness)
    travelling = Line("pear", "berlin", "lyon", 2, time_ms=1 << 40, text="t-1")
    announced = Line(
        "pear", "lyon", "t-2", 4, policy=commands.TRANSFER_SUPPLY, time_ms=1 << 40, text="t-2"
    )
    await apply(
        ledger,
        columns.define(commands.SKU, "pear"),
        columns.define(commands.NODE, "berlin", "lyon"),
        adjust(9, request_id="a-1", reference="note"),
        columns.command(commands.TRANSFER, [travelling], request_id="t"),
    )
    await apply(
        ledger,
        columns.command(commands.UPSERT_SUPPLY, [announced], channel="berlin"),
        columns.command(commands.RECEIVE_SUPPLY, [Line(scope="t-1", quantity=2)], request_id="r"),
    )
    return ledger


TOLD = [Cause("a-1", "", "note"), Cause("t", "t-1", ""), Cause("r", "t-1", "")]


@pytest.mark.parametrize("format_version", FORMATS)
async def test_the_records_tell_every_cause(harness: Harness, format_version: int) -> None:
    ledger = await begin(harness, format_version)
    assert causes(ledger.state) == TOLD
    await ledger.journal.close()
    harness.kill()
    again = await opened(harness)
    assert causes(again.state) == TOLD
    assert (source(again.state, "t-1"), source(again.state, "t-2")) == ("berlin", "berlin")
    assert invariants.state_hash(again.state) == invariants.state_hash(ledger.state)
    await apply(again, adjust(1, request_id="a-2"))
    assert causes(again.state) == [*TOLD, Cause("a-2", "", "")]
    await again.journal.close()


@pytest.mark.parametrize("format_version", FORMATS)
async def test_a_snapshot_keeps_every_cause(harness: Harness, format_version: int) -> None:
    ledger = await begin(harness, format_version)
    journal = ledger.journal
    tail = await journal.tail()
    await take_snapshot(Replayed(ledger.state, tail), journal)
    await journal.trim(tail.record_id)
    await apply(ledger, adjust(1, request_id="a-2"))
    wanted = invariants.state_hash(ledger.state)
    await journal.close()
    harness.kill()
    journal = await harness.open()
    replayed, report = await replay(journal)
    assert report.snapshot is not None
    assert causes(replayed.state) == [*TOLD, Cause("a-2", "", "")]
    assert (source(replayed.state, "t-1"), source(replayed.state, "t-2")) == ("berlin", "berlin")
    assert invariants.state_hash(replayed.state) == wanted
    await journal.close()


@pytest.mark.parametrize("format_version", FORMATS)
async def test_the_journal_says_where_the_format_changes(
    harness: Harness, format_version: int
) -> None:
    """Of an older journal what is before that place is replayed by the rules of its time."""
    journal = await harness.open()
    harness.set_genesis(genesis_of(WHO, format_version=format_version))
    await journal.close()
    journal = await harness.open()
    before, _ = await replay(journal)
    assert before.state.format_number == (tables.FORMAT if format_version > 2 else 0)
    await journal.close()
    for _ in range(2):
        ledger = await opened(harness)
        assert ledger.state.format_number == tables.FORMAT
        await ledger.journal.close()
    journal = await harness.open()
    records = await journal.read(journal.genesis.beginning)
    given = [CommandBatch.from_bytes(each.payload) for each in records if each.kind == COMMANDS]
    kinds = [batch.headers["kind"].tolist() for batch in given]
    assert kinds == ([[commands.SET_FORMAT]] if format_version < FORMAT_VERSION else [])
    await journal.close()
