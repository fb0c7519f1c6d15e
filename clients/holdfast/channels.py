"""Connections: targets, their credentials and channel options, and a pool of channels.

Each channel of a pool has its own TCP connection (gRPC would otherwise let channels of the same
arguments share one), since one connection carries a bounded number of streams and its server
side is one reader.

Of several targets one serves and the others stand by. The pool stays with one until a call fails
there in a way that another may not; then it goes on to the next, with all calls that follow.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import grpc

from holdfast.failures import Failure

DEFAULT_TARGET = "127.0.0.1:7420"
TARGET_VARIABLE = "HOLDFAST_TARGET"
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
TARGETS_MAX = 16

# What a server says of itself that is not true of another one. "": it said nothing, perhaps
# because it is gone. OVERLOADED is none of them: the others stand by, they would not help.
_OF_THIS_SERVER = frozenset(
    {"", "SHARD_MOVED", "DRAINING", "SHARD_RECOVERING", "JOURNAL_UNAVAILABLE", "NOT_SERVING"}
)
_GONE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# What it says when it has not begun with the call and knows that another server will.
_REDIRECTS = frozenset({"SHARD_MOVED", "DRAINING"})

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.use_local_subchannel_pool", 1),
    # Retries are ours: gRPC's own know neither budget nor request_id.
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # A dead peer is noticed within a minute, also by a watch that only listens.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # After a restart of the server a client should be back within a second, not within two minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of TLS, in PEM. Without `ca` the system's authorities count."""

    ca: Path | None = None
    """Authorities that sign the server."""
    certificate: Path | None = None
    """This client's certificate chain, for servers that want one (mTLS)."""
    key: Path | None = None
    """The private key of `certificate`."""
    server_name: str = ""
    """The name to expect in the server's certificate, where it is not that of the target."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key are given together or not at all")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files. Raises OSError when one can not be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes() if self.ca else None,
            private_key=self.key.read_bytes() if self.key else None,
            certificate_chain=self.certificate.read_bytes() if self.certificate else None,
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, or the servers of one ledger, and how to speak to it."""

    target: str
    """HOST:PORT, or several with commas between them."""
    tls: Tls | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Each of them. Raises ValueError when one is empty, or when they are too many."""
        found = tuple(each.strip() for each in self.target.split(","))
        if not all(found) or len(found) > TARGETS_MAX:
            raise ValueError(
                f"target must be HOST:PORT, or up to {TARGETS_MAX} of them with commas between, "
                f"not {self.target!r}"
            )
        return found

    @staticmethod
    def of(target: str | None, tls: Tls | None = None) -> Address:
        """`target`, or HOLDFAST_TARGET, or this machine's port 7420."""
        return Address(target or os.environ.get(TARGET_VARIABLE) or DEFAULT_TARGET, tls)

    def options(self) -> list[tuple[str, Any]]:
        """The channel's arguments."""
        options = list(_OPTIONS)
        if self.tls and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


class Opened(Protocol):
    """What the two kinds of channel have in common."""

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The callable of a method with one message each way."""

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The callable of a method that answers with a stream."""

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The callable of a method with streams both ways."""


ChannelT = TypeVar("ChannelT", bound=Opened)


class Way(NamedTuple):
    """A method on one channel, and which of the targets that leads to."""

    call: Any
    target: int


class ChannelPool(Generic[ChannelT]):
    """Channels to each of some targets, used in turn. `open_channel` makes one to a target.

    Safe to share between threads: at worst two of them go on from the same target at once.
    """

    def __init__(
        self, size: int, targets: Sequence[str], open_channel: Callable[[str], ChannelT]
    ) -> None:
        if not 1 <= size <= 256:
            raise ValueError(f"channels must lie between 1 and 256, not {size}")
        self._size = size
        self._targets = len(targets)
        self.channels: Sequence[ChannelT] = [
            open_channel(target) for target in targets for _ in range(size)
        ]
        """Those to the first target first."""
        self.target = 0
        """The number of the target in use."""
        self.answers = 0
        """Calls that were answered; for `leave`."""
        self._turns = itertools.cycle(range(size))
        self._ways: dict[tuple[int, str], Way] = {}

    def way(self, kind: str, path: str, encode: Any, decode: Any) -> Way:
        """The next channel's callable for `path`; `kind` as gRPC names it, ``unary_unary``."""
        target = self.target
        turn = target * self._size + next(self._turns)
        made = self._ways.get((turn, path))
        if made is None:
            make = getattr(self.channels[turn], kind)
            call = make(path, request_serializer=encode, response_deserializer=decode)
            made = self._ways[turn, path] = Way(call, target)
        return made

    def leave(self, target: int, failure: Failure, *, answers: int | None = None) -> bool:
        """A call to `target` failed: go on to the next, where that may help.

        `answers` is what it was when the call began: a call that timed out while others were
        answered was slow, and its server is not gone. Returns whether the call is only being passed
        on: its server named another one, no server has seen it, or its target was left already.

        A call is shed (CANCELLED without a reason) by a server that has too much to do, and by one
        that ends before it has begun with it. The others could not help with the first, and the
        next attempt finds out about the second: the target is not left, and the call counts as
        passed on.
        """
        if self._targets == 1:
            return False
        if failure.was_shed:
            return True
        if failure.code not in _GONE:
            return False
        is_slow = failure.code is grpc.StatusCode.DEADLINE_EXCEEDED and answers != self.answers
        if is_slow or failure.reason not in _OF_THIS_SERVER:
            return False
        is_left = target != self.target
        if not is_left:
            self.target = (target + 1) % self._targets
        return is_left or failure.was_not_sent or failure.reason in _REDIRECTS
