"""What every journal promises (server/journal/port.py), held against each implementation."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from server.journal.errors import (
    JournalCorrupted,
    JournalError,
    JournalFenced,
    JournalGap,
    JournalMismatch,
    JournalOwned,
    JournalRefused,
    JournalUnavailable,
)
from server.journal.port import Journal
from server.journal.record import COMMANDS, EPOCH_START, Cursor, Entry, JournalRecord, RecordId
from tests.contract.journal.harness import WHO, Harness, genesis_of


def entry(number: int, payload: bytes = b"") -> Entry:
    """One command's worth of journal, recognisable by `number`."""
    return Entry(number, number, 1_000 + number, number * 7, payload or b"batch %d" % number)


def lost(error: JournalError) -> None:
    raise AssertionError(f"ownership was not lost, yet: {error}")


async def claimed(harness: Harness) -> Journal:
    journal = await harness.open()
    await journal.claim("the test", lost)
    return journal


async def filled(harness: Harness, count: int) -> Journal:
    """A journal of one epoch with records 1-0 to 1-`count`."""
    journal = await claimed(harness)
    await asyncio.gather(*(journal.append(entry(number)) for number in range(1, count + 1)))
    return journal


async def read_all(journal: Journal, after: Cursor | None = None) -> list[JournalRecord]:
    cursor = after or journal.genesis.beginning
    records: list[JournalRecord] = []
    while page := await journal.read(cursor, bytes_max=200):
        records += page
        cursor = page[-1].cursor
    return records


def payloads(records: list[JournalRecord]) -> list[bytes]:
    return [record.payload for record in records if record.kind == COMMANDS]


# --- Whose journal ------------------------------------------------------------------------


async def test_a_new_journal_is_empty_and_says_whose_it_is(harness: Harness) -> None:
    journal = await harness.open()
    assert (journal.genesis.tenant, journal.genesis.shard) == ("acme", 3)
    assert journal.genesis.ledger_id == "ledger-1"
    assert await read_all(journal) == []
    assert await journal.tail() == journal.genesis.beginning
    await journal.close()


async def test_a_journal_is_the_same_one_when_opened_again(harness: Harness) -> None:
    first = await harness.open()
    await first.close()
    again = await harness.open(replace(WHO, ledger_id=None))
    assert again.genesis == first.genesis
    await again.close()


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (replace(WHO, tenant="other"), "journal of tenant 'acme', .* tenant 'other'"),
        (replace(WHO, shard=4), "journal of shard 3, .* shard 4"),
        (replace(WHO, ledger_id="ledger-2"), "journal of ledger 'ledger-1', .* ledger 'ledger-2'"),
    ],
)
async def test_a_journal_of_somebody_else_is_refused(
    harness: Harness, wanted: object, sentence: str
) -> None:
    await (await filled(harness, 2)).close()
    with pytest.raises(JournalMismatch, match=sentence):
        await harness.open(wanted)  # type: ignore[arg-type]
    journal = await harness.open()
    assert len(payloads(await read_all(journal))) == 2
    await journal.close()


async def test_a_closed_journal_says_so(harness: Harness) -> None:
    journal = await filled(harness, 1)
    await journal.close()
    beginning = journal.genesis.beginning
    for ask in (
        journal.tail,
        lambda: journal.read(beginning),
        lambda: journal.append(entry(2)),
        lambda: journal.trim(RecordId(1, 0)),
    ):
        async with asyncio.timeout(30):
            with pytest.raises(JournalUnavailable):
                await ask()


async def test_a_journal_of_another_format_is_refused(harness: Harness) -> None:
    await (await filled(harness, 1)).close()
    harness.set_genesis(genesis_of(WHO, format_version=4))
    with pytest.raises(JournalMismatch, match="format 4, this version reads formats 1, 2, 3"):
        await harness.open()


async def test_what_is_no_genesis_is_refused(harness: Harness) -> None:
    await (await filled(harness, 1)).close()
    harness.set_genesis(b"\xff not ours")
    with pytest.raises(JournalMismatch, match="does not begin with a Holdfast genesis record"):
        await harness.open()


