"""Seeded callers over a few hot positions: they hold, confirm, cancel, extend, ship and adjust.

Each does one thing at a time and keeps asking until it is answered. Some things are done on
purpose that callers do by mistake: the same request twice at the same time, once more a while
later, and under the id of another request.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast import aio
from holdfast.retry import RetryPolicy
from tests.robustness.traffic.calls import PATIENT, look, perform, send
from tests.robustness.traffic.history import OK, History, Write

SKUS = ["pear", "plum", "quince"]
NODES = ["berlin", "lyon"]
_TTLS_S = (0.2, 1.0, 5.0, 600.0, 600.0, 600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Shares of calls, 0 to 1, and how callers behave."""

    duplicates: float = 0.03
    thefts: float = 0.02
    reads: float = 0.1
    pause_s: float = 0.001
    timeout_s: float = 30.0
    retry: RetryPolicy = PATIENT
    cancels: float = 0.0
    """Calls whose caller goes away after a moment."""
    cancel_s_max: float = 0.01


@dataclass(slots=True)
class Shared:
    """What all callers of one ledger know: reservations somebody was told of."""

    reservations: list[str] = field(default_factory=list)
    turns: int = 0
    """Traffic begun so far, so that request ids of later traffic differ."""


class Shopper:
    """One caller."""

    def __init__(
        self, number: int, seed: int, shared: Shared, history: History, habits: Habits
    ) -> None:
        self._number = number
        self._name = f"{shared.turns}.{number}"
        self._shared = shared
        self._history = history
        self._habits = habits
        self._chance = random.Random(f"{seed}/{self._name}")
        self._made = 0
        self._mine: list[Write] = []

    async def run(self, target: Callable[[], str], stop: asyncio.Event) -> None:
        """Call until `stop` is set. `target` is asked whenever the address has changed."""
        client, address = self._client(target()), target()
        try:
            while not stop.is_set():
                if target() != address:
                    await client.close()
                    client, address = self._client(target()), target()
                await asyncio.sleep(self._chance.expovariate(1 / self._habits.pause_s))
                await self._one(client)
        finally:
            await client.close()

    def _client(self, target: str) -> aio.Client:
        return aio.Client(target, timeout=self._habits.timeout_s, retry=self._habits.retry)

    async def _one(self, client: aio.Client) -> None:
        chance, habits = self._chance, self._habits
        if chance.random() < habits.reads:
            await look(client, self._number, SKUS, NODES, self._history)
            return
        write = self._next()
        if chance.random() < habits.thefts and self._mine:
            # The owner of the id was answered, so it stays the owner.
            owner = chance.choice(self._mine)
            if (owner.kind, owner.intent) != (write.kind, write.intent):
                write.request_id, write.steals = owner.request_id, True
        if chance.random() < habits.cancels:
            await self._abandon(client, write)
            return
        if chance.random() < habits.duplicates and not write.steals:
            first, second = await asyncio.gather(
                perform(client, write, self._history), send(client, write)
            )
            if first is not None and not isinstance(second, str):
                write.again.append(second)
        else:
            await perform(client, write, self._history)
        self._learn(write)
        if chance.random() < habits.duplicates and self._mine:
            earlier = chance.choice(self._mine)
            again = await send(client, earlier)
            if not isinstance(again, str):
                earlier.again.append(again)

    async def _abandon(self, client: aio.Client, write: Write) -> None:
        """Call, and go away before the answer, or just after."""
        task = asyncio.ensure_future(perform(client, write, self._history))
        await asyncio.wait([task], timeout=self._chance.uniform(0, self._habits.cancel_s_max))
        task.cancel()
        await asyncio.wait([task])

    def _learn(self, write: Write) -> None:
        if write.answer is None or write.steals:
            return
        self._mine.append(write)
        if write.kind == "reserve" and write.answer.code == OK:
            self._shared.reservations.append(write.answer.reservation_id)

    # --- What to do ----------------------------------------------------------------------------

    def _next(self) -> Write:
        chance = self._chance
        self._made += 1
        roll = chance.random()
        known = self._shared.reservations
        if roll < 0.5 or not known:
            return self._write("reserve", **self._hold())
        if roll < 0.9:
            # The newest are the ones that several callers want at once.
            one = known[-chance.randint(1, min(len(known), 30))]
            kind = chance.choice(("confirm", "confirm", "cancel", "fulfill", "extend"))
            if kind == "extend":
                return self._write(kind, reservation_id=one, ttl=chance.choice(_TTLS_S))
            return self._write(kind, reservation_id=one)
        place = {"sku": chance.choice(SKUS), "node": chance.choice(NODES)}
        if chance.random() < 0.2:
            return self._write("count", counts=[{**place, "on_hand": chance.randint(0, 15)}])
        delta = chance.choice((-3, -1, 2, 4, 6))
        return self._write("adjust", adjustments=[{**place, "delta": delta}])

    def _hold(self) -> dict[str, Any]:
        chance = self._chance
        places = [(sku, node) for sku in SKUS for node in NODES]
        lines = [
            (*chance.choice(places), chance.randint(1, 3)) for _ in range(chance.randint(1, 3))
        ]
        hold: dict[str, Any] = {"lines": lines, "ttl": chance.choice(_TTLS_S)}
        if chance.random() < 0.5:
            hold["reservation_id"] = f"order-{self._name}-{self._made}"
        return hold

    def _write(self, kind: str, **intent: Any) -> Write:
        return Write(self._number, kind, f"{self._name}-{self._made}", intent, 0.0)


class Traffic:
    """Some shoppers at once; an async context manager that ends them."""

    def __init__(
        self,
        target: Callable[[], str] | str,
        history: History,
        shared: Shared,
        *,
        seed: int,
        shoppers: int = 8,
        habits: Habits | None = None,
    ) -> None:
        shared.turns += 1
        self._target = target if callable(target) else lambda: target
        self._history = history
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._shoppers = [
            Shopper(number, seed, shared, history, habits or Habits()) for number in range(shoppers)
        ]

    async def answers(self, count: int) -> None:
        """Wait until `count` more writes have been answered, or a shopper has failed."""
        wanted = sum(1 for _ in self._history.acknowledged) + count
        while len(self._history.acknowledged) < wanted:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)

    async def __aenter__(self) -> Traffic:
        self._tasks = [
            asyncio.ensure_future(shopper.run(self._target, self._stop))
            for shopper in self._shoppers
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let everybody finish what they are at."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
