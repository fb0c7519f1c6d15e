"""Building columns in Python: for what the compiled decoder leaves over, and for rare commands.

A `Columns` collects commands one by one, each with its lines and texts, and makes the
`CommandBatch` of them. The compiled decoder (`server.transport.decode`) writes the same rows for
the same request, bit for bit; a test compares them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from engine.commands import HEADER, LINE, MOVES_UNITS, CommandBatch
from engine.hashing import key_of, wide_key_of

# The formats of `engine.commands`, which numpy takes ten times as long to fill from tuples.
_HEADER = struct.Struct("<BBHiiBBBBQQQQQQqqq")
_LINE = struct.Struct("<QQQqqHBBHH")
assert (_HEADER.size, _LINE.size) == (HEADER.itemsize, LINE.itemsize)

LineRow = tuple[int, int, int, int, int, int, int, int, int, int]


def request_key(caller: bytes, request_id: bytes) -> tuple[int, int]:
    """128-bit key of a request: callers can not meet each other's. (0, 0) without an id."""
    if not request_id:
        return 0, 0
    return wide_key_of(caller + b"\0" + request_id)


def name_key(text: bytes) -> int:
    """64-bit key of a name, 0 for an empty one."""
    return key_of(text) if text else 0


def line(
    *,
    sku: bytes = b"",
    node: bytes = b"",
    scope: bytes = b"",
    time_ms: int = 0,
    quantity: int = 0,
    number: int = 0,
    kind: int = 0,
    policy: int = 0,
    text_bytes: int = 0,
    flags: int = 0,
) -> LineRow:
    """One row of `engine.commands.LINE`, names given as text."""
    return (
        name_key(sku),
        name_key(node),
        name_key(scope),
        time_ms,
        quantity,
        number,
        kind,
        policy,
        text_bytes,
        flags,
    )


class Columns:
    """Commands being collected, in the order in which they will apply."""

    __slots__ = ("_headers", "_lines", "_texts")

    def __init__(self) -> None:
        self._headers: list[tuple[int, ...]] = []
        self._lines: list[LineRow] = []
        self._texts: list[bytes] = []

    def __len__(self) -> int:
        return len(self._headers)

    def add(
        self,
        kind: int,
        *,
        caller: bytes,
        request_id: bytes = b"",
        reservation_id: bytes = b"",
        owner: bytes = b"",
        channel: bytes = b"",
        fill_policy: int = 0,
        flags: int = 0,
        etag: int = 0,
        ttl_ms: int = 0,
        amount: int = 0,
        reference: bytes = b"",
        lines: Sequence[LineRow] = (),
        line_texts: Sequence[bytes] = (),
    ) -> None:
        """One command. `line_texts` are the texts of the lines, in their order.

        A kind that moves units carries its request's id as text too: its movements name it.
        """
        request_hi, request_lo = request_key(caller, request_id)
        reservation_hi, reservation_lo = wide_key_of(reservation_id) if reservation_id else (0, 0)
        called = request_id if kind in MOVES_UNITS else owner
        texts = [reservation_id, called, caller, reference, *line_texts]
        self._headers.append(
            (
                kind,
                fill_policy,
                flags,
                len(lines),
                sum(map(len, texts)),
                len(reservation_id),
                len(called),
                len(caller),
                len(reference),
                request_hi,
                request_lo,
                reservation_hi,
                reservation_lo,
                name_key(owner),
                name_key(channel),
                etag,
                ttl_ms,
                amount,
            )
        )
        self._lines += lines
        self._texts += texts

    def extend(self, other: Columns) -> None:
        """The commands of another one after those that are here."""
        self._headers += other._headers
        self._lines += other._lines
        self._texts += other._texts

    def batch(self) -> CommandBatch:
        """The commands collected so far."""
        headers, lines = self._headers, self._lines
        return CommandBatch(
            np.frombuffer(bytearray().join([_HEADER.pack(*row) for row in headers]), HEADER),
            np.frombuffer(bytearray().join([_LINE.pack(*row) for row in lines]), LINE),
            np.frombuffer(bytearray().join(self._texts), np.uint8),
        )
