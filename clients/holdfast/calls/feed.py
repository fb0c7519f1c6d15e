"""The bookkeeping of a feed: chunks of counts as columns, numbered, acknowledged, resumed.

Pure: the clients move the messages. feed_id and sequence take the place of a request_id, so a
chunk that is sent twice is applied once; after a break, and after a crash of the feeder, the
server says where the feed stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.calls.call import Method
from holdfast.codec import read, write_enum
from holdfast.v1 import inventory_service_pb2 as wire
from holdfast.values.inventory import RowError, ShortfallPolicy

INGEST = Method("InventoryService", "IngestInventory", wire.IngestInventoryResponse)
ROWS_PER_CHUNK_MAX = 50_000


@dataclass(frozen=True, slots=True)
class FeedChunk:
    """Rows of counts as parallel columns, at most 50,000.

    `nodes` has one entry for each row, or a single one for all; so has `as_of_times_ms`
    (milliseconds since 1970 UTC), which may also be empty: counted now.
    """

    skus: Sequence[str]
    nodes: Sequence[str]
    quantities: Sequence[int]
    row_numbers: Sequence[int] = ()
    as_of_times_ms: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.skus)


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What became of one chunk: good rows are applied, bad ones reported."""

    sequence: int
    applied_rows: int
    errors: tuple[RowError, ...]
    replayed: bool
    """It was applied before; only its answer is repeated."""
    last_sequence: int
    shortfall_rows: int
    revision: int


@dataclass(slots=True)
class Feed:
    """One feed under way: numbers the chunks, keeps those that are not acknowledged yet."""

    feed_id: str
    shortfall_policy: ShortfallPolicy = ShortfallPolicy.UNSPECIFIED
    next_sequence: int = 1
    _unanswered: deque[wire.IngestInventoryRequest] = field(default_factory=deque)

    def question(self) -> wire.IngestInventoryRequest:
        """The message that asks where the feed stands; its answer has `last_sequence`."""
        return wire.IngestInventoryRequest(feed_id=self.feed_id)

    def resume(self, answer: wire.IngestInventoryResponse) -> int:
        """Chunks that the server has already, by its answer to the question."""
        self.next_sequence = answer.last_sequence + 1
        return answer.last_sequence

    def send(self, chunk: FeedChunk) -> wire.IngestInventoryRequest:
        """The message of the next chunk."""
        message = wire.IngestInventoryRequest(
            feed_id=self.feed_id,
            sequence=self.next_sequence,
            row_numbers=chunk.row_numbers,
            skus=chunk.skus,
            nodes=chunk.nodes,
            quantities=chunk.quantities,
            as_of_times_ms=chunk.as_of_times_ms,
        )
        write_enum(message, "shortfall_policy", self.shortfall_policy)
        self.next_sequence += 1
        self._unanswered.append(message)
        return message

    def take(self, message: wire.IngestInventoryResponse) -> ChunkResult:
        """The result that `message` brings."""
        while self._unanswered and self._unanswered[0].sequence <= message.sequence:
            self._unanswered.popleft()
        return read(ChunkResult, message)

    def __len__(self) -> int:
        return len(self._unanswered)

    def unanswered(self) -> list[wire.IngestInventoryRequest]:
        """What to send again on a new stream."""
        return list(self._unanswered)
