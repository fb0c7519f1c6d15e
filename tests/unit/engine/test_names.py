"""Names: defined once, for ever; two names never share a key."""

from __future__ import annotations

import pytest

from engine import commands, outcomes, reads
from tests import columns
from tests.columns import Line, name_key
from tests.ledger import Ledger

KINDS = [commands.SKU, commands.NODE, commands.CHANNEL]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_the_same_row_for_ever(ledger: Ledger, kind: int) -> None:
    ledger.know(kind, "first", "pear")
    row = reads.find_name(ledger.state, kind, "pear")
    assert ledger.one(columns.define(kind, "pear", "later")).ok
    assert reads.find_name(ledger.state, kind, "pear") == row
    assert reads.name_text(ledger.state, row) == "pear"


def test_one_text_may_be_a_name_of_every_kind(ledger: Ledger) -> None:
    for kind in KINDS:
        ledger.know(kind, "same")
    ledger.group("same", "same")
    rows = {reads.find_name(ledger.state, kind, "same") for kind in [*KINDS, commands.GROUP]}
    assert len(rows) == 4


@pytest.mark.parametrize("other", ["plum", "pears"])
def test_second_name_with_the_key_of_another_is_refused(ledger: Ledger, other: str) -> None:
    """As if 64 bits had collided: nothing of the second name may count for the first."""
    ledger.stock("pear", "berlin", 5)
    collides = columns.define(commands.SKU, other)
    collides.lines["sku_key"] = name_key("pear")
    answer = ledger.one(collides)
    assert answer.reason == "KEY_COLLISION"
    assert [int(detail["code"]) for detail in answer.details] == [outcomes.KEY_COLLISION]
    row = reads.find_name(ledger.state, commands.SKU, "pear")
    assert reads.name_text(ledger.state, row) == "pear"


def test_owner_with_the_key_of_another_is_refused_where_owners_are_counted(
    ledger: Ledger,
) -> None:
    ledger.stock("pear", "berlin", 5)
    ledger.limit("pear", 2)
    ledger.create([("pear", "berlin", 2)], owner="ann")
    ledger.cancel(ledger.create([("pear", "berlin", 1)], owner="ben"))
    collides = ledger.creating([("pear", "berlin", 1)], owner="eve")
    collides.headers["owner_key"] = name_key("ben")
    assert ledger.one(collides).reason == "KEY_COLLISION"


def test_supply_with_the_key_of_another_is_refused(ledger: Ledger) -> None:
    ledger.supply("po-1", "pear", "berlin", 5, ledger.now_ms)
    ledger.cancel_supply("po-1")
    ledger.stock("pear", "hamburg", 5)
    line = Line("pear", "hamburg", "po-2", 1, time_ms=ledger.now_ms, text="po-2", policy=1)
    collides = columns.command(commands.UPSERT_SUPPLY, [line])
    collides.lines["scope_key"] = name_key("po-1")
    assert ledger.one(collides).reason == "SUPPLY_EXISTS"


def test_group_is_filled_in_its_own_order_and_can_be_defined_again(ledger: Ledger) -> None:
    for node in ("a", "b", "c"):
        ledger.stock("pear", node, 2)
    line = Line("pear", scope="all", quantity=3, kind=commands.IN_GROUP)
    assert ledger.create([line]).reason == "GROUP_NOT_FOUND"
    ledger.group("all", "c", "a", "b")
    first = ledger.create([line])
    assert ledger.open_units(first) == {"c": 2, "a": 1}
    ledger.cancel(first)
    ledger.group("all", "b")
    assert ledger.create([line]).shortages() == [(0, 3, 2)]
    ledger.group("all", "b", "c", "a")
    assert ledger.open_units(ledger.create([line])) == {"b": 2, "c": 1}


def test_group_of_an_unknown_node_is_refused_whole(ledger: Ledger) -> None:
    ledger.know(commands.NODE, "a")
    assert ledger.one(columns.define_group("all", "a", "nowhere")).reason == "NODE_NOT_FOUND"
    assert reads.find_name(ledger.state, commands.GROUP, "all") == -1


def test_partial_order_in_a_group_that_is_frozen_whole_says_what_is_missing(
    ledger: Ledger,
) -> None:
    ledger.stock("pear", "a", 5)
    ledger.group("all", "a")
    ledger.freeze("a")
    line = Line("pear", scope="all", quantity=3, kind=commands.IN_GROUP)
    assert ledger.create([line]).reason == "INSUFFICIENT_STOCK"
    partial = ledger.create([line], fill_policy=commands.PARTIAL_QUANTITY)
    assert [take.shortfall for take in ledger.takes(partial)] == [3]
