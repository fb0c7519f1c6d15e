"""TOML files that an operator writes beside the configuration: quotas, scopes, waiting queues.

Callers: `quotas`, `scopes`, `queues`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")
_CALLERS_MAX: Final = 10_000


class FileRefused(ValueError):
    """The file is not as it should be; one sentence for each reason, each on its line."""


def read_table(path: Path, known: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """(the file, what is wrong with its uppermost keys). Raises FileRefused: it is no TOML."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as fault:
        raise FileRefused(f"{path}: can not be read: {fault.strerror or fault}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise FileRefused(f"{path}: is not TOML: {fault}") from fault
    problems = [
        f"{path}: {key} is unknown; known: {', '.join(known)}" for key in table if key not in known
    ]
    return table, problems


def read_callers(
    path: Path, base: T, parse: Callable[[str, Any, T, list[str]], T]
) -> tuple[T, dict[bytes, T]]:
    """(what is in ``[default]``, what is in ``[callers."NAME"]`` by name).

    `parse` makes one from where it stands, its table, what it leaves out, and the problems so far.
    Raises FileRefused with every problem found.
    """
    table, problems = read_table(path, ("default", "callers"))
    default = parse(f"{path}: default", table.get("default", {}), base, problems)
    named = table.get("callers", {})
    callers: dict[bytes, T] = {}
    if not isinstance(named, dict):
        problems.append(f"{path}: callers must be a table of tables")
    elif len(named) > _CALLERS_MAX:
        problems.append(f"{path}: {len(named)} callers, at most {_CALLERS_MAX}")
    else:
        for name, values in named.items():
            where = f'{path}: callers."{name}"'
            callers[name.encode()] = parse(where, values, default, problems)
    if problems:
        raise FileRefused("\n".join(problems))
    return default, callers
