"""The server's life: listen, warm up, recover, serve, drain, end.

Order of the beginning: the listeners first (health NOT_SERVING, metrics), then the kernels, then
the journal; SERVING only when all of it is done, which a standby (`server.standing_by`) leaves to
its turn. Order of the end: NOT_SERVING, no new calls, those under way finish or are cut, the queue
empties into the journal, the journal is given up (a standby need not wait for the rest), a
snapshot, the journal closes.

Invariants
1. What was acknowledged is in the journal whatever happens here.
2. The process ends with 0 after a drain that was asked for, with 1 after a fault, with 2 when it
   was told something it can not do.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from engine.routing.prices.decide import Mode as PriceMode
from engine.state import State
from server import logs
from server.admission.brownout import Brownout, Mode
from server.admission.gradient_limit import GradientLimit, LimitSettings
from server.admission.limiter import Limiter
from server.admission.loop_time import wanted_s
from server.admission.queues import read_queues, read_secret
from server.admission.quotas import Quotas, read_quotas
from server.admission.scopes import EVERYTHING, read_scopes
from server.admission.settings_file import FileRefused
from server.application.clock import Clock, SystemClock
from server.application.gateway import Gateway, Phase
from server.application.hold_origins import HoldOrigins, Noting
from server.application.launcher import Launcher
from server.application.ledger import Ledger
from server.application.memory_claim import MemoryClaim
from server.application.piece_queue import QueueLimits
from server.application.price_solves import PriceSolves
from server.application.recovery import RecoveryReport, recover
from server.application.sequencer import Sequencer, Status
from server.application.snapshots import SnapshotFailed, SnapshotReport, Snapshots
from server.application.solver_pool import PoolLimits, SolverPool
from server.application.watch import WatchHub
from server.config import Config, split_address
from server.journal.errors import JournalError
from server.journal.genesis import JournalIdentity
from server.journal.opening import open_journal
from server.journal.port import Journal
from server.ledger_metrics import LedgerMetrics
from server.metrics import Metrics, MetricsServer, build_info
from server.routing.prices.duals import DualOpportunity
from server.routing.prices.made import prices_of
from server.routing.prices.metrics import PriceMetrics
from server.routing.prices.source import OpportunityPrices, PriceSettings
from server.routing.prices.source import Source as PriceSource
from server.standing_by import StandingBy
from server.transport.admission import Admission
from server.transport.connection_limits import ConnectionLimits
from server.transport.crowd import BUSY_SHARE
from server.transport.health import Health
from server.transport.network_threads import keep_in_background
from server.transport.server import CannotListen, Listener, build, build_settling
from server.transport.services.admin import SnapshotNotTaken, SnapshotTaken
from server.transport.tls import CertificateRefused, Certificates
from server.transport.turns import Turns
from server.transport.warmup import warm_up
from server.verifications import Verifications

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_log = logs.get("lifecycle")

# How long a few commands wait for others where the event loop is busy.
_LINGER_S = 0.004

# What a drain may still take once calls under way are through or cut.
_EMPTY_QUEUE_S_MAX = 1.5

# However long the ledger takes usually, this many times `admission_delay_ms` is too long.
_TOLERATED_MOST = 4

# So long calls are still taken in, and told that the server drains and another one may serve.
_LAST_CALLS_S = 0.05
# Beyond the grace; then the rest ends without the listeners.
_LISTENERS_END_S_MAX = 5.0

# How long a shard that failed a check of its ledger goes on refusing calls before the process ends:
# callers, health and two scrapes of the metrics learn why it is gone.
_VIOLATION_SHOWN_S = 12.0
# How long a thread that waits for the interpreter lets another go on: ten times less than Python's
# own. The journal's thread needs it after every sync, while the event loop is busy. With calls at
# half of what the server can answer, their p99 was 49.0, 47.8 and 33.5 ms, and 36.6, 35.1 and 29.3
# with this, in turn on the same core; what a call costs of the core did not change.
_SWITCH_S = 0.0005


class CannotStart(Exception):
    """The server can not begin as it was told; one sentence says why."""


class Server:
    """One server in this process, on the running event loop."""

    def __init__(
        self,
        config: Config,
        *,
        make_clock: Callable[[int], Clock] = lambda not_before: SystemClock(
            not_before_ms=not_before
        ),
        before_serving: Callable[[], None] = lambda: None,
    ) -> None:
        """`make_clock` is given the ledger's last time; tests put a clock of their own there.
        `before_serving` is called when everything that stays is in memory. Raises CannotStart.
        """
        self.config = config
        self.metrics = Metrics()
        self.port = 0
        self.metrics_port = 0
        self.settle_port = 0
        """Of the listener for confirmations and cancellations; 0: there is none."""
        self._make_clock = make_clock
        self._before_serving = before_serving
        self._gateway = Gateway(make_clock(0))
        self._hub = WatchHub(watches_max=config.watches_max)
        self._health = Health(self._gateway)
        self._memory_claim = MemoryClaim()
        self._ledger_metrics = LedgerMetrics(
            self._gateway, self._hub, self.metrics, self._memory_claim
        )
        self._verifications = Verifications(
            self._gateway, self.metrics, interval_ms=config.verify_interval_ms
        )
        self.admission = self._make_admission()
        self._grpc: list[grpc.aio.Server] = []
        self._metrics_server: MetricsServer | None = None
        self._launcher = Launcher()
        self._noting = Noting(HoldOrigins())
        self.solvers = SolverPool(
            PoolLimits(
                solvers=config.solvers,
                at_start=config.solver_start == "at_start",
                waiting_max=config.waves_waiting_max,
                jobs_per_solver_max=config.solver_waves_max,
                memory_bytes_max=config.solver_memory_bytes_max,
            )
        )
        self.prices, self.price_solves = self._make_prices()
        self._snapshots: Snapshots | None = None
        self._standing_by: StandingBy | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._last_snapshot: SnapshotTaken | None = None
        self._stop_asked = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._grace_s = config.drain_ms_max / 1e3
        self._failed = ""
        self._start_ms = self._gateway.now_ms()

    # --- What admin may ask (server.transport.services.admin.Operator) -------------------------

    @property
    def start_ms(self) -> int:
        """When the server started."""
        return self._start_ms

    @property
    def version(self) -> str:
        """Version of the server."""
        return build_info()["version"]

    @property
    def journal_scheme(self) -> str:
        """What keeps the journal."""
        return self.config.journal_url.partition(":")[0]

    @property
    def open_calls(self) -> int:
        """Calls under way."""
        methods = self.metrics.methods.items()
        return sum(stats.in_flight for name, stats in methods if name.startswith("holdfast."))

    @property
    def last_snapshot(self) -> SnapshotTaken | None:
        """The newest snapshot known of."""
        return self._last_snapshot

    async def snapshot(self) -> SnapshotTaken:
        """Write one now."""
        if self._snapshots is None:
            raise SnapshotNotTaken("the ledger is being read")
        try:
            report = await self._snapshots.now()
        except SnapshotFailed as fault:
            raise SnapshotNotTaken(str(fault)) from fault
        return self._taken(report)

    def take_over(self) -> None:
        """Be the one that serves, whoever is now. Nothing happens but on a standby."""
        if self._standing_by is not None:
            self._standing_by.take_over()

    def drain(self, grace_ms: int) -> None:
        """Begin to end. Asking twice changes nothing."""
        if not self._stop_asked.is_set():
            self._grace_s = grace_ms / 1e3
            self._stop_asked.set()

    # --- Beginning ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, then make ready and serve; a standby begins to wait for its turn.

        Raises CannotStart, nothing is left behind then.
        """
        try:
            await self._listen()
            await self._launcher.start()  # while this process is small
            await asyncio.to_thread(warm_up)
            await self.solvers.start()
            if self.config.standby:
                await self._stand_by()
            else:
                await self._recover()
        except (CannotStart, JournalError) as fault:
            await self.stop()
            raise CannotStart(str(fault)) from fault
        except BaseException:
            await self.stop()
            raise

    async def _listen(self) -> None:
        config = self.config
        if config.metrics_listen:
            server = MetricsServer(self.metrics)
            try:
                self.metrics_port = await server.start(*split_address(config.metrics_listen))
            except OSError as fault:
                raise CannotStart(
                    f"metrics_listen = {config.metrics_listen!r}: {fault.strerror or fault}"
                ) from fault
            self._metrics_server = server
        listener = Listener(
            address=config.listen,
            credentials=self._credentials(self._certificate_reloaded),
            concurrent_calls_max=config.concurrent_calls_max,
            connection=ConnectionLimits(
                pending_calls_max=config.pending_calls_max,
                connection_streams_max=config.connection_streams_max,
                connection_idle_ms_max=config.connection_idle_ms_max,
                connection_age_ms_max=config.connection_age_ms_max,
            ),
            degraded_age_ms_max=config.degraded_age_ms_max,
            reflection=config.reflection,
            channelz=config.channelz,
            log_requests=config.log_requests,
            routing_decisions_max=config.routing_decisions_max,
            prices=self.prices,
        )
        try:
            built = build(
                listener,
                gateway=self._gateway,
                hub=self._hub,
                health=self._health,
                metrics=self.metrics,
                admission=self.admission,
                operator=self,
                solvers=self.solvers,
            )
        except CannotListen as fault:
            raise CannotStart(f"listen = {fault}") from fault
        self.port = built.port
        listeners = [built]
        if config.settle_listen:
            # Credentials serve one listener: each looks for changed files by itself.
            apart = replace(
                listener,
                address=config.settle_listen,
                credentials=self._credentials(lambda good: None),
            )
            try:
                settling = build_settling(apart, built.handlers, self.admission)
            except CannotListen as fault:
                raise CannotStart(f"settle_listen = {fault}") from fault
            self.settle_port = settling.port
            listeners.append(settling)
        self._health.set(False)
        for each in listeners:
            await each.start()
            self._grpc.append(each.server)
        keep_in_background()
        _log.info(
            "listening",
            port=self.port,
            settle_port=self.settle_port or None,
            metrics_port=self.metrics_port,
            tls=config.is_tls,
            mtls=config.tls_client_ca is not None,
            pid=os.getpid(),
        )

    def _credentials(self, on_reload: Callable[[bool], None]) -> grpc.ServerCredentials | None:
        """Of one listener; None: plaintext. Raises CannotStart."""
        config = self.config
        if config.tls_certificate is None or config.tls_key is None:
            return None
        try:
            return Certificates(
                config.tls_certificate, config.tls_key, config.tls_client_ca, on_reload=on_reload
            ).credentials()
        except CertificateRefused as fault:
            raise CannotStart(str(fault)) from fault

    def _make_prices(self) -> tuple[OpportunityPrices, PriceSolves | None]:
        """Opportunity prices, and who has them solved where they are dual prices."""
        config = self.config
        settings = PriceSettings(
            PriceMode(config.routing_prices.upper()),
            config.routing_price_scale,
            config.routing_price_horizon_s * 1000,
            PriceSource(config.routing_prices_from.upper()),
        )
        metrics = PriceMetrics(settings)
        self.metrics.add_gauges(metrics.collect)
        prices = prices_of(settings)
        if not isinstance(prices, DualOpportunity):
            return prices, None
        brownout = self.admission.brownout
        return prices, PriceSolves(
            self.solvers, prices, metrics, is_browned_out=lambda: brownout.greedy_routing
        )

    def _make_admission(self) -> Admission:
        """Raises CannotStart where a file of quotas or scopes is not as it should be."""
        config = self.config
        try:
            quotas = read_quotas(config.quotas) if config.quotas is not None else Quotas()
            scopes = read_scopes(config.scopes) if config.scopes is not None else EVERYTHING
        except FileRefused as fault:
            raise CannotStart(str(fault)) from fault
        limiter = Limiter(
            GradientLimit(
                LimitSettings(
                    limit_min=config.admission_calls_min,
                    limit_max=config.admission_calls_max,
                    tolerated_ms_min=config.admission_delay_ms,
                    tolerated_ms_max=_TOLERATED_MOST * config.admission_delay_ms,
                )
            ),
            age_s=self._gateway.age_s,
            busy_s=wanted_s(),
        )
        brownout = Brownout(Mode(config.brownout), lambda: limiter.is_overloaded)
        early = {
            "off": None,
            "auto": lambda: brownout.is_active,
            "on": lambda: True,
        }[config.sold_out_early]
        admission = Admission(
            self._gateway,
            limiter,
            quotas,
            brownout,
            scopes=scopes,
            sold_out_early=early,
            turns=self._make_turns(),
        )
        self.metrics.add_gauges(admission.families)
        return admission

    def _make_turns(self) -> Turns | None:
        """The waiting queues; None: there are none. Raises CannotStart."""
        if self.config.queues is None:
            return None
        try:
            found = read_queues(self.config.queues)
            path = found.secret_file or self.config.data / "queue-secret"
            secret = read_secret(path, make=found.secret_file is None)
        except FileRefused as fault:
            raise CannotStart(str(fault)) from fault
        return Turns(self._gateway, found.queues.values(), secret)

    def _certificate_reloaded(self, good: bool) -> None:
        if good:
            self.metrics.certificate_reloads += 1
        else:
            self.metrics.certificate_reload_failures += 1

    async def _open_journal(self) -> Journal:
        return await open_journal(self.config.journal_url, JournalIdentity())

    async def _read_ledger(self) -> tuple[Ledger, RecoveryReport]:
        journal = await self._open_journal()
        try:
            return await recover(
                journal, self.config.capacity, holder=_holder(), on_lost=self._lost
            )
        except BaseException:
            await journal.close()
            raise

    async def _recover(self) -> None:
        began_s = asyncio.get_running_loop().time()
        ledger, report = await self._read_ledger()
        self._before_serving()
        self._open(ledger, report, began_s)

    async def _stand_by(self) -> None:
        standing_by = StandingBy(
            self.config, self._gateway, self._health, open_journal=self._open_journal
        )
        state = await standing_by.begin()
        self._claim_memory(state)
        self._before_serving()
        self._standing_by = standing_by
        self._waiting = asyncio.create_task(self._wait_for_our_turn(standing_by))

    async def _wait_for_our_turn(self, standing_by: StandingBy) -> None:
        try:
            ledger, report, began_s = await standing_by.until_owner(_holder(), self._lost)
        except Exception as fault:  # noqa: BLE001 - a standby that can not go on must not seem to
            unexpected = not isinstance(fault, JournalError)
            _log.error("can not stand by", reason=str(fault), exc_info=unexpected)
            self._failed = str(fault) or repr(fault)
            self._stop_asked.set()
        else:
            self._standing_by = None
            self._open(ledger, report, began_s)

    def _open(self, ledger: Ledger, report: RecoveryReport, began_s: float) -> None:
        """Serve a ledger whose journal is claimed and read to its end."""
        self._gateway.clock = self._make_clock(ledger.state.now_ms)
        self._take(ledger)
        sequencer = Sequencer(
            ledger,
            self._gateway.clock,
            limits=QueueLimits(queue_commands_max=self.config.queue_commands_max),
            engine=self._noting,
            rebuild=self._rebuild,
            on_batch=self._on_batch,
            on_status=self._on_status,
            linger_s=self._linger_s,
        )
        sequencer.on_change(self._on_change)
        self._snapshots = Snapshots(
            sequencer,
            journal_url=self.config.journal_url,
            every_commands=self.config.snapshot_commands,
            recovered=report,
            origins=lambda: self._noting.origins,
            launcher=self._launcher,
            on_snapshot=self._on_snapshot,
            on_failure=lambda why: _log.error("snapshot failed", reason=why),
        )
        loss_window_ms = ledger.journal.loss_window_ms
        if loss_window_ms != 0:
            _log.warning(
                "answers may be lost in a power cut",
                durability=ledger.journal.durability,
                loss_window_ms="unbounded" if loss_window_ms is None else loss_window_ms,
            )
        self._gateway.open(sequencer)
        self._verifications.begin(sequencer)
        self._health.set(True)
        _log.info(
            "serving",
            journal=ledger.journal.place,
            durability=ledger.journal.durability,
            revision=ledger.state.revision,
            seconds=round(asyncio.get_running_loop().time() - began_s, 3),
        )

    def _linger_s(self) -> float:
        return _LINGER_S if self.admission.limiter.busy_share > BUSY_SHARE else 0.0

    async def _rebuild(self) -> Ledger:
        ledger, _ = await self._read_ledger()
        self._take(ledger)
        return ledger

    def _take(self, ledger: Ledger) -> None:
        """Go on from a ledger that was just read, and from who made its open holds."""
        self._claim_memory(ledger.state)
        self._noting.origins = ledger.origins
        self.admission.holds.recall(ledger.state, ledger.origins)

    def _claim_memory(self, state: State) -> None:
        if self.config.claim_memory:
            self._memory_claim.begin(state.arrays)

    # --- What happens meanwhile --------------------------------------------------------------

    def _lost(self, error: JournalError) -> None:
        if self._gateway.sequencer is not None:
            self._gateway.sequencer.lose(error)

    def _on_batch(self, report: object) -> None:
        self._ledger_metrics.note_batch(report)  # type: ignore[arg-type]
        if self._snapshots is not None:
            self._snapshots.note_batch(report)  # type: ignore[arg-type]

    def _on_change(self, revision: int, rows: NDArray[np.int32]) -> None:
        if self._gateway.sequencer is not None:
            self._hub.changed(self._gateway.sequencer.state, rows)

    def _on_status(self, status: Status, reason: str) -> None:
        """The sequencer is in another state: health follows at once."""
        if status is Status.SERVING:
            _log.info("ledger serves again", reason=reason)
            self._hub.wake_all()
        elif self._gateway.phase is Phase.SERVING:
            _log.error("ledger stopped serving", status=status.value, reason=reason)
        self._health.set(status is Status.SERVING and self._gateway.phase is Phase.SERVING)
        if status is Status.STOPPED and self._gateway.phase is Phase.SERVING:
            # Nothing here can mend it: another process owns the journal, or it is damaged.
            self._failed = reason
            if self._gateway.sequencer is not None and self._gateway.sequencer.violation:
                self._hub.wake_all()
                loop = asyncio.get_running_loop()
                loop.call_later(_VIOLATION_SHOWN_S, self._stop_asked.set)
                return
            self._gateway.moved = True
            self._stop_asked.set()

    def _on_snapshot(self, report: SnapshotReport) -> None:
        self._taken(report)
        _log.info(
            "snapshot written",
            revision=report.name.revision,
            size_bytes=report.size_bytes,
            records_trimmed=report.records_trimmed,
            seconds=round(report.seconds, 3),
        )

    def _taken(self, report: SnapshotReport) -> SnapshotTaken:
        self._last_snapshot = SnapshotTaken(
            revision=report.name.revision,
            size_bytes=report.size_bytes,
            create_ms=self._gateway.now_ms(),
            seconds=report.seconds,
        )
        return self._last_snapshot

    # --- End ---------------------------------------------------------------------------------

    async def until_stop_asked(self) -> None:
        """Wait for a signal, AdminService.Drain, or a fault that ends the server."""
        await self._stop_asked.wait()

    async def stop(self) -> None:
        """Drain and end. May be called at any time, and more than once."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        gateway = self._gateway
        self._health.set(False)
        gateway.begin_drain()
        self._hub.wake_all()
        await self._end_standby()  # first: its turn must not come any more
        if self._grpc:
            _log.info("draining", open_calls=self.open_calls, grace_s=self._grace_s)
            if self._grace_s:
                # What gRPC's core has not handed over yet it would cancel, without a word.
                await asyncio.sleep(_LAST_CALLS_S)
            ending = [asyncio.ensure_future(one.stop(self._grace_s)) for one in self._grpc]
            # Whatever keeps gRPC, the journal is given back and the process ends.
            _, left = await asyncio.wait(ending, timeout=self._grace_s + _LISTENERS_END_S_MAX)
            if left:
                _log.error("listeners did not end", left=len(left), of=len(ending))
        if self.price_solves is not None:
            await self.price_solves.close()
        await self.solvers.close()  # no call is under way any more
        await self._memory_claim.close()
        await self._close_ledger()
        await self._launcher.close()
        if self._metrics_server is not None:
            await self._metrics_server.stop()
        gateway.phase = Phase.STOPPED
        _log.info("stopped", failed=self._failed or None)

    async def _end_standby(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait([self._waiting])
        if self._standing_by is not None:
            await self._standing_by.close()

    async def _close_ledger(self) -> None:
        sequencer = self._gateway.sequencer
        if sequencer is None:
            return
        await self._verifications.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EMPTY_QUEUE_S_MAX):
                await sequencer.drain()
        # Given up before the snapshot: whoever stands by need not wait for that.
        end = await sequencer.journal.release()
        if self._snapshots is not None and sequencer.status is Status.DRAINING and end is not None:
            try:
                report = await self._snapshots.at_the_end(end)
            except (SnapshotFailed, JournalError) as fault:
                _log.error("no snapshot at the end", reason=str(fault))
            else:
                if report is not None:
                    self._on_snapshot(report)
        if self._snapshots is not None:
            await self._snapshots.close()
        await sequencer.close()

    @property
    def failure(self) -> str:
        """Why the server ended by itself; "" when it was told to."""
        return self._failed


# Young objects between two looks of the collector. A call leaves a few that only it can free, and
# it frees all it finds at once: after 50,000 that took 130 ms, every eight seconds of an overload,
# which alone was the 99th percentile. Those of the calls under way it goes through in vain: 64
# creates have some 1,500, so after 2,000 a look came with nearly every set and took 2.6 us of each
# call more than after 5,000, which take 0.7 ms, 1 at most.
_COLLECT_EVERY = 5_000
# Looks before those that were spared are looked at too, and such looks before all are.
_COLLECT_OLDER_EVERY = 20
_COLLECT_ALL_EVERY = 10


def settle_memory() -> None:
    """Keep the garbage collector away from what stays for good.

    The compiler leaves a million objects behind. Every full collection would go through them: it
    took 61 % of the processor under load, and half a second at a time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, _COLLECT_OLDER_EVERY, _COLLECT_ALL_EVERY)


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


