"""The one table from a refusal or a fault to what a caller sees on the wire.

The left side is an outcome code of the engine (`engine.outcomes`) or a `Fault` of the server;
the right side is the gRPC code, the reason in google.rpc.ErrorInfo, a sentence, and what builds
the further details. Nothing else in the server chooses a status code.

Invariants
1. Every outcome code but OK and every `Fault` has exactly one row.
2. Every status carries ErrorInfo with domain ``holdfast``; its metadata are strings.
3. A status' details stay under `DETAIL_BYTES_MAX`: gRPC drops a whole answer whose trailing
   metadata is larger than the caller allows (8 KiB by default).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from engine import outcomes
from holdfast.v1 import errors_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN = "holdfast"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
STATUS_KEY = "grpc-status-details-bin"

# Base64 makes 4 bytes of 3, and the metadata's other entries need room too.
DETAIL_BYTES_MAX = 5_000
_TEXT_CHARACTERS_MAX = 512


class Fault(enum.Enum):
    """What the server itself refuses or suffers, before or after the engine."""

    FIELD_REQUIRED = enum.auto()
    FIELD_INVALID = enum.auto()
    LIMIT_EXCEEDED = enum.auto()
    OVERLOADED = enum.auto()
    JOURNAL_UNAVAILABLE = enum.auto()
    SHARD_MOVED = enum.auto()
    DRAINING = enum.auto()
    SHARD_RECOVERING = enum.auto()
    QUOTA_EXCEEDED = enum.auto()
    IDENTITY_NOT_ACCEPTED = enum.auto()
    SCOPE_MISSING = enum.auto()
    INVARIANT_VIOLATED = enum.auto()
    INTERNAL = enum.auto()
    DEADLINE_NOT_MET = enum.auto()
    TOKEN_EXPIRED = enum.auto()
    SEQUENCE_GAP = enum.auto()
    NODE_NOT_IN_CHANNEL = enum.auto()
    RESOURCE_IN_USE = enum.auto()
    NOT_SUPPORTED = enum.auto()
    NODE_NOT_FOUND = enum.auto()
    NODE_GROUP_NOT_FOUND = enum.auto()
    SKU_NOT_FOUND = enum.auto()
    CHANNEL_NOT_FOUND = enum.auto()
    POSITION_NOT_FOUND = enum.auto()
    RESERVATION_NOT_FOUND = enum.auto()
    SUPPLY_NOT_FOUND = enum.auto()
    CAPACITY_NOT_FOUND = enum.auto()
    CARRIER_NOT_FOUND = enum.auto()
    CARRIER_SERVICE_NOT_FOUND = enum.auto()
    ROUTING_RULES_NOT_FOUND = enum.auto()
    ETAG_MISMATCH = enum.auto()
    LEDGER_LIMIT_REACHED = enum.auto()
    NO_FEASIBLE_PLAN = enum.auto()
    PLAN_STALE = enum.auto()
    TURN_REQUIRED = enum.auto()
    PLACE_ENDED = enum.auto()
    QUEUE_NOT_FOUND = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One field that was wrong. `field` is its path in the request, like ``lines[2].quantity``."""

    field: str
    fault: Fault
    description: str
    value: str = ""
    limit: str = ""
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is particular about one refusal; the table's row says the rest."""

    subject: str = ""
    message: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    shortages: Sequence[errors_pb2.Shortage] = ()
    violations: Sequence[Violation] = ()
    retry_ms: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal ready for the wire."""

    code: StatusCode
    reason: int
    """A value of holdfast.v1.ErrorReason."""
    status: status_pb2.Status
    retry_ms: int = 0

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of ErrorInfo."""
        info = error_details_pb2.ErrorInfo()
        self.status.details[0].Unpack(info)
        return dict(info.metadata)

    @property
    def revision(self) -> int:
        """Revision of the ledger that refused it; 0 when it never came there."""
        return int(self.metadata.get("revision", "0"))

    @property
    def reason_name(self) -> str:
        """The reason as ErrorInfo says it."""
        named = errors_pb2.ErrorReason.Name(self.reason)  # type: ignore[arg-type]
        return named.removeprefix("ERROR_REASON_")

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What goes with the status in the call's trailers."""
        details: tuple[tuple[str, str | bytes], ...] = (
            (STATUS_KEY, self.status.SerializeToString(deterministic=True)),
        )
        if self.retry_ms > 0:
            return (*details, (PUSHBACK_KEY, str(self.retry_ms)))
        return details


