"""What the model knows: plain objects, every balance recounted whenever it is asked for.

A reservation's takes lie at places, which are tuples: ("stock", sku, node), ("supply", id),
("beyond", sku, node) for units promised beyond all supply, ("fence", sku, node, channel),
("limit", sku, owner), ("capacity", kind, name, node).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from engine import outcomes

Place = tuple[str | int, ...]
Stock = tuple[str, str]
"""(sku, node)"""

OPEN_STATES = (outcomes.HELD, outcomes.CONFIRMED)
CARRIES_UNITS = ("stock", "supply", "beyond")


@dataclass(slots=True)
class Take:
    """Units of one line at one place."""

    line: int
    place: Place
    quantity: int
    since: int = 0  # what came first is served first
    fulfilled: int = 0
    cancelled: int = 0
    returned: int = 0
    shortfall: int = 0
    settled: bool = False  # what it shipped went out before its order was last rerouted

    @property
    def carries(self) -> bool:
        """Whether these are the line's own units, not a share in what allows them."""
        return self.place[0] in CARRIES_UNITS


@dataclass(slots=True)
class Reservation:
    """An order."""

    name: str
    owner: str
    channel: str
    state: int
    expire_ms: int
    made: int  # revision
    row: int  # the engine's, for ties of expiry alone
    lines: int
    etag: int = 0
    takes: list[Take] = field(default_factory=list)

    def copy(self) -> Reservation:
        """The reservation as it is now."""
        return replace(self, takes=[replace(take) for take in self.takes])

    @property
    def open(self) -> bool:
        """HELD or CONFIRMED."""
        return self.state in OPEN_STATES

    def open_at(self, line: int, place: Place) -> Take | None:
        """The line's first take at a place that may still get units."""
        return next(
            (t for t in self.takes if t.line == line and t.place == place and not t.settled), None
        )

    def units(self, line: int, place: Place | None = None) -> int:
        """Open units of a line, at a place or anywhere."""
        return sum(
            take.quantity
            for take in self.takes
            if take.line == line and take.carries and place in (None, take.place)
        )


@dataclass(slots=True)
class Supply:
    """Units still to come."""

    stock: Stock
    expected_ms: int
    order: int
    quantity: int
    open: bool = True
    source: str = ""  # the node it comes from


@dataclass(slots=True)
class World:
    """Everything that counts."""

    on_hand: dict[Stock, int] = field(default_factory=dict)
    withheld: dict[Stock, dict[int, int]] = field(default_factory=dict)
    moves: dict[Stock, list[tuple[int, int]]] = field(default_factory=dict)  # (time, units)
    counts: dict[Stock, int] = field(default_factory=dict)  # the latest time a count spoke of
    supplies: dict[str, Supply] = field(default_factory=dict)
    beyond: dict[Stock, int] = field(default_factory=dict)
    fences: dict[Place, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    capacities: dict[Place, int] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    clock: int = 0

    def copy(self) -> World:
        """The world as it is now."""
        return replace(
            self,
            on_hand=dict(self.on_hand),
            withheld={stock: dict(buckets) for stock, buckets in self.withheld.items()},
            moves={stock: list(moves) for stock, moves in self.moves.items()},
            counts=dict(self.counts),
            supplies={name: replace(each) for name, each in self.supplies.items()},
            beyond=dict(self.beyond),
            fences=dict(self.fences),
            limits=dict(self.limits),
            capacities=dict(self.capacities),
            frozen=set(self.frozen),
            reservations={name: each.copy() for name, each in self.reservations.items()},
        )

    def tick(self) -> int:
        """A number larger than all before."""
        self.clock += 1
        return self.clock

    def takes_at(self, place: Place) -> Iterator[tuple[Reservation, Take]]:
        """All takes at a place, of reservations in every state."""
        for reservation in self.reservations.values():
            for take in reservation.takes:
                if take.place == place:
                    yield reservation, take

    def promised(self, place: Place) -> int:
        """Units of a place that are held or committed."""
        return sum(take.quantity for _, take in self.takes_at(place))

    def promises(self) -> dict[tuple[Place, int], int]:
        """Units promised by place and state."""
        found: dict[tuple[Place, int], int] = {}
        for reservation in self.reservations.values():
            for take in reservation.takes:
                key = (take.place, reservation.state)
                found[key] = found.get(key, 0) + take.quantity
        return found

    def available(self, stock: Stock) -> int:
        """on_hand less everything promised or withheld."""
        on_hand = self.on_hand.get(stock, 0)
        return on_hand - self.promised(("stock", *stock)) - sum(self.buckets(stock).values())

    def buckets(self, stock: Stock) -> dict[int, int]:
        """Withheld units by bucket."""
        return self.withheld.get(stock, {})

    def in_fence(self, stock: Stock, channel: str) -> int:
        """What a channel's fence may still sell."""
        place = ("fence", *stock, channel)
        return max(0, self.fences.get(place, 0) - self.promised(place))

    def fenced(self, stock: Stock) -> int:
        """What all fences on a stock may still sell."""
        return sum(
            self.in_fence(stock, str(place[3])) for place in self.fences if place[1:3] == stock
        )

    def sellable(self, stock: Stock, channel: str) -> int:
        """What a channel may take: its own fence, and what no fence sets apart."""
        free = self.available(stock)
        unfenced = max(0, free - self.fenced(stock))
        return max(0, min(free, self.in_fence(stock, channel) + unfenced))

    def of_supply(self, name: str) -> int:
        """Units of a supply that are not promised yet."""
        return self.supplies[name].quantity - self.promised(("supply", name))

    def supplies_of(self, stock: Stock) -> list[str]:
        """Open supplies of a stock, the earliest first."""
        found = [name for name, each in self.supplies.items() if each.open and each.stock == stock]
        return sorted(
            found, key=lambda name: (self.supplies[name].expected_ms, self.supplies[name].order)
        )

    def limit_left(self, sku: str, owner: str) -> int:
        """Units of a SKU that an owner may still get."""
        had = sum(
            take.quantity + take.fulfilled - take.returned
            for _, take in self.takes_at(("limit", sku, owner))
        )
        return self.limits[sku] - had

    def capacity_left(self, place: Place) -> int:
        """Units of a capacity that are neither promised nor used."""
        used = sum(take.quantity + take.fulfilled for _, take in self.takes_at(place))
        return self.capacities[place] - used
