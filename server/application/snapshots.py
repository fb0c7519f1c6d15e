"""Keeps restarts short: a snapshot every so many commands, and the journal trimmed behind it.

While serving, a snapshot is written by another process (`snapshot_process`), at a clean end inline.
Afterwards only the newest two snapshots are kept, and the records behind the older of them.

Callers: `server.lifecycle`, AdminService ("snapshot now").
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from server.application.flight import BatchReport
from server.application.hold_origins import HoldOrigins
from server.application.launcher import Launcher
from server.application.recovery import RecoveryReport, Replayed, snapshot_bytes, take_snapshot
from server.application.sequencer import Sequencer
from server.application.snapshot_process import SNAPSHOTS_KEPT
from server.journal.errors import JournalError
from server.journal.genesis import JournalIdentity
from server.journal.record import Cursor, RecordId
from server.journal.snapshot import SnapshotName

# At a clean end a snapshot is only worth its time when a replay would take longer.
_INLINE_COMMANDS_MIN = 10_000


class SnapshotFailed(Exception):
    """No snapshot was written; the sentence says why. Nothing was trimmed, nothing is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """A snapshot that is kept, for logs and metrics."""

    name: SnapshotName
    size_bytes: int
    records_trimmed: int
    seconds: float


class Snapshots:
    """The snapshots of one sequencer's ledger."""

    def __init__(
        self,
        sequencer: Sequencer,
        *,
        journal_url: str,
        every_commands: int,
        recovered: RecoveryReport,
        origins: Callable[[], HoldOrigins] = HoldOrigins,
        launcher: Launcher | None = None,
        on_snapshot: Callable[[SnapshotReport], None] | None = None,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        """`recovered` says what the newest snapshot covers already; `origins` who made the
        reservations, as a snapshot keeps it. `launcher` was started before
        the ledger was in memory; without one the first snapshot stops the writer for a moment.
        """
        self._launcher = launcher or Launcher()
        self._sequencer = sequencer
        self._origins = origins
        self._journal_url = journal_url
        self._every_commands = every_commands
        self._covered_revision = recovered.snapshot.revision if recovered.snapshot else 0
        self._on_snapshot = on_snapshot
        self._on_failure = on_failure
        self._task: asyncio.Task[SnapshotReport] | None = None

    def note_batch(self, report: BatchReport) -> None:
        """Hear of a durable batch; begins a snapshot when it is time. O(1)."""
        if report.revision - self._covered_revision >= self._every_commands and not self._task:
            # Whether it works out or not, the next one is due after as many commands again.
            self._covered_revision = report.revision
            self._begin().add_done_callback(self._ended)

    async def now(self) -> SnapshotReport:
        """Write one now, or wait for the one that is being written. Raises SnapshotFailed."""
        return await asyncio.shield(self._task or self._begin())

    async def close(self) -> None:
        """End the other process, if it runs. The sequencer may be running or drained."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._launcher.close()

    async def at_the_end(self, end: Cursor) -> SnapshotReport | None:
        """After `Sequencer.drain`: keep the state inline, unless a replay is as quick anyway.

        `end` is where this process left the journal, which may belong to another one by now.
        """
        await self.close()
        sequencer = self._sequencer
        commands = sequencer.state.revision - self._covered_revision
        if commands < min(_INLINE_COMMANDS_MIN, self._every_commands):
            return None
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        journal = sequencer.journal
        try:
            replayed = Replayed(sequencer.state, end, self._origins())
            name = await take_snapshot(replayed, journal)
        except JournalError as error:
            raise SnapshotFailed(str(error)) from error
        # Nothing is trimmed: that waits until a snapshot process has read this one back.
        self._covered_revision = name.revision
        return SnapshotReport(
            name=name,
            size_bytes=snapshot_bytes(sequencer.state),
            records_trimmed=0,
            seconds=loop.time() - started_s,
        )

    def _begin(self) -> asyncio.Task[SnapshotReport]:
        self._task = asyncio.get_running_loop().create_task(self._write())
        self._task.add_done_callback(self._forget)
        return self._task

    def _forget(self, task: asyncio.Task[SnapshotReport]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is None and self._on_snapshot is not None:
            self._on_snapshot(task.result())

    def _ended(self, task: asyncio.Task[SnapshotReport]) -> None:
        if not task.cancelled() and self._on_failure is not None:
            error = task.exception()
            if error is not None:
                self._on_failure(str(error))

    async def _write(self) -> SnapshotReport:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        genesis = self._sequencer.journal.genesis
        identity = JournalIdentity(
            tenant=genesis.tenant, shard=genesis.shard, ledger_id=genesis.ledger_id
        )
        request = {"journal": self._journal_url, "identity": asdict(identity)}
        command = (sys.executable, "-m", "server.application.snapshot_process")
        try:
            # Not as an argument: other users of the machine could read a journal's password.
            ended = await self._launcher.run(command, json.dumps(request))
        except OSError as error:
            raise SnapshotFailed(str(error)) from error
        if ended.status != 0:
            last = ended.complaint.strip().rpartition("\n")[2]
            raise SnapshotFailed(f"snapshot process, status {ended.status}: {last}")
        told = json.loads(ended.output)
        names = [
            SnapshotName(RecordId(epoch, sequence), revision)
            for epoch, sequence, revision in told["snapshots"]
        ]
        try:
            trimmed = await self._keep(names)
        except JournalError as error:
            raise SnapshotFailed(str(error)) from error
        self._covered_revision = max(self._covered_revision, names[0].revision)
        return SnapshotReport(
            name=names[0],
            size_bytes=told["size_bytes"],
            records_trimmed=trimmed,
            seconds=loop.time() - started_s,
        )

    async def _keep(self, whole: list[SnapshotName]) -> int:
        """Forget all but the snapshots `whole`, newest first, and the records they cover all."""
        journal = self._sequencer.journal
        if len(whole) < SNAPSHOTS_KEPT:
            return 0
        for name in await journal.snapshots.list():
            if name < whole[-1]:
                await journal.snapshots.remove(name)
        return await journal.trim(whole[-1].record_id)
