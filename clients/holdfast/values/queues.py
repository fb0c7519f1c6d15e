"""Waiting queues: a place in line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.codec import WireEnum


class QueuePlaceState(WireEnum):
    """What has become of a place."""

    UNSPECIFIED = "UNSPECIFIED"
    WAITING = "WAITING"
    CALLED = "CALLED"
    """Its turn: it may make one reservation until `turn_end_time`."""
    USED = "USED"
    PASSED = "PASSED"


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A place in a queue, as it stood when it was asked for."""

    queue: str
    owner: str
    place_token: str
    """Stands for the place; give it to `reserve` when its turn has come. Keep the newest."""
    state: QueuePlaceState
    places_ahead: int
    """Places that will be called before it, at most."""
    expected_wait: timedelta | None
    """None where nobody was called lately, as while nothing is in stock."""
    poll_after: timedelta | None
    abandoned_after: timedelta | None
    """A place that is not asked for over so long loses its turn."""
    turn_end_time: datetime | None
    reservation_id: str
    """The reservation that it makes, or made."""
