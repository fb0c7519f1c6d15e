"""Holdfast: reserve stock that is never oversold.

::

    import holdfast

    with holdfast.Client("127.0.0.1:7420") as client:
        reservation = client.reserve([("SKU-1", "WH-1", 2)], owner="cart-17", ttl=900)
        client.confirm(reservation.reservation_id)

`holdfast.Client` waits for its answers, `holdfast.aio.Client` is the same for asyncio. What they
take and give is in `holdfast.values`, what they raise in `holdfast.errors`; the names that most
callers need are here.
"""

from holdfast import aio, errors, values
from holdfast.calls.feed import ChunkResult, FeedChunk
from holdfast.calls.health import Health
from holdfast.channels import Tls
from holdfast.errors import (
    CapacityExhausted,
    DeadlineExceeded,
    EtagMismatch,
    HoldfastError,
    InsufficientStock,
    InvalidRequest,
    NotFound,
    PurchaseLimitReached,
    ReservationExpired,
    ShortLine,
    Unavailable,
)
from holdfast.retry import RetryPolicy
from holdfast.sync.client import Client
from holdfast.throttle import Throttle
from holdfast.values.availability import Availability, AvailabilityEvent, PositionAvailability
from holdfast.values.capacities import CarrierSlot, NodeCapacity
from holdfast.values.inventory import (
    Adjustment,
    AdjustmentReason,
    Count,
    InventoryPosition,
    ShortfallPolicy,
    SupplyType,
    TransferLine,
    WithheldBucket,
    Withholding,
)
from holdfast.values.network import Item, Node, NodeGroup, NodeType, Place
from holdfast.values.queues import QueuePlace
from holdfast.values.reservations import (
    CapacityRequest,
    FillPolicy,
    Hold,
    Line,
    LineQuantity,
    Reassignment,
    Reservation,
    ReservationLine,
    ReservationState,
    ReturnDisposition,
    SupplyPolicy,
    Take,
)
from holdfast.values.routing import (
    Explanation,
    FulfillmentPlan,
    FulfillmentType,
    Plans,
    Promise,
    RoutingLine,
    RoutingOrder,
    RoutingStrategy,
    WaveOrderResult,
    WavePlans,
    WaveProgress,
)

__all__ = [
    "Adjustment",
    "AdjustmentReason",
    "Availability",
    "AvailabilityEvent",
    "CapacityExhausted",
    "CapacityRequest",
    "CarrierSlot",
    "ChunkResult",
    "Client",
    "Count",
    "DeadlineExceeded",
    "EtagMismatch",
    "Explanation",
    "FeedChunk",
    "FillPolicy",
    "FulfillmentPlan",
    "FulfillmentType",
    "Health",
    "Hold",
    "HoldfastError",
    "InsufficientStock",
    "InvalidRequest",
    "InventoryPosition",
    "Item",
    "Line",
    "LineQuantity",
    "Node",
    "NodeCapacity",
    "NodeGroup",
    "NodeType",
    "NotFound",
    "Place",
    "Plans",
    "PositionAvailability",
    "Promise",
    "PurchaseLimitReached",
    "QueuePlace",
    "Reassignment",
    "Reservation",
    "ReservationExpired",
    "ReservationLine",
    "ReservationState",
    "RetryPolicy",
    "ReturnDisposition",
    "RoutingLine",
    "RoutingOrder",
    "RoutingStrategy",
    "ShortLine",
    "ShortfallPolicy",
    "SupplyPolicy",
    "SupplyType",
    "Take",
    "Throttle",
    "Tls",
    "TransferLine",
    "Unavailable",
    "WaveOrderResult",
    "WavePlans",
    "WaveProgress",
    "WithheldBucket",
    "Withholding",
    "aio",
    "errors",
    "values",
]
