"""What can be wrong with a file, and with a row of it."""

from __future__ import annotations

from dataclasses import dataclass

VALUE_CHARACTERS_MAX = 64


class FileProblem(Exception):
    """The file as a whole can not be loaded; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One row that was left out, while the good rows went on.

    `row` is the record's number with the header as row 1, as editors and spreadsheets count.
    """

    file: str
    row: int
    field: str
    value: str
    reason: str
    """A reason of the contract, such as ``FIELD_INVALID``."""
    message: str

    def __str__(self) -> str:
        where = f"{self.file}: row {self.row}"
        if self.field:
            where += f", {self.field}"
        return f"{where}: {self.message}"


def shown(value: object) -> str:
    """`value` as a problem shows it: one line, not too long, control characters escaped."""
    text = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "replace").decode()
        for letter in ("" if value is None else str(value))
    )
    if len(text) <= VALUE_CHARACTERS_MAX:
        return text
    return f"{text[: VALUE_CHARACTERS_MAX - 1]}…"
