"""A line of people: who came first is called first. Pure; times in milliseconds.

A place is a number that only grows, also over restarts: the writer's epoch in its upper bits, a
count in the lower ones. The order of places is therefore written in the places themselves, and
this memory is only of those who are here: a place that it does not know, and that is not behind
those already called, is taken in at its order. That is how a line survives a restart: its places
come back by themselves, as each asks for itself now and then.

Invariants
1. Places are called in the order of their numbers. When one is called, every place before it was
   called, was given up, or has not been asked for over `abandoned_ms`.
2. After a restart nobody is called for `abandoned_ms`: whoever is not back by then is abandoned by
   the same rule.
3. At most `turns_max` are called at once, and no more than there are units, but for turns that were
   given before a restart.
4. `places_max` bounds what is remembered, some 150 bytes a place; twice that after a restart.

Callers: the transport, on the event loop.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

EPOCH_SHIFT: Final = 40
_ROWS_MIN: Final = 1_024
_GONE: Final = -1
# How many were called lately: over about so long.
_LATELY_MS: Final = 30_000.0
_SEEN_MS_MIN: Final = 1_000.0


class Standing(enum.Enum):
    """What has become of a place."""

    WAITING = enum.auto()
    CALLED = enum.auto()
    PASSED = enum.auto()
    """Its turn is over, or came while nobody asked for it."""
    REFUSED = enum.auto()
    """There is no room to remember it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """How a line moves."""

    turns_max: int = 500
    """Places called at once."""
    turn_ms: int = 120_000
    abandoned_ms: int = 60_000
    """A place that was not asked for over so long is passed over when its turn comes."""
    places_max: int = 200_000
    by_stock: bool = True
    """Whether no more are called than there are units."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A place as it stands."""

    standing: Standing
    ahead: int = 0
    """Places before it, at most."""
    turn_end_ms: int = 0


@dataclass(slots=True)
class _Turn:
    end_ms: int
    owner: int


