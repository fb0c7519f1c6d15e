"""Bugs planted on purpose, one at a time, to show that the simulator would find them."""

from __future__ import annotations

import asyncio

from engine import machine, tables
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import State
from server.journal.record import Entry, RecordId
from tests.simulation.memory_journal import MemoryJournal
from tests.simulation.world import Flaws


class _Engine:
    """The real engine; subclasses spoil `apply`."""

    next_expiry_ms = staticmethod(machine.next_expiry_ms)
    expire_command = staticmethod(machine.expire_command)

    def apply(self, state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
        return machine.apply(state, now_ms, batch)


class Overseller(_Engine):
    """Its check sees one unit more than there is."""

    def apply(self, state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
        positions = state.positions[: int(state.meta["position_count"][0])]
        stock = positions["kind"] == tables.STOCK
        positions["on_hand"][stock] += 1
        answer = machine.apply(state, now_ms, batch)
        positions["on_hand"][stock] -= 1
        return answer


class Forgetful(_Engine):
    """It does not remember requests, so a retry acts again."""

    def apply(self, state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
        headers = batch.headers.copy()
        headers["request_hi"] = 0
        headers["request_lo"] = 0
        return machine.apply(state, now_ms, CommandBatch(headers, batch.lines, batch.text))


class Hasty(_Engine):
    """It lets holds expire before their time."""

    def apply(self, state: State, now_ms: int, batch: CommandBatch) -> Outcomes:
        return machine.apply(state, now_ms + 150, batch)


class Boastful(MemoryJournal):
    """It says "durable" before it has synced."""

    def append(self, entry: Entry) -> asyncio.Future[RecordId]:
        real = super().append(entry)
        if real.done():
            return real
        early: asyncio.Future[RecordId] = asyncio.get_running_loop().create_future()
        assert self._claimed is not None
        early.set_result(self._claimed.record_id)
        return early


PLANTED: dict[str, tuple[Flaws, set[str]]] = {
    "oversell": (Flaws(engine=Overseller()), {"oversell", "wrong answer", "unsound"}),
    "no dedup": (Flaws(engine=Forgetful()), {"two effects", "two answers"}),
    "acknowledge before sync": (Flaws(journal=Boastful), {"lost acknowledgement", "lost read"}),
    "early expiry": (Flaws(engine=Hasty()), {"wrong answer"}),
    "a time that is not journaled": (
        Flaws(engine=Hasty(), replay_engine=machine),
        {"replay", "wrong answer"},
    ),
}
"""Name -> the bug, and the kinds of finding of which at least one must name it."""
