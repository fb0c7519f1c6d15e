"""Commands for tests, written as a person would say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from engine import commands
from engine.commands import HEADER, LINE, CommandBatch
from engine.hashing import key_of, wide_key_of

Wanted = tuple[str, str, int]
"""(sku, node, quantity)"""

Id = str | tuple[int, int]
"""A reservation's id, or the 128-bit key the ledger answered with."""


def request_key(request_id: str, caller: str = "test") -> tuple[int, int]:
    """The key under which an answer is remembered; (0, 0) for none."""
    return wide_key_of(f"{caller}\0{request_id}".encode()) if request_id else (0, 0)


def _command(
    kind: int,
    lines: Sequence[dict[str, int]] = (),
    *,
    text: bytes = b"",
    request_id: str = "",
    reservation_id: Id = "",
    **header: int,
) -> CommandBatch:
    headers = np.zeros(1, HEADER)
    headers["kind"] = kind
    headers["line_count"] = len(lines)
    headers["fill_policy"] = commands.ALL_OR_NONE
    headers["request_hi"], headers["request_lo"] = request_key(request_id)
    if reservation_id:
        if isinstance(reservation_id, str):
            key = wide_key_of(reservation_id.encode())
            if kind == commands.CREATE:
                headers["reservation_bytes"] = len(reservation_id)
                text = reservation_id.encode() + text
        else:
            key = reservation_id
        headers["reservation_hi"], headers["reservation_lo"] = key
    headers["text_bytes"] = len(text)
    for name, value in header.items():
        headers[name] = value
    rows = np.zeros(len(lines), LINE)
    for row, line in zip(rows, lines, strict=True):
        for name, value in line.items():
            row[name] = value
    return CommandBatch(headers, rows, np.frombuffer(text, np.uint8).copy())


def define(kind: int, names: Iterable[str]) -> CommandBatch:
    """Make names known: `kind` is commands.SKU, commands.NODE, ..."""
    texts = [name.encode() for name in names]
    lines = [
        {"sku_key": key_of(text), "policy": kind, "text_bytes": len(text), "line": number}
        for number, text in enumerate(texts)
    ]
    return _command(commands.DEFINE_NAMES, lines, text=b"".join(texts))


def count(sku: str, node: str, quantity: int, request_id: str = "") -> CommandBatch:
    """A stock count: so many are there."""
    return _stock(commands.COUNT, sku, node, quantity, request_id, policy=commands.REPORT)


def adjust(sku: str, node: str, difference: int, request_id: str = "") -> CommandBatch:
    """So many more (or fewer) are there."""
    return _stock(commands.ADJUST, sku, node, difference, request_id)


def _stock(
    kind: int, sku: str, node: str, quantity: int, request_id: str, policy: int = 0
) -> CommandBatch:
    line = {
        "sku_key": key_of(sku.encode()),
        "node_key": key_of(node.encode()),
        "quantity": quantity,
        "policy": policy,
    }
    return _command(kind, [line], request_id=request_id)


def create(
    wanted: Sequence[Wanted],
    *,
    ttl_ms: int = 60_000,
    request_id: str = "",
    reservation_id: str = "",
) -> CommandBatch:
    """Hold all of `wanted`, or nothing."""
    lines = [
        {
            "sku_key": key_of(sku.encode()),
            "node_key": key_of(node.encode()),
            "quantity": quantity,
            "line": number,
            "kind": commands.AT_NODE,
            "policy": commands.ON_HAND,
        }
        for number, (sku, node, quantity) in enumerate(wanted)
    ]
    return _command(
        commands.CREATE,
        lines,
        request_id=request_id,
        reservation_id=reservation_id,
        ttl_ms=ttl_ms,
    )


def confirm(reservation_id: Id, request_id: str = "") -> CommandBatch:
    return _command(commands.CONFIRM, request_id=request_id, reservation_id=reservation_id)


def cancel(reservation_id: Id, request_id: str = "") -> CommandBatch:
    return _command(commands.CANCEL, request_id=request_id, reservation_id=reservation_id)


def extend(reservation_id: Id, ttl_ms: int, request_id: str = "") -> CommandBatch:
    return _command(
        commands.EXTEND, request_id=request_id, reservation_id=reservation_id, ttl_ms=ttl_ms
    )
