"""A file of orders to be routed: one row a line, the rows of an order told by its name.

What is said of an order as a whole may stand in its first row alone, or in all of them, but not
differently. An order with a bad row is left out as a whole: a part of it would be another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.feeds import fields
from holdfast.feeds.fields import FieldProblem
from holdfast.feeds.kinds import check_header, open_table
from holdfast.feeds.problems import FileProblem, RowProblem, shown
from holdfast.feeds.records import flags
from holdfast.feeds.scan import scan
from holdfast.values.network import Place
from holdfast.values.routing import FulfillmentType, RoutingLine, RoutingOrder

ORDERS_MAX = 5_000
"""Of a wave (orders_per_wave_max)."""


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(fields.time_ms(value) / 1_000, UTC)


def _pairs(value: Any) -> dict[str, str]:
    """``name=value`` pairs separated by semicolons."""
    found = {}
    for pair in flags(value):
        name, equals, content = pair.partition("=")
        if not equals:
            raise FieldProblem(f"{pair!r} is no name=value")
        found[name.strip()] = content.strip()
    return found


_OF_LINE: dict[str, Callable[[Any], Any]] = {
    "sku": fields.text,
    "quantity": fields.whole_number,
    "keep_together_group": fields.text,
}
_OF_PLACE: dict[str, Callable[[Any], Any]] = {
    "country_code": fields.text,
    "postal_code": fields.text,
    "latitude": fields.decimal,
    "longitude": fields.decimal,
    "time_zone": fields.text,
}
_OF_ORDER: dict[str, Callable[[Any], Any]] = {
    "owner": fields.text,
    "channel": fields.text,
    "deliver_by_time": _moment,
    "late_cost_per_day_minor_units": fields.whole_number,
    "days_late_max": fields.whole_number,
    "pickup_node": fields.text,
    "ship_complete": fields.switch,
    "shipments_max": fields.whole_number,
    "attributes": _pairs,
    "excluded_nodes": flags,
    "excluded_carrier_services": flags,
}
_REQUIRED = ("order", "sku", "quantity")
COLUMNS = {"order": fields.text, **_OF_LINE, **_OF_PLACE, **_OF_ORDER}


@dataclass(slots=True)
class OrderFile:
    """What a file has: good orders, and what is wrong with the others."""

    path: Path
    orders: list[RoutingOrder] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """The first row of each order, the header being row 1."""
    problems: list[RowProblem] = field(default_factory=list)
    left_out: int = 0
    """Orders with a bad row."""


@dataclass(slots=True)
class _Draft:
    """An order whose rows are being read."""

    row: int
    values: dict[str, Any] = field(default_factory=dict)
    lines: list[RoutingLine] = field(default_factory=list)
    is_bad: bool = False


def read_orders(path: Path, *, delimiter: str = ",") -> OrderFile:
    """The orders of a CSV or Parquet file. Raises FileProblem when it is none."""
    found = OrderFile(path)
    drafts: dict[str, _Draft] = {}
    for number, row in _rows(path, delimiter, found.problems):
        try:
            name = fields.text(row.get("order"))
        except FieldProblem as problem:
            _refuse(found, number, "order", row.get("order"), problem)
            continue
        draft = drafts.setdefault(name, _Draft(number))
        if len(drafts) > ORDERS_MAX:
            raise FileProblem(
                f"{path}: row {number}: more than {ORDERS_MAX:,} orders (orders_per_wave_max)"
            )
        _add_row(found, draft, number, row)
    for name, draft in drafts.items():
        if draft.is_bad:
            found.left_out += 1
            continue
        found.orders.append(_order_of(name, draft))
        found.rows.append(draft.row)
    return found


def _rows(
    path: Path, delimiter: str, problems: list[RowProblem]
) -> Iterator[tuple[int, dict[str, Any]]]:
    table = open_table(scan(path), delimiter)
    check_header(str(path), table.header, "orders", _REQUIRED, tuple(COLUMNS))
    for block in table.blocks():
        problems += block.problems
        if not len(block):
            continue
        columns = [
            column.to_pylist() if hasattr(column, "to_pylist") else column
            for column in block.columns.values()
        ]
        for number, *values in zip(block.numbers.tolist(), *columns, strict=True):
            yield number, dict(zip(block.columns, values, strict=True))


def _add_row(found: OrderFile, draft: _Draft, number: int, row: dict[str, Any]) -> None:
    """One line of an order, and what its row says of the whole."""
    read: dict[str, Any] = {}
    for name, value in row.items():
        if name == "order" or (name not in _REQUIRED and (value is None or value == "")):
            continue
        try:
            read[name] = COLUMNS[name](value)
        except FieldProblem as problem:
            _refuse(found, number, name, value, problem)
            draft.is_bad = True
            return
    for name in (*_OF_PLACE, *_OF_ORDER):
        if name in read and draft.values.setdefault(name, read[name]) != read[name]:
            other = FieldProblem(f"is another one than in row {draft.row} of the same order")
            _refuse(found, number, name, row[name], other)
            draft.is_bad = True
            return
    draft.lines.append(
        RoutingLine(read["sku"], read["quantity"], read.get("keep_together_group", ""))
    )


def _order_of(name: str, draft: _Draft) -> RoutingOrder:
    values = draft.values
    place = {key: values[key] for key in _OF_PLACE if key in values}
    if "postal_code" in place:
        place.setdefault("country_code", "US")
    rest = {key: values[key] for key in _OF_ORDER if key in values}
    if "pickup_node" in rest:
        rest["fulfillment_type"] = FulfillmentType.PICKUP
        if rest["pickup_node"] == "any":
            del rest["pickup_node"]
    return RoutingOrder(
        lines=tuple(draft.lines),
        destination=Place(**place) if place else None,
        reservation_id=name,
        **rest,
    )


def _refuse(found: OrderFile, row: int, name: str, value: Any, problem: FieldProblem) -> None:
    found.problems.append(
        RowProblem(str(found.path), row, name, shown(value), problem.reason, str(problem))
    )
