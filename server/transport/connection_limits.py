"""What every connection is held to, and what gRPC's core sheds before Python sees it.

A refusal in Python costs as much as an answer, so a server that refuses in Python under ten times
its load is busy refusing. `grpc.server.max_pending_requests` and its hard limit make the core end
calls itself while that many wait to be looked at: none below the first, all above the second, a
growing share between. The caller sees CANCELLED without details, and our client sends it again.
Both are arguments of the core that no document promises: tests/wire/test_core_shedding.py fails on
the day they no longer work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine import limits

# A message's own limit, and some room for its frame.
_RECEIVE_BYTES_MAX = limits.bulk_message_bytes_max + 1024
_METADATA_BYTES_MAX = 16 * 1024
_PING_MS_MIN = 10_000
_PING_STRIKES_MAX = 2
_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000
# Who has not said hello by then is hung up on; the core's own is two minutes.
_HANDSHAKE_MS_MAX = 10_000
# Between the first call the core sheds and the point where it sheds all of them.
_SOFT_SHARE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What an operator may choose of it. Times in milliseconds; 0: no such limit."""

    pending_calls_max: int
    connection_streams_max: int
    """More than a burst of one caller: a new connection that has not heard the limit yet is refused
    what it opens beyond it, as is who takes a stream for closed before its memory is free."""
    connection_idle_ms_max: int
    connection_age_ms_max: int


def channel_options(chosen: ConnectionLimits) -> Sequence[tuple[str, Any]]:
    """The arguments of the server's core."""
    options = [
        ("grpc.max_receive_message_length", _RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),  # replies are bounded by their requests
        ("grpc.max_metadata_size", _METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", chosen.connection_streams_max),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS_MAX),
        # Without this a second server on the same port would silently take half the connections.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_MS_MIN),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES_MAX),
    ]
    if chosen.pending_calls_max:
        soft = max(1, int(chosen.pending_calls_max * _SOFT_SHARE))
        options += [
            ("grpc.server.max_pending_requests", soft),
            ("grpc.server.max_pending_requests_hard_limit", chosen.pending_calls_max),
        ]
    if chosen.connection_idle_ms_max:
        options.append(("grpc.max_connection_idle_ms", chosen.connection_idle_ms_max))
    if chosen.connection_age_ms_max:
        # Calls and streams on it are let finish: no grace is set, which means for ever.
        options.append(("grpc.max_connection_age_ms", chosen.connection_age_ms_max))
    return options
