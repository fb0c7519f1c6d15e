"""What can go wrong with a journal. Faults are exceptions; each says what to do about it.

JournalError
├── JournalRefused        not opened as asked; nothing was changed
│   ├── JournalMismatch   not ours: another format, ledger, shard or tenant, or no journal
│   └── JournalOwned      a living process writes this journal
├── JournalCorrupted      damage; names the record
│   └── JournalGap        records are missing between two that are there
├── JournalFenced         a newer writer has taken over: this one must stop
├── JournalUnavailable    not reachable or not writable: what was in flight has no known outcome
└── SnapshotDamaged       a snapshot cannot be used; an older one may be
"""

from __future__ import annotations


class JournalError(Exception):
    """Base of all of them; the text is one sentence for the operator."""


class JournalRefused(JournalError):
    """The journal is not opened as asked, and nothing was changed."""


class JournalMismatch(JournalRefused):
    """The journal has another format version, ledger, shard or tenant, or is no journal at all."""


class JournalOwned(JournalRefused):
    """A living process writes this journal."""


class JournalCorrupted(JournalError):
    """A record is damaged. Serving on could lose or invent reservations, so nobody may."""

    def __init__(self, record: str, reason: str) -> None:
        super().__init__(f"journal record {record}: {reason}")
        self.record = record
        self.reason = reason


class JournalGap(JournalCorrupted):
    """Records are missing: `record` is the first one behind the gap, or the last one known of."""


class JournalDiverged(JournalError):
    """Replaying a record gave other decisions than the ones that were answered.

    The engine is not the one that wrote the record, or it is not deterministic: either way its
    state is not the one callers were told of.
    """


class JournalFenced(JournalError):
    """A writer with a higher epoch owns the journal: what this one sends is refused."""


class JournalUnavailable(JournalError):
    """The journal cannot be reached or written.

    Whether the records in flight were kept is not known: only reading the journal again tells.
    """


class SnapshotDamaged(JournalError):
    """A snapshot's bytes are not those that were written."""
