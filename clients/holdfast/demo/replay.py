"""Runs the season: every step in the order of time, as many at once as there are shoppers.

Steps of one order follow each other; those of different orders run side by side. Twice something
else happens in between: a stock count, and the death of the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from holdfast.demo.checkout import Shop
from holdfast.demo.shop import Event, Step


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happens when a part of the steps, 0 to 1, has begun."""

    at: float
    happen: Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Replay:
    """One run of the season."""

    shop: Shop
    concurrency: int
    seconds_max: float
    on_progress: Callable[[int, int], None] = lambda done, total: None
    steps_run: int = 0
    orders_run: int = 0
    seconds: float = 0.0
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)
    _last_of_order: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def run(self, events: list[Event], incidents: list[Incident]) -> None:
        """Run `events`; after `seconds_max` no further ones begin. Raises what a step raises."""
        started = time.perf_counter()
        waiting = sorted(incidents, key=lambda incident: incident.at, reverse=True)
        places = asyncio.Semaphore(self.concurrency)
        async with asyncio.TaskGroup() as group:
            for number, event in enumerate(events):
                elapsed = time.perf_counter() - started
                if elapsed > self.seconds_max:
                    break
                # Whichever is further: of the steps, or of the time there is for them.
                part = max(number / len(events), elapsed / self.seconds_max)
                while waiting and part >= waiting[-1].at:
                    group.create_task(waiting.pop().happen())
                await places.acquire()
                self._begin(group, event, places)
                if number % 256 == 0:
                    self.on_progress(number, len(events))
            for incident in reversed(waiting):
                await incident.happen()
        self.seconds = time.perf_counter() - started
        self.on_progress(self.steps_run, len(events))

    async def quiet(self) -> None:
        """Wait for the steps that are under way now; later ones may run on."""
        if self._under_way:
            await asyncio.wait(list(self._under_way))

    def _begin(self, group: asyncio.TaskGroup, event: Event, places: asyncio.Semaphore) -> None:
        name = event.order.order_id
        task = group.create_task(self._step(event, self._last_of_order.get(name)))
        self._last_of_order[name] = task
        self._under_way.add(task)

        def end(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            if self._last_of_order.get(name) is task:
                del self._last_of_order[name]
            places.release()

        task.add_done_callback(end)
        self.steps_run += 1
        self.orders_run += event.step is Step.CHECKOUT

    async def _step(self, event: Event, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self.shop.run(event)