class Refused(Exception):
    """A call that ends with `refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status.message)
        self.refusal = refusal


Details = Callable[["Rule", Case, str], "list[Message]"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: what a caller sees of one outcome code or fault."""

    code: StatusCode
    reason: str
    sentence: str
    details: Details


def _plain(rule: Rule, case: Case, message: str) -> list[Message]:
    return []


def _precondition(rule: Rule, case: Case, message: str) -> list[Message]:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=rule.reason, subject=case.subject, description=message
    )
    return [error_details_pb2.PreconditionFailure(violations=[violation])]


def _shortages(rule: Rule, case: Case, message: str) -> list[Message]:
    """The short lines; as many as have room."""
    room = DETAIL_BYTES_MAX // 2
    shown = []
    for shortage in case.shortages:
        room -= shortage.ByteSize() + 4
        if room < 0:
            break
        shown.append(shortage)
    return [*_precondition(rule, case, message), errors_pb2.ShortageDetails(shortages=shown)]


def _bad_request(rule: Rule, case: Case, message: str) -> list[Message]:
    room = DETAIL_BYTES_MAX // 2
    shown = []
    for violation in case.violations:
        row = error_details_pb2.BadRequest.FieldViolation(
            field=violation.field,
            description=violation.description,
            reason=TABLE[violation.fault].reason,
        )
        room -= row.ByteSize() + 4
        if room < 0:
            break
        shown.append(row)
    return [error_details_pb2.BadRequest(field_violations=shown)]


def _retry(rule: Rule, case: Case, message: str) -> list[Message]:
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(case.retry_ms)
    return [error_details_pb2.RetryInfo(retry_delay=delay)]


def _quota(rule: Rule, case: Case, message: str) -> list[Message]:
    violation = error_details_pb2.QuotaFailure.Violation(subject=case.subject, description=message)
    failure = error_details_pb2.QuotaFailure(violations=[violation])
    return [failure, *_retry(rule, case, message)] if case.retry_ms > 0 else [failure]


_FAILED = StatusCode.FAILED_PRECONDITION
_MISSING = StatusCode.NOT_FOUND
_EXISTS = StatusCode.ALREADY_EXISTS
_INVALID = StatusCode.INVALID_ARGUMENT
_LATER = StatusCode.UNAVAILABLE
_ABORTED = StatusCode.ABORTED

