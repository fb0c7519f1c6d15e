"""How many reservations a second the one writer makes durable, fed directly: no gRPC.

Creates of three lines over 100,000 positions, in pieces as bulk messages bring them, a fixed number
of pieces in flight. Rounds on SQLite and on Redis alternate, on the same machine and disk; Redis is
started here, with ``appendonly yes`` and ``appendfsync always``. Nobody has a core of their own: a
batch takes turns between two processes, and which core is free for the next turn changes. Core-time
is told as well: it is what is left of a figure when others use the machine.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.catalogue import catalogue, counts, definitions
from benchmarks.core_time import core_seconds
from benchmarks.measure import Say, Spread, no_collector
from benchmarks.orders import Orders
from engine.commands import CommandBatch
from engine.state import Capacity
from server.application.clock import SystemClock
from server.application.flight import BatchReport
from server.application.ledger import Ledger
from server.application.piece_queue import REPORT, QueueLimits
from server.application.recovery import recover
from server.application.sequencer import Sequencer
from server.journal.errors import JournalError
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from tests.redis_server import running

POSITIONS = 100_000
ROUNDS = 5
# Commands in a piece, pieces in flight, commands in a round.
SHAPES = {"bulk": (256, 64, 200_000), "single": (1, 512, 20_000)}
_CAPACITY = Capacity(reservations=1 << 21, takes=1 << 23, requests=1 << 21)


def run(say: Say) -> dict[str, float]:
    """Measure; figures are the best rounds: the others show what else the machine was doing."""
    with tempfile.TemporaryDirectory(prefix="holdfast-journal-") as directory, running() as server:
        urls = {"sqlite": f"sqlite:///{Path(directory) / 'journal'}", "redis": server.url()}
        rates = asyncio.run(_measure(urls, server.pid, say))
    figures: dict[str, float] = {}
    for shape in SHAPES:
        for name in urls:
            spread = Spread.of(rates[name, shape])
            say(f"{shape}, {name}: {spread.show(',.0f')} reservations a second, durable")
            figures[f"journal_{name}_{shape}_reservations_per_second"] = spread.greatest
        ratio = max(rates["redis", shape]) / max(rates["sqlite", shape])
        say(f"{shape}: Redis has {ratio:.2f} of SQLite's")
        figures[f"journal_redis_to_sqlite_{shape}"] = ratio
    return figures


async def _measure(
    urls: dict[str, str], redis_pid: int, say: Say
) -> dict[tuple[str, str], list[float]]:
    shop = catalogue(POSITIONS)
    reports: list[BatchReport] = []
    sequencers: dict[str, Sequencer] = {}
    for name, url in urls.items():
        journal = await open_journal(url, JournalIdentity())
        ledger, _ = await recover(journal, _CAPACITY, holder="benchmark", on_lost=_lost)
        say(f"{name}: {journal.durability}")
        sequencers[name] = _sequencer(ledger, reports)
        for batch in (*definitions(shop), *counts(shop)):
            await sequencers[name].submit(batch, priority=REPORT)
    orders = Orders(shop)
    rates: dict[tuple[str, str], list[float]] = {}
    for round_number in range(ROUNDS + 1):
        for shape, (rows, in_flight, commands) in SHAPES.items():
            for name, sequencer in sequencers.items():
                pieces = orders.columns(commands // rows, rows)
                reports.clear()
                cores_s = time.process_time(), core_seconds(redis_pid) or 0.0
                with no_collector():
                    rate = await _rate(sequencer, pieces, in_flight)
                ours_s = time.process_time() - cores_s[0]
                redis_s = (core_seconds(redis_pid) or 0.0) - cores_s[1]
                if round_number:  # the first one warms up
                    rates.setdefault((name, shape), []).append(rate)
                    mean = sum(report.commands for report in reports) / len(reports)
                    say(
                        f"round {round_number}, {shape}, {name}: {rate:,.0f} a second, "
                        f"{mean:,.0f} in a batch, core-us each: {ours_s / commands * 1e6:.2f} "
                        f"here, {redis_s / commands * 1e6:.2f} in Redis"
                    )
    for sequencer in sequencers.values():
        await sequencer.close()
    return rates


def _sequencer(ledger: Ledger, reports: list[BatchReport]) -> Sequencer:
    clock = SystemClock(not_before_ms=ledger.state.now_ms)
    limits = QueueLimits(queue_age_ms_max=(0, 0, 0, 0))
    return Sequencer(ledger, clock, limits=limits, on_batch=reports.append)


async def _rate(sequencer: Sequencer, pieces: list[CommandBatch], in_flight: int) -> float:
    """Reservations a second. Raises RuntimeError when one is refused."""
    waiting = iter(pieces)
    commands = sum(len(piece) for piece in pieces)

    async def caller() -> None:
        for piece in waiting:
            outcomes = await sequencer.submit(piece)
            if outcomes.rows["code"].any():
                raise RuntimeError("a create was refused")

    started_s = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return commands / (time.perf_counter() - started_s)


def _lost(error: JournalError) -> None:
    raise RuntimeError(str(error))
