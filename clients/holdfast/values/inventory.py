"""Inventory: balances, their changes and what comes. Quantities are whole units."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from holdfast.codec import WireEnum
from holdfast.values.availability import WithheldQuantities


class ShortfallPolicy(WireEnum):
    """What to do with promises that a count, or a smaller supply, no longer covers."""

    UNSPECIFIED = "UNSPECIFIED"
    REPORT = "REPORT"
    CANCEL_NEWEST_HOLDS = "CANCEL_NEWEST_HOLDS"
    REPLAN = "REPLAN"


class WithheldBucket(WireEnum):
    """Why units are on hand but not for sale."""

    UNSPECIFIED = "UNSPECIFIED"
    SAFETY_STOCK = "SAFETY_STOCK"
    DAMAGED = "DAMAGED"
    QUALITY_CONTROL = "QUALITY_CONTROL"
    FROZEN = "FROZEN"


class AdjustmentReason(WireEnum):
    """Why on_hand is adjusted."""

    UNSPECIFIED = "UNSPECIFIED"
    CORRECTION = "CORRECTION"
    RECEIPT = "RECEIPT"
    SHRINKAGE = "SHRINKAGE"
    DAMAGE = "DAMAGE"
    FOUND = "FOUND"
    EXTERNAL_SALE = "EXTERNAL_SALE"
    EXTERNAL_RETURN = "EXTERNAL_RETURN"


class MovementType(WireEnum):
    """What a movement was."""

    UNSPECIFIED = "UNSPECIFIED"
    ADJUST = "ADJUST"
    COUNT = "COUNT"
    TRANSFER_OUT = "TRANSFER_OUT"
    TRANSFER_IN = "TRANSFER_IN"
    WITHHOLD = "WITHHOLD"
    RECEIVE = "RECEIVE"
    FULFILL = "FULFILL"
    RETURN = "RETURN"


class SupplyType(WireEnum):
    """Where incoming units come from."""

    UNSPECIFIED = "UNSPECIFIED"
    PURCHASE_ORDER = "PURCHASE_ORDER"
    TRANSFER = "TRANSFER"
    PREORDER = "PREORDER"


class SupplyState(WireEnum):
    """Where a supply stands."""

    UNSPECIFIED = "UNSPECIFIED"
    OPEN = "OPEN"
    RECEIVED = "RECEIVED"
    CANCELLED = "CANCELLED"


class PositionKind(WireEnum):
    """What a position counts."""

    UNSPECIFIED = "UNSPECIFIED"
    STOCK = "STOCK"
    NODE_CAPACITY = "NODE_CAPACITY"
    CARRIER_SLOT = "CARRIER_SLOT"
    CHANNEL_FENCE = "CHANNEL_FENCE"
    PURCHASE_LIMIT = "PURCHASE_LIMIT"
    SUPPLY = "SUPPLY"
    BACKORDER = "BACKORDER"


@dataclass(frozen=True, slots=True)
class InventoryPosition:
    """One SKU at one node: on_hand = available + held + committed + withheld."""

    sku: str
    node: str
    on_hand: int
    held: int
    committed: int
    withheld: WithheldQuantities
    available: int
    incoming: int
    in_transit: int
    supply_promised: int
    shortfall: int
    backorder_limit: int
    backordered: int
    count_time: datetime | None
    update_time: datetime | None
    etag: int


@dataclass(frozen=True, slots=True)
class PositionChange:
    """The positions after a step, one for each entry of the request."""

    positions: tuple[InventoryPosition, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Units to add to on_hand, or to take from it where negative."""

    sku: str
    node: str
    delta: int
    reason: AdjustmentReason = AdjustmentReason.UNSPECIFIED
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted of one SKU at one node; `as_of_time` None: now."""

    sku: str
    node: str
    on_hand: int
    as_of_time: datetime | None = None
    shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED
    reference: str = ""


@dataclass(frozen=True, slots=True)
class CountResult:
    """What one count changed."""

    position: InventoryPosition
    correction: int
    netted_quantity: int
    cancelled_reservation_ids: tuple[str, ...]
    reassigned_reservation_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CountChange:
    """The results of a count, one for each entry of the request."""

    results: tuple[CountResult, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class TransferLine:
    """Units of one SKU to move; `supply_id` names them while they are on their way."""

    sku: str
    quantity: int
    supply_id: str = ""


@dataclass(frozen=True, slots=True)
class Withholding:
    """One change of a withheld bucket: to `quantity` units, or by `delta` units."""

    sku: str
    node: str
    bucket: WithheldBucket
    quantity: int | None = None
    delta: int | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Supply:
    """Units of one SKU that are expected at one node."""

    supply_id: str
    sku: str
    node: str
    type: SupplyType
    quantity: int
    promised_quantity: int
    received_quantity: int
    expected_time: datetime | None
    state: SupplyState
    source_node: str
    etag: int


@dataclass(frozen=True, slots=True)
class SupplyChange:
    """A supply after a step, and the promises it no longer covers."""

    supply: Supply
    shortfall_quantity: int
    revision: int


@dataclass(frozen=True, slots=True)
class SupplyReceipt:
    """A supply after units of it were received."""

    supply: Supply
    position: InventoryPosition
    moved_quantity: int
    """Units of reservations that moved from the supply to on_hand."""
    shortfall_quantity: int
    revision: int


@dataclass(frozen=True, slots=True)
class TransferChange:
    """A transfer's positions, and the supplies on their way where it takes time."""

    source_positions: tuple[InventoryPosition, ...]
    destination_positions: tuple[InventoryPosition, ...]
    supplies: tuple[Supply, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class InventoryMovement:
    """One change of a position's on_hand or withheld units."""

    revision: int
    create_time: datetime | None
    sku: str
    node: str
    type: MovementType
    on_hand_delta: int
    committed_delta: int
    withheld_delta: int
    bucket: WithheldBucket
    on_hand: int
    reason: AdjustmentReason
    reservation_id: str
    supply_id: str
    request_id: str
    reference: str


@dataclass(frozen=True, slots=True)
class BalanceDifference:
    """A number of the ledger that does not follow from its reservations and movements."""

    kind: PositionKind
    position: str
    sku: str
    node: str
    field: str
    stored: int
    recomputed: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found; all is well when there are no differences."""

    differences: tuple[BalanceDifference, ...]
    differences_total: int
    positions_checked: int
    reservations_checked: int
    state_hash: str
    revision: int

    @property
    def sound(self) -> bool:
        """Whether every balance follows from reservations and movements."""
        return self.differences_total == 0


@dataclass(frozen=True, slots=True)
class RowError:
    """One row of a feed or batch that was refused, while the good rows were applied."""

    row: int
    field: str
    value: str
    reason: str
    message: str
