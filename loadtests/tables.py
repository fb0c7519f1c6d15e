"""Reads tables of a TOML file into frozen dataclasses, telling every problem at once.

A field's type says what its key may hold; `number` and `choice` say more. What is wrong is told as
FILE: [table] key: what it is, what is allowed.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class ScenarioError(ValueError):
    """A scenario is refused; `problems` holds one sentence for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def number(default: Any, low: float, high: float) -> Any:
    """A field for a number from `low` to `high`; `default` MISSING: it must be given."""
    metadata = {"low": low, "high": high}
    return (
        field(metadata=metadata)
        if default is MISSING
        else field(default=default, metadata=metadata)
    )


def choice(default: Any, values: Iterable[str]) -> Any:
    """A field for one of `values`; `default` MISSING: it must be given."""
    metadata = {"values": tuple(values)}
    return (
        field(metadata=metadata)
        if default is MISSING
        else field(default=default, metadata=metadata)
    )


class Reader:
    """Reads one file's tables; `problems` grows with whatever is wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []

    def complain(self, table: str, key: str, text: str) -> None:
        """Note a problem."""
        where = f"[{table}] " if table else ""
        self.problems.append(f"{self.name}: {where}{key}: {text}")

    def unknown(self, table: str, keys: Iterable[str], known: Sequence[str]) -> None:
        """Note each of `keys` that is not known."""
        for key in keys:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
                self.complain(table, key, f"no such key{hint}")

    def read(self, table: str, kind: type[T], given: Any) -> T | None:
        """`given` as a `kind`; None, and at least one problem more, when it is not one."""
        if not isinstance(given, Mapping):
            self.complain("", table, f"must be a table, not {given!r}")
            return None
        described = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
        hints = get_type_hints(kind)
        before = len(self.problems)
        self.unknown(table, given, list(described))
        values = {}
        for key, item in described.items():
            if key in given:
                values[key] = self._value(table, item, hints[key], given[key])
            elif item.default is MISSING and item.default_factory is MISSING:
                self.complain(table, key, "must be given")
        if len(self.problems) > before:
            return None
        return kind(**values)

    def read_all(self, table: str, kind: type[T], given: Any) -> tuple[T, ...]:
        """Each of an array of tables; those that are wrong are left out, and told."""
        if not isinstance(given, list):
            self.complain("", table, f"must be an array of tables, [[{table}]]")
            return ()
        found = [
            self.read(f"{table} {number + 1}", kind, each) for number, each in enumerate(given)
        ]
        return tuple(each for each in found if each is not None)

    def _value(self, table: str, item: Field[Any], kind: Any, given: Any) -> Any:
        if isinstance(kind, types.UnionType):  # X | None: TOML has no None, so X is meant
            kind = next(each for each in get_args(kind) if each is not type(None))
        if get_origin(kind) is tuple:
            inner = get_args(kind)[0]
            if not isinstance(given, list) or not all(_is(inner, each) for each in given):
                self.complain(table, item.name, f"must be a list of {_NAMES[inner]}, not {given!r}")
                return ()
            return tuple(given)
        if not _is(kind, given):
            self.complain(table, item.name, f"must be {_NAMES[kind]}, not {given!r}")
            return None
        values = item.metadata.get("values")
        if values is not None and given not in values:
            self.complain(table, item.name, f"must be one of {', '.join(values)}, not {given!r}")
        low, high = item.metadata.get("low"), item.metadata.get("high")
        if low is not None and not low <= given <= high:
            self.complain(table, item.name, f"must lie between {low:g} and {high:g}, not {given!r}")
        return float(given) if kind is float else given


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _is(kind: type, given: Any) -> bool:
    if isinstance(given, bool):
        return kind is bool
    return isinstance(given, (int, float) if kind is float else kind)
