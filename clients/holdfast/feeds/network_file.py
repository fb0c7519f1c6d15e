"""Network files: carriers, services, channels and routing rules in YAML, their tables beside it.

A network file has lists of resources by kind, with the fields of `holdfast.values.network`. A
service's `lanes`, `rates`, `transits`, `surcharges` and `pickups` stand in place, or are the name
of a CSV or Parquet file beside it; where that has a column `carrier_service`, each service takes
its own rows. The YAML of routing rules may lie in a file of its own too.

Every value remembers the file and row (of YAML: the line) it came from, so that what the reader and
what the server refuse are both told by them. An entry with a bad value is left out whole; the
others go on.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Final

import yaml

from holdfast.codec import WireEnum
from holdfast.errors import FieldViolation
from holdfast.feeds import fields
from holdfast.feeds.blocks import TableFile
from holdfast.feeds.fields import FieldProblem
from holdfast.feeds.problems import FileProblem, RowProblem, shown
from holdfast.feeds.scan import Scan, scan
from holdfast.values import network

SUFFIXES: Final = (".yaml", ".yml")

# Kinds in the order in which they are loaded: what is named comes before what names it.
SECTIONS: Final[dict[str, tuple[type[Any], str]]] = {
    "nodes": (network.Node, "node"),
    "node_groups": (network.NodeGroup, "node_group"),
    "carriers": (network.Carrier, "carrier"),
    "carrier_services": (network.CarrierService, "carrier_service"),
    "channels": (network.Channel, "channel"),
    "routing_rules": (network.RoutingRules, "routing_rules"),
}
_TABLES: Final = ("lanes", "rates", "transits", "surcharges", "pickups")
_OF_SERVER: Final = ("etag", "version", "create_time")
_SPAN: Final = re.compile(r"(\d+) *(ms|s|m|h|d)")
_SPAN_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Origin = tuple[str, int]
"""A file, and the row in it; of YAML the line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource of a network file."""

    section: str
    resource: Any
    origin: Origin
    origins: dict[str, Origin]
    """By path within the resource, such as ``rates[3]``."""

    def problem(self, violation: FieldViolation) -> RowProblem:
        """What the server refused, told by the file and row it came from."""
        path = violation.field.partition(".")[2]
        file, row = self.origin
        known = path
        while known:
            if known in self.origins:
                file, row = self.origins[known]
                break
            cut = max(known.rfind("."), known.rfind("["))
            known = known[:cut] if cut > 0 else ""
        name = path.removeprefix(known).lstrip(".") or path.rpartition(".")[2] or path
        return RowProblem(file, row, name, "", violation.reason, violation.description)


class _Refused(Exception):
    """A value that its field does not take."""

    def __init__(self, problem: RowProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class NetworkFile:
    """One network file and its tables."""

    path: Path
    open_table: typing.Callable[[Scan], TableFile]
    problems: list[RowProblem] = field(default_factory=list)
    digest: str = ""
    """Of the file and all of its tables that were read."""
    _tables: dict[Path, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        """Every good resource, in the order of `SECTIONS`. Raises FileProblem."""
        root = self._root()
        sections = {key.value: (key, value) for key, value in root.value}
        for name, (key, _) in sections.items():
            if name not in SECTIONS:
                raise FileProblem(
                    f"{self.path}: line {_line(key)}: {name!r} is not known"
                    f"{_suggestion(name, SECTIONS)}; a network file has {', '.join(SECTIONS)}"
                )
        for name, (kind, named) in SECTIONS.items():
            if name not in sections:
                continue
            listed = sections[name][1]
            if not isinstance(listed, yaml.SequenceNode):
                raise FileProblem(f"{self.path}: line {_line(listed)}: {name} must be a list")
            first_at: dict[str, int] = {}
            for item in listed.value:
                entry = self._entry(name, kind, item)
                if entry is None:
                    continue
                called = getattr(entry.resource, named)
                if called in first_at:
                    where = f"{called} stands in line {first_at[called]} already"
                    self._note(_line(item), named, called, where)
                    continue
                first_at[called] = entry.origin[1]
                yield entry

    def _root(self) -> yaml.MappingNode:
        scanned = scan(self.path)
        self.digest = scanned.digest
        try:
            root = yaml.compose(self.path.read_text("utf-8"), yaml.SafeLoader)
        except UnicodeDecodeError:
            raise FileProblem(f"{self.path} is not UTF-8") from None
        except yaml.MarkedYAMLError as fault:
            line = fault.problem_mark.line + 1 if fault.problem_mark else 1
            raise FileProblem(f"{self.path}: line {line}: {fault.problem}") from None
        if not isinstance(root, yaml.MappingNode):
            raise FileProblem(f"{self.path}: a network file has {', '.join(SECTIONS)}")
        return root

    def _entry(self, section: str, kind: type[Any], item: yaml.Node) -> Entry | None:
        """None where something in it was refused."""
        before = len(self.problems)
        origins: dict[str, Origin] = {}
        made: Any = None
        try:
            made = self._resource(section, kind, item, origins)
        except _Refused as refused:
            self.problems.append(refused.problem)
        if len(self.problems) > before:
            return None
        return Entry(section, made, (str(self.path), _line(item)), origins)

    def _resource(
        self, section: str, kind: type[Any], item: yaml.Node, origins: dict[str, Origin]
    ) -> Any:
        if section == "routing_rules":
            return self._rules(item, origins)
        named = SECTIONS[section][1]
        return self._record(kind, item, "", origins, _text_of(item, named))

    def _rules(self, item: yaml.Node, origins: dict[str, Origin]) -> network.RoutingRules:
        """Rules in place (`yaml`), or in a file of their own (`file`)."""
        values = dict(self._members(item, {"routing_rules", "yaml", "file", "inactive"}))
        where = str(self.path), _line(item)
        if ("yaml" in values) == ("file" in values):
            raise _Refused(_problem(where, "yaml", "", "either yaml or file is required"))
        name = self._scalar(str, values["routing_rules"]) if "routing_rules" in values else ""
        if not name:
            raise _Refused(_problem(where, "routing_rules", "", "is missing", "FIELD_REQUIRED"))
        if "yaml" in values:
            text = self._scalar(str, values["yaml"])
            origins["yaml"] = str(self.path), _line(values["yaml"]) + 1
        else:
            path = self._beside(values["file"])
            try:
                content = path.read_bytes()
                text = content.decode()
            except (OSError, UnicodeDecodeError) as fault:
                raise _Refused(
                    _problem(self._at(values["file"]), "file", str(path), str(fault))
                ) from None
            self._absorb(hashlib.sha256(content).hexdigest())
            origins["yaml"] = str(path), 1
        inactive = bool(self._scalar(bool, values["inactive"])) if "inactive" in values else False
        return network.RoutingRules(name, text, inactive)

    # --- Values ------------------------------------------------------------------------------

    def _record(
        self, kind: type[Any], item: yaml.Node, path: str, origins: dict[str, Origin], owner: str
    ) -> Any:
        """A dataclass from a mapping."""
        hints = typing.get_type_hints(kind)
        for name in _OF_SERVER:
            hints.pop(name, None)
        given: dict[str, Any] = {}
        for name, value in self._members(item, set(hints)):
            here = f"{path}{name}"
            origins[here] = self._at(value)
            given[name] = self._value(hints[name], value, here, origins, owner, name)
        return self._made(kind, given, self._at(item))

    def _value(
        self,
        hint: Any,
        value: yaml.Node,
        path: str,
        origins: dict[str, Origin],
        owner: str,
        name: str,
    ) -> Any:
        hint = _without_none(hint)
        if typing.get_origin(hint) is tuple:
            element = typing.get_args(hint)[0]
            if name in _TABLES and isinstance(value, yaml.ScalarNode):
                return self._table(element, value, path, origins, owner)
            if not isinstance(value, yaml.SequenceNode):
                raise _Refused(_problem(self._at(value), name, "", "must be a list"))
            made = []
            for index, one in enumerate(value.value):
                here = f"{path}[{index}]"
                origins[here] = self._at(one)
                made.append(self._value(element, one, here, origins, owner, name))
            return tuple(made)
        if dataclasses.is_dataclass(hint):
            return self._record(typing.cast(type[Any], hint), value, f"{path}.", origins, owner)
        return self._scalar(hint, value, name)

    def _scalar(self, hint: Any, value: yaml.Node, name: str = "") -> Any:
        if not isinstance(value, yaml.ScalarNode):
            raise _Refused(_problem(self._at(value), name, "", "must be a single value"))
        try:
            return read_field(hint, value.value)
        except FieldProblem as fault:
            where = self._at(value)
            raise _Refused(_problem(where, name, value.value, str(fault), fault.reason)) from None

    def _members(self, item: yaml.Node, known: set[str]) -> Iterator[tuple[str, yaml.Node]]:
        if not isinstance(item, yaml.MappingNode):
            raise _Refused(_problem(self._at(item), "", "", "must have named fields"))
        seen: set[str] = set()
        for key, value in item.value:
            name = str(key.value)
            if name not in known or name in seen:
                why = (
                    "is there twice" if name in seen else f"is not known{_suggestion(name, known)}"
                )
                raise _Refused(_problem(self._at(key), name, "", f"{name!r} {why}"))
            seen.add(name)
            yield name, value

    def _made(self, kind: type[Any], given: dict[str, Any], where: Origin) -> Any:
        for one in dataclasses.fields(kind):
            required = one.default is dataclasses.MISSING
            if required and one.name not in given:
                raise _Refused(_problem(where, one.name, "", "is missing", "FIELD_REQUIRED"))
        return kind(**given)

    # --- Tables ------------------------------------------------------------------------------

    def _table(
        self,
        kind: type[Any],
        value: yaml.ScalarNode,
        path: str,
        origins: dict[str, Origin],
        owner: str,
    ) -> tuple[Any, ...]:
        """Rows of a table file; problems of its rows are noted one by one."""
        file = self._beside(value)
        hints = typing.get_type_hints(kind)
        made: list[Any] = []
        for number, row in self._rows(file, set(hints)):
            if "carrier_service" in row and row["carrier_service"] != owner:
                continue
            where = str(file), number
            given: dict[str, Any] = {}
            try:
                for name, text in row.items():
                    if name in hints and text not in (None, ""):
                        given[name] = self._cell(hints[name], name, text, where)
                made.append(self._made(kind, given, where))
            except _Refused as refused:
                self.problems.append(refused.problem)
                continue
            origins[f"{path}[{len(made) - 1}]"] = where
        return tuple(made)

    def _cell(self, hint: Any, name: str, text: Any, where: Origin) -> Any:
        try:
            return read_field(_without_none(hint), text)
        except FieldProblem as fault:
            raise _Refused(_problem(where, name, text, str(fault), fault.reason)) from None

    def _rows(self, file: Path, known: set[str]) -> list[tuple[int, dict[str, Any]]]:
        if file in self._tables:
            return self._tables[file]
        scanned = scan(file)
        self._absorb(scanned.digest)
        table = self.open_table(scanned)
        for name in table.header:
            if name not in known and name != "carrier_service":
                hint = _suggestion(name, known)
                raise FileProblem(f"{file}: column {name!r} is not known{hint}")
        rows: list[tuple[int, dict[str, Any]]] = []
        for block in table.blocks():
            self.problems += block.problems
            columns = [
                column.to_pylist() if hasattr(column, "to_pylist") else column
                for column in block.columns.values()
            ]
            for number, *values in zip(block.numbers.tolist(), *columns, strict=True):
                row = dict(zip(block.columns, values, strict=True))
                if isinstance(row.get("carrier_service"), bytes):
                    row["carrier_service"] = fields.text(row["carrier_service"])
                rows.append((number, row))
        self._tables[file] = rows
        return rows

    def _beside(self, value: yaml.Node) -> Path:
        if not isinstance(value, yaml.ScalarNode):
            raise _Refused(_problem(self._at(value), "file", "", "must be the name of a file"))
        return self.path.parent / str(value.value)

    def _absorb(self, digest: str) -> None:
        """The tables are part of what the file is."""
        self.digest = hashlib.sha256(f"{self.digest}{digest}".encode()).hexdigest()

    def _at(self, value: yaml.Node) -> Origin:
        return str(self.path), _line(value)

    def _note(self, row: int, name: str, value: str, message: str) -> None:
        self.problems.append(_problem((str(self.path), row), name, value, message))


def read_field(hint: Any, value: Any) -> Any:
    """A single value as its field takes it. Raises FieldProblem."""
    if hint is bool:
        return fields.switch(value)
    if hint is int:
        return fields.whole_number(value)
    if hint is float:
        return fields.decimal(value)
    if hint is timedelta:
        return _span(fields.text(value))
    if isinstance(hint, type) and issubclass(hint, WireEnum):
        name = fields.text(value).strip().upper()
        if name not in hint.__members__:
            known = ", ".join(one for one in hint.__members__ if one != "UNSPECIFIED")
            raise FieldProblem(f"{name!r} is none of {known}")
        return hint[name]
    if typing.get_origin(hint) is tuple:
        element = typing.get_args(hint)[0]
        names = (name.strip() for name in fields.text(value).split(";"))
        return tuple(read_field(element, name) for name in names if name)
    return fields.text(value)


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise FieldProblem(f"{text!r} is no time such as 36h, 2d or 1500ms")
    return timedelta(milliseconds=int(found[1]) * _SPAN_MS[found[2]])


def _without_none(hint: Any) -> Any:
    if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
        return next(one for one in typing.get_args(hint) if one is not type(None))
    return hint


def _text_of(item: yaml.Node, name: str) -> str:
    """A field of a mapping as text, "" where there is none."""
    if isinstance(item, yaml.MappingNode):
        for key, value in item.value:
            if key.value == name and isinstance(value, yaml.ScalarNode):
                return str(value.value)
    return ""


def _problem(
    where: Origin, name: str, value: Any, message: str, reason: str = "FIELD_INVALID"
) -> RowProblem:
    return RowProblem(*where, name, shown(value), reason, message)


def _line(value: yaml.Node) -> int:
    return int(value.start_mark.line) + 1


def _suggestion(name: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
