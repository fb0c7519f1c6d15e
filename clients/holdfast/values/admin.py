"""Administration: what the server says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.codec import WireEnum


class ShardState(WireEnum):
    """What a shard is doing."""

    UNSPECIFIED = "UNSPECIFIED"
    RECOVERING = "RECOVERING"
    SERVING = "SERVING"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"
    STANDBY = "STANDBY"


class JournalKind(WireEnum):
    """What keeps the journal."""

    UNSPECIFIED = "UNSPECIFIED"
    MEMORY = "MEMORY"
    SQLITE = "SQLITE"
    REDIS = "REDIS"


class JournalDurability(WireEnum):
    """What the journal keeps through a loss of power."""

    UNSPECIFIED = "UNSPECIFIED"
    NONE = "NONE"
    RELAXED = "RELAXED"
    DURABLE = "DURABLE"


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """The journal of a shard, as found at its start."""

    kind: JournalKind
    durability: JournalDurability
    detail: str
    size_bytes: int
    snapshot_revision: int
    snapshot_time: datetime | None


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard."""

    shard: int
    state: ShardState
    message: str
    revision: int
    epoch: int
    slots: int
    journal: JournalStatus
    state_hash: str
    positions: int
    reservations: int
    open_holds: int
    queue_age: timedelta | None


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit and its use, in the unit its name ends with."""

    limit: str
    maximum: int
    used: int


@dataclass(frozen=True, slots=True)
class Status:
    """The server, its shards and its limits."""

    version: str
    shards: tuple[ShardStatus, ...]
    limits: tuple[LimitUse, ...]
    start_time: datetime | None
    ledger_time: datetime | None
    state_hash: str
    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of one shard."""

    shard: int
    revision: int
    size_bytes: int
    create_time: datetime | None
    write_time: timedelta | None


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The snapshots that were written, by shard."""

    snapshots: tuple[Snapshot, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """Draining has begun."""

    open_calls: int
    revision: int