TABLE: Mapping[int | Fault, Rule] = {
    # Refusals of the engine.
    outcomes.INSUFFICIENT_STOCK: Rule(
        _FAILED, "INSUFFICIENT_STOCK", "not enough stock", _shortages
    ),
    outcomes.SKU_NOT_FOUND: Rule(_MISSING, "SKU_NOT_FOUND", "no such SKU", _plain),
    outcomes.NODE_NOT_FOUND: Rule(_MISSING, "NODE_NOT_FOUND", "no such node", _plain),
    outcomes.GROUP_NOT_FOUND: Rule(_MISSING, "NODE_GROUP_NOT_FOUND", "no such node group", _plain),
    outcomes.CHANNEL_NOT_FOUND: Rule(_MISSING, "CHANNEL_NOT_FOUND", "no such channel", _plain),
    outcomes.RESERVATION_NOT_FOUND: Rule(
        _MISSING, "RESERVATION_NOT_FOUND", "no such reservation", _plain
    ),
    outcomes.SUPPLY_NOT_FOUND: Rule(_MISSING, "SUPPLY_NOT_FOUND", "no such supply", _plain),
    outcomes.POSITION_NOT_FOUND: Rule(
        _MISSING, "POSITION_NOT_FOUND", "nothing is recorded of this SKU at this node", _plain
    ),
    outcomes.CAPACITY_NOT_FOUND: Rule(
        _MISSING, "CAPACITY_NOT_FOUND", "no such capacity was set", _plain
    ),
    outcomes.RESERVATION_EXISTS: Rule(
        _EXISTS, "RESERVATION_EXISTS", "another request made this reservation", _plain
    ),
    outcomes.REQUEST_ID_REUSED: Rule(
        _EXISTS,
        "REQUEST_ID_REUSED",
        "this request_id was used with another body; nothing was done",
        _plain,
    ),
    outcomes.RESERVATION_EXPIRED: Rule(
        _FAILED, "RESERVATION_EXPIRED", "the hold has expired", _precondition
    ),
    outcomes.STATE_TRANSITION_NOT_ALLOWED: Rule(
        _FAILED,
        "STATE_TRANSITION_NOT_ALLOWED",
        "the reservation's state does not allow this",
        _precondition,
    ),
    outcomes.NODE_FROZEN: Rule(
        _FAILED, "NODE_FROZEN", "the node is frozen: nothing new may be held there", _precondition
    ),
    outcomes.CAPACITY_EXHAUSTED: Rule(
        _FAILED, "CAPACITY_EXHAUSTED", "not enough capacity", _shortages
    ),
    outcomes.PURCHASE_LIMIT_REACHED: Rule(
        _FAILED, "PURCHASE_LIMIT_REACHED", "the owner's purchase limit is reached", _shortages
    ),
    outcomes.OWNER_REQUIRED: Rule(
        _INVALID, "FIELD_REQUIRED", "this SKU has a purchase limit: owner is required", _bad_request
    ),
    outcomes.ETAG_MISMATCH: Rule(
        _ABORTED, "ETAG_MISMATCH", "changed since this etag was read", _plain
    ),
    outcomes.COUNT_OUT_OF_DATE: Rule(
        _ABORTED, "COUNT_OUT_OF_DATE", "as_of_time is too old for this position", _plain
    ),
    outcomes.LINE_NOT_FOUND: Rule(
        _MISSING, "LINE_NOT_FOUND", "the reservation has no such line, or none of it there", _plain
    ),
    outcomes.QUANTITY_EXCEEDS_OPEN: Rule(
        _FAILED, "LINE_QUANTITY_EXCEEDED", "the line has fewer units for this step", _precondition
    ),
    outcomes.OPEN_UNITS_DIFFER: Rule(
        _FAILED,
        "LINE_QUANTITY_EXCEEDED",
        "a line is given other units than it has open",
        _precondition,
    ),
    outcomes.SUPPLY_NOT_RECEIVED: Rule(
        _FAILED,
        "SUPPLY_NOT_RECEIVED",
        "units are promised from supply that has not arrived",
        _precondition,
    ),
    outcomes.QUANTITY_OUT_OF_RANGE: Rule(
        _FAILED,
        "LEDGER_LIMIT_REACHED",
        "a position would fall below 0 or pass units_per_position_max",
        _precondition,
    ),
    outcomes.TOO_MANY_TAKES: Rule(
        _FAILED,
        "LEDGER_LIMIT_REACHED",
        "the reservation would take from more places than takes_per_reservation_max",
        _precondition,
    ),
    outcomes.RESERVATIONS_FULL: Rule(
        _FAILED,
        "LEDGER_LIMIT_REACHED",
        "the ledger has no room for reservations or takes (reservations-max, takes-max)",
        _precondition,
    ),
    outcomes.POSITIONS_FULL: Rule(
        _FAILED,
        "LEDGER_LIMIT_REACHED",
        "the ledger has no room for positions (positions-max)",
        _precondition,
    ),
    outcomes.NAMES_FULL: Rule(
        _FAILED,
        "LEDGER_LIMIT_REACHED",
        "the ledger has no room for names (names-max, names-bytes-max)",
        _precondition,
    ),
    outcomes.SUPPLIES_FULL: Rule(
        _FAILED,
        "LEDGER_LIMIT_REACHED",
        "the ledger has no room for supplies (supplies-max, supplies_per_position_max)",
        _precondition,
    ),
    outcomes.KEY_COLLISION: Rule(
        _INVALID, "FIELD_INVALID", "this name can not be kept apart from another", _bad_request
    ),
    outcomes.TIME_IN_FUTURE: Rule(
        _INVALID, "FIELD_INVALID", "the time lies in the ledger's future", _bad_request
    ),
    outcomes.BATCH_ABORTED: Rule(
        _ABORTED, "PLAN_STALE", "another request of the same batch was refused", _plain
    ),
    outcomes.DOCUMENT_NOT_FOUND: Rule(_MISSING, "NODE_NOT_FOUND", "no such resource", _plain),
    outcomes.SUPPLY_EXISTS: Rule(
        _EXISTS, "SUPPLY_EXISTS", "this supply_id stands for another SKU or node", _plain
    ),
    outcomes.SUPPLY_CLOSED: Rule(
        _FAILED, "SUPPLY_CLOSED", "the supply is already received or cancelled", _precondition
    ),
    # Faults of the request.
    Fault.FIELD_REQUIRED: Rule(_INVALID, "FIELD_REQUIRED", "a field is missing", _bad_request),
    Fault.FIELD_INVALID: Rule(_INVALID, "FIELD_INVALID", "a field is not valid", _bad_request),
    Fault.LIMIT_EXCEEDED: Rule(
        _INVALID, "LIMIT_EXCEEDED", "a field is beyond its limit", _bad_request
    ),
    Fault.NODE_NOT_FOUND: Rule(_MISSING, "NODE_NOT_FOUND", "no such node", _plain),
    Fault.NODE_GROUP_NOT_FOUND: Rule(
        _MISSING, "NODE_GROUP_NOT_FOUND", "no such node group", _plain
    ),
    Fault.SKU_NOT_FOUND: Rule(_MISSING, "SKU_NOT_FOUND", "no such SKU", _plain),
    Fault.CHANNEL_NOT_FOUND: Rule(_MISSING, "CHANNEL_NOT_FOUND", "no such channel", _plain),
    Fault.POSITION_NOT_FOUND: Rule(
        _MISSING, "POSITION_NOT_FOUND", "nothing is recorded of this SKU at this node", _plain
    ),
    Fault.RESERVATION_NOT_FOUND: Rule(
        _MISSING, "RESERVATION_NOT_FOUND", "no such reservation", _plain
    ),
    Fault.SUPPLY_NOT_FOUND: Rule(_MISSING, "SUPPLY_NOT_FOUND", "no such supply", _plain),
    Fault.CAPACITY_NOT_FOUND: Rule(
        _MISSING, "CAPACITY_NOT_FOUND", "no such capacity was set", _plain
    ),
    Fault.CARRIER_NOT_FOUND: Rule(_MISSING, "CARRIER_NOT_FOUND", "no such carrier", _plain),
    Fault.CARRIER_SERVICE_NOT_FOUND: Rule(
        _MISSING, "CARRIER_SERVICE_NOT_FOUND", "no such carrier service", _plain
    ),
    Fault.ROUTING_RULES_NOT_FOUND: Rule(
        _MISSING, "ROUTING_RULES_NOT_FOUND", "no such routing rules, or not this version", _plain
    ),
    Fault.ETAG_MISMATCH: Rule(
        _ABORTED, "ETAG_MISMATCH", "changed since this etag was read", _plain
    ),
    Fault.TOKEN_EXPIRED: Rule(
        _ABORTED, "TOKEN_EXPIRED", "the token is older than what is kept: start anew", _plain
    ),
    Fault.SEQUENCE_GAP: Rule(
        _ABORTED, "SEQUENCE_GAP", "a chunk before this one is missing", _plain
    ),
    Fault.NODE_NOT_IN_CHANNEL: Rule(
        _FAILED, "NODE_NOT_IN_CHANNEL", "the channel does not sell from this node", _precondition
    ),
    Fault.RESOURCE_IN_USE: Rule(_FAILED, "RESOURCE_IN_USE", "still in use", _precondition),
    Fault.LEDGER_LIMIT_REACHED: Rule(
        _FAILED, "LEDGER_LIMIT_REACHED", "a limit of the ledger is reached", _precondition
    ),
    Fault.NO_FEASIBLE_PLAN: Rule(
        _FAILED, "NO_FEASIBLE_PLAN", "no plan satisfies every constraint", _precondition
    ),
    Fault.TURN_REQUIRED: Rule(
        _FAILED, "TURN_REQUIRED", "what is sold by turns needs a place", _precondition
    ),
    Fault.PLACE_ENDED: Rule(
        _FAILED, "PLACE_ENDED", "the place's turn was used or has passed", _precondition
    ),
    Fault.QUEUE_NOT_FOUND: Rule(_MISSING, "QUEUE_NOT_FOUND", "no such queue", _plain),
    Fault.PLAN_STALE: Rule(_ABORTED, "PLAN_STALE", "other orders were faster: plan again", _plain),
    Fault.NOT_SUPPORTED: Rule(
        StatusCode.UNIMPLEMENTED, "FIELD_INVALID", "not supported by this server", _bad_request
    ),
    # Faults of the server's moment: again with back-off and the same request_id.
    Fault.OVERLOADED: Rule(_LATER, "OVERLOADED", "the server sheds load", _retry),
    Fault.JOURNAL_UNAVAILABLE: Rule(
        _LATER,
        "JOURNAL_UNAVAILABLE",
        "the journal can not be written; the same request_id may be sent again safely",
        _retry,
    ),
    Fault.SHARD_MOVED: Rule(_LATER, "SHARD_MOVED", "another process serves this shard", _retry),
    Fault.DRAINING: Rule(_LATER, "DRAINING", "the server is shutting down", _retry),
    Fault.SHARD_RECOVERING: Rule(
        _LATER, "SHARD_RECOVERING", "the server is still starting", _retry
    ),
    # Who asks, and how much.
    Fault.QUOTA_EXCEEDED: Rule(
        StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", "the quota is used up", _quota
    ),
    Fault.IDENTITY_NOT_ACCEPTED: Rule(
        StatusCode.UNAUTHENTICATED, "IDENTITY_NOT_ACCEPTED", "the caller is not known", _plain
    ),
    Fault.SCOPE_MISSING: Rule(
        StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", "the caller may not do this", _plain
    ),
    # Ours.
    Fault.INVARIANT_VIOLATED: Rule(
        StatusCode.INTERNAL, "INVARIANT_VIOLATED", "a check of the ledger failed", _plain
    ),
    Fault.INTERNAL: Rule(
        StatusCode.INTERNAL, "INVARIANT_VIOLATED", "a fault of the server, which is logged", _plain
    ),
    Fault.DEADLINE_NOT_MET: Rule(
        StatusCode.DEADLINE_EXCEEDED,
        "DEADLINE_NOT_MET",
        "the deadline had passed before the work was applied: it had no effect",
        _plain,
    ),
}


