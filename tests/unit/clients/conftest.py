from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import holdfast
from holdfast.retry import Patience, RetryBudget, RetryPolicy
from tests.unit.clients.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@dataclass
class Time:
    """A clock that goes on only when somebody waits, and remembers each wait, in seconds."""

    now_s: float = 1_000.0
    waits_s: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.now_s += seconds

    async def await_(self, seconds: float) -> None:
        self.wait(seconds)


@dataclass
class Caller:
    """Runs the same call through the blocking and the asyncio client."""

    flavour: str
    target: str
    time: Time
    policy: RetryPolicy = field(default_factory=lambda: RetryPolicy(budget_tokens_max=100))
    throttle: holdfast.Throttle | None = None
    chance: float = 0.5
    timeout_s: float = 5.0
    budget: RetryBudget | None = None
    settle_target: str | None = None

    def run(self, call: Callable[[Any], Any]) -> Any:
        """What ``call(client)`` returns, awaited where need be."""
        self.budget = self.budget or RetryBudget(self.policy)
        patience = Patience(
            self.policy, self.budget, self.throttle, self.time.clock, lambda: self.chance
        )
        options: dict[str, Any] = {
            "timeout": self.timeout_s,
            "settle_target": self.settle_target,
            "_patience": patience,
        }
        if self.flavour == "sync":
            with holdfast.Client(self.target, **options) as client:
                client._sleep = self.time.wait
                return call(client)

        async def main() -> Any:
            async with holdfast.aio.Client(self.target, **options) as client:
                client._sleep = self.time.await_
                result = call(client)
                if hasattr(result, "__aiter__"):
                    return [item async for item in result]
                return await result

        return asyncio.run(main())


@pytest.fixture(params=["sync", "aio"])
def caller(request: pytest.FixtureRequest, server: FakeServer) -> Caller:
    return Caller(request.param, server.target, Time())
