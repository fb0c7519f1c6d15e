"""Conditions in CEL: compiled once, checked before they are used, evaluated to true or false.

What an expression may name is fixed by where it stands: ``order`` in ``when``, ``node``,
``service`` or ``line`` in an action. Fields of these are checked when the rule is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A value of every field, of the type it has. `attributes` and `flags` are the caller's words.
SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "order": {
        "channel": "web",
        "country_code": "US",
        "postal_code": "10001",
        "value": 1,
        "weight_grams": 1,
        "units": 1,
        "lines": 1,
        "flags": ["flag"],
        "attributes": {},
        "pickup": False,
    },
    "node": {
        "name": "node",
        "type": "WAREHOUSE",
        "country_code": "US",
        "postal_code": "10001",
        "groups": ["group"],
        "flags": ["flag"],
        "priority": 1,
        "reliability_ppm": 1,
        "pickup": False,
    },
    "service": {
        "name": "service",
        "carrier": "carrier",
        "reliability_ppm": 1,
        "co2e_grams_per_parcel": 1,
        "refused_flags": ["flag"],
    },
    "line": {"sku": "sku", "flags": ["flag"], "weight_grams": 1, "value": 1, "quantity": 1},
}

# What a condition may ask for without being refused: the caller's own words.
_OPEN = re.compile(r"\border\.attributes(?:\.(\w+)|\[\s*[\"']([^\"']+)[\"']\s*\])")


class ExpressionError(ValueError):
    """An expression that can not be meant."""


class Condition:
    """One compiled expression over one subject."""

    __slots__ = ("_program", "_subject", "text")

    def __init__(self, text: str, subject: str) -> None:
        """Raises ExpressionError saying what is wrong."""
        # The package brings a console along, a third of a second of a start: with the first rule.
        import cel

        self.text = " ".join(text.split())
        self._subject = subject
        try:
            self._program = cel.compile(text)
        except ValueError as fault:
            raise ExpressionError(_first_line(fault)) from None
        unknown = sorted(set(self._program.variables()) - {subject})
        if unknown:
            raise ExpressionError(f"{unknown[0]!r} is not known here; this may ask about {subject}")
        self._check_fields()
        self._try()

    def _check_fields(self) -> None:
        known = SAMPLES[self._subject]
        for name in re.findall(rf"\b{self._subject}\.(\w+)", self.text):
            if name not in known:
                raise ExpressionError(
                    f"{self._subject} has no {name!r}; it has {', '.join(sorted(known))}"
                )

    def _try(self) -> None:
        sample = dict(SAMPLES[self._subject])
        if self._subject == "order":
            asked = {first or second for first, second in _OPEN.findall(self.text)}
            sample["attributes"] = dict.fromkeys(asked, "text")
        try:
            value = self._program.execute({self._subject: sample})
        except (RuntimeError, TypeError, ValueError, KeyError) as fault:
            raise ExpressionError(_first_line(fault)) from None
        if not isinstance(value, bool):
            raise ExpressionError(f"gives {type(value).__name__}, not true or false")

    def holds(self, subject: Mapping[str, Any]) -> bool:
        """Whether it is true of this subject. What can not be decided, such as an attribute that
        is not there, is not true."""
        try:
            return self._program.execute({self._subject: subject}) is True
        except (RuntimeError, TypeError, ValueError, KeyError):
            return False


def _first_line(fault: Exception) -> str:
    text = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
    return re.sub(r"^Failed to parse expression '.*?': ", "", text)[:300]
