"""Causes of movements: the request, the document and the supply behind each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine import commands, reads
from engine.reads import Cause
from engine.resize import resize
from tests import columns
from tests.columns import Line
from tests.ledger import SMALL, Ledger

TIGHT = replace(SMALL, movements=16)
ROWS = TIGHT.movements * 8  # of eight bytes each, in the ring of texts
LONGEST = 64


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 9)
    ledger.stock("plum", "berlin", 9)
    ledger.know(commands.NODE, "hamburg")
    return ledger


def _of(request_id: str = "", supply_id: str = "", reference: str = "") -> Cause:
    return Cause(request_id, supply_id, reference)


def test_every_way_to_move_units_names_its_request(ledger: Ledger) -> None:
    ledger.count("pear", "berlin", 8, request_id="a count")
    ledger.adjust("pear", "berlin", 1, request_id="an adjustment", reference="note 7")
    ledger.withhold("pear", "berlin", commands.DAMAGED, 1, request_id="a withholding")
    ledger.transfer("pear", "berlin", "hamburg", 1, request_id="a transfer")
    paid = ledger.create([("pear", "berlin", 2)], request_id="a hold", owner="ann")
    ledger.confirm(paid, request_id="a confirmation")
    ledger.fulfill(paid, request_id="a shipment")
    back = Line(number=0, quantity=1, kind=commands.BY_LINE)
    ledger.give_back(paid, [back], request_id="a return")
    assert ledger.causes()[2:] == [
        _of("a count"),
        _of("an adjustment", reference="note 7"),
        _of("a withholding"),
        _of("a transfer"),
        _of("a transfer"),
        _of("a shipment"),
        _of("a return"),
    ]


def test_what_has_no_request_has_none(ledger: Ledger) -> None:
    assert ledger.adjust("pear", "berlin", 1, request_id="q").ok
    assert ledger.adjust("pear", "berlin", 1).ok
    assert ledger.adjust("pear", "berlin", 1, reference="note").ok
    assert ledger.causes()[2:] == [_of("q"), _of(), _of(reference="note")]


def test_receipts_and_departures_name_their_supply(ledger: Ledger) -> None:
    ledger.supply("po-1", "pear", "berlin", 5, ledger.now_ms)
    ledger.receive("po-1", 2, request_id="r-1", reference="slip")
    ledger.receive("po-1", 3, request_id="r-2")
    arrives_ms = ledger.now_ms + 1000
    ledger.transfer("pear", "berlin", "hamburg", 3, arrives_ms=arrives_ms, name="t-1")
    ledger.receive("t-1", 3)
    assert ledger.causes()[2:] == [
        _of("r-1", "po-1", "slip"),
        _of("r-2", "po-1"),
        _of("", "t-1"),
        _of("", "t-1"),
    ]


def test_the_movements_of_a_command_share_one_text(ledger: Ledger) -> None:
    before = ledger.state.used_rows()["cause_text"]
    lines = [Line(sku, "berlin", quantity=1) for sku in ("pear", "plum") * 30]
    batch = columns.command(commands.ADJUST, lines, request_id="r" * 13, reference="d" * 12)
    assert ledger.one(batch).ok
    assert ledger.state.used_rows()["cause_text"] == before + 4  # 25 bytes in rows of eight
    assert ledger.causes()[2:] == [_of("r" * 13, "", "d" * 12)] * 60


def test_lines_that_stand_alone_name_the_feed(ledger: Ledger) -> None:
    lines = [Line(sku, "berlin", quantity=4) for sku in ("pear", "nobody knows", "plum")]
    feed = columns.command(commands.COUNT, lines, flags=commands.PER_LINE, request_id="feed-9")
    assert int(ledger.one(feed).row["affected"]) == 2
    assert ledger.causes()[2:] == [_of("feed-9")] * 2


def test_a_refused_command_leaves_no_text(ledger: Ledger) -> None:
    before = ledger.state.used_rows()["cause_text"]
    assert not ledger.adjust("pear", "berlin", -100, request_id="too much").ok
    assert ledger.state.used_rows()["cause_text"] == before


def test_a_repeated_request_moves_nothing_again(ledger: Ledger) -> None:
    ledger.adjust("pear", "berlin", 1, request_id="q")
    assert ledger.adjust("pear", "berlin", 1, request_id="q").replayed
    assert ledger.causes()[2:] == [_of("q")]


def test_short_texts_stay_as_long_as_their_movements() -> None:
    ledger = Ledger(TIGHT)
    ledger.stock("pear", "berlin", 9)
    for number in range(100):
        ledger.adjust("pear", "berlin", 1, request_id=f"{number:032}", reference=f"{number:032}")
    assert ledger.causes() == [_of(f"{n:032}", "", f"{n:032}") for n in range(84, 100)]
    assert ledger.restored().causes() == ledger.causes()
    assert ledger.replayed().hash() == ledger.hash()


def test_long_texts_of_the_oldest_movements_are_forgotten_first() -> None:
    """128 bytes each where there is room for 64: half of them are left, and none is mixed up."""
    ledger = Ledger(TIGHT)
    ledger.stock("pear", "berlin", 9)
    for number in range(40):
        ledger.adjust("pear", "berlin", 1, request_id=f"{number:064}", reference=f"{-number:064}")
    kept = [_of(f"{n:064}", "", f"{-n:064}") for n in range(32, 40)]
    assert ledger.causes() == [_of()] * 8 + kept
    assert ledger.restored().causes() == ledger.causes()


def test_names_of_supplies_outlive_the_texts() -> None:
    ledger = Ledger(TIGHT)
    ledger.supply("po-1", "pear", "berlin", 900, ledger.now_ms)
    for number in range(16):
        ledger.receive("po-1", 1, request_id=f"{number:064}", reference=f"{number:064}")
    assert [cause.supply_id for cause in ledger.causes()] == ["po-1"] * 16


@pytest.mark.parametrize("movements", [16, 32, 64])
def test_another_size_keeps_what_finds_room(movements: int) -> None:
    ledger = Ledger(replace(SMALL, movements=32))
    ledger.stock("pear", "berlin", 9)
    for number in range(50):
        request_id = f"{number:0{LONGEST}}"
        ledger.adjust("pear", "berlin", 1, request_id=request_id, reference=request_id)
    before = ledger.causes()
    ledger.capacity = replace(SMALL, movements=movements)
    resize(ledger.state, ledger.capacity)
    found = ledger.causes()
    texts = min(movements, 32) // 2  # of 128 bytes each, in 64 bytes a movement
    assert found == [_of()] * (len(found) - texts) + before[-texts:]
    assert ledger.restored().hash() == ledger.hash()
    for number in range(200):
        ledger.adjust("pear", "berlin", 1, request_id=f"later-{number}")
    assert ledger.causes() == [_of(f"later-{n}") for n in range(200 - movements, 200)]


def test_a_text_whose_place_may_have_come_again_is_not_told(ledger: Ledger) -> None:
    """Movements keep the lower 32 bits of a place: so far back they could mean a younger text."""
    ledger.adjust("pear", "berlin", 1, request_id="q")
    slot = int(ledger.state.meta["movement_next"][0]) - 1
    assert reads.movement_cause(ledger.state, slot).request_id == "q"
    ledger.state.movements["sequence"][slot] -= (1 << 28) - 1
    assert reads.movement_cause(ledger.state, slot).request_id == ""


# --- Where a transfer comes from -----------------------------------------------------------------


def test_a_transfer_on_its_way_tells_its_source(ledger: Ledger) -> None:
    arrives_ms = ledger.now_ms + 1000
    ledger.transfer("pear", "berlin", "hamburg", 3, arrives_ms=arrives_ms, name="t-1")
    assert ledger.source_of("t-1") == "berlin"
    ledger.receive("t-1", 3)
    assert ledger.source_of("t-1") == "berlin"
    assert ledger.restored().source_of("t-1") == "berlin"


def test_an_announced_transfer_tells_the_source_it_was_given(ledger: Ledger) -> None:
    def announce(source: str = "", kind: int = commands.TRANSFER_SUPPLY, units: int = 5) -> str:
        when_ms = ledger.now_ms + 1000
        answer = ledger.supply("s", "pear", "hamburg", units, when_ms, kind=kind, source=source)
        assert answer.ok
        return ledger.source_of("s")

    assert announce() == ""
    assert announce("berlin") == "berlin"
    assert announce(units=7) == "berlin", "what is not named stays as it was"
    assert announce("hamburg") == "hamburg"
    assert announce(kind=commands.PREORDER) == "", "only a transfer has a source"
    assert announce() == ""


def test_an_unknown_source_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    when_ms = ledger.now_ms + 1000
    kind = commands.TRANSFER_SUPPLY
    refused = ledger.supply("s", "pear", "hamburg", 5, when_ms, kind=kind, source="nowhere")
    assert refused.reason == "NODE_NOT_FOUND"
    assert [int(detail["line"]) for detail in refused.details] == [1]
    assert reads.supply_row(ledger.state, "s") < 0


def test_the_answer_to_a_transfer_is_told_again_with_its_source(ledger: Ledger) -> None:
    line = Line("pear", "hamburg", "s", 5, policy=commands.TRANSFER_SUPPLY, time_ms=1, text="s")
    ask = columns.command(commands.UPSERT_SUPPLY, [line], channel="berlin", request_id="q")
    first = ledger.one(ask)
    ledger.supply("s", "pear", "hamburg", 5, 1, kind=commands.TRANSFER_SUPPLY, source="hamburg")
    again = ledger.one(ask)
    assert again.replayed
    assert again.details.tobytes() == first.details.tobytes()
    other = columns.command(commands.UPSERT_SUPPLY, [line], channel="hamburg", request_id="q")
    assert ledger.one(other).reason == "REQUEST_ID_REUSED"
