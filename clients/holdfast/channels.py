"""Connections: a target, its credentials and channel options, and a pool of channels.

Each channel of a pool has its own TCP connection (gRPC would otherwise let channels of the same
arguments share one), since one connection carries a bounded number of streams and its server
side is one reader.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import grpc

DEFAULT_TARGET = "127.0.0.1:7420"
TARGET_VARIABLE = "HOLDFAST_TARGET"
MESSAGE_BYTES_MAX = 16 * 1024 * 1024

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
    """Where the server is, and how to speak to it."""

    target: str
    tls: Tls | None = None

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


class ChannelPool(Generic[ChannelT]):
    """Channels to one address, used in turn. `open_channel` makes each."""

    def __init__(self, size: int, open_channel: Callable[[], ChannelT]) -> None:
        if not 1 <= size <= 256:
            raise ValueError(f"channels must lie between 1 and 256, not {size}")
        self.channels: Sequence[ChannelT] = [open_channel() for _ in range(size)]
        self._turns = itertools.cycle(range(size))
        self._callables: dict[tuple[int, str], Any] = {}

    def callable(self, kind: str, path: str, encode: Any, decode: Any) -> Any:
        """The next channel's callable for `path`; `kind` as gRPC names it, ``unary_unary``."""
        turn = next(self._turns)
        made = self._callables.get((turn, path))
        if made is None:
            make = getattr(self.channels[turn], kind)
            made = make(path, request_serializer=encode, response_deserializer=decode)
            self._callables[turn, path] = made
        return made
