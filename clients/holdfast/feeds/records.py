"""Rows of nodes and items: each becomes one resource of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from holdfast.feeds import fields
from holdfast.feeds.blocks import TableFile
from holdfast.feeds.fields import FieldProblem
from holdfast.feeds.problems import RowProblem, shown
from holdfast.values.network import Item, Money, Node, NodeType, Place

ResourceT = TypeVar("ResourceT")
Row = dict[str, Any]


def node_type(value: Any) -> NodeType:
    """A kind of node, in any case of letters."""
    name = fields.text(value).strip().upper()
    try:
        return NodeType(name)
    except ValueError:
        kinds = ", ".join(kind for kind in NodeType if kind is not NodeType.UNSPECIFIED)
        raise FieldProblem(f"{name!r} is none of {kinds}") from None


def flags(value: Any) -> tuple[str, ...]:
    """Names separated by semicolons."""
    return tuple(name.strip() for name in fields.text(value).split(";") if name.strip())


def milliseconds(value: Any) -> timedelta:
    """A whole number of milliseconds."""
    return timedelta(milliseconds=fields.whole_number(value))


NODE_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "node": fields.text,
    "display_name": fields.text,
    "type": node_type,
    "country_code": fields.text,
    "postal_code": fields.text,
    "latitude": fields.decimal,
    "longitude": fields.decimal,
    "time_zone": fields.text,
    "priority": fields.whole_number,
    "cutoff_minute": fields.whole_number,
    "processing_time_ms": milliseconds,
    "pick_capacity_per_day": fields.whole_number,
    "reliability_ppm": fields.whole_number,
    "pickup": fields.switch,
    "flags": flags,
}

ITEM_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "sku": fields.text,
    "display_name": fields.text,
    "weight_grams": fields.whole_number,
    "length_mm": fields.whole_number,
    "width_mm": fields.whole_number,
    "height_mm": fields.whole_number,
    "value_minor_units": fields.whole_number,
    "currency_code": fields.text,
    "flags": flags,
    "purchase_limit": fields.whole_number,
}

_PLACE = ("country_code", "postal_code", "latitude", "longitude", "time_zone")


def node_of(row: Row) -> Node:
    """The node of a row whose fields are read."""
    place = {name: row.pop(name) for name in _PLACE if name in row}
    processing_time = row.pop("processing_time_ms", None)
    return Node(place=Place(**place) if place else None, processing_time=processing_time, **row)


def item_of(row: Row) -> Item:
    """The item of a row whose fields are read."""
    value = row.pop("value_minor_units", None)
    currency = row.pop("currency_code", None)
    if value is not None and currency is None:
        raise FieldProblem("value_minor_units needs a currency_code", "FIELD_REQUIRED")
    return Item(value=None if value is None else Money(value, currency), **row)


@dataclass(slots=True)
class Records(Generic[ResourceT]):
    """The rows of one file of resources: numbered good ones, and problems of the others."""

    table: TableFile
    file: str
    columns: dict[str, Callable[[Any], Any]]
    make: Callable[[Row], ResourceT]
    problems: list[RowProblem] = field(default_factory=list)

    def resources(self) -> Iterator[tuple[int, ResourceT]]:
        """The row number and resource of each good row; a name that came before is a problem."""
        key = next(iter(self.columns))
        first_at: dict[str, int] = {}
        for block in self.table.blocks():
            self.problems += block.problems
            if not len(block):
                continue
            columns = [
                column.to_pylist() if hasattr(column, "to_pylist") else column
                for column in block.columns.values()
            ]
            for number, *values in zip(block.numbers.tolist(), *columns, strict=True):
                row = self._read(number, dict(zip(block.columns, values, strict=True)), key)
                if row is None:
                    continue
                name = row[key]
                if name in first_at:
                    message = f"{name} stands in row {first_at[name]} already"
                    self._refuse(number, key, name, "FIELD_INVALID", message)
                    continue
                first_at[name] = number
                try:
                    yield number, self.make(row)
                except FieldProblem as problem:
                    self._refuse(number, "", "", problem.reason, str(problem))

    def _read(self, number: int, values: Row, key: str) -> Row | None:
        """The fields of a row; empty ones are left out, but for the key. None: refused."""
        row: Row = {}
        for name, value in values.items():
            if name != key and (value is None or value == ""):
                continue
            try:
                row[name] = self.columns[name](value)
            except FieldProblem as problem:
                self._refuse(number, name, value, problem.reason, str(problem))
                return None
        return row

    def _refuse(self, number: int, name: str, value: Any, reason: str, message: str) -> None:
        self.problems.append(RowProblem(self.file, number, name, shown(value), reason, message))
