"""Calls of AvailabilityService."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.calls.call import Call, Method, timeout_s
from holdfast.codec import read
from holdfast.errors import TokenExpired
from holdfast.failures import Failure
from holdfast.times import Span, to_duration, to_timestamp
from holdfast.v1 import availability_service_pb2 as wire
from holdfast.values.availability import Availability, AvailabilityEvent

_SERVICE = "AvailabilityService"
QUERY = Method(_SERVICE, "QueryAvailability", wire.QueryAvailabilityResponse)
WATCH = Method(_SERVICE, "WatchAvailability", wire.WatchAvailabilityResponse)


def availability(
    skus: Iterable[str] | str,
    *,
    nodes: Iterable[str] = (),
    node_groups: Iterable[str] = (),
    channel: str = "",
    need_by_time: datetime | None = None,
    owner: str = "",
    max_staleness: Span | None = None,
    totals_only: bool = False,
    timeout: Span | None = None,
) -> Call[Availability]:
    """What may be promised of `skus`, at `nodes`, `node_groups` and a channel's nodes, or anywhere.

    With `need_by_time` available_to_promise counts supply due by then. `owner`'s own holds count
    as free. `max_staleness` in seconds: 0 reads your own writes, None lets the server choose.
    """
    request = wire.QueryAvailabilityRequest(
        skus=_names(skus),
        nodes=_names(nodes),
        node_groups=_names(node_groups),
        channel=channel,
        owner=owner,
        totals_only=totals_only,
    )
    if need_by_time is not None:
        request.need_by_time.CopyFrom(to_timestamp(need_by_time))
    if max_staleness is not None:
        request.max_staleness.CopyFrom(to_duration(max_staleness))
    return Call(QUERY, request, _availability, timeout_s(timeout), is_read=True)


@dataclass(slots=True)
class WatchProgress:
    """Where a watch stands: what both clients need to go on after a break.

    A message is taken whole or not at all, so that its token never stands for events that were
    not handed out.
    """

    request: wire.WatchAvailabilityRequest
    resume_token: str = ""

    def next_request(self) -> wire.WatchAvailabilityRequest:
        """The request that goes on after the last message taken."""
        request = wire.WatchAvailabilityRequest()
        request.CopyFrom(self.request)
        request.resume_token = self.resume_token
        return request

    def take(self, message: wire.WatchAvailabilityResponse) -> list[AvailabilityEvent]:
        """The events of `message`."""
        self.resume_token = message.resume_token
        return [read(AvailabilityEvent, event) for event in message.events]

    def starts_anew(self, failure: Failure) -> bool:
        """Whether `failure` means that the place is lost: then a fresh snapshot comes first."""
        if failure.reason == TokenExpired.default_reason and self.resume_token:
            self.resume_token = ""
            return True
        return False


def watch(
    skus: Iterable[str] | str = (),
    *,
    nodes: Iterable[str] = (),
    node_groups: Iterable[str] = (),
    channel: str = "",
    thresholds: Iterable[int] = (),
    thresholds_only: bool = False,
    resume_token: str = "",
) -> WatchProgress:
    """The start of a watch: see `Client.watch`."""
    request = wire.WatchAvailabilityRequest(
        skus=_names(skus),
        nodes=_names(nodes),
        node_groups=_names(node_groups),
        channel=channel,
        thresholds=thresholds,
        thresholds_only=thresholds_only,
    )
    return WatchProgress(request, resume_token)


def _names(names: Iterable[str] | str) -> list[str]:
    # A single name is an iterable of letters too: nobody ever means that.
    return [names] if isinstance(names, str) else list(names)


def _availability(reply: Any) -> Availability:
    return read(Availability, reply)
