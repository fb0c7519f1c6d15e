"""A new cart replaces its owner's earlier ones: what comes free goes to those who wait."""

from __future__ import annotations

from engine import commands, outcomes, tables
from tests.columns import name_key
from tests.ledger import Ledger


def test_units_the_new_cart_leaves_go_to_those_who_wait() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    ledger.backorder("pear", "berlin", 10)
    ledger.create([("pear", "berlin", 5)], owner="ann")
    waiting = ledger.create([("pear", "berlin", 3)], policy=commands.BACKORDER)
    assert ledger.open_units(waiting) == {}
    assert ledger.create([("pear", "berlin", 1)], owner="ann", replace=True).ok
    assert ledger.open_units(waiting) == {"berlin": 3}
    assert ledger.at("pear", "berlin").available == 1


def test_carts_that_wait_for_supply_are_replaced_too() -> None:
    ledger = Ledger()
    ledger.supply("po-1", "pear", "berlin", 5, ledger.now_ms + 1000)
    first = ledger.create([("pear", "berlin", 4)], owner="ann", policy=commands.INCOMING)
    second = ledger.create(
        [("pear", "berlin", 5)], owner="ann", policy=commands.INCOMING, replace=True
    )
    assert second.ok
    assert ledger.state_of(first) == outcomes.CANCELLED
    assert ledger.supply_balances("po-1").available == 0
    ledger.receive("po-1", 5)
    assert ledger.open_units(second) == {"berlin": 5}


def test_confirmed_reservations_are_not_replaced() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    paid = ledger.create([("pear", "berlin", 3)], owner="ann")
    ledger.confirm(paid)
    assert ledger.create([("pear", "berlin", 3)], owner="ann", replace=True).ok is False
    assert ledger.create([("pear", "berlin", 2)], owner="ann", replace=True).ok
    assert ledger.state_of(paid) == outcomes.CONFIRMED


def test_every_earlier_cart_is_replaced() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 6)
    carts = [ledger.create([("pear", "berlin", 2)], owner="ann") for _ in range(3)]
    other = ledger.create([("pear", "berlin", 1)], owner="ben")
    assert not other.ok
    assert ledger.create([("pear", "berlin", 6)], owner="ann", replace=True).ok
    assert [ledger.state_of(cart) for cart in carts] == [outcomes.CANCELLED] * 3


def test_purchase_limit_counts_the_replaced_cart_as_free() -> None:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 9)
    ledger.limit("pear", 3)
    ledger.create([("pear", "berlin", 3)], owner="ann")
    assert ledger.create([("pear", "berlin", 1)], owner="ann").reason == "PURCHASE_LIMIT_REACHED"
    assert ledger.create([("pear", "berlin", 3)], owner="ann", replace=True).ok


def test_answer_of_a_group_tells_what_its_members_have_in_the_end() -> None:
    """The second order replaces a cart; what that leaves goes to the first, which waited."""
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    ledger.backorder("pear", "berlin", 3)
    ledger.create([("pear", "berlin", 5)], owner="ann")
    waiting, new = ledger.create_all(
        ledger.creating([("pear", "berlin", 3)], policy=commands.BACKORDER),
        ledger.creating([("pear", "berlin", 1)], owner="ann", replace=True),
    )
    assert new.ok
    assert ledger.open_units(waiting) == {"berlin": 3}
    assert [int(detail["position_kind"]) for detail in waiting.details] == [tables.STOCK]
    assert waiting.etag == new.revision


def test_owner_whose_key_is_anothers_does_not_replace_their_carts() -> None:
    """As if 64 bits had collided, or somebody had looked for a name with which they do."""
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    cart = ledger.create([("pear", "berlin", 2)], owner="ann")
    collides = ledger.creating([("pear", "berlin", 1)], owner="eve", replace=True)
    collides.headers["owner_key"] = name_key("ann")
    assert ledger.one(collides).ok
    assert ledger.state_of(cart) == outcomes.HELD
    assert ledger.create([("pear", "berlin", 2)], owner="ann", replace=True).ok
    assert ledger.state_of(cart) == outcomes.CANCELLED
    assert ledger.at("pear", "berlin").held == 3
