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


def _delete(kind: int, name: str) -> CommandBatch:
    return columns.command(commands.DELETE_DOCUMENT, [Line(text=name)], amount=kind)


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


def test_documents_survive_a_snapshot() -> None:
    ledger = Ledger()
    ledger.run(_put(NODE, "größe", "körper".encode()), _put(ITEM, "b", b""))
    assert ledger.restored().state.documents == ledger.state.documents
    assert ledger.restored().hash() == ledger.hash()