# --- Ownership ----------------------------------------------------------------------------


async def test_a_claim_begins_an_epoch_with_its_record(harness: Harness) -> None:
    for epoch in (1, 2, 3):
        journal = await harness.open()
        tail = await journal.claim(f"writer {epoch}", lost)
        assert tail.record_id == RecordId(epoch, 0)
        assert tail == await journal.tail()
        newest = (await read_all(journal))[-1]
        assert (newest.kind, newest.cursor) == (EPOCH_START, tail)
        assert newest.payload == b"writer %d" % epoch
        await journal.close()


async def test_a_second_writer_is_refused_while_the_first_lives(harness: Harness) -> None:
    first = await claimed(harness)
    second = await harness.open()
    with pytest.raises(JournalOwned, match="the test"):
        await second.claim("another", lost)
    await first.append(entry(1))
    await first.close()
    assert (await second.claim("another", lost)).record_id == RecordId(2, 0)
    await second.close()


async def test_who_waits_for_its_turn_sees_who_owns_it(harness: Harness) -> None:
    waiting = await harness.open()
    assert await waiting.owner() == ""
    first = await claimed(harness)
    assert "the test" in await waiting.owner()
    assert "the test" in await first.owner()
    await first.close()
    assert await waiting.owner() == ""
    await waiting.claim("the next", lost)
    assert "the next" in await waiting.owner()
    await waiting.close()


async def test_a_released_journal_is_free_and_may_still_be_read(harness: Harness) -> None:
    first = await claimed(harness)
    appended = [first.append(entry(number)) for number in (1, 2, 3)]
    end = await first.release()
    assert [future.done() for future in appended] == [True, True, True]
    assert end == await first.tail()
    second = await harness.open()
    start = await second.claim("the next", lost)
    assert start.record_id == RecordId(2, 0)
    await second.append(entry(4))
    assert payloads(await read_all(first)) == [b"batch 1", b"batch 2", b"batch 3", b"batch 4"]
    # It has become a reader like any other.
    with pytest.raises(JournalRefused, match=r"not .*claimed"):
        await first.append(entry(5))
    assert await first.release() is None
    await first.close()
    assert "the next" in await second.owner()
    await second.close()


async def test_after_a_failed_append_no_end_is_known(harness: Harness) -> None:
    old = await filled(harness, 1)
    harness.forget_owner()
    new = await harness.open()
    await new.claim("the new one", lost)
    with pytest.raises(JournalFenced):
        await old.append(entry(2))
    assert await old.release() is None
    await old.close()
    await new.close()


async def test_readers_need_no_claim_and_see_what_is_durable(harness: Harness) -> None:
    writer = await filled(harness, 3)
    reader = await harness.open()
    assert payloads(await read_all(reader)) == [b"batch 1", b"batch 2", b"batch 3"]
    await writer.append(entry(4))
    assert payloads(await read_all(reader))[-1] == b"batch 4"
    with pytest.raises(JournalRefused, match=r"not been claimed|not claimed"):
        await reader.append(entry(5))
    await reader.close()
    await writer.close()


async def test_a_deposed_writer_appends_nothing_more(harness: Harness) -> None:
    old = await filled(harness, 2)
    harness.forget_owner()
    new = await harness.open()
    await new.claim("the new one", lost)
    with pytest.raises(JournalFenced, match="epoch 1"):
        await old.append(entry(3, b"from the old one"))
    with pytest.raises(JournalFenced):
        await old.append(entry(3, b"from the old one"))
    assert await new.append(entry(3, b"from the new one")) == RecordId(2, 1)
    assert payloads(await read_all(new)) == [b"batch 1", b"batch 2", b"from the new one"]
    await new.close()
    await old.close()


async def test_a_journal_is_claimed_once(harness: Harness) -> None:
    journal = await claimed(harness)
    with pytest.raises(JournalRefused, match="claimed already"):
        await journal.claim("again", lost)
    await journal.append(entry(1))
    await journal.close()


