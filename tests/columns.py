"""Commands for tests, from text: one function makes a command, one makes a line of it.

The rows are what the transport's codec writes for the same request; names are given as text and
an empty one is "none". Offsets need no care: `engine.commands` has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine import commands
from engine.commands import HEADER, LINE, CommandBatch
from engine.hashing import key_of, wide_key_of

CALLER = "test"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a command; `text` is kept with it where the command defines a name."""

    sku: str = ""
    node: str = ""
    scope: str = ""
    quantity: int = 0
    number: int = 0
    kind: int = commands.AT_NODE
    policy: int = 0
    time_ms: int = 0
    flags: int = 0
    text: str = ""

    def told(self) -> str:
        """The line in words, defaults left out."""
        plain = Line()
        fields = (
            f"{field}={getattr(self, field)!r}"
            for field in self.__slots__
            if getattr(self, field) != getattr(plain, field)
        )
        return f"Line({', '.join(fields)})"


def name_key(text: str) -> int:
    """64-bit key of a name, 0 for none."""
    return key_of(text.encode()) if text else 0


def request_key(request_id: str, caller: str = CALLER) -> tuple[int, int]:
    """128-bit key of a caller's request, (0, 0) for none."""
    return wide_key_of(f"{caller}\0{request_id}".encode()) if request_id else (0, 0)


def command(
    kind: int,
    lines: Sequence[Line] = (),
    *,
    request_id: str = "",
    reservation_id: str = "",
    owner: str = "",
    channel: str = "",
    group: str = "",
    fill_policy: int = commands.ALL_OR_NONE,
    flags: int = 0,
    etag: int = 0,
    ttl_ms: int = 0,
    amount: int = 0,
    reference: str = "",
    body: bytes = b"",
    caller: str = CALLER,
) -> CommandBatch:
    """A batch of one command. `group` is DEFINE_GROUP's name, `body` a document's bytes."""
    called = request_id if kind in commands.MOVES_UNITS else owner
    texts = [reservation_id, called, caller, reference]
    line_texts = [line.text for line in lines]
    text = "".join(texts + line_texts + [group]).encode() + body
    headers = np.zeros(1, HEADER)
    header = headers[0]
    header["kind"] = kind
    header["fill_policy"] = fill_policy
    header["flags"] = flags
    header["line_count"] = len(lines)
    header["text_bytes"] = len(text)
    for field, value in zip(
        ("reservation_bytes", "owner_bytes", "actor_bytes", "reference_bytes"), texts, strict=True
    ):
        header[field] = len(value.encode())
    header["request_hi"], header["request_lo"] = request_key(request_id, caller)
    if reservation_id:
        hi, lo = wide_key_of(reservation_id.encode())
        header["reservation_hi"], header["reservation_lo"] = hi, lo
    header["owner_key"] = name_key(owner)
    header["channel_key"] = name_key(group or channel)
    header["etag"] = etag
    header["ttl_ms"] = ttl_ms
    header["amount"] = amount
    rows = np.zeros(len(lines), LINE)
    for row, line in zip(rows, lines, strict=True):
        row["sku_key"] = name_key(line.sku)
        row["node_key"] = name_key(line.node)
        row["scope_key"] = name_key(line.scope)
        row["time_ms"] = line.time_ms
        row["quantity"] = line.quantity
        row["line"] = line.number
        row["kind"] = line.kind
        row["policy"] = line.policy
        row["text_bytes"] = len(line.text.encode())
        row["flags"] = line.flags
    return CommandBatch(headers, rows, np.frombuffer(bytearray(text), np.uint8))


def define(kind: int, *names: str) -> CommandBatch:
    """Make names of a kind (commands.SKU, ...) known."""
    lines = [
        Line(sku=name, number=number, policy=kind, text=name) for number, name in enumerate(names)
    ]
    return command(commands.DEFINE_NAMES, lines)


def define_group(group: str, *nodes: str) -> CommandBatch:
    """Make a group of nodes, in the order in which they are to be taken from."""
    return command(commands.DEFINE_GROUP, [Line(node=node) for node in nodes], group=group)


def expire(most: int = 10_000) -> CommandBatch:
    """Release holds whose time has come."""
    return command(commands.EXPIRE, amount=most, caller="")


def join(*batches: CommandBatch) -> CommandBatch:
    """Several batches as one."""
    return CommandBatch.join(batches)


def atomic(*creates: CommandBatch) -> CommandBatch:
    """CREATEs of which all stand or none does."""
    group = [CommandBatch(each.headers.copy(), each.lines, each.text) for each in creates]
    for place, each in enumerate(group):
        each.headers["amount"] = len(group) - place
    return join(*group)
