"""Reservations: what to hold, and what is held.

Quantities are whole units, times are aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from holdfast.codec import WireEnum
from holdfast.errors import ShortLine
from holdfast.times import Span
from holdfast.values.capacities import CarrierSlot, NodeCapacity


class ReservationState(WireEnum):
    """Where a reservation stands; the last three are terminal."""

    UNSPECIFIED = "UNSPECIFIED"
    HELD = "HELD"
    CONFIRMED = "CONFIRMED"
    FULFILLED = "FULFILLED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class FillPolicy(WireEnum):
    """What to do when not every unit can be taken."""

    UNSPECIFIED = "UNSPECIFIED"
    ALL_OR_NONE = "ALL_OR_NONE"
    PARTIAL_LINES = "PARTIAL_LINES"
    PARTIAL_QUANTITY = "PARTIAL_QUANTITY"


class SupplyPolicy(WireEnum):
    """What a line may be promised from."""

    UNSPECIFIED = "UNSPECIFIED"
    ON_HAND = "ON_HAND"
    INCOMING = "INCOMING"
    BACKORDER = "BACKORDER"


class Durability(WireEnum):
    """When the answer to a write leaves the server."""

    UNSPECIFIED = "UNSPECIFIED"
    JOURNALED = "JOURNALED"
    MEMORY = "MEMORY"


class ReturnDisposition(WireEnum):
    """What becomes of returned units."""

    UNSPECIFIED = "UNSPECIFIED"
    RESTOCK = "RESTOCK"
    DAMAGED = "DAMAGED"
    QUALITY_CONTROL = "QUALITY_CONTROL"


@dataclass(frozen=True, slots=True)
class Line:
    """One line to hold: `quantity` units of `sku` at `node`, or from the nodes of `node_group`."""

    sku: str
    node: str = ""
    quantity: int = 1
    node_group: str = ""
    supply_policy: SupplyPolicy = SupplyPolicy.UNSPECIFIED
    need_by_time: datetime | None = None


LineLike = Line | tuple[str, str, int]
"""A `Line`, or the short form (sku, node, quantity)."""


@dataclass(frozen=True, slots=True)
class CapacityRequest:
    """Units of a node's day, or of a carrier's pickup slot, to take together with the stock."""

    quantity: int
    node_capacity: NodeCapacity | None = None
    carrier_slot: CarrierSlot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One reservation to make, for `batch_reserve` and `bulk_reserve`."""

    lines: Iterable[LineLike]
    owner: str = ""
    channel: str = ""
    ttl: Span | None = None
    """Seconds, or a timedelta; None: the server's default (15 minutes)."""
    reservation_id: str = ""
    request_id: str | None = None
    """None: made by the client."""
    fill_policy: FillPolicy = FillPolicy.UNSPECIFIED
    replace_owner_holds: bool = False
    durability: Durability = Durability.UNSPECIFIED
    place_token: str = ""
    capacities: Iterable[CapacityRequest] = ()


@dataclass(frozen=True, slots=True)
class LineQuantity:
    """Units of one line of a reservation, by its index from 0; `node` narrows it."""

    line: int
    quantity: int
    node: str = ""


LineQuantityLike = LineQuantity | tuple[int, int]
"""A `LineQuantity`, or the short form (line, quantity)."""


@dataclass(frozen=True, slots=True)
class Reassignment:
    """Units of a line that move from one node to another; quantity 0: all of them."""

    line: int
    source_node: str
    destination_node: str
    quantity: int = 0


@dataclass(frozen=True, slots=True)
class Take:
    """Units of a line still held or committed at one node."""

    node: str
    quantity: int
    supply_id: str = ""
    """The supply they are promised from, "backorder" beyond every supply; empty: on hand."""


@dataclass(frozen=True, slots=True)
class ReservationLine:
    """One line as it stands."""

    sku: str
    quantity: int
    takes: tuple[Take, ...] = ()
    shortfall_quantity: int = 0
    fulfilled_quantity: int = 0
    cancelled_quantity: int = 0
    returned_quantity: int = 0

    @property
    def open_quantity(self) -> int:
        """Units still held or committed."""
        return sum(take.quantity for take in self.takes)


@dataclass(frozen=True, slots=True)
class CapacityTake:
    """A capacity taken by a reservation."""

    quantity: int
    node_capacity: NodeCapacity | None = None
    carrier_slot: CarrierSlot | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as it stood at `revision`."""

    reservation_id: str
    state: ReservationState
    owner: str
    channel: str
    lines: tuple[ReservationLine, ...]
    capacity_takes: tuple[CapacityTake, ...]
    create_time: datetime | None
    update_time: datetime | None
    expire_time: datetime | None
    etag: int
    """The revision that changed it last; give it with a step to be sure nothing came between."""
    revision: int
    """The ledger's revision at the answer."""

    @property
    def is_open(self) -> bool:
        """Whether it still holds or is owed units."""
        return self.state in (ReservationState.HELD, ReservationState.CONFIRMED)


@dataclass(frozen=True, slots=True)
class BatchReservation:
    """What `batch_reserve` made: all of it in one step."""

    reservations: tuple[Reservation, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What became of one request of `bulk_reserve`."""

    reservation_id: str
    state: ReservationState
    reason: str
    """Empty when held, otherwise why not, such as ``INSUFFICIENT_STOCK``."""
    expire_time: datetime | None
    short_lines: tuple[ShortLine, ...]
    """What was missing: of a refusal, or of a hold that a partial fill_policy cut."""
    revision: int
    request_id: str = ""

    @property
    def held(self) -> bool:
        """Whether the hold was made."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class BulkReservation:
    """The outcomes of `bulk_reserve`, in the order of the requests."""

    outcomes: tuple[BulkOutcome, ...]
    revision: int
