"""Snapshots: sections are all there is, and what is not whole is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import commands
from engine.state import State
from tests.columns import Line
from tests.ledger import Ledger

Sections = dict[str, NDArray[Any]]


@pytest.fixture
def ledger() -> Ledger:
    """A bit of everything."""
    ledger = Ledger()
    ledger.stock("pear", "berlin", 9)
    ledger.stock("pear", "hamburg", 9)
    ledger.group("all", "berlin", "hamburg")
    ledger.fence("shop", "pear", "berlin", 2)
    ledger.limit("pear", 20)
    ledger.supply("po-1", "pear", "berlin", 5, ledger.now_ms + 1000)
    ledger.backorder("pear", "berlin", 5)
    group = Line("pear", scope="all", quantity=12, policy=3, kind=commands.IN_GROUP)
    ledger.create([group], owner="ann", channel="shop", request_id="q-1")
    paid = ledger.create([("pear", "hamburg", 2)], owner="ben", reservation_id="paid")
    ledger.confirm(paid)
    ledger.fulfill(paid, [Line(number=0, quantity=1, kind=commands.BY_LINE)])
    ledger.cancel(ledger.create([("pear", "berlin", 1)], owner="ben"))
    return ledger


def _sections(ledger: Ledger) -> Sections:
    return {name: rows.copy() for name, rows in ledger.state.sections()}


def test_restored_ledger_is_the_same_and_goes_on_the_same(ledger: Ledger) -> None:
    copy = ledger.restored()
    assert copy.hash() == ledger.hash()
    for each in (ledger, copy):
        each.now_ms += 1000
        each.receive("po-1", 5)
        each.fulfill("paid")
        each.create([("pear", "berlin", 3)], owner="ben", replace=True)
        each.wait(3_600_000)
    assert copy.hash() == ledger.hash()


@pytest.mark.parametrize("name", [name for name, _ in Ledger().state.sections()])
def test_section_that_is_missing_is_named(ledger: Ledger, name: str) -> None:
    sections = _sections(ledger)
    del sections[name]
    if name == "documents":
        assert State.restore(sections.items()).documents == {}
        return
    says = rf"lacks the sections.*'{name}'" if name != "capacity" else "'capacity' has 0 rows"
    with pytest.raises(ValueError, match=says):
        State.restore(sections.items())


@pytest.mark.parametrize(
    "name", ["names", "positions", "withheld", "takes", "reservations", "heap"]
)
@pytest.mark.parametrize("change", [-1, 1])
def test_section_of_another_length_is_named(ledger: Ledger, name: str, change: int) -> None:
    sections = _sections(ledger)
    rows = sections[name]
    more = np.concatenate([rows, rows[:1]])
    sections[name] = more if change > 0 else rows[:-1]
    with pytest.raises(ValueError, match=f"'{name}' has {len(rows) + change} rows"):
        State.restore(sections.items())


def test_section_of_another_layout_is_named(ledger: Ledger) -> None:
    sections = _sections(ledger)
    sections["takes"] = sections["takes"].view(np.uint8)
    with pytest.raises(ValueError, match="'takes' has rows of another layout"):
        State.restore(sections.items())


def test_unknown_section_is_named(ledger: Ledger) -> None:
    sections = _sections(ledger)
    sections["dreams"] = np.zeros(1, np.uint8)
    with pytest.raises(ValueError, match="'dreams' is unknown"):
        State.restore(sections.items())
