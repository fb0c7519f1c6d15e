"""Who made each reservation that the ledger keeps: the caller's name beside the reservation's row.

The engine does not keep it: who sent a command decides nothing. The journal has it, and so every
replay can tell, and a snapshot keeps what the records before it said, in sections of its own.
Therefore the same is known after a restart or a takeover as before it, to the last hold.

Invariants
1. The row of every reservation there is stands for the caller of the command that made it; 0, the
   nameless one, where that command was older than what is known (a snapshot of an older version).
2. Where nobody has a name nothing is kept, and a batch costs 4 us.

Callers: `recovery` for what it replays, `Noting` for what is applied; `server.lifecycle` asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import commands, machine, outcomes
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import State

Sections = list[tuple[str, NDArray[Any]]]

_NAMES: Final = "server.callers"
_ROWS: Final = "server.caller_of_reservation"
_ROWS_MIN: Final = 1_024
# So few are read one by one.
_FEW: Final = 16


class HoldOrigins:
    """The callers of one state's reservations."""

    def __init__(self) -> None:
        self._callers = [b""]
        self._numbers = {b"": 0}
        self._caller_of = np.zeros(0, np.int32)

    def note(
        self, state: State, revision_before: int, batch: CommandBatch, answer: Outcomes
    ) -> None:
        """`batch` was applied to `state`. O(commands), 4 us where nobody has a name."""
        headers = batch.headers
        if len(self._callers) == 1 and not headers["actor_bytes"].any():
            return
        made = np.flatnonzero(
            (headers["kind"] == commands.CREATE)
            & (answer.rows["code"] == outcomes.OK)
            & (answer.rows["reservation"] >= 0)
        )
        rows = answer.rows["reservation"][made]
        # An answer that was given again made nothing.
        is_new = state.reservations["create_revision"][rows] > revision_before
        made, rows = made[is_new], rows[is_new]
        if not len(made):
            return
        self._reach(int(rows.max()) + 1)
        ends = np.cumsum(headers["text_bytes"], dtype=np.int64)
        names_at = ends - headers["text_bytes"]
        names_at += headers["reservation_bytes"]
        names_at += headers["owner_bytes"]
        sizes = headers["actor_bytes"][made]
        if len(made) <= _FEW:
            for row, start, size in zip(
                rows.tolist(), names_at[made].tolist(), sizes.tolist(), strict=True
            ):
                name = batch.text[start : start + size]
                self._caller_of[row] = self._number(name.tobytes())
            return
        for size in np.unique(sizes):
            chosen = sizes == size
            at = names_at[made[chosen]][:, None] + np.arange(int(size))
            self._caller_of[rows[chosen]] = self._numbers_of(batch.text[at])

    def rows_of(self, caller: bytes, state: State) -> NDArray[np.int64]:
        """Rows of this caller's open holds. O(reservations)."""
        high = int(state.meta["reservation_high"][0])
        is_held = state.reservations["state"][:high] == outcomes.HELD
        caller_of = np.zeros(high, np.int32)
        known = self._caller_of[:high]
        caller_of[: len(known)] = known
        return np.flatnonzero(is_held & (caller_of == self._numbers.get(caller, -1)))

    @property
    def callers(self) -> list[bytes]:
        """Everybody who made a reservation, the nameless one too."""
        return list(self._callers)

    def sections(self, state: State) -> Sections:
        """What a snapshot of `state` keeps; nothing where nobody has a name."""
        if len(self._callers) == 1:
            return []
        names = b"\0".join(self._callers[1:])
        high = int(state.meta["reservation_high"][0])
        return [
            (_NAMES, np.frombuffer(names, np.uint8)),
            (_ROWS, self._caller_of[:high].copy()),
        ]

    @staticmethod
    def taken_from(sections: Iterable[tuple[str, NDArray[Any]]]) -> tuple[HoldOrigins, Sections]:
        """What a snapshot kept, and its other sections."""
        origins, others, found = HoldOrigins(), [], {}
        for name, rows in sections:
            if name in (_NAMES, _ROWS):
                found[name] = rows
            else:
                others.append((name, rows))
        if found:
            for caller in found[_NAMES].tobytes().split(b"\0"):
                origins._number(caller)
            origins._caller_of = found[_ROWS].astype(np.int32)
        return origins, others

    def _numbers_of(self, names: NDArray[np.uint8]) -> NDArray[np.int32] | int:
        """Numbers of names of one length, one a row; mostly they are all the same."""
        if not names.shape[1]:
            return 0
        first = names[0]
        if (names == first).all():
            return self._number(first.tobytes())
        return np.array([self._number(name.tobytes()) for name in names], np.int32)

    def _number(self, caller: bytes) -> int:
        number = self._numbers.get(caller)
        if number is None:
            number = self._numbers[caller] = len(self._callers)
            self._callers.append(caller)
        return number

    def _reach(self, rows: int) -> None:
        if rows > len(self._caller_of):
            grown = np.zeros(max(_ROWS_MIN, 2 * rows), np.int32)
            grown[: len(self._caller_of)] = self._caller_of
            self._caller_of = grown


class Noting:
    """The engine, noting who made what as it applies. For the sequencer."""

    def __init__(self, origins: HoldOrigins) -> None:
        self.origins = origins
        """Of the state that is applied to: another one after a rebuild."""

    def apply(self, state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
        """See `engine.machine.apply`."""
        before = state.revision
        answer = machine.apply(state, now_ms, batch)
        self.origins.note(state, before, batch, answer)
        return answer

    def next_expiry_ms(self, state: State) -> int:
        """See `engine.machine.next_expiry_ms`."""
        return machine.next_expiry_ms(state)

    def expire_command(self, most: int) -> CommandBatch:
        """See `engine.machine.expire_command`."""
        return machine.expire_command(most)
