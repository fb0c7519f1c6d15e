"""What the sequencer and recovery share: a state, its journal, and the engine between them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Protocol

from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import State
from server.application.hold_origins import HoldOrigins
from server.journal.port import Journal


class Engine(Protocol):
    """The part of `engine.machine` that is needed here; tests put flawed ones in its place."""

    def apply(self, state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
        """See `engine.machine.apply`."""
        ...

    def next_expiry_ms(self, state: State) -> int:
        """See `engine.machine.next_expiry_ms`."""
        ...

    def expire_command(self, most: int) -> CommandBatch:
        """See `engine.machine.expire_command`."""
        ...


@dataclass(frozen=True, slots=True)
class Ledger:
    """A state, and the claimed journal whose records up to the newest it is the result of."""

    state: State
    journal: Journal
    origins: HoldOrigins = field(default_factory=HoldOrigins, compare=False)
    """Who made its reservations."""
    epoch: int = field(default=0, compare=False)
    """The number of this writer of the journal: higher than that of each before."""


def outcome_checksum(outcomes: Outcomes) -> int:
    """What a replay must decide again: CRC-32 of every command's code. O(commands).

    Only the codes: columns may join an outcome in later versions, decisions may not change.
    """
    return zlib.crc32(outcomes.rows["code"].tobytes())
