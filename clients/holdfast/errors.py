"""What a call may raise: one class for each reason, in a tree by status code.

::

    HoldfastError
    ├── InvalidRequest                 INVALID_ARGUMENT: a bug at the caller; see .fields
    │   ├── FieldRequired
    │   ├── FieldInvalid
    │   └── LimitExceeded
    ├── NotFound                       NOT_FOUND
    │   ├── SkuNotFound, NodeNotFound, NodeGroupNotFound, ChannelNotFound
    │   ├── ReservationNotFound, LineNotFound, PositionNotFound, SupplyNotFound
    │   ├── CapacityNotFound, CarrierNotFound, CarrierServiceNotFound, RoutingRulesNotFound
    │   └── QueueNotFound
    ├── AlreadyExists                  ALREADY_EXISTS: a bug at the caller
    │   ├── ReservationExists, SupplyExists
    │   └── RequestIdReused
    ├── FailedPrecondition             FAILED_PRECONDITION: not again, not like this
    │   ├── Shortage                   something countable is short; see .short_lines
    │   │   ├── InsufficientStock
    │   │   ├── CapacityExhausted
    │   │   └── PurchaseLimitReached
    │   ├── ReservationExpired, StateTransitionNotAllowed, LineQuantityExceeded
    │   ├── NodeFrozen, NodeNotInChannel, NoFeasiblePlan
    │   ├── ResourceInUse, LedgerLimitReached, TurnRequired, PlaceEnded
    │   └── SupplyClosed, SupplyNotReceived
    ├── Aborted                        ABORTED: read again, then the whole step
    │   ├── EtagMismatch, PlanStale, CountOutOfDate
    │   └── TokenExpired, SequenceGap
    ├── Unavailable                    UNAVAILABLE: the client has already retried it
    │   ├── Overloaded, Draining, ShardMoved, ShardRecovering, JournalUnavailable
    │   ├── NotServing                 it is there, but starts or stops
    │   └── Throttled                  not sent: too many of the latest calls were turned away
    ├── ResourceExhausted              RESOURCE_EXHAUSTED: slow down, or the message is too large
    │   └── QuotaExceeded
    ├── Unauthenticated                UNAUTHENTICATED
    │   └── IdentityNotAccepted
    ├── PermissionDenied               PERMISSION_DENIED
    │   └── ScopeMissing
    ├── DeadlineExceeded               DEADLINE_EXCEEDED: whether it took effect may be unknown
    │   └── DeadlineNotMet             dropped before it was applied: it had no effect
    ├── CallCancelled                  CANCELLED for a reason that this version does not know
    └── ServerFault                    INTERNAL, UNKNOWN, DATA_LOSS, UNIMPLEMENTED, OUT_OF_RANGE
        └── InvariantViolated

A reason this version does not know becomes the class of its status code, so that an older client
still tells "not again" from "again later".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

import grpc


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that was refused. `field` is its path in the request, `lines[2].quantity`."""

    field: str
    description: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ShortLine:
    """One line, or capacity, of a request that is short. Quantities are in units."""

    line: int
    """Index of the line in the request, from 0 (of the capacity where `capacity` is set)."""
    sku: str
    node: str
    requested_quantity: int
    available_quantity: int
    next_available_time: datetime | None = None
    capacity: str = ""
    """The day or pickup slot that is short, where it is not stock."""
    request: int = 0
    """Index of the reservation in a batch, from 0."""


class HoldfastError(Exception):
    """A call failed. Every other error of this package is a kind of this one."""

    default_reason: ClassVar[str] = ""
    default_code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: grpc.StatusCode | None = None,
        metadata: Mapping[str, str] | None = None,
        fields: Sequence[FieldViolation] = (),
        short_lines: Sequence[ShortLine] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        """The reason on the wire, such as ``INSUFFICIENT_STOCK``; empty where there was none."""
        self.code = code or self.default_code
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        """What ErrorInfo says besides: sku, node, limit, maximum, value, ..."""
        self.fields = tuple(fields)
        self.short_lines = tuple(short_lines)
        self.retry_after_s = retry_after_s
        """Seconds after which to try again: as the server asked, or as the client chose for a call
        that was shed or held back; None: nobody said."""
        self.method = ""
        """The method called, such as ``CreateReservation``."""
        self.request_id = ""
        """The request's id: give it again to repeat this very request."""
        self.attempts = 1
        """How often the call was sent."""
        self.gave_up = ""
        """Why it was not sent again, where it could have been."""

    def __str__(self) -> str:
        text = f"{self.reason}: {self.message}" if self.reason else self.message
        if not self.gave_up:
            return text
        return f"{text} (attempts: {self.attempts}; {self.gave_up})"


