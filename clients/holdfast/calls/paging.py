"""Lists that come in pages: the call of each page, and what is on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from holdfast.calls.call import Call, Method

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """The items of one page, and the token of the next; an empty token: there is none."""

    items: tuple[ItemT, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class Pages(Generic[ItemT]):
    """A list before it is read; the clients iterate it page by page."""

    method: Method
    request: Message
    items: Callable[[Any], Iterable[ItemT]]
    timeout_s: float | None = None

    def page(self, token: str) -> Call[Page[ItemT]]:
        """The call that reads the page of `token`; empty: the first."""
        request: Any = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token = token

        def read_page(reply: Any) -> Page[ItemT]:
            return Page(tuple(self.items(reply)), reply.next_page_token)

        return Call(self.method, request, read_page, self.timeout_s, is_read=True)
