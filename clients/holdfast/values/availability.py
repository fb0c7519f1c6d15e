"""Availability: what may be promised, and how it changes. Quantities are whole units."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from holdfast.codec import WireEnum


@dataclass(frozen=True, slots=True)
class WithheldQuantities:
    """Units on hand that are not for sale, by bucket."""

    safety_stock: int = 0
    damaged: int = 0
    quality_control: int = 0
    frozen: int = 0

    @property
    def total(self) -> int:
        """All buckets together."""
        return self.safety_stock + self.damaged + self.quality_control + self.frozen


@dataclass(frozen=True, slots=True)
class PositionAvailability:
    """One SKU at one node: on_hand = available + held + committed + withheld."""

    sku: str
    node: str
    on_hand: int
    held: int
    committed: int
    withheld: WithheldQuantities
    available: int
    """Units that may be held now; below 0 after a count found fewer than were promised."""
    available_to_promise: int
    available_to_sell: int
    incoming: int
    in_transit: int
    shortfall: int
    backorder_available: int
    next_available_time: datetime | None
    degraded: bool
    as_of_time: datetime | None


@dataclass(frozen=True, slots=True)
class SkuAvailability:
    """The sum of one SKU over the positions of a query; those below 0 count as 0."""

    sku: str
    on_hand: int
    held: int
    committed: int
    withheld: int
    available: int
    available_to_promise: int
    available_to_sell: int
    incoming: int
    in_transit: int
    shortfall: int
    degraded: bool


@dataclass(frozen=True, slots=True)
class Availability:
    """The answer to a query: positions, and their totals by SKU, in the order asked."""

    positions: tuple[PositionAvailability, ...]
    totals: tuple[SkuAvailability, ...]
    as_of_time: datetime | None
    revision: int


class AvailabilityEventType(WireEnum):
    """What an event tells."""

    UNSPECIFIED = "UNSPECIFIED"
    SNAPSHOT = "SNAPSHOT"
    CHANGED = "CHANGED"
    FELL_TO_THRESHOLD = "FELL_TO_THRESHOLD"
    ROSE_ABOVE_THRESHOLD = "ROSE_ABOVE_THRESHOLD"
    SHORTFALL = "SHORTFALL"


@dataclass(frozen=True, slots=True)
class AvailabilityEvent:
    """One change of a watched position."""

    type: AvailabilityEventType
    position: PositionAvailability
    revision: int
    threshold: int = 0
    """The threshold that was crossed, in units; 0 for other events."""
