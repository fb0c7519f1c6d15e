"""An operation: one command in words, for the engine (`batch`) and for the model alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine import commands
from engine.commands import CommandBatch
from tests import columns
from tests.columns import Line


@dataclass(frozen=True, slots=True)
class Operation:
    """One command. Fields are those of `tests.columns.command`."""

    kind: int
    lines: tuple[Line, ...] = ()
    request_id: str = ""
    reservation_id: str = ""
    owner: str = ""
    channel: str = ""
    group: str = ""
    fill_policy: int = commands.ALL_OR_NONE
    flags: int = 0
    etag: int = 0
    ttl_ms: int = 0
    amount: int = 0
    reference: str = ""

    def batch(self) -> CommandBatch:
        """The operation as columns."""
        return columns.command(
            self.kind,
            self.lines,
            request_id=self.request_id,
            reservation_id=self.reservation_id,
            owner=self.owner,
            channel=self.channel,
            group=self.group,
            fill_policy=self.fill_policy,
            flags=self.flags,
            etag=self.etag,
            ttl_ms=self.ttl_ms,
            amount=self.amount,
            reference=self.reference,
        )

    def has(self, flag: int) -> bool:
        """Whether a flag is set."""
        return bool(self.flags & flag)

    def asks_the_same_as(self, other: Operation) -> bool:
        """Whether both ask for the same, whatever they are called by."""
        return replace(self, request_id="") == replace(other, request_id="")

    def told(self) -> str:
        """The operation in one line, defaults left out."""
        plain = Operation(self.kind)
        fields = [
            f"{field}={getattr(self, field)!r}"
            for field in self.__slots__
            if field != "lines" and getattr(self, field) != getattr(plain, field)
        ]
        lines = f"[{', '.join(line.told() for line in self.lines)}]"
        return f"{commands.KIND_NAMES[self.kind]}({', '.join([lines, *fields])})"


def numbered(operations: list[Operation]) -> list[Operation]:
    """CREATEs as the members of one atomic group."""
    count = len(operations)
    return [replace(each, amount=count - place) for place, each in enumerate(operations)]


def pieces(operations: list[Operation]) -> list[list[Operation]]:
    """The operations one by one; atomic groups stay whole."""
    found = []
    at = 0
    while at < len(operations):
        size = max(1, operations[at].amount) if operations[at].kind == commands.CREATE else 1
        found.append(operations[at : at + size])
        at += size
    return found
