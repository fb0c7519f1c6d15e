"""Requests of an atomic group: all stand, or none does and nothing of them is left."""

from __future__ import annotations

import pytest

from engine import commands, outcomes
from tests.ledger import Ledger

creating = Ledger.creating


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 5)
    ledger.stock("plum", "berlin", 1)
    return ledger


def test_all_stand(ledger: Ledger) -> None:
    answers = ledger.create_all(
        creating([("pear", "berlin", 3)], reservation_id="a"),
        creating([("pear", "berlin", 2)], reservation_id="b"),
    )
    assert [answer.ok for answer in answers] == [True, True]
    assert [len(answer.details) for answer in answers] == [1, 1]
    assert ledger.at("pear", "berlin").available == 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_refusal_undoes_the_others(ledger: Ledger, place: int) -> None:
    members = [creating([("pear", "berlin", 1)], reservation_id=name) for name in ("a", "b")]
    members.insert(place, creating([("plum", "berlin", 2)], reservation_id="c"))
    answers = ledger.create_all(*members)
    reasons = ["BATCH_ABORTED"] * 3
    reasons[place] = "INSUFFICIENT_STOCK"
    assert [answer.reason for answer in answers] == reasons
    assert [len(answer.details) for answer in answers] == [int(place == at) for at in range(3)]
    assert answers[place].shortages() == [(0, 2, 1)]
    assert ledger.at("pear", "berlin").held == 0
    assert ledger.row_of("a") == ledger.row_of("b") == -1


def test_commands_around_a_refused_group_are_not_touched(ledger: Ledger) -> None:
    from tests import columns

    group = columns.atomic(creating([("pear", "berlin", 1)]), creating([("plum", "berlin", 9)]))
    before, *_, after = ledger.run(
        creating([("pear", "berlin", 2)]), group, creating([("pear", "berlin", 3)])
    )
    assert before.ok
    assert after.ok
    assert ledger.at("pear", "berlin").held == 5


def test_replay_of_a_refused_group_gives_every_answer_again(ledger: Ledger) -> None:
    def members() -> list[object]:
        return [
            creating([("pear", "berlin", 1)], request_id="g-0"),
            creating([("plum", "berlin", 2)], request_id="g-1"),
            creating([("pear", "berlin", 2)], request_id="g-2"),
        ]

    first = ledger.create_all(*members())  # type: ignore[arg-type]
    ledger.stock("plum", "berlin", 9)
    again = ledger.create_all(*members())  # type: ignore[arg-type]
    assert all(answer.replayed for answer in again)
    assert [answer.reason for answer in again] == [answer.reason for answer in first]
    assert [answer.revision for answer in again] == [answer.revision for answer in first]
    assert again[1].details.tobytes() == first[1].details.tobytes()
    assert ledger.at("pear", "berlin").held == 0


def test_member_whose_request_id_was_used_otherwise_undoes_the_others(ledger: Ledger) -> None:
    ledger.create([("plum", "berlin", 1)], request_id="used")
    answers = ledger.create_all(
        creating([("pear", "berlin", 1)], request_id="g-0"),
        creating([("pear", "berlin", 1)], request_id="used"),
        creating([("pear", "berlin", 1)], request_id="g-2"),
    )
    assert [answer.reason for answer in answers] == [
        "BATCH_ABORTED",
        "REQUEST_ID_REUSED",
        "BATCH_ABORTED",
    ]
    assert ledger.at("pear", "berlin").held == 0


def test_member_refused_before_undoes_the_others(ledger: Ledger) -> None:
    """A remembered refusal is a refusal: the rest of the group may not stand without it."""

    def refused() -> list[object]:
        return [
            creating([("plum", "berlin", 2)], request_id="g-0"),
            creating([("pear", "berlin", 1)], request_id="g-1"),
        ]

    ledger.create_all(*refused())  # type: ignore[arg-type]
    ledger.stock("plum", "berlin", 9)
    answers = ledger.create_all(
        creating([("pear", "berlin", 1)], request_id="new"),
        refused()[1],  # type: ignore[arg-type]
    )
    assert [answer.reason for answer in answers] == ["BATCH_ABORTED", "BATCH_ABORTED"]
    assert ledger.at("pear", "berlin").held == 0


def test_two_members_with_one_request_id_are_refused(ledger: Ledger) -> None:
    answers = ledger.create_all(
        creating([("pear", "berlin", 1)], request_id="same"),
        creating([("pear", "berlin", 1)], request_id="same"),
    )
    assert [answer.reason for answer in answers] == ["BATCH_ABORTED", "REQUEST_ID_REUSED"]
    assert ledger.at("pear", "berlin").held == 0


def test_refused_group_leaves_the_cart_it_was_to_replace(ledger: Ledger) -> None:
    cart = ledger.create([("pear", "berlin", 5)], owner="ann")
    answers = ledger.create_all(
        creating([("pear", "berlin", 4)], owner="ann", replace=True),
        creating([("plum", "berlin", 2)]),
    )
    assert [answer.reason for answer in answers] == ["BATCH_ABORTED", "INSUFFICIENT_STOCK"]
    assert ledger.state_of(cart) == outcomes.HELD
    assert ledger.at("pear", "berlin").held == 5


def test_group_replaces_earlier_carts_but_not_its_own(ledger: Ledger) -> None:
    cart = ledger.create([("pear", "berlin", 5)], owner="ann")
    answers = ledger.create_all(
        creating([("pear", "berlin", 2)], owner="ann", replace=True),
        creating([("pear", "berlin", 3)], owner="ann", replace=True),
    )
    assert all(answer.ok for answer in answers)
    assert ledger.state_of(cart) == outcomes.CANCELLED
    assert [ledger.state_of(answer) for answer in answers] == [outcomes.HELD] * 2
    assert ledger.at("pear", "berlin").held == 5


def test_group_whose_last_member_is_a_replay_still_ends_the_cart(ledger: Ledger) -> None:
    last = creating([("plum", "berlin", 1)], request_id="before")
    last.headers["amount"] = 1  # as a group numbers its last member
    assert ledger.one(last).ok
    cart = ledger.create([("pear", "berlin", 5)], owner="ann")
    new, old = ledger.create_all(
        creating([("pear", "berlin", 4)], owner="ann", replace=True),
        creating([("plum", "berlin", 1)], request_id="before"),
    )
    assert new.ok
    assert old.replayed
    assert ledger.state_of(cart) == outcomes.CANCELLED
    row = ledger.row_of(cart)
    assert ledger.state.reservations["etag"][row] == new.revision
    assert ledger.at("pear", "berlin").held == 4


def test_refused_group_leaves_promises_of_supply_as_they_were(ledger: Ledger) -> None:
    ledger.supply("po-1", "plum", "berlin", 3, ledger.now_ms + 1000)
    waiting = ledger.create([("plum", "berlin", 3)], policy=commands.INCOMING)
    answers = ledger.create_all(
        creating([("plum", "berlin", 1)], policy=commands.INCOMING),
        creating([("plum", "berlin", 1)], policy=commands.INCOMING),
    )
    assert [answer.ok for answer in answers] == [False, False]
    assert ledger.supply_balances("po-1").held == 2
    assert len(ledger.takes(waiting)) == 2
