"""Which sales have a waiting queue, and how it moves. From a TOML file.

::

    secret_file = "/etc/holdfast/queue-secret"   # what signs places; empty: made in the data folder

    [default]                    # what a queue leaves out
    turns_max = 500              # places called at once
    turn_ms = 120000             # how long a turn lasts
    abandoned_ms = 60000         # a place not asked for over so long is passed over
    places_max = 200000
    by_stock = true              # call no more than there are units on hand

    [queues.console]
    skus = ["CONSOLE-5", "CONSOLE-5-PRO"]

Callers: `server.lifecycle` reads the file, the transport asks.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from engine import limits
from server.admission.settings_file import FileRefused, read_table
from server.admission.waiting_line import LineSettings

queue_bytes_max: Final = 32
_QUEUES_MAX: Final = 100
_SKUS_MAX: Final = 1_000
_SECRET_BYTES_MIN: Final = 32
_RANGES: Final = {
    "turns_max": (1, 100_000),
    "turn_ms": (1_000, 3_600_000),
    "abandoned_ms": (5_000, 3_600_000),
    "places_max": (1, 5_000_000),
}


@dataclass(frozen=True, slots=True)
class Queue:
    """One waiting queue."""

    name: str
    skus: tuple[str, ...]
    line: LineSettings


@dataclass(frozen=True, slots=True)
class Queues:
    """All of them."""

    queues: Mapping[str, Queue] = field(default_factory=dict)
    secret_file: Path | None = None


def read_queues(path: Path) -> Queues:
    """The queues in `path`. Raises FileRefused with every problem found."""
    table, problems = read_table(path, ("default", "queues", "secret_file"))
    default = _line(f"{path}: default", table.get("default", {}), LineSettings(), problems)
    secret = table.get("secret_file", "")
    if not isinstance(secret, str):
        problems.append(f"{path}: secret_file = {secret!r} is not allowed; allowed: a path")
        secret = ""
    found: dict[str, Queue] = {}
    named = table.get("queues", {})
    if not isinstance(named, dict):
        problems.append(f"{path}: queues must be a table of tables")
    elif len(named) > _QUEUES_MAX:
        problems.append(f"{path}: {len(named)} queues, at most {_QUEUES_MAX}")
    else:
        for name, values in named.items():
            found[name] = _queue(f'{path}: queues."{name}"', name, values, default, problems)
    first = {sku: queue.name for queue in reversed(found.values()) for sku in queue.skus}
    problems += [
        f"{path}: {sku!r} is sold by the queues {first[sku]!r} and {queue.name!r}"
        for queue in found.values()
        for sku in queue.skus
        if first[sku] != queue.name
    ]
    if problems:
        raise FileRefused("\n".join(problems))
    secret_file = Path(secret).expanduser() if secret else None
    if secret_file is not None and not secret_file.is_absolute():
        secret_file = path.parent / secret_file
    return Queues(found, secret_file)


def read_secret(path: Path, *, make: bool) -> bytes:
    """What signs places: the bytes in `path`. `make`: write it where there is none.

    Raises FileRefused.
    """
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass
            else:
                with os.fdopen(opened, "wb") as file:
                    file.write(secrets.token_hex(_SECRET_BYTES_MIN).encode())
                    file.flush()
                    os.fsync(file.fileno())
        secret = path.read_bytes().strip()
    except OSError as fault:
        raise FileRefused(f"{path}: can not be read: {fault.strerror or fault}") from fault
    if len(secret) < _SECRET_BYTES_MIN:
        raise FileRefused(
            f"{path}: {len(secret)} bytes, at least {_SECRET_BYTES_MIN} for what signs places"
        )
    return secret


def _queue(where: str, name: str, values: Any, default: LineSettings, problems: list[str]) -> Queue:
    if not 0 < len(name.encode()) <= queue_bytes_max or not name.isprintable() or " " in name:
        problems.append(
            f"{where}: a name has 1 to {queue_bytes_max} bytes, printable, and no spaces"
        )
    skus = values.get("skus") if isinstance(values, dict) else None
    if (
        not isinstance(skus, list)
        or not 0 < len(skus) <= _SKUS_MAX
        or not all(isinstance(sku, str) and _is_sku(sku) for sku in skus)
    ):
        problems.append(
            f"{where}.skus = {skus!r:.80} is not allowed; allowed: 1 to {_SKUS_MAX} SKUs"
        )
        skus = []
    rest = {key: value for key, value in values.items() if key != "skus"} if skus else {}
    return Queue(name, tuple(dict.fromkeys(skus)), _line(where, rest, default, problems))


def _is_sku(text: str) -> bool:
    return 0 < len(text.encode()) <= limits.sku_bytes_max and text.isprintable()


def _line(where: str, values: Any, base: LineSettings, problems: list[str]) -> LineSettings:
    if not isinstance(values, dict):
        problems.append(f"{where} must be a table")
        return base
    found: dict[str, Any] = {}
    known = [item.name for item in fields(LineSettings)]
    for key, value in values.items():
        low, high = _RANGES.get(key, (0, 0))
        if key not in known:
            problems.append(f"{where}.{key} is unknown; known: skus, {', '.join(known)}")
        elif key == "by_stock" and type(value) is not bool:
            problems.append(f"{where}.{key} = {value!r} is not allowed; allowed: true or false")
        elif key != "by_stock" and (type(value) is not int or not low <= value <= high):
            problems.append(
                f"{where}.{key} = {value!r} is not allowed; "
                f"allowed: a whole number, {low} to {high}"
            )
        else:
            found[key] = value
    return replace(base, **found)
