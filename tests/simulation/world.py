"""The simulated world: one server that crashes, a network that loses, clients that insist.

Everything is decided by one seed and happens on a `VirtualLoop`. The server is the real one from
the sequencer down: `Sequencer`, `recover`, `SystemClock`, the engine, the journal's record format.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine import invariants, machine
from engine.outcomes import Outcomes
from engine.state import Capacity, State
from server.application.clock import SystemClock
from server.application.ledger import Engine, Ledger
from server.application.piece_queue import QueueLimits
from server.application.recovery import recover, replay, take_snapshot
from server.application.sequencer import Sequencer, Status
from server.application.sequencer_errors import SequencerError
from server.journal.errors import JournalError, JournalFenced
from server.journal.genesis import JournalIdentity
from tests.simulation.history import Operation
from tests.simulation.manual_clock import START_MS
from tests.simulation.memory_journal import MemoryDisk, MemoryJournal

WHO = JournalIdentity()
CAPACITY = Capacity.small()
HOUR_MS = 3_600_000


class Unavailable(Exception):
    """What a client sees of a server that is down, busy, or unsure."""


@dataclass(frozen=True, slots=True)
class Flaws:
    """Bugs planted into one run; the defaults are the real thing."""

    engine: Engine = machine
    replay_engine: Engine | None = None
    """None: the same one."""
    journal: type[MemoryJournal] = MemoryJournal


@dataclass(slots=True)
class Weather:
    """How bad things are in one run."""

    loss: float
    duplicates: float
    delay_s: float
    sync_s: float
    stall_s: float = 0.0

    @staticmethod
    def drawn(chance: random.Random) -> Weather:
        return Weather(
            loss=chance.choice((0.0, 0.02, 0.1, 0.3)),
            duplicates=chance.choice((0.0, 0.05, 0.3)),
            delay_s=chance.choice((0.0005, 0.005, 0.05)),
            sync_s=chance.choice((0.0002, 0.002, 0.02)),
        )

    def calm(self) -> None:
        self.loss = self.duplicates = self.stall_s = 0.0


@dataclass
class World:
    """One run's server, disk, network and findings."""

    chance: random.Random
    flaws: Flaws = field(default_factory=Flaws)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    findings: list[str] = field(default_factory=list)
    wall_skew_ms: int = 0
    crashes: int = 0
    rebuilds: int = 0
    snapshots: int = 0

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.weather = Weather.drawn(self.chance)
        self.limits = QueueLimits(
            queue_commands_max=self.chance.choice((8, 64, 1024)),
            batch_commands_max=self.chance.choice((1, 4, 64)),
            queue_age_ms_max=(0, 1000, self.chance.choice((0, 20, 250)), 0),
        )
        self.in_flight = self.chance.choice((1, 2, 4))
        self.sequencer: Sequencer | None = None
        self._journals: list[MemoryJournal] = []
        self._handlers: set[asyncio.Task[None]] = set()

    # --- The server ------------------------------------------------------------------------

    @property
    def state(self) -> State:
        assert self.sequencer is not None
        return self.sequencer.state

    async def start(self) -> None:
        """A new server process."""
        ledger = await self._recover()
        clock = SystemClock(
            not_before_ms=ledger.state.now_ms,
            wall_ms=lambda: START_MS + int(self.loop.time() * 1e3) + self.wall_skew_ms,
            monotonic_ns=lambda: int(self.loop.time() * 1e9),
        )
        self.sequencer = Sequencer(
            ledger,
            clock,
            limits=self.limits,
            engine=self.flaws.engine,
            rebuild=self._rebuild,
            on_status=self._on_status,
        )
        self.clock = clock

    async def _recover(self) -> Ledger:
        journal = await self.flaws.journal.open(
            self.disk,
            WHO,
            sync_delay_s=self._sync_delay_s,
            appends_in_flight_max=self.in_flight,
        )
        self._journals.append(journal)
        ledger, _ = await recover(
            journal,
            CAPACITY,
            holder="server",
            on_lost=lambda error: None,
            engine=self.flaws.replay_engine or self.flaws.engine,
        )
        for complaint in invariants.check(ledger.state):
            self.findings.append(f"unsound: after a recovery: {complaint}")
        return ledger

    async def _rebuild(self) -> Ledger:
        self.rebuilds += 1
        return await self._recover()

    def _on_status(self, status: Status, why: str) -> None:
        if status is Status.STOPPED and self.sequencer is not None and self._journals:
            self.findings.append(f"replay: the server stopped for good: {why}")

    def _sync_delay_s(self) -> float:
        return self.chance.expovariate(1 / self.weather.sync_s) + self.weather.stall_s

    def crash(self) -> None:
        """kill -9 and a power cut: what was not synced may be gone, and torn."""
        self.crashes += 1
        sequencer, self.sequencer = self.sequencer, None
        for handler in self._handlers:
            handler.cancel()
        self._handlers.clear()
        for journal in self._journals:
            journal.die()
        self._journals.clear()
        if sequencer is not None:
            if sequencer._rebuilding is not None:
                sequencer._rebuilding.cancel()
            sequencer.lose(JournalFenced("this process is dead"))
        self.disk.crash(self.chance)

    async def snapshot(self) -> None:
        """As the snapshot process does, while the server goes on; then trim as the server does."""
        reader = await MemoryJournal.open(self.disk, WHO)
        engine = self.flaws.replay_engine or self.flaws.engine
        replayed, _ = await replay(reader, engine=engine)
        await take_snapshot(replayed, reader)
        self.snapshots += 1
        names = await reader.snapshots.list()
        if len(names) >= 2 and self.sequencer is not None:
            for name in names[2:]:
                await reader.snapshots.remove(name)
            try:
                await self.sequencer.journal.trim(names[1].record_id)
            except JournalError:
                return  # it crashed or failed meanwhile; the next one trims

    # --- The network -----------------------------------------------------------------------

    def send(self, operation: Operation, reply: Callable[[Outcomes | Exception], Any]) -> None:
        """Send `operation` once; `reply` may be called never, once, or more often."""
        copies = 2 if self.chance.random() < self.weather.duplicates else 1
        for _ in range(copies):
            if self.chance.random() >= self.weather.loss:
                self._later(self._arrive, operation, reply)

    def _later(self, callback: Callable[..., Any], *arguments: Any) -> None:
        self.loop.call_later(
            self.chance.expovariate(1 / self.weather.delay_s), callback, *arguments
        )

    def _arrive(self, operation: Operation, reply: Callable[[Outcomes | Exception], Any]) -> None:
        if self.sequencer is None:
            self._later(reply, Unavailable("connection refused"))
            return
        handler = self.loop.create_task(self._handle(self.sequencer, operation, reply))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        if self.chance.random() < 0.05:  # its caller goes away
            self._later(handler.cancel)

    async def _handle(
        self,
        sequencer: Sequencer,
        operation: Operation,
        reply: Callable[[Outcomes | Exception], Any],
    ) -> None:
        answer: Outcomes | Exception
        try:
            answer = await sequencer.submit(
                operation.batch,
                priority=operation.priority,
                deadline_ms=operation.deadline_ms,
            )
        except SequencerError as error:
            answer = Unavailable(str(error))
        if sequencer is self.sequencer and self.chance.random() >= self.weather.loss:
            self._later(reply, answer)
