"""Where a journal in Redis lies and how it is reached: what a ``redis://`` URL says.

    redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE][?OPTION=VALUE&...]      rediss:// for TLS

Everything of one shard lies under keys that begin with ``holdfast:{TENANT:SHARD}:``. The braces
make all of them fall into one slot, wherever a Redis computes slots.

Callers: `opening`, and everything in this package whose name begins with ``redis_``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from server.journal.errors import JournalRefused

SCHEMES: Final = ("redis", "rediss")
DURABLE: Final = "durable"
RELAXED: Final = "relaxed"
_PORT: Final = 6379
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"option": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlace:
    """One journal's home. Times in milliseconds."""

    host: str
    port: int = _PORT
    database: int = 0
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)

    shard: int | None = _option(None, "whose journal; the server's own shard when it is not said")
    tenant: str = _option("", "whose journal; the server's own tenant when it is not said")
    durability: str = _option(DURABLE, "durable, or relaxed: answers may be lost in a power cut")
    password_file: str = _option("", "a file that holds the password, instead of the URL")
    ca: str = _option("", "PEM file of the authorities that sign the server's certificate")
    certificate: str = _option("", "PEM file of the certificate to show")
    key: str = _option("", "PEM file of the private key of `certificate`")
    replicas: int = _option(0, "replicas that must hold a batch before it is answered (WAIT)")
    replicas_ms: int = _option(1_000, "how long to wait for them")
    lease_ms: int = _option(10_000, "after which silence another server may take over")
    timeout_ms: int = _option(5_000, "how long an answer of Redis is waited for")
    snapshots: str = _option("", "a directory for snapshots, instead of Redis itself")

    def __str__(self) -> str:
        """For messages: no credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return f"holdfast:{{{self.tenant or 'default'}:{self.shard or 0}}}:"

    @property
    def stream(self) -> str:
        """The stream of records."""
        return self.prefix + "journal"

    @staticmethod
    def parse(url: str) -> RedisPlace:
        """Read a URL. Raises JournalRefused naming what is not understood, never the password."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise JournalRefused(f"journal scheme {parts.scheme!r}; use redis:// or rediss://")
        values = _options(parts.query)
        try:
            port = parts.port or _PORT
        except ValueError:
            raise JournalRefused("journal URL: the port is no number up to 65535") from None
        database = parts.path.strip("/") or "0"
        if not database.isascii() or not database.isdigit():
            raise JournalRefused(f"journal URL: database {database!r} is no number")
        password = unquote(parts.password or "")
        password_file = values.get("password_file")
        if password_file:
            try:
                password = Path(password_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise JournalRefused(f"password_file {password_file}: {error.strerror}") from error
        return RedisPlace(
            host=parts.hostname or "127.0.0.1",
            port=port,
            database=int(database),
            tls=parts.scheme == "rediss",
            username=unquote(parts.username or ""),
            password=password,
            **values,
        )


_OPTIONS: Final = {item.name: item for item in fields(RedisPlace) if "option" in item.metadata}
_RANGES: Final = {
    "shard": (0, 1023),
    "replicas": (0, 16),
    "replicas_ms": (1, 600_000),
    "lease_ms": (500, 600_000),
    "timeout_ms": (50, 600_000),
}


def _options(query: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise JournalRefused(f"journal URL: option {name!r} is unknown; known: {known}")
        values[name] = _value(name, text)
    return values


def _value(name: str, text: str) -> Any:
    if name in _RANGES:
        low, high = _RANGES[name]
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise JournalRefused(f"journal URL: {name} = {text!r} is no number {low} to {high}")
        return int(text)
    if name == "durability" and text not in (DURABLE, RELAXED):
        raise JournalRefused(f"journal URL: durability = {text!r}; use {DURABLE} or {RELAXED}")
    if name == "tenant" and not _NAME.fullmatch(text):
        raise JournalRefused(f"journal URL: tenant = {text!r}; letters, digits and _.- only")
    return text
