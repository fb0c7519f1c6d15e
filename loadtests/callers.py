"""How a call is made: through our client library, or bare, as a client of somebody else's would.

Both take the same calls and raise the same errors, over grpcio's channel or the light one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import grpc
from grpc import aio as grpc_aio

from holdfast import aio
from holdfast.aio.failing import failure_of
from holdfast.calls.call import Call
from holdfast.channels import Address, ChannelPool
from holdfast.retry import Attempts, RetryPolicy
from holdfast.throttle import Throttle
from loadtests.light.channel import Channel
from loadtests.scenario import Callers

T = TypeVar("T")


class Caller(Protocol):
    """What a shopper calls with."""

    @property
    def retries(self) -> int:
        """Attempts besides the first, so far."""

    @property
    def connects(self) -> int:
        """Connections made so far, by the light transport."""

    def attempts_of(self, like: Call[Any]) -> Callable[[], Attempts] | None:
        """Makes the attempts of calls like this one, for `perform`; None: nothing is held back."""

    async def perform(self, call: Call[T], attempts: Attempts | None = None) -> T:
        """Send a call and await its answer. Raises HoldfastError."""

    def cut(self) -> None:
        """Break every connection at once."""

    async def close(self) -> None:
        """Hang up."""


def caller_of(
    settings: Callers, target: str, *, throttled: bool = True, retry: RetryPolicy | None = None
) -> Caller:
    """The caller that a scenario asks for. `target`: HOST:PORT, or several with commas."""
    if settings.client == "foreign":
        return ForeignCaller(settings, target)
    throttle = None
    if throttled and settings.throttle_k:
        throttle = Throttle(settings.throttle_k, settings.throttle_window_s)
    return OurCaller(settings, target, throttle, retry)


class OurCaller:
    """`holdfast.aio.Client`, all of it, with its channels exchanged where that is asked for."""

    def __init__(
        self,
        settings: Callers,
        target: str,
        throttle: Throttle | None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._client = aio.Client(
            target,
            timeout=settings.timeout_s,
            channels=settings.connections,
            throttle=throttle,
            retry=retry,
        )
        self._light: list[Channel] = []
        if settings.transport == "light":
            targets = Address.of(target).targets
            pool = functools.cache(
                lambda: ChannelPool(settings.connections, targets, self._open_light)
            )
            self._client._open_pool = pool  # type: ignore[assignment]

    def _open_light(self, target: str) -> Channel:
        channel = Channel(target)
        self._light.append(channel)
        return channel

    @property
    def retries(self) -> int:
        return self._client.retries

    @property
    def connects(self) -> int:
        return sum(channel.connects for channel in self._light)

    def attempts_of(self, like: Call[Any]) -> Callable[[], Attempts] | None:
        return self._client._settings.attempts_of(like)

    async def perform(self, call: Call[T], attempts: Attempts | None = None) -> T:
        # What every method of the client does once its call is built.
        return await self._client._await(call, attempts)

    def cut(self) -> None:
        for channel in self._light:
            channel.cut()

    async def close(self) -> None:
        await self._client.close()


class ForeignCaller:
    """One attempt with a deadline, and nothing else: what a stub in any language does by itself."""

    retries = 0

    def __init__(self, settings: Callers, target: str) -> None:
        self._timeout_s = settings.timeout_s
        targets = Address.of(target).targets
        options = Address.of(target).options()
        self._channels: list[Any] = [
            Channel(each) if settings.transport == "light" else _grpcio(each, options)
            for each in targets
            for _ in range(settings.connections)
        ]
        self._turns = itertools.cycle(range(len(self._channels)))
        self._ways: dict[tuple[int, str], Any] = {}

    @property
    def connects(self) -> int:
        return sum(each.connects for each in self._channels if isinstance(each, Channel))

    def attempts_of(self, like: Call[Any]) -> Callable[[], Attempts] | None:
        return None

    async def perform(self, call: Call[T], attempts: Attempts | None = None) -> T:
        turn = next(self._turns)
        method = call.method
        way = self._ways.get((turn, method.path))
        if way is None:
            way = self._ways[turn, method.path] = self._channels[turn].unary_unary(
                method.path,
                request_serializer=method.encode,
                response_deserializer=method.decode,
            )
        try:
            reply = await way(call.request, timeout=call.timeout_s or self._timeout_s)
        except grpc.RpcError as error:
            raise call.named(failure_of(error).error()) from error
        return call.read(reply)

    def cut(self) -> None:
        for channel in self._channels:
            if isinstance(channel, Channel):
                channel.cut()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


def _grpcio(target: str, options: list[tuple[str, Any]]) -> grpc_aio.Channel:
    return grpc_aio.insecure_channel(target, options)
