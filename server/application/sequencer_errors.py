"""Why the sequencer gives no outcome. Refusals by the engine are values, not errors.

SequencerError
├── Overloaded          not taken in: too much is waiting; has no effect, try again later
├── DeadlinePassed      dropped before it was applied: has no effect
├── NotServing          not taken in: stopped, stopping, or rebuilding; has no effect
└── OutcomeUnknown      applied, but the journal failed: send it again with the same request_id
"""

from __future__ import annotations


class SequencerError(Exception):
    """Base of all of them."""


class Overloaded(SequencerError):
    """Too many commands of this class wait, or for too long. The piece has no effect."""

    def __init__(self, limit: str, *, retry_after_ms: int) -> None:
        super().__init__(f"{limit} is reached; retry after {retry_after_ms} ms")
        self.limit = limit
        self.retry_after_ms = retry_after_ms


class DeadlinePassed(SequencerError):
    """The deadline has passed, or would have before the journal holds it. No effect."""


class NotServing(SequencerError):
    """The shard does not take commands now. The piece has no effect."""


class OutcomeUnknown(SequencerError):
    """The journal failed while the piece was being kept: it may have taken effect, or not.

    The same request_id later gives the first answer if it did, and does it now if it did not.
    """
