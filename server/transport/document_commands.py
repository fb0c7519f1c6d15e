"""PUT_DOCUMENT and DELETE_DOCUMENT: how anything the server keeps as a document is written."""

from __future__ import annotations

from collections.abc import Sequence

from engine import commands
from server.transport.columns import Columns, line


def put_document(
    columns: Columns, kind: int, name: str, body: bytes, caller: bytes, request_id: bytes = b""
) -> None:
    """Keep `body` under a kind of `server.documents` and a name."""
    encoded = name.encode()
    columns.add(
        commands.PUT_DOCUMENT,
        caller=caller,
        request_id=request_id,
        amount=kind,
        lines=[line(text_bytes=len(encoded))],
        line_texts=[encoded, body],
    )


def delete_documents(
    columns: Columns, kind: int, names: Sequence[str], caller: bytes, request_id: bytes = b""
) -> None:
    """Keep these no longer: one command, which costs the ledger little more than one of them."""
    texts = [name.encode() for name in names]
    columns.add(
        commands.DELETE_DOCUMENT,
        caller=caller,
        request_id=request_id,
        amount=kind,
        # As `line` makes them, in a tenth of its time.
        lines=[(0, 0, 0, 0, 0, 0, 0, 0, len(text), 0) for text in texts],
        line_texts=texts,
    )
