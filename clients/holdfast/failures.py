"""Reads a failed call: from status code and trailing metadata to a `Failure`, and on to its error.

The one place that knows how refusals travel: google.rpc.Status in ``grpc-status-details-bin``
with ErrorInfo, BadRequest, RetryInfo and ShortageDetails, and ``grpc-retry-pushback-ms``.
Nothing a server sends can make it raise: what can not be read is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from holdfast.errors import FieldViolation, HoldfastError, ShortLine, kind_of
from holdfast.times import from_timestamp
from holdfast.v1 import errors_pb2

DOMAIN = "holdfast"
_DETAILS_KEY = "grpc-status-details-bin"
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_CODE_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# gRPC tells it by this text alone. Should it change, such a call is a failed one like any other.
_NOT_CONNECTED = "failed to connect to all addresses"

MessageT = TypeVar("MessageT", bound=Message)
Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one attempt of a call failed."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[FieldViolation, ...] = ()
    short_lines: tuple[ShortLine, ...] = ()
    retry_after_s: float | None = None
    """From RetryInfo: not before this many seconds."""
    pushback_s: float | None = None
    """From grpc-retry-pushback-ms: after exactly this many seconds."""
    retry_forbidden: bool = False
    """The pushback said never."""

    @property
    def was_not_sent(self) -> bool:
        """There was no connection to send the call on: no server has seen it."""
        return not self.reason and self.message.startswith(_NOT_CONNECTED)

    @property
    def was_shed(self) -> bool:
        """CANCELLED, and nothing else is said: how gRPC's core turns away what the server has not
        looked at. It had no effect."""
        return self.code is grpc.StatusCode.CANCELLED and not self.reason

    def error(self) -> HoldfastError:
        """The exception of this failure, not raised."""
        return kind_of(self.reason, self.code)(
            self.message,
            reason=self.reason,
            code=self.code,
            metadata=self.metadata,
            fields=self.fields,
            short_lines=self.short_lines,
            retry_after_s=self.pushback_s if self.pushback_s is not None else self.retry_after_s,
        )

    @staticmethod
    def of(error: HoldfastError) -> Failure:
        """The failure behind `error`, as far as it matters for another attempt."""
        return Failure(error.code, error.message, error.reason, retry_after_s=error.retry_after_s)


STREAM_ENDED = Failure(grpc.StatusCode.UNAVAILABLE, "the server ended the stream")


def from_rpc(code: grpc.StatusCode | None, message: str | None, metadata: Metadata) -> Failure:
    """The failure of a call that ended with `code` and trailing `metadata`."""
    status = Status()
    pushback: str | None = None
    for key, value in metadata:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            status = _parsed(Status(), value)
        elif key == _PUSHBACK_KEY:
            pushback = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    failure = from_status(status, code=code or grpc.StatusCode.UNKNOWN, message=message or "")
    if pushback is None:
        return failure
    # As gRFC A6 has it: a number is when, anything else means never.
    wait_ms = int(pushback) if pushback.isascii() and pushback.isdigit() else None
    if wait_ms is None:
        return replace(failure, retry_forbidden=True)
    return replace(failure, pushback_s=wait_ms / 1_000)


def from_status(
    status: Status, *, code: grpc.StatusCode | None = None, message: str = ""
) -> Failure:
    """The failure that `status` describes; `code` and `message` win where they are given.

    Results on a stream carry their own Status, which is then all there is.
    """
    if code is None:
        code = _CODE_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    told = message or status.message or code_pb2.Code.Name(code.value[0])
    if not status.details:  # as whatever gRPC's core sheds
        return Failure(code, told)
    info = _detail(status, ErrorInfo())
    return Failure(
        code=code,
        message=told,
        reason=info.reason if info.domain == DOMAIN else "",
        metadata=dict(info.metadata),
        fields=tuple(
            FieldViolation(item.field, item.description, item.reason)
            for item in _detail(status, BadRequest()).field_violations
        ),
        short_lines=tuple(
            short_line(item) for item in _detail(status, errors_pb2.ShortageDetails()).shortages
        ),
        retry_after_s=_retry_after_s(_detail(status, RetryInfo())),
    )


def reason_name(number: int) -> str:
    """The name of an ErrorReason without its prefix; empty for "not refused"."""
    if number == 0:
        return ""
    try:
        # An enum of proto3 is open: a newer server may send a number without a name here.
        return errors_pb2.ErrorReason.Name(cast(Any, number)).removeprefix("ERROR_REASON_")
    except ValueError:
        return f"REASON_{number}"


def short_line(shortage: errors_pb2.Shortage) -> ShortLine:
    """What a Shortage message says."""
    capacity = ""
    node = shortage.node
    if shortage.HasField("node_capacity"):
        capacity, node = shortage.node_capacity.date, shortage.node_capacity.node
    elif shortage.HasField("carrier_slot"):
        capacity, node = shortage.carrier_slot.slot, shortage.carrier_slot.node
    return ShortLine(
        line=shortage.line,
        sku=shortage.sku,
        node=node,
        requested_quantity=shortage.requested_quantity,
        available_quantity=shortage.available_quantity,
        next_available_time=(
            from_timestamp(shortage.next_available_time)
            if shortage.HasField("next_available_time")
            else None
        ),
        capacity=capacity,
        request=shortage.request,
    )


def _retry_after_s(info: RetryInfo) -> float | None:
    if not info.HasField("retry_delay"):
        return None
    seconds: int = info.retry_delay.seconds
    nanos: int = info.retry_delay.nanos
    return max(0.0, seconds + nanos / 1_000_000_000)


def _detail(status: Status, into: MessageT) -> MessageT:
    """The first detail of `into`'s kind, read into it; `into` as it is where there is none."""
    for packed in status.details:
        if packed.Is(into.DESCRIPTOR):
            return _parsed(into, packed.value)
    return into


def _parsed(message: MessageT, data: bytes) -> MessageT:
    """`message` filled from `data`, or left empty when the bytes are not one of its kind."""
    try:
        message.ParseFromString(data)
    except DecodeError:
        message.Clear()
    return message
