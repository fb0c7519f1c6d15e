"""Documents: bytes the ledger keeps and versions but does not read."""

from __future__ import annotations

from engine import commands
from engine.commands import CommandBatch
from tests import columns
from tests.columns import Line
from tests.ledger import Ledger

NODE, ITEM = 1, 2


def _put(kind: int, name: str, body: bytes) -> CommandBatch:
    return columns.command(commands.PUT_DOCUMENT, [Line(text=name)], amount=kind, body=body)


def _delete(kind: int, *names: str) -> CommandBatch:
    lines = [Line(text=name) for name in names]
    return columns.command(commands.DELETE_DOCUMENT, lines, amount=kind)


def test_put_replace_and_delete() -> None:
    ledger = Ledger()
    first = ledger.one(_put(NODE, "berlin", b"one"))
    assert ledger.state.documents == {(NODE, "berlin"): (b"one", first.revision)}
    second = ledger.one(_put(NODE, "berlin", b"two"))
    assert ledger.state.documents == {(NODE, "berlin"): (b"two", second.revision)}
    assert ledger.one(_delete(NODE, "berlin")).ok
    assert ledger.state.documents == {}
    assert ledger.one(_delete(NODE, "berlin")).reason == "DOCUMENT_NOT_FOUND"


def test_kinds_and_names_are_kept_apart() -> None:
    ledger = Ledger()
    ledger.run(_put(NODE, "x", b"node"), _put(ITEM, "x", b"item"), _put(NODE, "", b""))
    assert [body for body, _ in ledger.state.documents.values()] == [b"node", b"item", b""]
    ledger.one(_delete(NODE, "x"))
    assert set(ledger.state.documents) == {(ITEM, "x"), (NODE, "")}


def test_documents_and_orders_share_a_batch_in_order() -> None:
    """The compiled kernel stops at a document and goes on behind it."""
    ledger = Ledger()
    ledger.stock("pear", "berlin", 2)
    answers = ledger.run(
        _put(NODE, "a", b"first"),
        Ledger.creating([("pear", "berlin", 1)]),
        _put(NODE, "a", b"second" * 1000),
        _delete(NODE, "b"),
        Ledger.creating([("pear", "berlin", 2)]),
        Ledger.creating([("pear", "berlin", 1)]),
        _put(NODE, "c", b"\0\xff"),
    )
    assert [answer.reason for answer in answers] == [
        "OK",
        "OK",
        "OK",
        "DOCUMENT_NOT_FOUND",
        "INSUFFICIENT_STOCK",
        "OK",
        "OK",
    ]
    first = answers[0].revision
    assert [answer.revision for answer in answers] == list(range(first, first + 7))
    assert [len(answer.details) for answer in answers] == [0, 1, 0, 0, 1, 1, 0]
    assert ledger.replayed().hash() == ledger.hash()


def test_several_go_with_one_command() -> None:
    """Those that are there, whatever becomes of the others; of this kind alone."""
    ledger = Ledger()
    names = ("a", "größe", "", "b\0" + "7", "kept")
    ledger.run(*(_put(NODE, name, name.encode()) for name in names), _put(ITEM, "a", b"item"))
    before = ledger.state.revision
    gone, created, again = ledger.run(
        _delete(NODE, "größe", "nowhere", "", "b\0" + "7", "a", "a"),
        _put(NODE, "new", b"behind it"),
        _delete(NODE, "new"),
    )
    assert gone.reason == "DOCUMENT_NOT_FOUND"
    assert [gone.revision, created.revision, again.revision] == [before + n for n in (1, 2, 3)]
    assert set(ledger.state.documents) == {(NODE, "kept"), (ITEM, "a")}
    assert ledger.one(_delete(NODE, "kept")).ok
    assert ledger.replayed().hash() == ledger.hash()
    assert ledger.restored().hash() == ledger.hash()


def test_documents_survive_a_snapshot() -> None:
    ledger = Ledger()
    ledger.run(_put(NODE, "größe", "körper".encode()), _put(ITEM, "b", b""))
    assert ledger.restored().state.documents == ledger.state.documents
    assert ledger.restored().hash() == ledger.hash()