# --- Appending and reading ----------------------------------------------------------------


async def test_records_come_back_as_they_were_appended(harness: Harness) -> None:
    journal = await claimed(harness)
    first = Entry(1, 64, 1_700_000_000_000, 0xFFFF_FFFF, bytes(range(256)))
    replays_only = Entry(65, 64, 1_700_000_000_001, 0, b"")
    assert await journal.append(first) == RecordId(1, 1)
    assert await journal.append(replays_only) == RecordId(1, 2)
    _, one, two = await read_all(journal)
    for record, kept in ((one, first), (two, replays_only)):
        assert record.kind == COMMANDS
        assert (record.first_revision, record.last_revision) == kept[:2]
        assert (record.now_ms, record.outcome_checksum, record.payload) == kept[2:]
    assert two.previous_chain == one.chain
    assert await journal.tail() == two.cursor
    await journal.close()


async def test_pipelined_appends_keep_their_order(harness: Harness) -> None:
    journal = await claimed(harness)
    finished: list[int] = []
    futures = [journal.append(entry(number)) for number in range(1, 51)]
    for number, future in enumerate(futures, 1):
        future.add_done_callback(lambda _, number=number: finished.append(number))
    ids = await asyncio.gather(*futures)
    await asyncio.sleep(0)
    assert ids == [RecordId(1, number) for number in range(1, 51)]
    assert finished == list(range(1, 51))
    assert payloads(await read_all(journal)) == [b"batch %d" % n for n in range(1, 51)]
    await journal.close()


async def test_reading_goes_on_from_any_record(harness: Harness) -> None:
    journal = await filled(harness, 20)
    records = await read_all(journal)
    for at, record in enumerate(records):
        assert await read_all(journal, record.cursor) == records[at + 1 :]
    await journal.close()


async def test_a_page_holds_at_least_one_record_and_not_many_more(harness: Harness) -> None:
    journal = await claimed(harness)
    for number in range(1, 6):
        await journal.append(entry(number, bytes(10_000)))
    beginning = journal.genesis.beginning
    assert len(await journal.read(beginning, bytes_max=1)) == 1
    assert 3 <= len(await journal.read(beginning, bytes_max=25_000)) <= 4
    assert len(await journal.read(beginning)) == 6
    await journal.close()


async def test_a_record_of_tens_of_megabytes_is_kept(harness: Harness) -> None:
    journal = await claimed(harness)
    payload = bytes(range(256)) * (30 * 4096)
    await journal.append(entry(1, payload))
    assert (await read_all(journal))[-1].payload == payload
    await journal.close()


async def test_cancelling_an_append_takes_nothing_back(harness: Harness) -> None:
    journal = await claimed(harness)
    journal.append(entry(1)).cancel()
    await journal.append(entry(2))
    assert payloads(await read_all(journal)) == [b"batch 1", b"batch 2"]
    await journal.close()


# --- Ends ---------------------------------------------------------------------------------


async def test_closing_waits_for_appends_and_may_be_repeated(harness: Harness) -> None:
    journal = await claimed(harness)
    pending = journal.append(entry(1))
    await journal.close()
    await journal.close()
    assert await pending == RecordId(1, 1)
    again = await harness.open()
    assert payloads(await read_all(again)) == [b"batch 1"]
    await again.close()


async def test_what_was_acknowledged_survives_a_killed_process(harness: Harness) -> None:
    journal = await filled(harness, 30)
    harness.kill()
    survivor = await claimed(harness)
    assert payloads(await read_all(survivor)) == [b"batch %d" % n for n in range(1, 31)]
    assert await survivor.append(entry(31)) == RecordId(2, 1)
    await survivor.close()
    await journal.close()


async def test_after_one_failed_append_all_fail_until_the_journal_is_read_again(
    harness: Harness,
) -> None:
    journal = await filled(harness, 3)
    with harness.no_space(), pytest.raises(JournalUnavailable):
        await journal.append(entry(4, bytes(200_000)))
    # There is room again, but what the failed append left behind is not known.
    with pytest.raises(JournalUnavailable):
        await journal.append(entry(5))
    await journal.close()
    again = await claimed(harness)
    assert payloads(await read_all(again))[:3] == [b"batch 1", b"batch 2", b"batch 3"]
    assert b"batch 5" not in payloads(await read_all(again))
    assert (await again.append(entry(6))).epoch == 2
    await again.close()