def refusal(key: int | Fault, case: Case | None = None) -> Refusal:
    """What a caller sees of the outcome code or fault `key` in this `case`."""
    case = case or Case()
    rule = TABLE[key]
    message = (case.message or rule.sentence)[:_TEXT_CHARACTERS_MAX]
    metadata = {name: value[:128] for name, value in case.metadata.items()}
    details = rule.details(rule, case, message)
    for detail in details:
        if isinstance(detail, errors_pb2.ShortageDetails):
            left_out = len(case.shortages) - len(detail.shortages)
        elif isinstance(detail, error_details_pb2.BadRequest):
            left_out = len(case.violations) - len(detail.field_violations)
        else:
            continue
        if left_out:
            metadata["details_left_out"] = str(left_out)
    info = error_details_pb2.ErrorInfo(reason=rule.reason, domain=DOMAIN, metadata=metadata)
    status = status_pb2.Status(code=rule.code.value[0], message=message)
    for detail in (info, *details):
        packed = any_pb2.Any()
        packed.Pack(detail, deterministic=True)
        status.details.append(packed)
    reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{rule.reason}")
    return Refusal(rule.code, reason, status, case.retry_ms)


def violations_refusal(violations: Sequence[Violation]) -> Refusal:
    """INVALID_ARGUMENT for these fields, at least one; the first one names the reason."""
    first = violations[0]
    metadata = {"field": first.field}
    if first.value:
        metadata["value"] = first.value
    if first.limit:
        metadata["limit"] = first.limit
    if first.maximum is not None:
        metadata["maximum"] = str(first.maximum)
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return refusal(
        first.fault,
        Case(
            message=f"{first.field}: {first.description}{more}",
            metadata=metadata,
            violations=violations,
        ),
    )


def reason_of(key: int | Fault) -> int:
    """The holdfast.v1.ErrorReason of an outcome code or fault; 0 for OK."""
    if key == outcomes.OK:
        return 0
    return int(errors_pb2.ErrorReason.Value(f"ERROR_REASON_{TABLE[key].reason}"))