async def _serve(config: Config, on_serving: Callable[[Server], None] | None) -> int:
    loop = asyncio.get_running_loop()
    try:
        server = Server(config, before_serving=settle_memory)
    except CannotStart as fault:
        _log.error("can not start", reason=str(fault))
        return 2
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, server.drain, config.drain_ms_max)
    loop.add_signal_handler(signal.SIGUSR1, server.take_over)
    starting = asyncio.ensure_future(server.start())
    stopping = asyncio.ensure_future(server.until_stop_asked())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        # Told to stop while it still starts: nothing was promised yet.
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, CannotStart):
            await starting
        return 0
    try:
        starting.result()
    except CannotStart as fault:
        stopping.cancel()
        _log.error("can not start", reason=str(fault))
        return 2
    if on_serving is not None:
        on_serving(server)
    await stopping
    await server.stop()
    return 1 if server.failure else 0


def serve(config: Config, *, on_serving: Callable[[Server], None] | None = None) -> int:
    """Serve until told to stop; the exit status. `on_serving` is called once it serves."""
    logs.configure(form=config.log_format, level=config.log_level)
    sys.setswitchinterval(_SWITCH_S)
    with asyncio.Runner(loop_factory=loop_factory() if config.uvloop else None) as runner:
        return runner.run(_serve(config, on_serving))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, or None where there is none for this system.

    In three interleaved runs of 64 callers on one core it made creates 8 to 56 % faster.
    """
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
