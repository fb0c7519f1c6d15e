"""What commands print: tables for people, JSON for programs; errors on standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH_ELSEWHERE = 240


def plain(value: Any) -> Any:
    """`value` as JSON has it: dataclasses as objects, times as ISO 8601, spans in seconds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {key: plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


class Printer:
    """Prints to standard output, as JSON when told so."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        # A pipe or a file has no width: nothing is folded there.
        width = None if sys.stdout.isatty() else _WIDTH_ELSEWHERE
        self._console = Console(highlight=False, width=width)

    def json(self, value: Any) -> None:
        """One JSON object on one line."""
        print(json.dumps(plain(value), ensure_ascii=False), flush=True)

    def line(self, text: str) -> None:
        """A line for people."""
        self._console.print(text, markup=False)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = ""
    ) -> None:
        """A table for people; numbers stand to the right."""
        made = Table(
            title=title or None, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD
        )
        content = [list(row) for row in rows]
        for index, column in enumerate(columns):
            numeric = bool(content) and all(
                isinstance(row[index], int) and not isinstance(row[index], bool) for row in content
            )
            made.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in content:
            made.add_row(*(_cell(value) for value in row))
        self._console.print(made, markup=False)


def complain(text: str) -> None:
    """One line on standard error."""
    print(f"holdfast: {' '.join(text.split())}", file=sys.stderr)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    return str(value)
