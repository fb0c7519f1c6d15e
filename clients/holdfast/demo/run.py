"""One demo from beginning to end."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import holdfast
from holdfast import aio
from holdfast.demo.audit import Findings, audit, wait_for_expiry
from holdfast.demo.book import Book, Fact
from holdfast.demo.checkout import ABANDONED_TTL_S, Shop
from holdfast.demo.counting import StockCount
from holdfast.demo.dataset import Season, read_season, read_stock
from holdfast.demo.delivery import Deliveries
from holdfast.demo.ledger import Ledger
from holdfast.demo.replay import Incident, Replay
from holdfast.demo.report import Report
from holdfast.demo.server import ServerProcess
from holdfast.demo.settings import DemoSettings
from holdfast.demo.shop import timeline
from holdfast.feeds.loading import load, prepare
from holdfast.feeds.problems import RowProblem
from holdfast.retry import RetryPolicy

COUNT_AT = 1 / 3
KILL_AT = 0.55
START_S = 600.0
"""Where the kernels are not compiled yet, the server compiles them first."""
CHANNELS = 4

# On a machine so slow that not all orders fit, fewer are replayed and the report says so: checking
# them takes about as long again.
ORDERS_END_S = 110.0
ORDERS_S_MIN = 15.0

# The shop of the demo never gives up: what it asked for it asks for again until it has an answer,
# since an order whose fate it does not know could not be audited. A storefront would give up
# after two seconds, and ask again when its shopper does.
PATIENT = RetryPolicy(attempts_max=1_000, backoff_s=0.05, backoff_s_max=0.5, budget_tokens_max=1e6)
CALL_TIMEOUT_S = 20.0


class DemoFailed(RuntimeError):
    """The demo could not be carried out; the message says why."""


@dataclass(slots=True)
class Demo:
    """The parts of one demo, and what each of them measured."""

    settings: DemoSettings
    directory: Path
    server: ServerProcess
    say: Callable[[str], None]
    """Told in one line what happens now."""
    on_progress: Callable[[int, int], None] = lambda done, total: None
    generate_s: float = 0.0
    load_s: float = 0.0
    load_rows_per_second: float = 0.0
    outage_s: float = 0.0
    deliveries: Deliveries = field(default_factory=Deliveries)
    _started: float = field(default_factory=time.perf_counter)

    def run(self) -> Report:
        """All of it. Raises DemoFailed, ServerFailed and what the client raises."""
        self._prepare()
        season = read_season(self.directory)
        stock = read_stock(self.directory)
        self._load(len(stock))
        shop, replay, count, findings, ledger = asyncio.run(self._replay(season, stock))
        self.say("replaying the journal into an empty state, twice")
        live = findings.verification
        assert live is not None
        # Killed, not stopped: no last snapshot, so that the journal is read from its first record.
        self.server.kill()
        hashes, records = replayed_hashes(self.server)
        return self._report(
            season, shop, replay, count, findings, ledger, hashes == {live.state_hash}, records
        )

    def _prepare(self) -> None:
        """Make the data while the server starts beside it."""
        self.server.start()
        self.say(f"making TPC-DS data of scale {self.settings.scale:g}, starting the server")
        started = time.perf_counter()
        command = [sys.executable, "-m", "holdfast.demo.generate"]
        command += ["--scale", str(self.settings.scale), "--orders", str(self.settings.orders)]
        command += ["--directory", str(self.directory)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise DemoFailed(f"the data could not be made: {reason}")
        self.generate_s = time.perf_counter() - started
        self._await_serving()

    def _await_serving(self) -> None:
        """Wait for health SERVING. Raises ServerFailed when the server ends instead."""
        with holdfast.Client(self.server.target) as client:
            deadline = time.monotonic() + START_S
            while True:
                self.server.check()
                try:
                    client.wait_until_serving(1.0)
                except holdfast.HoldfastError as error:
                    if time.monotonic() > deadline:
                        raise DemoFailed(f"the server does not serve: {error}") from error
                else:
                    return

    async def _await_serving_again(self, client: aio.Client) -> None:
        """The same on the event loop, where an interruption ends it at once."""
        async with asyncio.timeout(START_S):
            while True:
                self.server.check()
                try:
                    await client.wait_until_serving(1.0)
                except holdfast.HoldfastError:
                    continue
                return

    def _load(self, stock_rows: int) -> None:
        """Load the files as ``holdfast load`` does."""
        self.say("loading nodes, items, carriers and stock counts")
        started = time.perf_counter()
        problems: list[RowProblem] = []
        with holdfast.Client(self.server.target, timeout=30.0) as client:
            for name in ("nodes.csv", "items.csv", "network.yaml", "stock.csv"):
                step = time.perf_counter()
                prepared = prepare(self.directory / name)
                for _ in load(client, prepared, report_problem=problems.append):
                    pass
                self.load_rows_per_second = stock_rows / (time.perf_counter() - step)
        if problems:
            raise DemoFailed(f"{len(problems)} rows were refused, the first: {problems[0]}")
        self.load_s = time.perf_counter() - started

    async def _replay(
        self, season: Season, stock: dict[tuple[str, str], int]
    ) -> tuple[Shop, Replay, StockCount, Findings, Ledger]:
        events = timeline(season.orders, self.settings.seed)
        # Orders and answers stay to the end: the collector need not go through them each time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        async with aio.Client(
            self.server.target, timeout=CALL_TIMEOUT_S, channels=CHANNELS, retry=PATIENT
        ) as client:
            shop = Shop(client, Book(), self.settings.seed)
            self.say("planning and promising the first carts")
            await self.deliveries.promise(shop, season.orders)
            await wait_for_expiry(client, ABANDONED_TTL_S + 30.0)
            self.say(f"replaying {len(season.orders):,} orders in {len(events):,} steps")
            replay = Replay(shop, self.settings.concurrency, self._seconds(), self.on_progress)
            count = StockCount(client, shop.book, stock, replay)
            incidents = [Incident(COUNT_AT, count.take)]
            if self.settings.kill:
                incidents.append(Incident(KILL_AT, lambda: self._kill_and_restart(client)))
            await replay.run(events, incidents)
            self.say("waiting for the last abandoned cart to expire, then checking everything")
            await wait_for_expiry(client, ABANDONED_TTL_S + 30.0)
            ledger = Ledger.opening(stock)
            findings = await audit(client, shop, ledger, count.netted)
        return shop, replay, count, findings, ledger

    def _seconds(self) -> float:
        """How long orders may begin."""
        if self.settings.seconds_max is not None:
            return self.settings.seconds_max
        return max(ORDERS_S_MIN, ORDERS_END_S - (time.perf_counter() - self._started))

    async def _kill_and_restart(self, client: aio.Client) -> None:
        """SIGKILL in the middle of everything, and a start on the same journal."""
        self.say("kill -9 of the server, and a restart on its journal")
        started = time.perf_counter()
        self.server.kill()
        self.server.start()
        await self._await_serving_again(client)
        self.outage_s = time.perf_counter() - started

    def _report(
        self,
        season: Season,
        shop: Shop,
        replay: Replay,
        count: StockCount,
        findings: Findings,
        ledger: Ledger,
        hash_equal: bool,
        records: int,
    ) -> Report:
        book = shop.book
        latencies = np.array(book.latencies_ms or [0.0])
        verification = findings.verification
        assert verification is not None
        return Report(
            orders=replay.orders_run,
            confirmed=len(shop.confirmed),
            refused=len(shop.refused),
            expired=findings.expired,
            oversold_units=findings.oversold_units,
            lost_acknowledgements=len(findings.lost),
            replay_hash_equal=hash_equal,
            orders_per_second=round(replay.orders_run / replay.seconds, 1),
            p50_ms=round(float(np.percentile(latencies, 50)), 2),
            p99_ms=round(float(np.percentile(latencies, 99)), 2),
            calls=len(book.latencies_ms),
            calls_per_second=round(len(book.latencies_ms) / replay.seconds, 1),
            max_ms=round(float(latencies.max()), 1),
            concurrency=self.settings.concurrency,
            cancelled=len(shop.cancelled),
            carts_asked=self.deliveries.asked,
            zip_codes_unknown=self.deliveries.zip_codes_unknown,
            carts_planned=self.deliveries.planned,
            carts_promised=self.deliveries.promised,
            shipments_promised=self.deliveries.shipments,
            went_on_without_short_lines=len(shop.cut),
            units_confirmed=_units_confirmed(shop),
            refusals=book.refusals,
            outage_s=round(self.outage_s, 2),
            calls_repeated=shop.client.retries,
            positions_counted=count.positions,
            corrections=count.corrections,
            units_netted=count.netted,
            shortfall_found=ledger.shortfall_found,
            acknowledgements=len(book.entries) + book.refusals,
            reservations_checked=findings.reservations_checked,
            positions_checked=findings.positions_checked,
            balances_wrong=findings.balances_wrong,
            answers_repeated=findings.answers_repeated,
            answers_changed=findings.answers_changed,
            not_expired=findings.not_expired,
            oversold_units_by_server=findings.oversold_units_by_server,
            verified=verification.sound and not findings.netted_wrong,
            state_hash=verification.state_hash,
            revision=verification.revision,
            records_replayed=records,
            journal=self.settings.journal,
            scale=season.scale,
            season_days=round(season.days, 1),
            orders_total=season.orders_total,
            orders_planned=len(season.orders),
            lines=season.line_count,
            lines_skipped=season.lines_skipped,
            stock_rows=len(ledger.balances),
            load_rows_per_second=round(self.load_rows_per_second, 1),
            generate_s=round(self.generate_s, 2),
            load_s=round(self.load_s, 2),
            replay_s=round(replay.seconds, 2),
            total_s=round(time.perf_counter() - self._started, 2),
            differences=tuple(findings.differences),
        )


def replayed_hashes(server: ServerProcess) -> tuple[set[str], int]:
    """The state hashes of two replays of the server's journal, and the records of each.

    A program of its own (``holdfast verify --data``): the client knows nothing of the engine.
    """
    place = ["--journal", server.journal] if server.journal else ["--data", str(server.data)]
    command = [sys.executable, "-m", "holdfast", "verify", *place, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DemoFailed(f"the journal could not be replayed: {reason}")
    found = json.loads(done.stdout)
    return set(found["state_hashes"]), int(found["records"])


def _units_confirmed(shop: Shop) -> int:
    """Units of every acknowledged confirmation, before cancellations."""
    held = {
        entry.reservation_id: sum(units for _, units in entry.takes)
        for entry in shop.book.entries
        if entry.fact is Fact.HELD
    }
    return sum(
        held[entry.reservation_id] for entry in shop.book.entries if entry.fact is Fact.CONFIRMED
    )
