"""How a field of a row is read: text, whole numbers, times. Each says what it would have taken."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any


class FieldProblem(ValueError):
    """A value that its field does not take; `reason` is one of the contract's."""

    def __init__(self, message: str, reason: str = "FIELD_INVALID") -> None:
        super().__init__(message)
        self.reason = reason


def text(value: Any) -> str:
    """A name or other text. None and empty are refused: the field is required."""
    found = "" if value is None else _decoded(value)
    if not found:
        raise FieldProblem("is missing", "FIELD_REQUIRED")
    return found


def _decoded(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    found = str(value)
    if not found.isascii() and any("\ud800" <= letter <= "\udfff" for letter in found):
        raise FieldProblem("is not UTF-8")
    return found


def whole_number(value: Any) -> int:
    """A whole number that fits 64 bits, as text of ASCII digits or as a number."""
    if value is None or value == "":
        raise FieldProblem("is missing", "FIELD_REQUIRED")
    number: int
    if isinstance(value, bool):
        raise FieldProblem(f"{value} is not a whole number")
    if isinstance(value, int):
        number = value
    elif isinstance(value, float):
        if not math.isfinite(value) or value != int(value):
            raise FieldProblem(f"{value!r} is not a whole number")
        number = int(value)
    else:
        digits = _decoded(value).strip()
        if not digits.isascii() or not digits.removeprefix("-").isdigit():
            raise FieldProblem(f"{digits!r} is not a whole number")
        number = int(digits[:30])  # beyond 64 bits in any case
    if not -(1 << 63) <= number < 1 << 63:
        raise FieldProblem("is beyond 64 bits", "LIMIT_EXCEEDED")
    return number


def decimal(value: Any) -> float:
    """A finite number."""
    try:
        number = float(value if isinstance(value, int | float) else _decoded(value))
    except ValueError:
        raise FieldProblem(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise FieldProblem(f"{value!r} is not a finite number")
    return number


def switch(value: Any) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    found = _decoded(value).strip().lower()
    if found in ("true", "yes", "1"):
        return True
    if found in ("false", "no", "0"):
        return False
    raise FieldProblem(f"{found!r} is neither true nor false")


def time_ms(value: Any) -> int:
    """A time in milliseconds since 1970 UTC, from ISO 8601 text with its offset or a datetime."""
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        raise FieldProblem(f"{value} has no time of day")
    else:
        written = text(value).strip()
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            raise FieldProblem(f"{written!r} is not a time such as 2026-03-02T16:00:00Z") from None
    if moment.tzinfo is None:
        raise FieldProblem(f"{moment.isoformat()} has no offset from UTC; write ...Z for UTC")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
