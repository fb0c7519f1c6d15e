"""What callers saw: every call, what it asked for, when it was sent and answered, and by what.

Moments are seconds of this process' monotonic clock; all callers of a run live in one process, so
they can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK = "OK"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller was told of a write. None: this kind of reply does not say."""

    code: str
    """``OK``, or the reason of a refusal by the ledger."""
    revision: int | None = None
    reservation_id: str = ""
    state: str | None = None
    expire_ms: int | None = None
    quantities: tuple[int, ...] | None = None
    """Units of each take; of a shortage, the units asked for at each short place, sorted."""


@dataclass(slots=True)
class Write:
    """One command a caller sent, perhaps several times under one request id."""

    client: int
    kind: str
    request_id: str
    intent: dict[str, Any]
    """Arguments of the client's method `kind`."""
    sent_s: float
    answered_s: float | None = None
    """None: the caller gave up, or went away, and knows nothing."""
    answer: Answer | None = None
    steals: bool = False
    """The request id stands for something else: a bug at the caller."""
    again: list[Answer] = field(default_factory=list)
    """What the same request was answered later."""
    fault: str = ""
    """Why there is no answer."""


@dataclass(frozen=True, slots=True)
class Read:
    """Balances as one answer told them."""

    client: int
    sent_s: float
    answered_s: float
    revision: int
    balances: dict[tuple[str, str], tuple[int, int, int]]
    """(sku, node) -> (on_hand, held, committed)"""


@dataclass(slots=True)
class History:
    """All calls of one ledger's life, over all its servers."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Write]:
        """The writes that were answered."""
        return [write for write in self.writes if write.answer is not None]
