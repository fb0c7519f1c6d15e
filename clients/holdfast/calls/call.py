"""A call before it is sent: the method, the request, how to read the reply, how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from holdfast.errors import HoldfastError
from holdfast.ids import made_id
from holdfast.times import Span, seconds_of

ReplyT_co = TypeVar("ReplyT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the contract, or of another service that the server has."""

    service: str
    """Its name; with a dot: the whole of it, otherwise in holdfast.v1."""
    name: str
    reply: type[Message]
    slow: bool = False
    """It moves or reads much: the client's longer default timeout applies."""
    urgent: bool = False
    """It settles a hold: it is never throttled, and has a retry budget of its own."""
    path: str = field(init=False)
    """Its path on the wire."""

    def __post_init__(self) -> None:
        service = self.service if "." in self.service else f"holdfast.v1.{self.service}"
        object.__setattr__(self, "path", f"/{service}/{self.name}")

    def encode(self, request: Message) -> bytes:
        """The request's bytes."""
        return request.SerializeToString()

    def decode(self, data: bytes) -> Message:
        """The reply in `data`."""
        return self.reply.FromString(data)


@dataclass(frozen=True, slots=True)
class Call(Generic[ReplyT_co]):
    """A request, ready to be sent, and the function that reads its reply."""

    method: Method
    request: Message
    read: Callable[[Any], ReplyT_co]
    timeout_s: float | None = None
    """Seconds from the first attempt to the last answer; None: the client's default."""
    request_id: str = ""
    is_read: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether sending it again can do no harm."""
        return self.is_read or bool(self.request_id)

    def named(self, error: HoldfastError) -> HoldfastError:
        """`error` with what this call is."""
        error.method = self.method.name
        error.request_id = self.request_id
        return error


def timeout_s(span: Span | None) -> float | None:
    """A caller's timeout in seconds. Raises ValueError when it is not above 0."""
    if span is None:
        return None
    seconds = seconds_of(span)
    if seconds <= 0:
        raise ValueError(f"timeout must be above 0 seconds, not {seconds:g}")
    return seconds


def request_id_of(given: str | None) -> str:
    """The caller's request_id, or a new one. An empty one asks for no protection, and no retry."""
    return made_id() if given is None else given
