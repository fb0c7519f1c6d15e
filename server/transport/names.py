"""The texts behind the ledger's row numbers, for replies.

Names and positions are made once and never removed or renumbered, so a text that was looked up
once stays true; the cache is bounded and simply starts over when it is full.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine import commands, tables
from engine.state import State

_CACHED_MAX = 200_000

BACKORDER = "backorder"


@dataclass(frozen=True, slots=True)
class PositionNames:
    """What a position is called. Fields that do not apply are empty."""

    kind: int
    sku: str
    """The SKU; of a capacity its day or slot."""
    node: str
    scope: str
    """Channel, supply or owner."""
    is_slot: bool
    """Of a capacity: a carrier's slot, not a node's day."""

    @property
    def label(self) -> str:
        """In one word, for people: ``pear@berlin/web``."""
        return f"{self.sku}@{self.node}" + (f"/{self.scope}" if self.scope else "")


class Names:
    """Looks names up in one ledger."""

    __slots__ = ("_positions", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._positions: dict[int, PositionNames] = {}

    def text(self, row: int) -> str:
        """The name in this row; "" for none."""
        if row < 0:
            return ""
        name = self._state.names[row]
        start = int(name["text_at"])
        return bytes(self._state.name_text[start : start + int(name["text_bytes"])]).decode()

    def position(self, row: int) -> PositionNames:
        """What the position in this row is called."""
        found = self._positions.get(row)
        if found is None:
            found = self._look_up(row)
            if len(self._positions) >= _CACHED_MAX:
                self._positions.clear()
            self._positions[row] = found
        return found

    def _look_up(self, row: int) -> PositionNames:
        position = self._state.positions[row]
        kind = int(position["kind"])
        resource = int(position["sku"])
        scope = self.text(int(position["scope"]))
        if kind == tables.SUPPLY:
            supply = self._state.supplies[int(position["link"])]
            if supply["type"] == tables.BACKORDER_SUPPLY:
                scope = BACKORDER
        is_slot = kind == tables.CAPACITY and self._state.names[resource]["kind"] == commands.SLOT
        return PositionNames(
            kind, self.text(resource), self.text(int(position["node"])), scope, is_slot
        )
