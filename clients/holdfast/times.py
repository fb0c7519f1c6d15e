"""Times between Python and the wire: aware `datetime` in UTC against protobuf's Timestamp.

Invariants
1. What the client hands out is always an aware datetime in UTC, or None where the wire has none.
2. A naive datetime is refused rather than guessed at: the server's clock is not the caller's.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Span = float | timedelta
"""A length of time: seconds as a number, or a timedelta."""


def to_timestamp(moment: datetime) -> Timestamp:
    """`moment` as it travels. Raises ValueError when it has no time zone."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"time {moment.isoformat()} has no time zone; give one, such as UTC")
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def from_timestamp(stamp: Timestamp) -> datetime:
    """The aware UTC datetime of `stamp`, to the microsecond."""
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)


def seconds_of(span: Span) -> float:
    """`span` in seconds. Raises ValueError when it is not a finite number."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if not math.isfinite(seconds):
        raise ValueError(f"a length of time must be a finite number of seconds, not {span!r}")
    return seconds


def to_duration(span: Span) -> Duration:
    """`span` as it travels, to the microsecond. Raises ValueError when it is not finite."""
    microseconds = round(seconds_of(span) * 1_000_000)
    # Duration wants seconds and nanos of one sign; divmod floors, so negative spans are mirrored.
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    sign = -1 if microseconds < 0 else 1
    return Duration(seconds=sign * seconds, nanos=sign * rest * 1_000)
