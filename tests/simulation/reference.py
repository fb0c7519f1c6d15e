"""An independent ledger in plain Python: dictionaries, no columns, no kernels.

It reads the journal's commands one by one and says what the answer must be. It knows the commands
the simulator sends, as contract.md and the engine's documentation describe them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine import commands, outcomes
from engine.commands import CommandBatch
from engine.hashing import wide_key_of
from engine.ids import made_id

Place = tuple[int, int]
"""(sku key, node key)"""
Key = tuple[int, int]


@dataclass(slots=True)
class Stock:
    on_hand: int = 0
    held: int = 0
    committed: int = 0

    @property
    def available(self) -> int:
        return self.on_hand - self.held - self.committed


@dataclass(slots=True)
class Reservation:
    state: int
    expire_ms: int
    takes: list[tuple[int, Place, int]]  # (line, place, quantity)


@dataclass(frozen=True, slots=True)
class Expected:
    """What one command must have been answered. None: the model does not say."""

    revision: int
    request: Key
    code: int
    state: int | None = None
    expire_ms: int | None = None
    quantities: tuple[int, ...] | None = None
    """Of the details: units per take, or units asked for per short line."""


@dataclass(slots=True)
class Ledger:
    """The state, and everything worth complaining about that was noticed on the way."""

    ledger_seed: int = 0
    revision: int = 0
    now_ms: int = 0
    stock: dict[Place, Stock] = field(default_factory=dict)
    reservations: dict[Key, Reservation] = field(default_factory=dict)
    seen: dict[Key, tuple[bytes, int]] = field(default_factory=dict)
    """request -> (what it asked for, revision of its effect)"""
    expected: dict[int, Expected] = field(default_factory=dict)
    oversold: list[str] = field(default_factory=list)
    explained_shortfall: set[Place] = field(default_factory=set)

    def apply(self, now_ms: int, batch: CommandBatch) -> None:
        """Apply the commands of one record."""
        self.now_ms = max(self.now_ms, now_ms)
        line_at = 0
        for header in batch.headers:
            lines = batch.lines[line_at : line_at + int(header["line_count"])]
            line_at += len(lines)
            request = (int(header["request_hi"]), int(header["request_lo"]))
            asked = _asked_for(header, lines)
            if request != (0, 0) and request in self.seen:
                continue  # an answer given again, or a stolen id: no effect, no revision
            self.revision += 1
            answer = self._dispatch(header, lines, request)
            self.expected[self.revision] = answer
            if request != (0, 0):
                self.seen[request] = (asked, self.revision)

    def _dispatch(self, header: np.void, lines: np.ndarray, request: Key) -> Expected:
        kind = int(header["kind"])
        reservation = (int(header["reservation_hi"]), int(header["reservation_lo"]))
        if kind == commands.CREATE:
            return self._create(header, lines, request, reservation)
        if kind in (commands.CONFIRM, commands.CANCEL, commands.EXTEND):
            return self._settle(kind, int(header["ttl_ms"]), request, reservation)
        if kind == commands.EXPIRE:
            self._expire(int(header["amount"]))
            return Expected(self.revision, request, outcomes.OK)
        if kind in (commands.ADJUST, commands.COUNT):
            return Expected(self.revision, request, self._stock_line(kind, lines[0]))
        if kind == commands.DEFINE_NAMES:
            return Expected(self.revision, request, outcomes.OK)
        raise AssertionError(f"the model does not know command kind {kind}")

    def _create(
        self, header: np.void, lines: np.ndarray, request: Key, reservation: Key
    ) -> Expected:
        if reservation in self.reservations:
            return Expected(self.revision, request, outcomes.RESERVATION_EXISTS)
        takes: list[tuple[int, Place, int]] = []
        short: list[int] = []
        taken: dict[Place, int] = {}
        for line in lines:
            place = (int(line["sku_key"]), int(line["node_key"]))
            want = int(line["quantity"])
            free = self.stock.get(place, Stock()).available - taken.get(place, 0)
            had = max(0, min(want, free))
            if had < want:
                short.append(want)
            taken[place] = taken.get(place, 0) + had
            takes.append((int(line["line"]), place, want))
        if short:
            return Expected(
                self.revision, request, outcomes.INSUFFICIENT_STOCK, quantities=tuple(short)
            )
        for _, place, quantity in takes:
            self._move(place, held=quantity)
        expire_ms = self.now_ms + int(header["ttl_ms"])
        key = reservation
        if key == (0, 0):
            key = wide_key_of(made_id(self.now_ms, self.revision, self.ledger_seed).encode())
        self.reservations[key] = Reservation(outcomes.HELD, expire_ms, takes)
        return Expected(
            self.revision,
            request,
            outcomes.OK,
            outcomes.HELD,
            expire_ms,
            tuple(quantity for _, _, quantity in takes),
        )

    def _settle(self, kind: int, ttl_ms: int, request: Key, key: Key) -> Expected:
        record = self.reservations.get(key)
        if record is None:
            return Expected(self.revision, request, outcomes.RESERVATION_NOT_FOUND)
        if record.state == outcomes.EXPIRED or (
            record.state == outcomes.HELD and record.expire_ms <= self.now_ms
        ):
            return Expected(self.revision, request, outcomes.RESERVATION_EXPIRED)
        allowed = [outcomes.HELD]
        if kind == commands.CANCEL:
            allowed.append(outcomes.CONFIRMED)
        if record.state not in allowed:
            return Expected(self.revision, request, outcomes.STATE_TRANSITION_NOT_ALLOWED)
        if kind == commands.EXTEND:
            record.expire_ms = max(record.expire_ms, self.now_ms + ttl_ms)
        elif kind == commands.CONFIRM:
            for _, place, quantity in record.takes:
                self._move(place, held=-quantity, committed=quantity)
            record.state = outcomes.CONFIRMED
        else:
            self._give_back(record)
            record.state = outcomes.CANCELLED
        return Expected(self.revision, request, outcomes.OK, record.state, record.expire_ms)

    def _expire(self, most: int) -> None:
        due = sorted(
            (record.expire_ms, key)
            for key, record in self.reservations.items()
            if record.state == outcomes.HELD and record.expire_ms <= self.now_ms
        )
        for _, key in due[:most]:
            self._give_back(self.reservations[key])
            self.reservations[key].state = outcomes.EXPIRED

    def _give_back(self, record: Reservation) -> None:
        for _, place, quantity in record.takes:
            if record.state == outcomes.HELD:
                self._move(place, held=-quantity)
            else:
                self._move(place, committed=-quantity)

    def _stock_line(self, kind: int, line: np.void) -> int:
        place = (int(line["sku_key"]), int(line["node_key"]))
        quantity = int(line["quantity"])
        stock = self.stock.setdefault(place, Stock())
        if kind == commands.COUNT:
            stock.on_hand = quantity
            if stock.available < 0:
                self.explained_shortfall.add(place)
        else:
            if quantity < 0 and stock.available < -quantity:
                return outcomes.INSUFFICIENT_STOCK
            stock.on_hand += quantity
        if stock.available >= 0:
            self.explained_shortfall.discard(place)
        return outcomes.OK

    def _move(self, place: Place, *, held: int = 0, committed: int = 0) -> None:
        stock = self.stock.setdefault(place, Stock())
        stock.held += held
        stock.committed += committed
        if stock.available >= 0:
            self.explained_shortfall.discard(place)
        elif held + committed > 0 or place not in self.explained_shortfall:
            self.oversold.append(f"revision {self.revision}: {place} is at {stock.available}")


def _asked_for(header: np.void, lines: np.ndarray) -> bytes:
    """What a command asks for, apart from who asks."""
    return (
        header[["kind", "reservation_hi", "reservation_lo", "ttl_ms"]].tobytes()
        + lines[["sku_key", "node_key", "quantity"]].tobytes()
    )
