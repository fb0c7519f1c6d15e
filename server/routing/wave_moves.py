"""Which promised orders move, and when: each new hold stands before the old one ends.

A wave plans promised orders as if all their units were free. Held one by one they are not: an order
that moves into what another one holds must wait until that one has moved. `rounds_of` lines the
moves up: those of a round need nothing that only the round itself, or a later one, sets free. A
move that saves too little by itself is made only where it makes room for others that save more
together. Orders that wait for each other in a ring stay where they are, but for those that must
leave: they come last, to be planned again by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.routing.orders import Held

Key = tuple[Any, ...]
Amounts = Mapping[Key, int]


def amounts_of(held: Held) -> dict[Key, int]:
    """What is held, by ("stock", node, sku), ("pick", node, day) and ("slot", node, slot)."""
    found: dict[Key, int] = {}
    for kind, part in (("stock", held.stock), ("pick", held.pick), ("slot", held.slots)):
        for (node, name), units in part.items():
            found[kind, node, name] = units
    return found


@dataclass(frozen=True, slots=True)
class Move:
    """One promised order and another plan for it."""

    number: int
    """Whose it is; only told apart by it."""
    gives: Amounts
    """What it holds."""
    takes: Amounts
    """What it would hold."""
    saving: int
    """Minor units; negative where it becomes dearer."""
    must: bool
    """Whether it has to leave where it is."""

    def wants(self) -> dict[Key, int]:
        """What it takes beyond what it holds itself."""
        return {
            key: units - self.gives.get(key, 0)
            for key, units in self.takes.items()
            if units > self.gives.get(key, 0)
        }


class _Room:
    """What is free, as moves are made."""

    def __init__(self, free: Callable[[Key], int]) -> None:
        self._free = free
        self._known: dict[Key, int] = {}

    def left(self, key: Key) -> int:
        if key not in self._known:
            self._known[key] = self._free(key)
        return self._known[key]

    def short(self, move: Move) -> dict[Key, int]:
        """What is missing for it."""
        wanted = move.wants().items()
        return {key: units - self.left(key) for key, units in wanted if units > self.left(key)}

    def take(self, move: Move) -> None:
        for key, units in move.wants().items():
            self._known[key] = self.left(key) - units

    def give(self, move: Move) -> None:
        for key, units in move.gives.items():
            back = units - move.takes.get(key, 0)
            if back > 0:
                self._known[key] = self.left(key) + back


def rounds_of(
    moves: Iterable[Move], free: Callable[[Key], int], saving_min: int
) -> list[list[Move]]:
    """The moves that are made, round by round. `free`: what the ledger has left of something."""
    room = _Room(free)
    every = sorted(moves, key=lambda one: (not one.must, -one.saving, one.number))
    waiting = [one for one in every if one.must or one.saving >= saving_min]
    helpers = [one for one in every if not one.must and one.saving < saving_min]
    rounds: list[list[Move]] = []
    stuck: list[Move] = []
    while waiting:
        made = []
        for move in waiting:
            if not room.short(move):
                room.take(move)
                made.append(move)
        if not made:
            made = _makes_room(waiting[0], helpers, room, saving_min)
            for move in made:
                helpers.remove(move)
            if not made:
                if waiting[0].must:
                    stuck.append(waiting[0])
                waiting = waiting[1:]
                continue
        for move in made:
            room.give(move)
        done = {move.number for move in made}
        waiting = [move for move in waiting if move.number not in done]
        rounds.append(made)
    return [*rounds, stuck] if stuck else rounds


def _makes_room(move: Move, helpers: list[Move], room: _Room, saving_min: int) -> list[Move]:
    """Helpers that make room for `move` and still save enough with it; none: there are none. What
    they take is taken."""
    short = room.short(move)
    picked: list[Move] = []
    saving = move.saving
    for one in helpers:
        useful = [key for key in short if one.gives.get(key, 0) > one.takes.get(key, 0)]
        if not useful or room.short(one):
            continue
        room.take(one)
        picked.append(one)
        saving += one.saving
        for key in useful:
            short[key] -= one.gives[key] - one.takes.get(key, 0)
            if short[key] <= 0:
                del short[key]
        if not short:
            break
    if short or not (move.must or saving >= saving_min):
        for one in picked:
            for key, units in one.wants().items():
                room._known[key] += units
        return []
    return picked