class InvalidRequest(HoldfastError):
    """The request can not be meant; `fields` says which fields, and why."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT


class FieldRequired(InvalidRequest):
    """A field that must be given is missing."""

    default_reason = "FIELD_REQUIRED"


class FieldInvalid(InvalidRequest):
    """A field has a value that can not be meant."""

    default_reason = "FIELD_INVALID"


class LimitExceeded(InvalidRequest):
    """A field lies beyond its limit."""

    default_reason = "LIMIT_EXCEEDED"


class NotFound(HoldfastError):
    """Something the request names does not exist."""

    default_code = grpc.StatusCode.NOT_FOUND


class SkuNotFound(NotFound):
    """No such SKU."""

    default_reason = "SKU_NOT_FOUND"


class NodeNotFound(NotFound):
    """No such node."""

    default_reason = "NODE_NOT_FOUND"


class NodeGroupNotFound(NotFound):
    """No such node group."""

    default_reason = "NODE_GROUP_NOT_FOUND"


class ChannelNotFound(NotFound):
    """No such channel."""

    default_reason = "CHANNEL_NOT_FOUND"


class ReservationNotFound(NotFound):
    """No such reservation, or it ended longer ago than the server keeps it."""

    default_reason = "RESERVATION_NOT_FOUND"


class LineNotFound(NotFound):
    """The reservation has no such line, or no units of it at the named node."""

    default_reason = "LINE_NOT_FOUND"


class PositionNotFound(NotFound):
    """Nothing was ever recorded for the SKU at the node."""

    default_reason = "POSITION_NOT_FOUND"


class SupplyNotFound(NotFound):
    """No such incoming supply."""

    default_reason = "SUPPLY_NOT_FOUND"


class CapacityNotFound(NotFound):
    """No capacity was set for this node and day, or for this slot."""

    default_reason = "CAPACITY_NOT_FOUND"


class CarrierNotFound(NotFound):
    """No such carrier."""

    default_reason = "CARRIER_NOT_FOUND"


class CarrierServiceNotFound(NotFound):
    """No such carrier service."""

    default_reason = "CARRIER_SERVICE_NOT_FOUND"


class RoutingRulesNotFound(NotFound):
    """No such set of routing rules, or not this version of it."""

    default_reason = "ROUTING_RULES_NOT_FOUND"


class QueueNotFound(NotFound):
    """No such waiting queue."""

    default_reason = "QUEUE_NOT_FOUND"


class AlreadyExists(HoldfastError):
    """What should be made exists already; a bug at the caller."""

    default_code = grpc.StatusCode.ALREADY_EXISTS


class ReservationExists(AlreadyExists):
    """Another request made a reservation with this reservation_id."""

    default_reason = "RESERVATION_EXISTS"


class SupplyExists(AlreadyExists):
    """This supply_id names a supply of another SKU or node."""

    default_reason = "SUPPLY_EXISTS"


class RequestIdReused(AlreadyExists):
    """The request_id was used before with another body; nothing was done."""

    default_reason = "REQUEST_ID_REUSED"


class FailedPrecondition(HoldfastError):
    """The ledger's state does not allow it; the same request will not succeed by repeating."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION


class Shortage(FailedPrecondition):
    """Fewer units than asked for can be taken; `short_lines` has each short line."""


class InsufficientStock(Shortage):
    """Fewer units are available than were asked for; see `short_lines`."""

    default_reason = "INSUFFICIENT_STOCK"


class CapacityExhausted(Shortage):
    """A node's capacity on a day, or a carrier's slot, has too little left."""

    default_reason = "CAPACITY_EXHAUSTED"


class PurchaseLimitReached(Shortage):
    """The owner would pass its purchase limit of the SKU."""

    default_reason = "PURCHASE_LIMIT_REACHED"


class ReservationExpired(FailedPrecondition):
    """The hold's time has passed; its units are free again."""

    default_reason = "RESERVATION_EXPIRED"


class StateTransitionNotAllowed(FailedPrecondition):
    """The reservation's state does not allow the step."""

    default_reason = "STATE_TRANSITION_NOT_ALLOWED"


class LineQuantityExceeded(FailedPrecondition):
    """A line has fewer units open than the step would move."""

    default_reason = "LINE_QUANTITY_EXCEEDED"


class NodeFrozen(FailedPrecondition):
    """The node is frozen: nothing new may be taken there."""

    default_reason = "NODE_FROZEN"


class NodeNotInChannel(FailedPrecondition):
    """The channel does not sell from the node."""

    default_reason = "NODE_NOT_IN_CHANNEL"


class NoFeasiblePlan(FailedPrecondition):
    """No plan satisfies every constraint of the order."""

    default_reason = "NO_FEASIBLE_PLAN"


class ResourceInUse(FailedPrecondition):
    """What should be deleted or changed still has stock, supply or open reservations."""

    default_reason = "RESOURCE_IN_USE"


class SupplyClosed(FailedPrecondition):
    """The supply is already received or cancelled."""

    default_reason = "SUPPLY_CLOSED"


class SupplyNotReceived(FailedPrecondition):
    """These units are promised from supply that has not come yet."""

    default_reason = "SUPPLY_NOT_RECEIVED"


class LedgerLimitReached(FailedPrecondition):
    """The ledger would grow beyond one of its limits; `metadata` names it."""

    default_reason = "LEDGER_LIMIT_REACHED"


