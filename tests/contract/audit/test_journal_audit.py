"""What a journal tells afterwards: the same from SQLite and from Redis."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine import commands, machine
from engine.commands import CommandBatch
from engine.state import Capacity, State
from holdfast.cli.app import app
from server.application.journal_audit import (
    history,
    open_existing,
    replay_to,
    verify,
    wanted,
)
from server.application.journal_events import Event
from server.application.ledger import outcome_checksum
from server.application.recovery import Replayed, take_snapshot
from server.journal.errors import JournalRefused
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.journal.record import Entry
from server.transport.columns import Columns, line
from tests.contract.redis.journals import not_lost
from tests.redis_server import RedisServer
from tests.simulation.orders import confirm, count, define

CAPACITY = Capacity.small()
BEGIN_MS = 1_800_000_000_000


def create(
    reservation: str, units: int, *, owner: str, request: str, caller: str = "shop", left: int = 0
) -> CommandBatch:
    """A hold on pears in Berlin, living for 10 s."""
    columns = Columns()
    columns.add(
        commands.CREATE,
        caller=caller.encode(),
        request_id=request.encode(),
        reservation_id=reservation.encode(),
        owner=owner.encode(),
        fill_policy=commands.ALL_OR_NONE,
        ttl_ms=10_000,
        amount=left,
        reference=b"order " + reservation.encode(),
        lines=[
            line(
                sku=b"pear",
                node=b"berlin",
                quantity=units,
                kind=commands.AT_NODE,
                policy=commands.ON_HAND,
            )
        ],
        line_texts=[b""],
    )
    return columns.batch()


# Revisions: 1 and 2 names, 3 and 4 counts, 5 r-1, 6 r-2, 7 r-3 refused, 8 confirm, 9 expiry,
# 10 and 11 an atomic pair.
HISTORY: list[tuple[int, list[CommandBatch]]] = [
    (0, [define(commands.SKU, ["pear", "plum"]), define(commands.NODE, ["berlin"])]),
    (10, [count("pear", "berlin", 10), count("plum", "berlin", 5)]),
    (
        1_000,
        [
            create("r-1", 4, owner="ada", request="q-1"),
            create("r-2", 5, owner="bob", request="q-2", caller="app"),
            create("r-3", 2, owner="eve", request="q-3"),
        ],
    ),
    (2_000, [confirm("r-1")]),
    (3_000, [create("r-2", 5, owner="bob", request="q-2", caller="app")]),  # asked again
    (12_000, [machine.expire_command(100)]),
    (
        13_000,
        [
            create("r-4", 1, owner="ada", request="q-4", left=2),
            create("r-5", 1, owner="ada", request="q-5", left=1),
        ],
    ),
]


async def write(journal: Journal, *, snapshot_after: int = 4) -> State:
    """Keep HISTORY in `journal`, and a snapshot after so many of its records."""
    await journal.claim("the ledger", not_lost)
    state = State.create(CAPACITY, ledger_seed=journal.genesis.ledger_seed)
    for number, (after_ms, batches) in enumerate(HISTORY, 1):
        batch = CommandBatch.join(batches)
        first = state.revision + 1
        answered = machine.apply(state, BEGIN_MS + after_ms, batch)
        await journal.append(
            Entry(
                first,
                state.revision,
                BEGIN_MS + after_ms,
                outcome_checksum(answered),
                batch.to_bytes(),
            )
        )
        if number == snapshot_after:
            await take_snapshot(Replayed(state, await journal.tail()), journal)
    return state


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/journal.sqlite3"
    server: RedisServer = request.getfixturevalue("server")
    return server.url()


@pytest.fixture
async def journal(url: str) -> AsyncIterator[Journal]:
    made = await open_journal(url, JournalIdentity())
    await write(made)
    await made.close()
    reading = await open_existing(url)
    yield reading
    await reading.close()


async def told(journal: Journal, **asked: str) -> list[Event]:
    return [event async for event in history(journal, wanted(**asked))]


def brief(events: list[Event]) -> list[tuple[int, str, str, str]]:
    return [(event.revision, event.what, event.outcome, event.reservation) for event in events]


async def test_what_happened_to_a_sku(journal: Journal) -> None:
    assert brief(await told(journal, sku="pear")) == [
        (1, "DEFINE_NAMES", "OK", ""),
        (3, "COUNT", "OK", ""),
        (5, "CREATE", "OK", "r-1"),
        (6, "CREATE", "OK", "r-2"),
        (7, "CREATE", "INSUFFICIENT_STOCK", "r-3"),
        (8, "CONFIRM", "OK", "r-1"),
        (6, "CREATE", "OK (replayed)", "r-2"),
        (9, "EXPIRE", "OK", "r-2"),
        (10, "CREATE", "OK", "r-4"),
        (11, "CREATE", "OK", "r-5"),
    ]
    assert brief(await told(journal, sku="plum", node="berlin"))[-1] == (4, "COUNT", "OK", "")


async def test_what_happened_to_a_reservation_and_by_whom(journal: Journal) -> None:
    made, again, expired = await told(journal, reservation="r-2")
    assert (made.owner, made.actor, made.reference) == ("bob", "app", "order r-2")
    assert made.time_ms == again.time_ms == BEGIN_MS + 1_000
    assert made.state == "HELD"
    assert [(each.sku, each.node, each.quantity) for each in made.lines] == [("pear", "berlin", 5)]
    assert (expired.what, expired.state, expired.owner) == ("EXPIRE", "EXPIRED", "bob")
    assert expired.time_ms == BEGIN_MS + 12_000


async def test_what_moves_units_names_its_request(url: str) -> None:
    made = await open_journal(url, JournalIdentity())
    state = await write(made)
    columns = Columns()
    columns.add(
        commands.ADJUST,
        caller=b"wms",
        request_id=b"a-1",
        reference=b"note",
        lines=[line(sku=b"pear", node=b"berlin", quantity=3, kind=commands.AT_NODE)],
    )
    batch = columns.batch()
    first = state.revision + 1
    answered = machine.apply(state, BEGIN_MS + 14_000, batch)
    checksum = outcome_checksum(answered)
    await made.append(Entry(first, first, BEGIN_MS + 14_000, checksum, batch.to_bytes()))
    await made.close()
    reading = await open_existing(url)
    (event,) = await told(reading, request="a-1", caller="wms")
    assert (event.what, event.request, event.actor) == ("ADJUST", "a-1", "wms")
    assert (event.reference, event.owner) == ("note", "")
    (hold,) = await told(reading, request="q-1", caller="shop")
    assert (hold.owner, hold.request) == ("ada", "")
    await reading.close()


async def test_what_became_of_a_request_and_of_a_caller(journal: Journal) -> None:
    assert brief(await told(journal, request="q-3", caller="shop")) == [
        (7, "CREATE", "INSUFFICIENT_STOCK", "r-3")
    ]
    assert await told(journal, request="q-3", caller="app") == []
    assert [event.reservation for event in await told(journal, actor="app")] == ["r-2", "r-2"]


async def test_the_ledger_as_it_was_at_any_revision(journal: Journal) -> None:
    held_committed = {4: (0, 0), 5: (4, 0), 6: (9, 0), 7: (9, 0), 8: (5, 4), 9: (0, 4), 11: (2, 4)}
    for revision, expected in held_committed.items():
        past = await replay_to(journal, revision, sku="pear")
        (pear,) = past.positions
        assert (pear.held, pear.committed) == expected, revision
        assert pear.available == pear.on_hand - sum(expected)
        assert past.revision == revision
        assert past.faults == ()
    # Within an atomic pair: before all of it.
    assert (await replay_to(journal, 10)).revision == 9
    then = await replay_to(journal, 6, reservation="r-1")
    assert then.reservation is not None
    assert (then.reservation.state, then.reservation.owner) == ("HELD", "ada")
    with pytest.raises(JournalRefused, match="no revision 99: it ends at revision 11"):
        await replay_to(journal, 99)


async def test_a_sound_journal_is_found_sound_with_its_snapshot(journal: Journal) -> None:
    verdict = await verify(journal)
    assert verdict.faults == []
    assert (verdict.records, verdict.epochs, verdict.revision) == (len(HISTORY) + 1, 1, 11)
    assert verdict.snapshots_agreeing == ["1-4"]
    end = await replay_to(journal, None)
    assert verdict.state_hash == end.state_hash


async def test_a_trimmed_journal_begins_at_its_snapshot(url: str) -> None:
    journal = await open_journal(url, JournalIdentity())
    await write(journal)
    (name,) = await journal.snapshots.list()
    await journal.trim(name.record_id)
    verdict = await verify(journal)
    assert verdict.begins_at == "the snapshot at record 1-4, revision 8"
    assert (verdict.faults, verdict.revision) == ([], 11)
    assert brief(await told(journal, reservation="r-2"))[-1] == (9, "EXPIRE", "OK", "r-2")
    with pytest.raises(JournalRefused, match="revision 5 is trimmed away"):
        await replay_to(journal, 5)
    await journal.close()


async def test_a_record_that_was_answered_otherwise_is_named(url: str) -> None:
    journal = await open_journal(url, JournalIdentity())
    state = await write(journal)
    batch = create("r-9", 100, owner="eve", request="q-9")
    await journal.append(Entry(12, 12, state.now_ms, 0, batch.to_bytes()))
    verdict = await verify(journal)
    assert len(verdict.faults) == 1
    assert "journal record 1-8: replay decides otherwise than was answered" in verdict.faults[0]
    await journal.close()


# --- The command line -----------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["journal", *arguments])


async def test_the_command_line_tells_it_to_people_and_programs(journal: Journal, url: str) -> None:
    as_json = await asyncio.to_thread(
        run, "inspect", "--journal", url, "--reservation", "r-2", "--json"
    )
    assert as_json.exit_code == 0, as_json.output
    told_events = [json.loads(row) for row in as_json.stdout.splitlines()]
    assert [event["what"] for event in told_events] == ["CREATE", "CREATE", "EXPIRE"]
    assert told_events[0]["time"] == "2027-01-15 08:00:01.000"
    assert told_events[0]["lines"] == [{"sku": "pear", "node": "berlin", "quantity": 5}]
    table = await asyncio.to_thread(
        run, "inspect", "--journal", url, "--sku", "pear", "--limit", "2"
    )
    assert "10 commands, the newest 2 shown" in table.stdout
    sound = await asyncio.to_thread(run, "verify", "--journal", url)
    assert (sound.exit_code, sound.stdout.startswith("sound: ")) == (0, True)
    past = await asyncio.to_thread(
        run, "replay", "--journal", url, "--to", "6", "--sku", "pear", "--json"
    )
    (pear,) = json.loads(past.stdout)["positions"]
    assert (pear["on_hand"], pear["held"], pear["available"]) == (10, 9, 1)


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    refused = run("verify", "--data", str(tmp_path))
    assert refused.exit_code == 2
    assert "is not there" in refused.stderr
    assert list(tmp_path.iterdir()) == []


async def test_a_redis_without_a_journal_stays_as_it_is(server: RedisServer) -> None:
    with pytest.raises(JournalRefused, match="is not there"):
        await open_existing(server.url())
    with server.client() as client:
        assert client.keys() == []


async def test_damage_is_an_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    journal = await open_journal(f"sqlite://{path}", JournalIdentity())
    await write(journal)
    await journal.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE records SET record = substr(record, 1, 200) WHERE id % 8 = 5")
    connection.close()
    found = await asyncio.to_thread(run, "verify", "--data", str(tmp_path))
    assert found.exit_code == 7
    assert "journal record 1-5" in found.stderr
