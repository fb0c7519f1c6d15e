"""Request ids: one effect and one answer each, as long as they are remembered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine import commands
from engine.commands import CommandBatch
from tests import columns
from tests.columns import Line
from tests.ledger import Answer, Ledger


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.stock("pear", "berlin", 9)
    ledger.know(commands.NODE, "hamburg")
    ledger.create([("pear", "berlin", 3)], reservation_id="order")
    return ledger


ASKED: dict[str, Callable[[], CommandBatch]] = {
    "create": lambda: Ledger.creating([("pear", "berlin", 1)], request_id="q"),
    "create refused": lambda: Ledger.creating([("pear", "berlin", 99)], request_id="q"),
    "confirm": lambda: columns.command(commands.CONFIRM, reservation_id="order", request_id="q"),
    "cancel": lambda: columns.command(commands.CANCEL, reservation_id="order", request_id="q"),
    "unknown": lambda: columns.command(commands.CANCEL, reservation_id="lost", request_id="q"),
    "adjust": lambda: columns.command(
        commands.ADJUST, [Line("pear", "berlin", quantity=2)], request_id="q"
    ),
    "transfer": lambda: columns.command(
        commands.TRANSFER, [Line("pear", "berlin", "hamburg", 2)], request_id="q"
    ),
    "document": lambda: columns.command(
        commands.PUT_DOCUMENT, [Line(text="berlin")], amount=1, body=b"{}", request_id="q"
    ),
    "no document": lambda: columns.command(
        commands.DELETE_DOCUMENT, [Line(text="lost")], amount=1, request_id="q"
    ),
}


def _same(first: Answer, again: Answer) -> bool:
    before = first.row.copy()
    before["flags"] |= 1
    return bool(
        again.row.tobytes() == before.tobytes()
        and again.details.tobytes() == first.details.tobytes()
    )


@pytest.mark.parametrize("what", ASKED)
def test_second_time_has_the_first_answer_and_no_effect(ledger: Ledger, what: str) -> None:
    first = ledger.one(ASKED[what]())
    ledger.now_ms += 1000
    ledger.adjust("pear", "berlin", 100)
    before = (ledger.state.revision, ledger.hash())
    again = ledger.one(ASKED[what]())
    assert _same(first, again)
    assert (ledger.state.revision, ledger.hash()) == before


@pytest.mark.parametrize("what", ASKED)
def test_second_time_in_the_same_batch(ledger: Ledger, what: str) -> None:
    first, again = ledger.run(ASKED[what](), ASKED[what]())
    assert _same(first, again)


@pytest.mark.parametrize("what", ASKED)
def test_second_time_after_a_restart(ledger: Ledger, what: str) -> None:
    first = ledger.one(ASKED[what]())
    assert _same(first, ledger.restored().one(ASKED[what]()))
    assert _same(first, ledger.replayed().one(ASKED[what]()))


@pytest.mark.parametrize("what", ASKED)
def test_same_id_for_something_else_is_refused(ledger: Ledger, what: str) -> None:
    ledger.one(ASKED[what]())
    before = (ledger.state.revision, ledger.hash())
    other = ASKED[what]()
    other.headers["etag"] += 1
    answer = ledger.one(other)
    assert answer.reason == "REQUEST_ID_REUSED"
    assert (ledger.state.revision, ledger.hash()) == before
    assert ledger.one(ASKED[what]()).replayed


@pytest.mark.parametrize(
    ("field", "where"),
    [
        ("quantity", "lines"),
        ("policy", "lines"),
        ("time_ms", "lines"),
        ("line", "lines"),
        ("flags", "lines"),
        ("node_key", "lines"),
        ("scope_key", "lines"),
        ("ttl_ms", "headers"),
        ("fill_policy", "headers"),
        ("flags", "headers"),
        ("owner_key", "headers"),
        ("channel_key", "headers"),
        ("reservation_lo", "headers"),
    ],
)
def test_every_part_of_what_is_asked_counts(ledger: Ledger, field: str, where: str) -> None:
    first = Ledger.creating([("pear", "berlin", 1)], request_id="q", reservation_id="new")
    assert ledger.one(first).ok
    other = Ledger.creating([("pear", "berlin", 1)], request_id="q", reservation_id="new")
    getattr(other, where)[field] += 1
    assert ledger.one(other).reason == "REQUEST_ID_REUSED"


def test_callers_do_not_meet_each_others_ids(ledger: Ledger) -> None:
    wanted = [("pear", "berlin", 1)]
    first = ledger.one(Ledger.creating(wanted, request_id="q", caller="shop-a"))
    other = ledger.one(Ledger.creating(wanted, request_id="q", caller="shop-b"))
    assert first.ok
    assert other.ok
    assert not other.replayed
    assert first.reservation_id != other.reservation_id


def test_text_of_names_is_part_of_what_is_asked(ledger: Ledger) -> None:
    """Two bodies of one document differ in text alone."""

    def put(body: bytes) -> CommandBatch:
        return columns.command(
            commands.PUT_DOCUMENT, [Line(text="berlin")], amount=1, body=body, request_id="q"
        )

    assert ledger.one(put(b"a")).ok
    assert ledger.one(put(b"b")).reason == "REQUEST_ID_REUSED"
    assert ledger.state.documents[(1, "berlin")][0] == b"a"


def test_same_reservation_id_makes_a_create_repeatable(ledger: Ledger) -> None:
    wanted = [("pear", "berlin", 2)]
    first = ledger.create(wanted, reservation_id="mine")
    again = ledger.create(wanted, reservation_id="mine")
    assert again.ok
    assert again.replayed
    assert again.etag == first.etag
    assert ledger.at("pear", "berlin").held == 5
    assert ledger.create([("pear", "berlin", 1)], reservation_id="mine").reason == (
        "RESERVATION_EXISTS"
    )
