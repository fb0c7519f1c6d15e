"""Transfers: at once or travelling, all lines or none."""

from __future__ import annotations

import pytest

from engine import commands, limits
from tests import columns
from tests.columns import Line
from tests.ledger import Ledger


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    ledger.stock("plum", "berlin", 1)
    ledger.stock("pear", "hamburg", 0)
    return ledger


def _transfer(ledger: Ledger, *lines: Line) -> str:
    return ledger.one(columns.command(commands.TRANSFER, lines)).reason


def test_at_once(ledger: Ledger) -> None:
    assert ledger.transfer("pear", "berlin", "hamburg", 3).ok
    assert ledger.at("pear", "berlin").on_hand == 2
    assert ledger.at("pear", "hamburg").on_hand == 3


def test_promised_units_do_not_leave(ledger: Ledger) -> None:
    ledger.create([("pear", "berlin", 4)])
    assert ledger.transfer("pear", "berlin", "hamburg", 2).reason == "INSUFFICIENT_STOCK"


def test_one_refused_line_undoes_the_others(ledger: Ledger) -> None:
    reason = _transfer(
        ledger,
        Line("pear", "berlin", "hamburg", 3),
        Line("plum", "berlin", "hamburg", 2, number=1),
    )
    assert reason == "INSUFFICIENT_STOCK"
    assert ledger.at("pear", "berlin").on_hand == 5
    assert ledger.at("pear", "hamburg").on_hand == 0


def test_frozen_source_is_refused(ledger: Ledger) -> None:
    ledger.freeze("berlin")
    assert ledger.transfer("pear", "berlin", "hamburg", 1).reason == "NODE_FROZEN"
    assert ledger.transfer("pear", "hamburg", "berlin", 0).ok


def test_travelling_units_are_a_supply_of_the_target(ledger: Ledger) -> None:
    arrives_ms = ledger.now_ms + 1000
    assert ledger.transfer("pear", "berlin", "hamburg", 3, arrives_ms=arrives_ms, name="t-1").ok
    assert ledger.at("pear", "berlin").on_hand == 2
    assert ledger.supply_balances("t-1").on_hand == 3
    assert ledger.receive("t-1", 3).ok
    assert ledger.at("pear", "hamburg").on_hand == 3


def test_taken_name_is_refused(ledger: Ledger) -> None:
    arrives_ms = ledger.now_ms + 1000
    travelling = [
        Line("pear", "berlin", "hamburg", 1, number, time_ms=arrives_ms, text="t-1")
        for number in range(2)
    ]
    assert _transfer(ledger, *travelling) == "SUPPLY_EXISTS"
    assert ledger.at("pear", "berlin").on_hand == 5
    assert _transfer(ledger, travelling[0]) == "OK"
    assert _transfer(ledger, travelling[0]) == "SUPPLY_EXISTS"


def test_many_lines_may_travel_to_many_positions(ledger: Ledger) -> None:
    """The limit on open supplies is one of each position, not of a transfer."""
    skus = [f"sku-{number}" for number in range(limits.supplies_per_position_max + 8)]
    ledger.know(commands.SKU, *skus)
    ledger.run(
        *(columns.command(commands.COUNT, [Line(sku, "berlin", quantity=1)]) for sku in skus)
    )
    lines = [
        Line(sku, "berlin", "hamburg", 1, number, time_ms=ledger.now_ms + 1, text=f"t-{number}")
        for number, sku in enumerate(skus)
    ]
    assert _transfer(ledger, *lines) == "OK"


def test_position_has_so_many_open_supplies_and_no_more(ledger: Ledger) -> None:
    ledger.stock("pear", "berlin", 1000)
    most = limits.supplies_per_position_max
    lines = [
        Line("pear", "berlin", "hamburg", 1, number, time_ms=ledger.now_ms + 1, text=f"t-{number}")
        for number in range(most + 1)
    ]
    assert _transfer(ledger, *lines) == "SUPPLIES_FULL"
    assert ledger.at("pear", "berlin").on_hand == 1000
    assert _transfer(ledger, *lines[:most]) == "OK"
    assert ledger.supply("po-1", "pear", "hamburg", 1, ledger.now_ms).reason == "SUPPLIES_FULL"
    ledger.receive("t-0", 1)
    assert ledger.supply("po-1", "pear", "hamburg", 1, ledger.now_ms).ok