# --- Damage -------------------------------------------------------------------------------


async def test_a_flipped_byte_is_found_and_its_record_named(harness: Harness) -> None:
    await (await filled(harness, 5)).close()
    harness.flip_byte(RecordId(1, 3))
    journal = await harness.open()
    beginning = journal.genesis.beginning
    records = await journal.read(beginning, bytes_max=1)
    while records[-1].record_id < RecordId(1, 2):
        records = await journal.read(records[-1].cursor, bytes_max=1)
    with pytest.raises(JournalCorrupted, match="journal record 1-3") as caught:
        await journal.read(records[-1].cursor)
    assert caught.value.record == "1-3"
    await journal.close()


async def test_a_missing_record_is_found_by_the_one_behind_it(harness: Harness) -> None:
    await (await filled(harness, 5)).close()
    harness.remove(RecordId(1, 3))
    journal = await harness.open()
    with pytest.raises(JournalGap, match="record 1-4: does not follow record 1-2"):
        await read_all(journal)
    await journal.close()


async def test_a_missing_last_record_of_an_epoch_is_found(harness: Harness) -> None:
    await (await filled(harness, 3)).close()
    await (await claimed(harness)).close()
    harness.remove(RecordId(1, 3))
    journal = await harness.open()
    with pytest.raises(JournalGap, match="record 2-0: does not follow record 1-2"):
        await read_all(journal)
    await journal.close()


async def test_swapped_records_are_found(harness: Harness) -> None:
    await (await filled(harness, 5)).close()
    harness.swap(RecordId(1, 2), RecordId(1, 3))
    journal = await harness.open()
    with pytest.raises(JournalCorrupted, match="record 1-2"):
        await read_all(journal)
    await journal.close()


async def test_a_cursor_of_another_past_is_noticed(harness: Harness) -> None:
    journal = await filled(harness, 5)
    with pytest.raises(JournalGap, match="record 1-3: does not follow record 1-2"):
        await journal.read(Cursor(RecordId(1, 2), bytes(16)))
    await journal.close()


# --- Trimming -----------------------------------------------------------------------------


async def test_trimming_forgets_the_oldest_records_only(harness: Harness) -> None:
    journal = await filled(harness, 10)
    records = await read_all(journal)
    assert await journal.trim(RecordId(1, 4)) == 5
    assert await journal.trim(RecordId(1, 4)) == 0
    assert await read_all(journal, records[4].cursor) == records[5:]
    with pytest.raises(JournalGap, match="record 1-5: does not follow record 0-0"):
        await read_all(journal)
    with pytest.raises(JournalGap):
        await read_all(journal, records[2].cursor)
    await journal.append(entry(11))
    assert payloads(await read_all(journal, records[4].cursor))[-1] == b"batch 11"
    await journal.close()


async def test_the_newest_record_stays_so_that_ids_go_on(harness: Harness) -> None:
    journal = await filled(harness, 10)
    assert await journal.trim(RecordId(9, 9)) == 10
    assert (await journal.tail()).record_id == RecordId(1, 10)
    await journal.close()
    again = await harness.open()
    assert (await again.claim("after the trim", lost)).record_id == RecordId(2, 0)
    await again.close()


async def test_appends_go_on_during_a_trim(harness: Harness) -> None:
    journal = await claimed(harness)
    await asyncio.gather(*(journal.append(entry(n, bytes(40_000))) for n in range(1, 201)))
    trimming = asyncio.ensure_future(journal.trim(RecordId(1, 190)))
    appended = await asyncio.gather(*(journal.append(entry(n)) for n in range(201, 221)))
    assert appended[-1] == RecordId(1, 220)
    assert await trimming == 191
    await journal.close()
