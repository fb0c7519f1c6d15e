"""Turns the plain functions of `holdfast.calls` into methods of the clients.

A method of a client has the parameters of its function, and returns what the function's `Call`
yields, once the client has waited for it. The descriptors carry both to type checkers, and
signature and docstring to `help`, so that no method is written twice.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from types import MethodType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from holdfast.calls.call import Call
from holdfast.calls.paging import Pages

P = ParamSpec("P")
T = TypeVar("T")
Coro = Coroutine[Any, Any, T]


class Waits(Protocol):
    """A client that waits for the answer of a call."""

    def _wait(self, call: Call[T], /) -> T: ...
    def _iterate(self, pages: Pages[T], /) -> Iterator[T]: ...


class Awaits(Protocol):
    """A client whose callers await the answer of a call."""

    def _await(self, call: Call[T], /) -> Coroutine[Any, Any, T]: ...
    def _aiterate(self, pages: Pages[T], /) -> AsyncIterator[T]: ...


class Submits(Protocol):
    """A stream that answers a call later."""

    def _submit(self, call: Call[T], /) -> Future[T]: ...


class _Binding(Generic[P, T]):
    """A function of `holdfast.calls` as a method named `handler` runs it."""

    handler = ""

    def __init__(self, build: Callable[P, Any]) -> None:
        handler = self.handler

        @functools.wraps(build)
        def method(self: Any, *arguments: P.args, **options: P.kwargs) -> Any:
            return getattr(self, handler)(build(*arguments, **options))

        signature = inspect.signature(build)
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = [first, *signature.parameters.values()]
        method.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        self._method = method

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._method.__name__ = name
        self._method.__qualname__ = f"{owner.__qualname__}.{name}"

    def _bound(self, instance: Any) -> Any:
        return self._method if instance is None else MethodType(self._method, instance)


class Blocking(_Binding[P, T]):
    """A call that the caller waits for."""

    handler = "_wait"

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        super().__init__(build)

    def __get__(self, instance: Waits | None, owner: type[Any]) -> Callable[P, T]:
        bound: Callable[P, T] = self._bound(instance)
        return bound


class BlockingPages(_Binding[P, T]):
    """A list that the caller iterates."""

    handler = "_iterate"

    def __init__(self, build: Callable[P, Pages[T]]) -> None:
        super().__init__(build)

    def __get__(self, instance: Waits | None, owner: type[Any]) -> Callable[P, Iterator[T]]:
        bound: Callable[P, Iterator[T]] = self._bound(instance)
        return bound


class Awaiting(_Binding[P, T]):
    """A call that the caller awaits."""

    handler = "_await"

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        super().__init__(build)

    def __get__(self, instance: Awaits | None, owner: type[Any]) -> Callable[P, Coro[T]]:
        bound: Callable[P, Coro[T]] = self._bound(instance)
        return bound


class AwaitingPages(_Binding[P, T]):
    """A list that the caller iterates with ``async for``."""

    handler = "_aiterate"

    def __init__(self, build: Callable[P, Pages[T]]) -> None:
        super().__init__(build)

    def __get__(self, instance: Awaits | None, owner: type[Any]) -> Callable[P, AsyncIterator[T]]:
        bound: Callable[P, AsyncIterator[T]] = self._bound(instance)
        return bound


class Submitting(_Binding[P, T]):
    """A call on a stream, answered by a future."""

    handler = "_submit"

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        super().__init__(build)

    def __get__(self, instance: Submits | None, owner: type[Any]) -> Callable[P, Future[T]]:
        bound: Callable[P, Future[T]] = self._bound(instance)
        return bound
