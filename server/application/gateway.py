"""The transport's way to the ledger: submit, read, and why not.

Between the wire and the sequencer there is one object that lives as long as the process: it is
there before the ledger is recovered and after it is drained, and says which. Deadlines become
ledger time here; the sequencer's errors become one exception with a reason.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import State
from server.application.clock import Clock
from server.application.piece_queue import REPORT, RESERVE
from server.application.sequencer import Durability, Sequencer, Status
from server.application.sequencer_errors import (
    DeadlinePassed,
    NotServing,
    OutcomeUnknown,
    Overloaded,
)
from server.application.standby import Standby
from server.application.verifier import VerificationNotDone, VerificationReport, Verifier

_RECOVERING_MS = 500
_DRAINING_MS = 250
_JOURNAL_MS = 100
_STANDBY_MS = 100
_VERIFICATION_MS = 1_000
# What differs is for the log: it is the operator's, not the caller's.
_VIOLATION = "a check of the ledger failed: it serves no longer, and the server's log says why"


class Phase(enum.Enum):
    """What the server is doing, as health and admin tell it."""

    STARTING = "starting"
    STANDBY = "standby"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


class Why(enum.Enum):
    """Why the ledger gave no outcome."""

    OVERLOADED = enum.auto()
    DEADLINE_NOT_MET = enum.auto()
    JOURNAL_UNAVAILABLE = enum.auto()
    SHARD_MOVED = enum.auto()
    DRAINING = enum.auto()
    RECOVERING = enum.auto()
    INVARIANT_VIOLATED = enum.auto()


class NotDone(Exception):
    """No outcome. `retry_ms`: when to ask again, 0: not at all."""

    def __init__(self, why: Why, message: str, retry_ms: int = 0) -> None:
        super().__init__(message)
        self.why = why
        self.retry_ms = retry_ms

    @staticmethod
    def overloaded(limit: str, retry_ms: int) -> NotDone:
        """This limit stands against it now."""
        return NotDone(Why.OVERLOADED, f"more comes than can be answered: {limit}", retry_ms)


def _spread(milliseconds: int) -> int:
    """Half to one and a half times as long, so that those told to wait do not return together."""
    return max(1, int(milliseconds * random.uniform(0.5, 1.5)))


@dataclass(slots=True)
class Gateway:
    """One process' door to its ledger."""

    clock: Clock
    sequencer: Sequencer | None = None
    phase: Phase = Phase.STARTING
    moved: bool = False
    """Another process owns the journal now."""
    standby: Standby | None = None
    """What follows the journal that another process writes, until this one takes over."""
    standby_reads: bool = False
    """Whether what the standby has may be read."""
    verifier: Verifier | None = None
    """There while there is a sequencer to verify."""
    opened_ms: int = 0
    """Since when it serves, in ledger time."""
    _documents_version: int = 0
    _on_drain: set[Callable[[], None]] = field(default_factory=set)

    def stand_by(self, standby: Standby, *, reads: bool) -> None:
        """The ledger is read, and another process writes it: refuse writes, and reads too unless
        `reads`."""
        self.standby = standby
        self.standby_reads = reads
        self.phase = Phase.STANDBY

    def open(self, sequencer: Sequencer) -> None:
        """The ledger is recovered: serve."""
        self._documents_version = self.documents_version + 1
        self.standby = None
        self.sequencer = sequencer
        self.phase = Phase.SERVING
        self.opened_ms = self.clock.now_ms()

    @property
    def documents_version(self) -> int:
        """Changes whenever documents may have changed without a service here having done it."""
        standby = self.standby
        return self._documents_version + (standby.documents_changed if standby else 0)

    def begin_drain(self) -> None:
        """Take no new work, and tell the streams that wait for more."""
        self.phase = Phase.DRAINING
        for callback in tuple(self._on_drain):
            callback()

    def on_drain(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when draining begins; the function returned ends that."""
        self._on_drain.add(callback)
        return lambda: self._on_drain.discard(callback)

    def draining(self) -> NotDone:
        """What a stream ends with when the server shuts down."""
        return NotDone(Why.DRAINING, "the server is shutting down", _spread(_DRAINING_MS))

    def require_owner(self) -> None:
        """Raise NotDone on a standby. For what begins now and can only go on with the owner."""
        if self.phase is Phase.STANDBY:
            raise self._stands_by()

    def require_fresh(self, staleness_ms: int) -> None:
        """Raise NotDone when what is read here may be older than that; 0: the caller's own writes
        must be in it. Only a standby is ever behind."""
        if self.phase is Phase.STANDBY and self.standby is not None:
            behind_ms = self.standby.behind_s() * 1e3
            if not staleness_ms or behind_ms > staleness_ms:
                raise NotDone(
                    Why.SHARD_MOVED,
                    f"this server is a standby, {behind_ms:.0f} ms behind the one that serves",
                    _spread(_STANDBY_MS),
                )

    def _stands_by(self) -> NotDone:
        owner = self.standby.owner if self.standby is not None else ""
        return NotDone(
            Why.SHARD_MOVED,
            f"this server is a standby; {owner or 'another process'} serves this shard",
            _spread(_STANDBY_MS),
        )

    def _live(self) -> Sequencer:
        self.require_owner()
        if self.sequencer is None and self.phase in (Phase.DRAINING, Phase.STOPPED):
            raise self.draining()
        if self.sequencer is None or self.phase is Phase.STARTING:
            raise NotDone(Why.RECOVERING, "the ledger is being read", _spread(_RECOVERING_MS))
        return self.sequencer

    def _followed(self) -> Standby | None:
        """What may be read although this process does not own it."""
        standby = self.standby if self.phase is Phase.STANDBY and self.standby_reads else None
        return standby if standby is not None and standby.is_sound else None

    @property
    def state(self) -> State:
        """The live state, perhaps ahead of the journal; a standby's is a little behind it.

        Ask anew after every await. Raises NotDone while there is none that may be read.
        """
        followed = self._followed()
        if followed is not None:
            return followed.state
        sequencer = self._live()
        if sequencer.status in (Status.REBUILDING, Status.STOPPED):
            raise self._not_serving(sequencer)
        return sequencer.state

    @property
    def ledger_id(self) -> str:
        """Which ledger this is, also after a restart. Raises NotDone."""
        return (self._followed() or self._live()).journal.genesis.ledger_id

    @property
    def epoch(self) -> int:
        """The number of this writer of the journal: higher than that of each before. Raises
        NotDone."""
        return self._live().epoch

    def age_s(self) -> float:
        """How long the oldest command has waited, for its turn or for the journal; 0 when none
        does, or nothing is served. Feeds, which may wait, do not count."""
        sequencer = self.sequencer
        if sequencer is None:
            return 0.0
        return max(sequencer.flight_age_s(), *sequencer.queue_ages_s()[:REPORT])

    def now_ms(self) -> int:
        """Ledger time."""
        return self.clock.now_ms()

    async def submit(
        self,
        batch: CommandBatch,
        *,
        remaining_s: float | None,
        priority: int = RESERVE,
        memory_only: bool = False,
    ) -> Outcomes:
        """The outcomes of `batch`, once durable. `remaining_s`: how long the caller still waits.

        Raises NotDone.
        """
        sequencer = self._live()
        if self.phase is not Phase.SERVING and not sequencer.violation:
            raise self.draining()
        deadline_ms = None
        if remaining_s is not None:
            deadline_ms = self.clock.now_ms() + int(remaining_s * 1000)
        try:
            return await sequencer.submit(
                batch,
                priority=priority,
                deadline_ms=deadline_ms,
                durability=Durability.MEMORY if memory_only else Durability.JOURNALED,
            )
        except Overloaded as error:
            raise NotDone(Why.OVERLOADED, str(error), _spread(error.retry_after_ms)) from None
        except DeadlinePassed as error:
            raise NotDone(Why.DEADLINE_NOT_MET, str(error)) from None
        except NotServing:
            raise self._not_serving(sequencer) from None
        except OutcomeUnknown as error:
            raise self._unknown(sequencer, error) from None

    async def durable(self) -> None:
        """Wait until everything read from the state so far may be told. Raises NotDone."""
        if self._followed() is not None:
            return  # a standby applies what is durable, and nothing else
        sequencer = self._live()
        try:
            await sequencer.barrier()
        except NotServing:
            raise self._not_serving(sequencer) from None
        except OutcomeUnknown as error:
            raise self._unknown(sequencer, error) from None

    async def verify(self) -> VerificationReport:
        """Recompute every balance beside the traffic. Raises NotDone."""
        try:
            return await self._verifier().now()
        except NotServing:
            raise self._not_serving(self._live()) from None
        except VerificationNotDone as error:
            raise NotDone(Why.OVERLOADED, str(error), _spread(_VERIFICATION_MS)) from None

    async def state_hash(self) -> tuple[str, int]:
        """(hash, revision); the hash is "" when the ledger kept changing. Raises NotDone."""
        try:
            return await self._verifier().state_hash()
        except NotServing:
            raise self._not_serving(self._live()) from None

    def _verifier(self) -> Verifier:
        if self._followed() is not None:
            return Verifier(self._followed_state, interval_ms=0)
        self._live()
        if self.verifier is None:
            raise NotDone(Why.RECOVERING, "the ledger is being read", _spread(_RECOVERING_MS))
        return self.verifier

    def _followed_state(self) -> State:
        """Of a standby. Raises NotServing when it has none to read any more."""
        followed = self._followed()
        if followed is None:
            raise NotServing("the standby takes over, or reads the journal anew")
        return followed.state

    def _not_serving(self, sequencer: Sequencer) -> NotDone:
        if sequencer.violation:
            return NotDone(Why.INVARIANT_VIOLATED, _VIOLATION)
        if sequencer.status is Status.DRAINING:
            return self.draining()
        if sequencer.status is Status.STOPPED and self.moved:
            return NotDone(
                Why.SHARD_MOVED, "another process serves this shard", _spread(_JOURNAL_MS)
            )
        return NotDone(
            Why.JOURNAL_UNAVAILABLE, "the journal can not be written", _spread(_JOURNAL_MS)
        )

    def _unknown(self, sequencer: Sequencer, error: OutcomeUnknown) -> NotDone:
        if sequencer.violation:
            return NotDone(
                Why.INVARIANT_VIOLATED,
                f"{_VIOLATION}; this may have taken effect: send it again with the same request_id",
            )
        return NotDone(
            Why.JOURNAL_UNAVAILABLE,
            f"{error}; it may have taken effect: send it again with the same request_id",
            _spread(_JOURNAL_MS),
        )
