"""Checks of fields: every value that comes in is held against its documented limit.

A `Checker` collects what is wrong, so that one answer names every bad field with its path, value
and limit. Checks return the value they checked, ready for the columns: names as bytes, times and
durations in milliseconds.

Identifiers are printable UTF-8 without control characters and without a space at either end
(`str.isprintable`): what two people read as the same id can then be told apart by its bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from engine import limits
from server.transport.errors import Fault, Refused, Violation, violations_refusal

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

# 9999-12-31T23:59:59.999Z, the last moment google.protobuf.Timestamp can say.
time_ms_max = 253_402_300_799_999

_SHOWN_CHARACTERS = 64


def shown(value: object) -> str:
    """A value as an error names it: short, on one line, never raw."""
    text = str(value)
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


class Checker:
    """The violations of one request. `now_ms` is the ledger's time."""

    __slots__ = ("now_ms", "violations")

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.violations: list[Violation] = []

    def refuse(self) -> None:
        """Raise Refused when anything was wrong."""
        if self.violations:
            raise Refused(violations_refusal(self.violations))

    def required(self, field: str, what: str = "is required") -> None:
        """The field is missing."""
        self.violations.append(Violation(field=field, fault=Fault.FIELD_REQUIRED, description=what))

    def invalid(self, field: str, value: object, why: str) -> None:
        """The field's value can not be meant."""
        self.violations.append(
            Violation(
                field=field,
                fault=Fault.FIELD_INVALID,
                description=f"{shown(value)!r} {why}",
                value=shown(value),
            )
        )

    def beyond(self, field: str, value: object, limit: str, maximum: int) -> None:
        """The field is beyond the limit of this name."""
        self.violations.append(
            Violation(
                field=field,
                fault=Fault.LIMIT_EXCEEDED,
                description=f"{shown(value)} is beyond {limit} = {maximum}",
                value=shown(value),
                limit=limit,
                maximum=maximum,
            )
        )

    def identifier(
        self,
        field: str,
        text: str,
        limit: str,
        *,
        required: bool = False,
        maximum: int | None = None,
    ) -> bytes:
        """A name or id. b"" when it is empty and may be. `maximum`: of a limit that is not one of
        `engine.limits`."""
        if not text:
            if required:
                self.required(field)
            return b""
        encoded = text.encode("utf-8", "surrogatepass")
        most: int = getattr(limits, limit) if maximum is None else maximum
        if len(encoded) > most:
            self.beyond(field, f"{len(encoded)} bytes", limit, most)
        elif not text.isprintable():
            self.invalid(field, text, "has control or other unprintable characters")
        elif text[0] == " " or text[-1] == " ":
            self.invalid(field, text, "begins or ends with a space")
        return encoded

    def text(self, field: str, text: str, limit: str) -> bytes:
        """A text for people: control characters but tab and line break are refused."""
        encoded = text.encode("utf-8", "surrogatepass")
        maximum: int = getattr(limits, limit)
        if len(encoded) > maximum:
            self.beyond(field, f"{len(encoded)} bytes", limit, maximum)
        elif any(ord(character) < 32 and character not in "\t\n\r" for character in text):
            self.invalid(field, text, "has control characters")
        return encoded

    def whole(
        self, field: str, value: int, limit: str, *, low: int = 0, maximum: int | None = None
    ) -> int:
        """A number from `low` to the limit."""
        most: int = getattr(limits, limit) if maximum is None else maximum
        if value > most:
            self.beyond(field, value, limit, most)
        elif value < low:
            if value < 0 and low < 0:
                self.beyond(field, value, f"-{limit}", low)
            else:
                self.invalid(field, value, f"is below {low}")
        return value

    def quantity(self, field: str, value: int, *, low: int = 1) -> int:
        """Units."""
        return self.whole(field, value, "quantity_max", low=low)

    def change(self, field: str, value: int) -> int:
        """Units that are added, or taken where negative; never 0."""
        if value == 0:
            self.invalid(field, value, "changes nothing")
        return self.whole(field, value, "quantity_max", low=-limits.quantity_max)

    def count(self, field: str, length: int, limit: str, *, required: bool = True) -> int:
        """The length of a repeated field."""
        maximum: int = getattr(limits, limit)
        if length > maximum:
            self.beyond(field, f"{length} entries", limit, maximum)
        elif length == 0 and required:
            self.required(field, "needs at least one entry")
        return length

    def enumerated(
        self,
        field: str,
        value: int,
        known: Mapping[Any, int],
        *,
        default: int | None,
    ) -> int:
        """An enum's value as the columns write it. `default` stands for 0; None: required."""
        if value == 0:
            if default is None:
                self.required(field)
                return 0
            return default
        if value not in known:
            self.invalid(field, value, f"is unknown; known: {', '.join(map(str, sorted(known)))}")
            return 0
        return known[value]

    def milliseconds(
        self, field: str, value: Duration, limit: str, *, low: int = 0, maximum: int | None = None
    ) -> int:
        """A duration, rounded up to whole milliseconds."""
        if not (-999_999_999 <= value.nanos <= 999_999_999) or value.seconds * value.nanos < 0:
            self.invalid(field, f"{value.seconds} s {value.nanos} ns", "is no duration")
            return 0
        total = value.seconds * 1000 - (-value.nanos // 1_000_000)
        most: int = getattr(limits, limit) if maximum is None else maximum
        if total > most:
            self.beyond(field, f"{total} ms", limit, most)
        elif total < low:
            self.invalid(field, f"{total} ms", f"is below {low} ms")
        return total

    def time_ms(self, field: str, value: Timestamp) -> int:
        """A moment, in milliseconds since 1970, rounded down. Before 1970 is refused."""
        if not 0 <= value.nanos <= 999_999_999:
            self.invalid(field, f"{value.nanos} ns", "is no fraction of a second")
            return 0
        total = value.seconds * 1000 + value.nanos // 1_000_000
        return self.epoch_ms(field, total)

    def epoch_ms(self, field: str, value: int) -> int:
        """A moment given as milliseconds since 1970."""
        if not 0 < value <= time_ms_max:
            self.invalid(field, value, "lies outside the years 1970 to 9999")
            return 0
        return value

    def not_past(self, field: str, value: int) -> None:
        """A moment (0: none) that must not lie before the ledger's time."""
        if 0 < value < self.now_ms:
            self.invalid(field, value, f"lies before the ledger's time {self.now_ms} ms")

    def day(self, field: str, text: str) -> bytes:
        """A date as YYYY-MM-DD."""
        if not text:
            self.required(field)
            return b""
        try:
            parsed = date.fromisoformat(text)
        except ValueError:
            parsed = None
        if parsed is None or parsed.isoformat() != text:
            self.invalid(field, text, "is no date; write YYYY-MM-DD")
            return b""
        return text.encode()

    def degrees(self, field: str, value: float, most: float) -> None:
        """A latitude or longitude."""
        if not math.isfinite(value) or not -most <= value <= most:
            self.invalid(field, value, f"is not from -{most:g} to {most:g}")

    def pattern(self, field: str, text: str, length: int, what: str) -> None:
        """A code of `length` upper-case ASCII letters."""
        if not (len(text) == length and text.isascii() and text.isalpha() and text.isupper()):
            self.invalid(field, text, f"is no {what}")
