"""A batch on its way into the journal, and what is told of it once it has arrived."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from engine.outcomes import Outcomes
from server.application.piece_queue import Piece
from server.journal.record import RecordId


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """One durable batch, for metrics. Durations in milliseconds."""

    revision: int
    pieces: int
    commands: int
    record_bytes: int
    queue_ms: float
    """How long its oldest piece had waited."""
    apply_ms: float
    journal_ms: float
    expired: int
    expiry_lag_ms: int
    """How late the earliest of the expired holds was released; 0 when none was."""


@dataclass(slots=True, kw_only=True)
class Flight:
    """An applied batch whose record the journal does not hold yet. Moments in seconds."""

    pieces: list[Piece]
    outcomes: Outcomes
    journaled: asyncio.Future[RecordId]
    revision: int
    now_ms: int
    due_ms: int
    """When the earliest hold that this batch expired was due; -1 when it begins with no EXPIRE."""
    record_bytes: int
    started_s: float
    applied_s: float
    barriers: list[asyncio.Future[None]] = field(default_factory=list)
    """Those who wait for this batch without a piece in it."""

    def report(self, now_s: float) -> BatchReport:
        """What to tell of it, now that it is durable."""
        expires = self.due_ms >= 0
        oldest_s = min((piece.enqueued_s for piece in self.pieces), default=self.started_s)
        return BatchReport(
            revision=self.revision,
            pieces=len(self.pieces),
            commands=len(self.outcomes.rows),
            record_bytes=self.record_bytes,
            queue_ms=(self.started_s - oldest_s) * 1e3,
            apply_ms=(self.applied_s - self.started_s) * 1e3,
            journal_ms=(now_s - self.applied_s) * 1e3,
            expired=int(self.outcomes.rows["affected"][0]) if expires else 0,
            expiry_lag_ms=self.now_ms - self.due_ms if expires else 0,
        )
