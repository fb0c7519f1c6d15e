"""The client's book: every acknowledgement it got, as facts in the ledger's own order.

Owns what the shop knows without asking the server again. `holdfast.demo.ledger` recomputes from
it what must be true, `holdfast.demo.audit` compares that with what the server says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from holdfast.values.reservations import Reservation

Position = tuple[str, str]
"""(sku, node)."""


class Fact(IntEnum):
    """What an acknowledgement made true."""

    HELD = 1
    CONFIRMED = 2
    CANCELLED = 3
    SHIPPED = 4
    RETURNED = 5
    COUNTED = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """One acknowledged effect. Times in milliseconds of the ledger, quantities in units."""

    revision: int
    time_ms: int
    fact: Fact
    reservation_id: str = ""
    lines: tuple[tuple[int, int], ...] = ()
    """(line, units) of CANCELLED, SHIPPED and RETURNED."""
    takes: tuple[tuple[Position, int], ...] = ()
    """Of HELD: one for each line. Of COUNTED: the units found at each position."""
    expire_ms: int = 0
    as_of_ms: int = 0
    damaged: bool = False


@dataclass(slots=True)
class Book:
    """Everything acknowledged so far."""

    entries: list[Entry] = field(default_factory=list)
    latest: dict[str, Reservation] = field(default_factory=dict)
    """The newest answer about each reservation."""
    latencies_ms: list[float] = field(default_factory=list)
    """Of every call, from its first attempt to its answer."""
    refusals: int = 0

    def note(self, entry: Entry, reservation: Reservation) -> None:
        """An answer about `reservation` came, and means `entry`."""
        self.entries.append(entry)
        known = self.latest.get(reservation.reservation_id)
        if known is None or known.revision <= reservation.revision:
            self.latest[reservation.reservation_id] = reservation


def milliseconds(moment: datetime | None) -> int:
    """A moment of the ledger, kept to the millisecond; 0: none."""
    return 0 if moment is None else round(moment.timestamp() * 1_000)
