"""What clients saw: every operation, and every answer to it that ever arrived."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine.commands import CommandBatch
from engine.outcomes import REPLAYED, Outcomes


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply, with the mark of a replay taken off: replays must equal the first answer."""

    rows: bytes
    details: bytes
    codes: tuple[int, ...]
    revisions: tuple[int, ...]
    detail_counts: tuple[int, ...]

    @staticmethod
    def of(outcomes: Outcomes) -> Answer:
        rows = outcomes.rows.copy()
        rows["flags"] &= np.uint16(0xFFFF ^ REPLAYED)
        return Answer(
            rows.tobytes(),
            outcomes.details.tobytes(),
            tuple(rows["code"].tolist()),
            tuple(rows["revision"].tolist()),
            tuple(rows["detail_count"].tolist()),
        )


@dataclass(slots=True)
class Operation:
    """One piece a client sent, perhaps several times. Moments in simulated seconds."""

    client: int
    batch: CommandBatch
    priority: int
    request_ids: list[str]
    invoked_s: float
    deadline_ms: int | None = None
    steals_request_id: bool = False
    """It uses a request id that stands for something else: a bug at the caller."""
    completed_s: float | None = None
    """When the first answer arrived; None: the client gave up and knows nothing."""
    answers: list[Answer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Read:
    """Balances a client read behind a barrier."""

    invoked_s: float
    completed_s: float
    revision: int
    balances: dict[tuple[str, str], tuple[int, int, int]]
    """(sku, node) -> (on_hand, held, committed)"""


@dataclass(slots=True)
class History:
    """Everything clients saw in one run."""

    operations: list[Operation] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
