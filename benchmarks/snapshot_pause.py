"""How long the writer stands still for a snapshot of 1M positions and 1M open three-line holds.

One sequencer with its journal in Redis, under a steady load; a task of the same event loop notes,
every millisecond, how long ago it was its turn, by the wall clock and by the processor time of the
thread. The latter is what the writer worked in one go: where others use the machine too, the wall
clock also shows how long the thread waited for a core. A stretch without a snapshot comes first, so
that what the load itself does is known; then one snapshot from its beginning to its end, in another
process, the old records trimmed behind it.

The figure is the longest work in one go while snapshots were made: the load's own share is in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.catalogue import catalogue, counts, definitions, roomy
from benchmarks.measure import Say
from benchmarks.orders import Orders
from engine.commands import CommandBatch
from server.application.clock import SystemClock
from server.application.flight import BatchReport
from server.application.launcher import Launcher
from server.application.ledger import Ledger
from server.application.piece_queue import REPORT, QueueLimits
from server.application.recovery import recover
from server.application.sequencer import Sequencer
from server.application.snapshots import Snapshots
from server.journal.errors import JournalError
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.lifecycle import loop_factory, settle_memory
from tests.redis_server import running

POSITIONS = 1_000_000
HOLDS = 1_000_000
HOLDS_PER_PIECE = 1_000
LOAD_ROWS = 64
LOAD_PAUSE_S = 0.005
QUIET_S = 30.0
_TICK_S = 0.001


@dataclass(slots=True)
class Gaps:
    """The longest stretches between two turns of a task, in seconds."""

    wall_s: float = 0.0
    work_s: float = 0.0
    journal_s: list[float] = field(default_factory=list)
    """How long each batch took to become durable."""

    def show(self) -> str:
        """In a line of progress."""
        ordered = sorted(self.journal_s)
        p99 = ordered[int(len(ordered) * 0.99)] if ordered else 0.0
        return (
            f"longest work in one go {self.work_s * 1e3:.2f} ms, longest gap by the wall clock "
            f"{self.wall_s * 1e3:.2f} ms, {len(ordered):,} batches durable after "
            f"{p99 * 1e3:.1f} ms at p99, {ordered[-1] * 1e3 if ordered else 0:.1f} ms at most"
        )


def run(say: Say) -> dict[str, float]:
    """Measure."""
    with running() as redis_server, asyncio.Runner(loop_factory=loop_factory()) as runner:
        gaps = runner.run(_measure(redis_server.url(), say))
    return {"snapshot_pause_ms": gaps.work_s * 1e3}


async def _measure(url: str, say: Say) -> Gaps:
    shop = catalogue(POSITIONS)
    launcher = Launcher()
    await launcher.start()
    journal = await open_journal(url, JournalIdentity())
    ledger, report = await recover(journal, roomy(), holder="benchmark", on_lost=_lost)
    watch = _Watch()
    sequencer = _sequencer(ledger, watch)
    snapshots = Snapshots(
        sequencer,
        journal_url=url,
        every_commands=10**9,
        recovered=report,
        launcher=launcher,
    )
    for batch in (*definitions(shop), *counts(shop)):
        await sequencer.submit(batch, priority=REPORT)
    orders = Orders(shop)
    for piece in orders.columns(HOLDS // HOLDS_PER_PIECE, HOLDS_PER_PIECE):
        await _reserved(sequencer, piece)
    say(f"{POSITIONS:,} positions, {HOLDS:,} open holds; {journal.durability}")
    settle_memory()
    load = asyncio.ensure_future(_load(sequencer, orders))
    with watch.during() as quiet:
        await asyncio.sleep(QUIET_S)
    say(f"without a snapshot, {QUIET_S:.0f} s: {quiet.show()}")
    worst = Gaps()
    for which in ("first", "second"):  # the second one trims what the first one covers
        with watch.during() as gaps:
            taken = await snapshots.now()
        say(
            f"{which} snapshot, {taken.seconds:.1f} s, {taken.records_trimmed:,} records trimmed: "
            f"{gaps.show()}"
        )
        worst.work_s = max(worst.work_s, gaps.work_s)
    load.cancel()
    await asyncio.wait([load])
    await snapshots.close()
    await sequencer.close()
    return worst


class _Watch:
    """Notes gaps while somebody asks for them."""

    def __init__(self) -> None:
        self._gaps: Gaps | None = None

    @contextmanager
    def during(self) -> Iterator[Gaps]:
        """The gaps of a block."""
        self._gaps = gaps = Gaps()
        ticks = asyncio.ensure_future(self._tick(gaps))
        try:
            yield gaps
        finally:
            ticks.cancel()
            self._gaps = None

    async def _tick(self, gaps: Gaps) -> None:
        while True:
            wall_s, work_s = time.perf_counter(), time.thread_time()
            await asyncio.sleep(_TICK_S)
            gaps.wall_s = max(gaps.wall_s, time.perf_counter() - wall_s - _TICK_S)
            gaps.work_s = max(gaps.work_s, time.thread_time() - work_s)

    def note_batch(self, report: BatchReport) -> None:
        """A batch is durable."""
        if self._gaps is not None:
            self._gaps.journal_s.append(report.journal_ms / 1e3)


def _sequencer(ledger: Ledger, watch: _Watch) -> Sequencer:
    clock = SystemClock(not_before_ms=ledger.state.now_ms)
    limits = QueueLimits(queue_age_ms_max=(0, 0, 0, 0))
    return Sequencer(ledger, clock, limits=limits, on_batch=watch.note_batch)


async def _reserved(sequencer: Sequencer, piece: CommandBatch) -> None:
    outcomes = await sequencer.submit(piece)
    if outcomes.rows["code"].any():
        raise RuntimeError("a create was refused")


async def _load(sequencer: Sequencer, orders: Orders) -> None:
    """Small pieces, one after another, until cancelled."""
    while True:
        await _reserved(sequencer, orders.creates(LOAD_ROWS))
        await asyncio.sleep(LOAD_PAUSE_S)


def _lost(error: JournalError) -> None:
    raise RuntimeError(str(error))