class WaitingLine:
    """The places of one queue. `owner` is a 64-bit key of whom a place is for."""

    def __init__(self, settings: LineSettings, *, epoch: int, opened_ms: int) -> None:
        """`epoch`: a number higher than that of every line of this queue before; 1: there was none.
        `opened_ms`: since when places can come back."""
        self.settings = settings
        self._next = epoch << EPOCH_SHIFT
        self._calls_from_ms = opened_ms + (settings.abandoned_ms if epoch > 1 else 0)
        # The waiting places in order: rows `_first` up to `_end`.
        self._keys = np.zeros(_ROWS_MIN, np.int64)
        self._seen_ms = np.zeros(_ROWS_MIN, np.int64)
        self._owners = np.zeros(_ROWS_MIN, np.uint64)
        self._first = self._end = 0
        self._gone = 0
        self._by_owner: dict[int, int] = {}
        self._turns: dict[int, _Turn] = {}
        self._turns_end_ms = 0
        """No turn ends before."""
        self._called_upto = -1
        self._over: set[int] = set()
        """Turns of before a restart that ended since."""
        self._swept_ms = opened_ms
        self._called_lately = 0.0
        self._lately_began_ms = self._lately_ms = float(max(opened_ms, self._calls_from_ms))
        self.joined = self.called = self.used = self.passed = self.left = self.abandoned = 0

    @property
    def waiting(self) -> int:
        """Places that wait, those not yet known to be abandoned too."""
        return self._end - self._first - self._gone

    @property
    def turns(self) -> int:
        """Places whose turn it is."""
        return len(self._turns)

    def join(self, owner: int, now_ms: int) -> int | None:
        """A place at the end, or the one that `owner` has; None: the line is full. O(1)."""
        known = self._by_owner.get(owner)
        if known is not None and self.see(known, owner, 0, now_ms).standing in (
            Standing.WAITING,
            Standing.CALLED,
        ):
            return known
        if self.waiting >= self.settings.places_max:
            self._sweep(now_ms)
            if self.waiting >= self.settings.places_max:
                return None
        key = self._next
        self._next += 1
        self._insert(self._end, key, owner, now_ms)
        self.joined += 1
        return key

    def see(self, key: int, owner: int, turn_end_ms: int, now_ms: int) -> Seen:
        """A place was asked for. `turn_end_ms`: what its token says of its turn; 0: nothing.

        O(log places); O(places) for one that comes back.
        """
        turn = self._turns.get(key)
        if turn is None and turn_end_ms > now_ms:
            # It was called before a restart.
            turn = self._turns[key] = _Turn(turn_end_ms, owner)
            self._turns_end_ms = min(self._turns_end_ms, turn_end_ms)
            self._forget(key)
            self._by_owner[owner] = key
        if turn is not None:
            if turn.end_ms > now_ms:
                return Seen(Standing.CALLED, 0, turn.end_ms)
            return Seen(Standing.PASSED)
        if turn_end_ms or key <= self._called_upto or key in self._over:
            return Seen(Standing.PASSED)
        at = self._find(key)
        if at == self._end or self._keys[at] != key:
            other = self._by_owner.get(owner)
            if other is not None and (other < key or other in self._turns):
                return Seen(Standing.PASSED)  # an owner has one place, the earlier one
            if self._end - self._first >= 2 * self.settings.places_max:
                return Seen(Standing.REFUSED)
            at = self._insert(at, key, owner, now_ms)
            if other is not None:
                self._forget(other)
        elif self._seen_ms[at] == _GONE:
            return Seen(Standing.PASSED)
        self._seen_ms[at] = now_ms
        return Seen(Standing.WAITING, at - self._first)

    def leave(self, key: int) -> None:
        """A place is given up. O(log places)."""
        if self._end_turn(key) or self._forget(key):
            self.left += 1

    def use(self, key: int) -> None:
        """A place has made its reservation. O(1)."""
        if self._end_turn(key):
            self.used += 1

    def advance(self, now_ms: int, units: Callable[[], int]) -> list[int]:
        """End turns that are over, and call whose turn it is; `units`: how many could be held now.

        O(1), and O(1) for each place that is called or passed over.
        """
        self._end_turns(now_ms)
        settings = self.settings
        if now_ms - self._swept_ms >= settings.abandoned_ms:
            self._sweep(now_ms)
        if not self.waiting or now_ms < self._calls_from_ms:
            return []
        free = settings.turns_max - len(self._turns)
        if free > 0 and settings.by_stock:
            free = min(free, units() - len(self._turns))
        called: list[int] = []
        while len(called) < free and self._first < self._end:
            at = self._first
            self._first += 1
            key, owner = int(self._keys[at]), int(self._owners[at])
            self._called_upto = key
            if self._seen_ms[at] == _GONE:
                self._gone -= 1
            elif self._seen_ms[at] + settings.abandoned_ms < now_ms:
                self._disown(owner, key)
                self.abandoned += 1
            else:
                end_ms = now_ms + settings.turn_ms
                if not self._turns or end_ms < self._turns_end_ms:
                    self._turns_end_ms = end_ms
                self._turns[key] = _Turn(end_ms, owner)
                called.append(key)
        if called:
            self.called += len(called)
            self._called_lately = self._lately(now_ms) + len(called)
            self._lately_ms = float(now_ms)
        return called

    def expected_ms(self, ahead: int, now_ms: int) -> int | None:
        """How long one with so many before it will wait, by how many were called of late; None
        where none were."""
        called = self._lately(now_ms)
        if called < 0.01:
            return None
        # What was seen so far stands for a full period.
        seen_ms = max(_SEEN_MS_MIN, now_ms - self._lately_began_ms)
        part = 1.0 - math.exp(-seen_ms / _LATELY_MS)
        return int((ahead + 1) * _LATELY_MS * part / called)

    def _lately(self, now_ms: int) -> float:
        """Places called, the older ones counting less."""
        return self._called_lately * math.exp(-max(0.0, now_ms - self._lately_ms) / _LATELY_MS)

    def _end_turns(self, now_ms: int) -> None:
        if not self._turns or now_ms < self._turns_end_ms:
            return
        for key in [key for key, turn in self._turns.items() if turn.end_ms <= now_ms]:
            self._end_turn(key)
            self.passed += 1
        self._turns_end_ms = min((turn.end_ms for turn in self._turns.values()), default=0)

    def _end_turn(self, key: int) -> bool:
        """It is over; whether there was one."""
        turn = self._turns.pop(key, None)
        if turn is None:
            return False
        self._disown(turn.owner, key)
        if key > self._called_upto:
            self._over.add(key)
        return True

    # --- The waiting places ------------------------------------------------------------------

    def _find(self, key: int) -> int:
        """The row of a place, or where it would be."""
        return self._first + int(np.searchsorted(self._keys[self._first : self._end], key))

    def _insert(self, at: int, key: int, owner: int, now_ms: int) -> int:
        """Take a place in at row `at`; the row it has then."""
        if self._end == len(self._keys):
            at -= self._first
            self._make_room()
            at += self._first
        for rows, value in (
            (self._keys, key),
            (self._seen_ms, now_ms),
            (self._owners, np.uint64(owner)),
        ):
            rows[at + 1 : self._end + 1] = rows[at : self._end]
            rows[at] = value
        self._end += 1
        self._by_owner[owner] = key
        return at

    def _make_room(self) -> None:
        count = self._end - self._first
        size = max(_ROWS_MIN, 2 * count)
        for name in ("_keys", "_seen_ms", "_owners"):
            old = getattr(self, name)
            rows = np.zeros(size, old.dtype)
            rows[:count] = old[self._first : self._end]
            setattr(self, name, rows)
        self._first, self._end = 0, count

    def _forget(self, key: int) -> bool:
        """A waiting place is gone; whether there was one."""
        at = self._find(key)
        if at == self._end or self._keys[at] != key or self._seen_ms[at] == _GONE:
            return False
        self._seen_ms[at] = _GONE
        self._gone += 1
        self._disown(int(self._owners[at]), key)
        return True

    def _disown(self, owner: int, key: int) -> None:
        if self._by_owner.get(owner) == key:
            del self._by_owner[owner]

    def _sweep(self, now_ms: int) -> None:
        """Forget the places that nobody asks for. O(places), once every `abandoned_ms`.

        One that comes back before its turn has its old place again.
        """
        self._swept_ms = now_ms
        seen_ms = self._seen_ms[self._first : self._end]
        is_there = seen_ms + self.settings.abandoned_ms >= now_ms
        is_there &= seen_ms != _GONE
        if is_there.all():
            return
        away = np.flatnonzero(~is_there) + self._first
        away = away[self._seen_ms[away] != _GONE]
        self.abandoned += len(away)
        owners, keys = self._owners[away].tolist(), self._keys[away].tolist()
        for owner, key in zip(owners, keys, strict=True):
            self._disown(owner, key)
        kept = np.flatnonzero(is_there) + self._first
        for rows in (self._keys, self._seen_ms, self._owners):
            rows[: len(kept)] = rows[kept]
        self._first, self._end, self._gone = 0, len(kept), 0
