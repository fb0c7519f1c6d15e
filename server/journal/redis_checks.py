"""What a Redis server says of itself, and whether a journal may rely on it.

`look` reads, `judge` decides; what is refused is refused with one sentence that says what to set.
What Redis says is believed: a server that reports ``appendfsync always`` on a disk that lies about
its syncs can't be told from an honest one.

Callers: `redis_journal`, `redis_appends` (after each reconnecting).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.journal.errors import JournalRefused
from server.journal.redis_link import Link
from server.journal.redis_place import DURABLE, RedisPlace

# XADD NOMKSTREAM, XTRIM MINID, exclusive ranges and CLIENT LIST ID are there from here on.
_VERSION_MIN: Final = (6, 2)
_ASKED: Final = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory",
    "maxmemory-policy",
)
# Redis syncs in another thread once a second, and waits for a slow one up to another second.
_EVERYSEC_LOSS_MS: Final = 2_000
# Linux writes dirty pages back after 30 s, unless it is told otherwise.
_KERNEL_LOSS_MS: Final = 30_000

ACL_RULES: Final = (
    "resetchannels ~holdfast:* -@all "
    "+select +ping +info +config|get +client|id +client|list +dbsize +scan +wait "
    "+get +set +del +unlink +exists +expire +persist +watch +unwatch +multi +exec +discard "
    "+xadd +xrange +xrevrange +xtrim +hset +hget +hgetall +hmget +hlen +hdel"
)
"""All that the journal's user needs, as ``ACL SETUSER`` takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSetup:
    """What was found. `configuration` is empty when CONFIG may not be asked."""

    run_id: str
    version: tuple[int, int]
    is_cluster: bool
    primary: str
    """``host:port`` of the server this one is a replica of; empty when it is a primary."""
    configuration: dict[str, str]

    @property
    def loss_window_ms(self) -> int | None:
        """How long ago an answered batch may have been and still be lost in a power cut.

        None: not bounded, or not known.
        """
        known = self.configuration
        if known.get("appendonly") != "yes":
            return None
        if known.get("appendfsync") == "everysec":
            return _EVERYSEC_LOSS_MS
        if known.get("appendfsync") != "always":
            return _KERNEL_LOSS_MS
        # With it set, Redis leaves out its syncs for as long as it rewrites its file.
        return _KERNEL_LOSS_MS if known.get("no-appendfsync-on-rewrite") == "yes" else 0

    def durability(self, replicas: int) -> str:
        """The sentence for log, health and status."""
        settings = self._settings
        if replicas:
            settings += f", held by {replicas} replica{'s' if replicas > 1 else ''}"
        window_ms = self.loss_window_ms
        if window_ms == 0:
            return f"every batch is synced to Redis' disk before it is answered ({settings})"
        if window_ms is None:
            return f"answered batches may be lost in a power cut, without bound ({settings})"
        return (
            f"answered batches of the last {window_ms / 1e3:g} s may be lost in a power cut "
            f"({settings})"
        )

    @property
    def _settings(self) -> str:
        if not self.configuration:
            return "the configuration of Redis may not be read"
        named = [f"{name} {self.configuration.get(name, '?')}" for name in _ASKED[:2]]
        if self.configuration.get("no-appendfsync-on-rewrite") == "yes":
            named.append("no-appendfsync-on-rewrite yes")
        return ", ".join(named)


async def look(link: Link) -> RedisSetup:
    """Ask for everything `judge` needs; three round trips."""
    texts = await link.ask(("INFO", "server"), ("INFO", "replication"))
    server, replication = (_fields(text) for text in texts)
    try:
        answers = await link.ask(*(("CONFIG", "GET", name) for name in _ASKED))
    except JournalRefused:
        answers = []
    configuration = {
        answer[0].decode(): answer[1].decode() for answer in answers if len(answer) == 2
    }
    major, _, rest = server.get("redis_version", "0.0").partition(".")
    primary = ""
    if replication.get("role") != "master":
        primary = f"{replication.get('master_host')}:{replication.get('master_port')}"
    return RedisSetup(
        run_id=server.get("run_id", ""),
        version=(int(major), int(rest.partition(".")[0] or 0)),
        is_cluster=server.get("redis_mode", server.get("server_mode")) == "cluster",
        primary=primary,
        configuration=configuration,
    )


def judge(setup: RedisSetup, place: RedisPlace) -> None:
    """Raise JournalRefused when a journal may not be kept there as `place` asks."""
    if setup.version < _VERSION_MIN:
        found = ".".join(map(str, setup.version))
        raise JournalRefused(f"{place} is Redis {found}; use 6.2 or later")
    if setup.is_cluster:
        raise JournalRefused(
            f"{place} is part of a Redis Cluster, which the journal does not use; "
            "point the journal setting at a single primary"
        )
    if setup.primary:
        raise JournalRefused(
            f"{place} is a read-only replica of {setup.primary}; "
            "point the journal setting at the primary"
        )
    found_settings = setup.configuration
    policy = found_settings.get("maxmemory-policy", "noeviction")
    if found_settings.get("maxmemory", "0") != "0" and policy != "noeviction":
        raise JournalRefused(
            f"{place} may throw away the journal when its memory is full (maxmemory "
            f"{found_settings['maxmemory']}, maxmemory-policy {policy}); set maxmemory-policy "
            "noeviction, or give the journal a Redis of its own"
        )
    if place.durability != DURABLE:
        return
    if not found_settings:
        raise JournalRefused(
            f"{place} does not let its configuration be read, so that it can't be known to be "
            "durable; permit +config|get, or accept losses with durability=relaxed"
        )
    if setup.loss_window_ms != 0:
        raise JournalRefused(
            f"{place} is not durable: {setup.durability(0)}; set appendonly yes, appendfsync "
            "always, no-appendfsync-on-rewrite no, or accept losses with durability=relaxed"
        )


def _fields(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode().splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}