class TurnRequired(FailedPrecondition):
    """What is sold by turns needs a place in its queue whose turn it is; `metadata` names it."""

    default_reason = "TURN_REQUIRED"


class PlaceEnded(FailedPrecondition):
    """The place in the queue has made its reservation, or its turn has passed."""

    default_reason = "PLACE_ENDED"


class Aborted(HoldfastError):
    """Something changed in between: read again, then repeat the whole step."""

    default_code = grpc.StatusCode.ABORTED


class EtagMismatch(Aborted):
    """The reservation changed since its etag was read."""

    default_reason = "ETAG_MISMATCH"


class PlanStale(Aborted):
    """The plan's snapshot no longer holds."""

    default_reason = "PLAN_STALE"


class CountOutOfDate(Aborted):
    """A later count of the position is already applied, or as_of_time is too long ago."""

    default_reason = "COUNT_OUT_OF_DATE"


class TokenExpired(Aborted):
    """A resume or page token is older than what the server keeps: start anew."""

    default_reason = "TOKEN_EXPIRED"


class SequenceGap(Aborted):
    """A chunk of a feed is missing before this one."""

    default_reason = "SEQUENCE_GAP"


class Unavailable(HoldfastError):
    """The server could not be reached or would not take the call, and the retries are used up.

    A write may have taken effect; repeating it with the same `request_id` is safe.
    """

    default_code = grpc.StatusCode.UNAVAILABLE


class Overloaded(Unavailable):
    """The server sheds load."""

    default_reason = "OVERLOADED"


class Draining(Unavailable):
    """The server is shutting down and takes no new work."""

    default_reason = "DRAINING"


class ShardMoved(Unavailable):
    """Another process serves this shard now."""

    default_reason = "SHARD_MOVED"


class ShardRecovering(Unavailable):
    """The shard is still reading its journal."""

    default_reason = "SHARD_RECOVERING"


class JournalUnavailable(Unavailable):
    """The journal can not be written; whether the command was recorded may be unknown."""

    default_reason = "JOURNAL_UNAVAILABLE"


class NotServing(Unavailable):
    """The server is there but does not serve: it starts, or stops. By its health, not of a call."""

    default_reason = "NOT_SERVING"


class Throttled(Unavailable):
    """Not sent: this client holds back because too many of its latest calls were turned away."""

    default_reason = "THROTTLED"


class ResourceExhausted(HoldfastError):
    """A quota is used up, or a message is larger than the server reads. Never retried blindly."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class QuotaExceeded(ResourceExhausted):
    """The caller's quota is used up: slow down."""

    default_reason = "QUOTA_EXCEEDED"


class Unauthenticated(HoldfastError):
    """The caller's identity is missing or not accepted."""

    default_code = grpc.StatusCode.UNAUTHENTICATED


class IdentityNotAccepted(Unauthenticated):
    """The server does not accept the identity shown."""

    default_reason = "IDENTITY_NOT_ACCEPTED"


class PermissionDenied(HoldfastError):
    """The caller may not do this."""

    default_code = grpc.StatusCode.PERMISSION_DENIED


class ScopeMissing(PermissionDenied):
    """The caller's identity lacks the scope of this method."""

    default_reason = "SCOPE_MISSING"


class DeadlineExceeded(HoldfastError):
    """No answer within the call's time. A write may have taken effect.

    Repeating it with the same `request_id` is safe.
    """

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED


class DeadlineNotMet(DeadlineExceeded):
    """The server dropped the call before applying it, because its time was up: no effect."""

    default_reason = "DEADLINE_NOT_MET"


class CallCancelled(HoldfastError):
    """The call was cancelled on its way, not by the caller, for a reason unknown to this version.

    What is cancelled without any reason was shed: `Overloaded`.
    """

    default_code = grpc.StatusCode.CANCELLED


class ServerFault(HoldfastError):
    """The server failed, or does not know the method."""

    default_code = grpc.StatusCode.INTERNAL


class InvariantViolated(ServerFault):
    """A check of the ledger failed and the shard stopped: page someone."""

    default_reason = "INVARIANT_VIOLATED"


def _all_kinds(of: type[HoldfastError]) -> list[type[HoldfastError]]:
    return [of, *(kind for child in of.__subclasses__() for kind in _all_kinds(child))]


BY_REASON: Mapping[str, type[HoldfastError]] = MappingProxyType(
    {kind.default_reason: kind for kind in _all_kinds(HoldfastError) if kind.default_reason}
)
"""The class of each reason."""

_FALLBACKS: Mapping[grpc.StatusCode, type[HoldfastError]] = {
    kind.default_code: kind for kind in HoldfastError.__subclasses__()
}


def kind_of(reason: str, code: grpc.StatusCode) -> type[HoldfastError]:
    """The class of `reason`; of its status code where this version does not know the reason."""
    return BY_REASON.get(reason) or _FALLBACKS.get(code, ServerFault)
