"""Every table has a limit; reaching it is a named refusal that changes nothing else."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from engine import commands, outcomes
from engine.commands import CommandBatch
from engine.state import Capacity, State
from tests import columns
from tests.ledger import Ledger

TIGHT = Capacity.small()


def test_a_full_table_of_positions_refuses_the_next_one_and_keeps_selling() -> None:
    ledger = Ledger(replace(TIGHT, positions=16))
    ledger.know(commands.NODE, "N")
    for number in range(16):
        assert ledger.stock(f"S{number}", "N", 5).ok
    ledger.know(commands.SKU, "one-more")
    assert ledger.count("one-more", "N", 5).code == outcomes.POSITIONS_FULL
    assert ledger.create([("S3", "N", 2)]).ok


def test_a_full_table_of_names_refuses_the_next_one() -> None:
    ledger = Ledger(replace(TIGHT, names=16))
    names = [f"S{number}" for number in range(16)]
    assert ledger.one(columns.define(commands.SKU, *names)).ok
    assert ledger.one(columns.define(commands.SKU, "one-more")).code == outcomes.NAMES_FULL
    assert ledger.one(columns.define(commands.SKU, "S3")).ok  # known: nothing to make


def test_open_reservations_are_never_forgotten_for_a_new_one() -> None:
    ledger = Ledger(replace(TIGHT, reservations=16))
    ledger.stock("S", "N", 100)
    holds = [ledger.create([("S", "N", 1)]) for _ in range(16)]
    assert all(hold.ok for hold in holds)
    assert ledger.create([("S", "N", 1)]).code == outcomes.RESERVATIONS_FULL
    assert ledger.at("S", "N").held == 16
    assert ledger.cancel(holds[4]).ok
    assert ledger.create([("S", "N", 1)]).ok
    assert ledger.confirm(holds[4]).code == outcomes.RESERVATION_NOT_FOUND
    assert ledger.confirm(holds[5]).ok


def test_ended_reservations_go_the_oldest_first() -> None:
    ledger = Ledger(replace(TIGHT, reservations=16))
    ledger.stock("S", "N", 100)
    holds = [ledger.create([("S", "N", 1)]) for _ in range(16)]
    for hold in (holds[9], holds[2], holds[7]):
        ledger.cancel(hold)
    ledger.create([("S", "N", 1)])
    ledger.create([("S", "N", 1)])
    left = [hold for hold in (holds[9], holds[2], holds[7]) if ledger.row_of(hold) >= 0]
    assert left == [holds[7]]


def test_the_oldest_answers_are_forgotten_when_the_memory_is_full() -> None:
    ledger = Ledger(replace(TIGHT, requests=16, reply_details=64))
    ledger.stock("S", "N", 1_000)
    first = [ledger.create([("S", "N", 1)], request_id=f"r{number}") for number in range(16)]
    again = ledger.create([("S", "N", 1)], request_id="r0")
    assert again.replayed
    assert again.revision == first[0].revision
    ledger.create([("S", "N", 1)], request_id="r16")
    ledger.create([("S", "N", 1)], request_id="r17")
    # r0 and r1 made room: the ledger cannot know them any more. r5 is still known.
    assert ledger.create([("S", "N", 1)], request_id="r5").replayed
    assert not ledger.create([("S", "N", 1)], request_id="r0").replayed


def test_long_answers_push_out_short_ones() -> None:
    ledger = Ledger(replace(TIGHT, requests=64, reply_details=16))
    skus = [f"S{number}" for number in range(6)]
    for sku in skus:
        ledger.stock(sku, "N", 100)
    asked = [(sku, "N", 1) for sku in skus]
    for number in range(3):
        assert ledger.create(asked, request_id=f"r{number}").ok
    answers = [ledger.create(asked, request_id=f"r{number}") for number in (2, 1)]
    assert [answer.replayed for answer in answers] == [True, True]
    assert not ledger.create(asked, request_id="r0").replayed


def test_movements_beyond_the_ring_still_add_up_and_counts_say_what_they_cannot_know() -> None:
    ledger = Ledger(replace(TIGHT, movements=16))
    ledger.stock("S", "N", 100)
    begun_ms = ledger.now_ms
    for _ in range(40):
        ledger.now_ms += 1_000
        ledger.adjust("S", "N", 1)
    assert ledger.at("S", "N").on_hand == 140  # `check` recomputes it from the movements kept
    late = ledger.count("S", "N", 50, as_of_ms=begun_ms + 500)
    assert late.code == outcomes.COUNT_OUT_OF_DATE
    assert ledger.count("S", "N", 50, as_of_ms=ledger.now_ms - 3_500).ok
    assert ledger.at("S", "N").on_hand == 54  # four movements came after the count


def test_a_line_that_would_take_from_too_many_places_is_refused() -> None:
    ledger = Ledger()
    nodes = [f"N{number:03d}" for number in range(256)]
    for node in nodes:
        ledger.stock("S", node, 1)
    assert ledger.group("everywhere", *nodes).ok
    line = columns.Line("S", "", "everywhere", 256, kind=commands.IN_GROUP)
    assert ledger.create([line]).code == outcomes.TOO_MANY_TAKES
    assert ledger.at("S", "N000").held == 0
    line = columns.Line("S", "", "everywhere", 200, kind=commands.IN_GROUP)
    assert ledger.create([line]).ok


@pytest.mark.parametrize("field", ["requests", "reply_details", "movements"])
@pytest.mark.parametrize("rows", [0, 8, 17, 100])
def test_rings_want_a_power_of_two(field: str, rows: int) -> None:
    with pytest.raises(ValueError, match=rf"capacity\.{field} is {rows}"):
        replace(TIGHT, **{field: rows})


def test_a_snapshot_that_does_not_fit_is_refused_by_name() -> None:
    ledger = Ledger()
    for number in range(40):
        ledger.stock(f"S{number}", "N", 1)
    sizes = np.array(astuple(replace(TIGHT, positions=16)), np.int64)
    with pytest.raises(ValueError, match="'positions' has 40 rows, capacity is 16"):
        State.restore([("capacity", sizes), *ledger.state.sections()[1:]])
    sections = [part for part in ledger.state.sections() if part[0] != "takes"]
    with pytest.raises(ValueError, match="lacks the sections"):
        State.restore(sections)


def test_a_batch_survives_its_bytes_and_damage_is_named() -> None:
    batch = Ledger.creating([("S", "N", 1)], owner="ada", reservation_id="r-1")
    buffer = batch.to_bytes()
    assert CommandBatch.from_bytes(buffer).to_bytes() == buffer
    with pytest.raises(ValueError, match="format b'XXXX'"):
        CommandBatch.from_bytes(b"XXXX" + buffer[4:])
    with pytest.raises(ValueError, match="declared"):
        CommandBatch.from_bytes(buffer[:-1])
    with pytest.raises(ValueError, match="3 bytes, at least"):
        CommandBatch.from_bytes(b"HFB")


@pytest.mark.parametrize("holds", [10, 800])
def test_open_holds_on_a_sku_leave_what_is_seen_of_it_alone(holds: int) -> None:
    ledger = Ledger(checked=False)
    ledger.stock("S", "N", 10_000)
    for _ in range(holds):
        assert ledger.create([("S", "N", 1)]).ok
    # What a hold looks at is one row, however many holds there are: no list hangs on a position.
    assert ledger.at("S", "N").held == holds
    before = int(ledger.state.meta["take_high"][0])
    assert ledger.create([("S", "N", 1)]).ok
    assert int(ledger.state.meta["take_high"][0]) == before + 1
    assert len(ledger.state.changed[: int(ledger.state.meta["changed_count"][0])]) == 1
