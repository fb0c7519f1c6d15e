"""An independent ledger: what must be true if every acknowledgement in the book is.

Plain dictionaries, one rule after another, in the order of revisions; nothing of it is the
engine's. It finds two things the server could not hide: a unit promised that was not there
(oversold), and an end that the acknowledged steps do not lead to (lost or doubled).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from holdfast.demo.book import Entry, Fact, Position
from holdfast.values.reservations import ReservationState

State = ReservationState


@dataclass(slots=True)
class Balance:
    """One position, in units."""

    on_hand: int = 0
    held: int = 0
    committed: int = 0
    damaged: int = 0

    @property
    def available(self) -> int:
        """Units that may be promised; below 0 after a count found fewer than were."""
        return self.on_hand - self.held - self.committed - self.damaged


@dataclass(slots=True)
class Line:
    """One line of a reservation, in units."""

    position: Position
    open: int
    shipped: int = 0
    cancelled: int = 0
    returned: int = 0


@dataclass(slots=True)
class Promise:
    """One reservation."""

    lines: list[Line]
    state: State
    expire_ms: int


@dataclass(slots=True)
class Ledger:
    """Positions and reservations, as the book's entries make them."""

    balances: dict[Position, Balance]
    promises: dict[str, Promise] = field(default_factory=dict)
    oversold: dict[Position, int] = field(default_factory=dict)
    """Units promised while they were not there, by position."""
    impossible: list[str] = field(default_factory=list)
    """Acknowledged steps that the steps before them do not allow."""
    netted: dict[int, int] = field(default_factory=dict)
    """By revision of a count: units of movements after its time, over all its positions."""
    shortfall_found: int = 0
    """Units that counts found missing although they were promised."""
    _expiries: list[tuple[int, str]] = field(default_factory=list)
    _movements: dict[Position, list[tuple[int, int]]] = field(default_factory=dict)

    @staticmethod
    def opening(stock: dict[Position, int]) -> Ledger:
        """The ledger before the first order."""
        return Ledger({position: Balance(units) for position, units in stock.items()})

    def replay(self, entries: list[Entry]) -> None:
        """Apply `entries` in the order of their revisions. O(n log n)."""
        for entry in sorted(entries, key=lambda entry: entry.revision):
            self.expire(entry.time_ms)
            if entry.fact is Fact.HELD:
                self._hold(entry)
            elif entry.fact is Fact.COUNTED:
                self._count(entry)
            else:
                self._step(entry)

    def expire(self, now_ms: int) -> None:
        """Let go of the holds whose time has come by `now_ms`."""
        while self._expiries and self._expiries[0][0] <= now_ms:
            expire_ms, reservation_id = heapq.heappop(self._expiries)
            promise = self.promises[reservation_id]
            if promise.state is State.HELD and promise.expire_ms == expire_ms:
                promise.state = State.EXPIRED
                for line in promise.lines:
                    self.balances[line.position].held -= line.open
                    line.cancelled += line.open
                    line.open = 0

    def on_hand_at(self, position: Position, time_ms: int) -> int:
        """Units that were there at `time_ms`, by what is applied so far."""
        later = sum(delta for at, delta in self._movements.get(position, ()) if at > time_ms)
        return self.balances[position].on_hand - later

    def _hold(self, entry: Entry) -> None:
        if entry.reservation_id in self.promises:
            self.impossible.append(f"{entry.reservation_id} was made twice")
            return
        for position, units in entry.takes:
            balance = self.balances.setdefault(position, Balance())
            missing = units - max(0, balance.available)
            if missing > 0:
                self.oversold[position] = self.oversold.get(position, 0) + missing
            balance.held += units
        self.promises[entry.reservation_id] = Promise(
            [Line(position, units) for position, units in entry.takes],
            State.HELD,
            entry.expire_ms,
        )
        heapq.heappush(self._expiries, (entry.expire_ms, entry.reservation_id))

    def _step(self, entry: Entry) -> None:
        promise = self.promises.get(entry.reservation_id)
        if promise is None:
            self.impossible.append(f"{entry.reservation_id} was never made")
            return
        if entry.fact is Fact.CONFIRMED:
            self._confirm(entry, promise)
        elif entry.fact is Fact.CANCELLED:
            self._cancel(entry, promise)
        elif entry.fact is Fact.SHIPPED:
            self._ship(entry, promise)
        else:
            self._return(entry, promise)

    def _confirm(self, entry: Entry, promise: Promise) -> None:
        if promise.state is not State.HELD:
            self.impossible.append(f"{entry.reservation_id} was confirmed as {promise.state}")
            return
        promise.state = State.CONFIRMED
        for line in promise.lines:
            balance = self.balances[line.position]
            balance.held -= line.open
            balance.committed += line.open

    def _cancel(self, entry: Entry, promise: Promise) -> None:
        for index, units in entry.lines:
            line = promise.lines[index]
            if promise.state is not State.CONFIRMED or units > line.open:
                self.impossible.append(f"{entry.reservation_id} gave back what it had not")
                return
            self.balances[line.position].committed -= units
            line.open -= units
            line.cancelled += units
        self._close(promise)

    def _ship(self, entry: Entry, promise: Promise) -> None:
        for index, units in entry.lines:
            line = promise.lines[index]
            if promise.state is not State.CONFIRMED or units > line.open:
                self.impossible.append(f"{entry.reservation_id} shipped what it had not")
                return
            self.balances[line.position].committed -= units
            self._move(line.position, entry.time_ms, -units)
            line.open -= units
            line.shipped += units
        self._close(promise)

    def _return(self, entry: Entry, promise: Promise) -> None:
        for index, units in entry.lines:
            line = promise.lines[index]
            if units > line.shipped - line.returned:
                self.impossible.append(f"{entry.reservation_id} returned what was not shipped")
                return
            self._move(line.position, entry.time_ms, units)
            if entry.damaged:
                self.balances[line.position].damaged += units
            line.returned += units

    def _close(self, promise: Promise) -> None:
        if any(line.open for line in promise.lines):
            return
        shipped = any(line.shipped for line in promise.lines)
        promise.state = State.FULFILLED if shipped else State.CANCELLED

    def _move(self, position: Position, time_ms: int, delta: int) -> None:
        self.balances[position].on_hand += delta
        self._movements.setdefault(position, []).append((time_ms, delta))

    def _count(self, entry: Entry) -> None:
        netted = 0
        for position, units in entry.takes:
            balance = self.balances[position]
            short_before = max(0, -balance.available)
            now_there = balance.on_hand
            later = now_there - self.on_hand_at(position, entry.as_of_ms)
            balance.on_hand = units + later
            netted += later
            self.shortfall_found += max(0, max(0, -balance.available) - short_before)
        self.netted[entry.revision] = netted
