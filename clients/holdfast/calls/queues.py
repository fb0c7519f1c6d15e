"""Calls of QueueService: places in waiting queues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.calls.call import Call, Method, timeout_s
from holdfast.codec import read
from holdfast.times import Span
from holdfast.v1 import queue_service_pb2 as wire
from holdfast.values.queues import QueuePlace, QueuePlaceState

_SERVICE = "QueueService"
JOIN = Method(_SERVICE, "JoinQueue", wire.JoinQueueResponse)
GET = Method(_SERVICE, "GetPlace", wire.GetPlaceResponse)
BATCH_GET = Method(_SERVICE, "BatchGetPlaces", wire.BatchGetPlacesResponse)
LEAVE = Method(_SERVICE, "LeaveQueue", wire.LeaveQueueResponse)
_POLL_S_DEFAULT = 1.0


def join_queue(queue: str, owner: str, *, timeout: Span | None = None) -> Call[QueuePlace]:
    """Take a place at the end of a waiting queue; `owner` gets the same one when asked again.

    Raises QueueNotFound, and Overloaded while the queue is full.
    """
    request = wire.JoinQueueRequest(queue=queue, owner=owner)
    # Repeating it does no harm: an owner has one place.
    return Call(JOIN, request, _place, timeout_s(timeout), is_read=True)


def place(place_token: str, *, timeout: Span | None = None) -> Call[QueuePlace]:
    """How far a place in a queue has come. Ask again after its `poll_after`."""
    request = wire.GetPlaceRequest(place_token=place_token)
    return Call(GET, request, _place, timeout_s(timeout), is_read=True)


def places(
    place_tokens: Iterable[str], *, timeout: Span | None = None
) -> Call[tuple[QueuePlace, ...]]:
    """How far up to 1,000 places have come, in the order of their tokens."""
    request = wire.BatchGetPlacesRequest(place_tokens=place_tokens)
    return Call(BATCH_GET, request, _places, timeout_s(timeout), is_read=True)


def leave_queue(place_token: str, *, timeout: Span | None = None) -> Call[QueuePlace]:
    """Give a place up. Its state says whether it had made its reservation before."""
    request = wire.LeaveQueueRequest(place_token=place_token)
    return Call(LEAVE, request, _place, timeout_s(timeout), is_read=True)


def pause_s(waiting: QueuePlace, left_s: float | None) -> float | None:
    """Seconds before a place is asked for again; None: it waits no longer, or time is over."""
    if waiting.state is not QueuePlaceState.WAITING or (left_s is not None and left_s <= 0):
        return None
    wait_s = waiting.poll_after.total_seconds() if waiting.poll_after else _POLL_S_DEFAULT
    return wait_s if left_s is None else min(wait_s, left_s)


def _place(reply: Any) -> QueuePlace:
    return read(QueuePlace, reply.place)


def _places(reply: Any) -> tuple[QueuePlace, ...]:
    return tuple(read(QueuePlace, found) for found in reply.places)
