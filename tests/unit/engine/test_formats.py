"""A ledger of an older format: replayed by its rules, and brought over to what is kept now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine import commands, invariants, machine, outcomes, reads, tables
from engine.commands import CommandBatch
from engine.formats import format_command
from engine.reads import Cause
from engine.resize import resize_command
from engine.state import State
from tests import columns
from tests.columns import Line
from tests.ledger import SMALL, Ledger

TIGHT = replace(SMALL, movements=16)
OLD = 2
NEW_SECTIONS = {"format", "cause_text"}


@pytest.fixture
def old() -> Ledger:
    """As a version before KEEPS_CAUSES left it: its commands carried no request's name."""
    ledger = Ledger(TIGHT, format_number=OLD)
    ledger.stock("pear", "berlin", 90)
    ledger.know(commands.NODE, "hamburg")
    ledger.supply("po-1", "pear", "berlin", 5, ledger.now_ms)
    return ledger


def _adjust(ledger: Ledger, *references: str) -> None:
    for reference in references:
        assert ledger.adjust("pear", "berlin", 1, reference=reference).ok


def _upgrade(ledger: Ledger) -> None:
    assert ledger.one(format_command()).ok
    assert ledger.state.format_number == tables.FORMAT
    assert invariants.check(ledger.state) == []


def test_an_older_ledger_keeps_what_it_kept(old: Ledger) -> None:
    assert old.adjust("pear", "berlin", 1, request_id="q-1", reference="note").ok
    assert old.receive("po-1", 1, request_id="q-2").ok
    arrives_ms = old.now_ms + 1
    assert old.transfer("pear", "berlin", "hamburg", 1, arrives_ms=arrives_ms, name="t-1").ok
    assert old.causes()[1:] == [Cause("", "", "note"), Cause("", "", ""), Cause("", "", "")]
    assert old.source_of("t-1") == ""
    movements = old.state.movements[:4]
    assert (movements["reservation"] == tables.NONE).all()
    assert not movements["reserved"].any()
    assert not movements["reserved2"].any()
    assert not NEW_SECTIONS & {name for name, _ in old.state.sections()}
    assert len(dict(old.state.sections())["movement_text"]) == 4


@pytest.mark.parametrize("movements", [1, 15, 40])
def test_references_come_along(old: Ledger, movements: int) -> None:
    lengths = [64, 0, 3, 8, 9, 63]
    notes = [f"{n:64}"[: lengths[n % len(lengths)]] for n in range(movements)]
    _adjust(old, *notes)
    before = old.causes()
    assert before[-min(16, movements) :] == [Cause("", "", note) for note in notes[-16:]]
    _upgrade(old)
    assert old.causes() == before
    assert old.restored().causes() == before
    assert old.restored().hash() == old.hash()
    assert old.replayed().hash() == old.hash()


def test_a_command_of_many_lines_brings_its_reference_once(old: Ledger) -> None:
    lines = [Line("pear", "berlin", quantity=1) for _ in range(6)]
    for reference in ("first", "second", ""):
        assert old.one(columns.command(commands.ADJUST, lines, reference=reference)).ok
    before = old.causes()
    _upgrade(old)
    assert old.state.used_rows()["cause_text"] == 2
    assert old.causes() == before


def test_afterwards_everything_is_kept(old: Ledger) -> None:
    _adjust(old, "note")
    _upgrade(old)
    assert old.receive("po-1", 2, request_id="q", reference="slip").ok
    assert old.causes()[1:] == [Cause("", "", "note"), Cause("q", "po-1", "slip")]
    for number in range(40):
        old.adjust("pear", "berlin", 1, request_id=f"r-{number}")
    assert old.causes() == [Cause(f"r-{n}", "", "") for n in range(24, 40)]
    assert len(dict(old.state.sections())["movement_text"]) == 0
    assert old.restored().hash() == old.hash()
    assert old.replayed().hash() == old.hash()


def test_an_upgraded_ledger_grows_and_shrinks_like_any(old: Ledger) -> None:
    _adjust(old, *(f"note {number}" for number in range(30)))
    _upgrade(old)
    for movements in (64, 16):
        before = old.causes()
        old.capacity = replace(SMALL, movements=movements)
        assert old.one(resize_command(old.capacity)).ok
        assert old.causes() == before
        assert old.restored().hash() == old.hash()


def test_the_sizes_and_the_format_may_change_in_one_batch(old: Ledger) -> None:
    _adjust(old, "note")
    old.capacity = SMALL
    both = CommandBatch.join([resize_command(SMALL), format_command()])
    before = old.state.revision
    assert [answer.reason for answer in old.run(both)] == ["OK", "OK"]
    assert (old.state.capacity, old.state.format_number) == (SMALL, tables.FORMAT)
    assert old.state.revision == before
    assert old.causes()[1:] == [Cause("", "", "note")]


def test_going_over_twice_changes_nothing(old: Ledger) -> None:
    _adjust(old, "note")
    _upgrade(old)
    before = old.hash()
    _upgrade(old)
    assert old.hash() == before


@pytest.mark.parametrize("wanted", [0, 2, tables.FORMAT + 1])
def test_no_way_back_and_none_to_what_is_not_known(wanted: int) -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    before = ledger.hash()
    assert ledger.one(format_command(wanted)).code == outcomes.STATE_TRANSITION_NOT_ALLOWED
    assert ledger.hash() == before


def test_a_repeated_request_is_known_after_going_over(old: Ledger) -> None:
    """What an older version answered is answered again: the request's name asks for nothing."""
    line = Line("pear", "berlin", quantity=1)
    unnamed = columns.command(commands.ADJUST, [line], request_id="q", reference="note")
    size = int(unnamed.headers["owner_bytes"][0])
    unnamed.headers["text_bytes"] -= size
    unnamed.headers["owner_bytes"] = 0
    first = old.one(CommandBatch(unnamed.headers, unnamed.lines, unnamed.text[size:]))
    _upgrade(old)
    again = old.adjust("pear", "berlin", 1, request_id="q", reference="note")
    assert first.ok
    assert again.replayed
    assert again.revision == first.revision


def test_sections_of_half_a_format_are_refused() -> None:
    ledger = Ledger()
    ledger.adjust("pear", "berlin", 1, request_id="q")
    sections = dict(ledger.state.sections())
    del sections["format"]
    with pytest.raises(ValueError, match=r"lacks the sections \['format'\]"):
        State.restore(sections.items())


def test_new_ledgers_begin_with_all_of_it() -> None:
    state = State.create(SMALL)
    machine.apply(state, 1, columns.define(commands.SKU, "pear"))
    assert state.format_number == tables.FORMAT
    assert {name for name, _ in state.sections()} >= NEW_SECTIONS
    assert reads.find_name(state, commands.SKU, "pear") == 0
