"""What a validator may find, by kind, and which of the four totals each kind counts towards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

LOST = "lost acknowledgement"
LOST_READ = "lost read"
OVERSOLD = "oversold"
TWO_EFFECTS = "two effects"
TWO_ANSWERS = "two answers"
REPLAY = "replay"
UNSOUND = "unsound"
BALANCE = "balance"
WRONG_ANSWER = "wrong answer"
WRONG_READ = "wrong read"
ORDER = "order"
PROPERTY = "property"

TOTALS = {
    "lost_acknowledgements": (LOST, LOST_READ),
    "oversold_units": (OVERSOLD,),
    "doubled_effects": (TWO_EFFECTS, TWO_ANSWERS),
    "replay_mismatches": (REPLAY, UNSOUND, BALANCE, WRONG_ANSWER, WRONG_READ),
    "failed_properties": (ORDER, PROPERTY),
}
"""Every kind counts towards exactly one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `count` is in units for what is oversold, otherwise 1."""

    kind: str
    text: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(slots=True)
class Findings:
    """All that was found in one run."""

    found: list[Finding] = field(default_factory=list)

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """Note one."""
        self.found.append(Finding(kind, text, count))

    def need(self, holds: bool, text: str) -> None:
        """Note that a property of the fault does not hold, unless it does."""
        if not holds:
            self.add(PROPERTY, text)

    def totals(self) -> Counter[str]:
        """The totals of the report."""
        count: Counter[str] = Counter(dict.fromkeys(TOTALS, 0))
        for finding in self.found:
            name = next(name for name, kinds in TOTALS.items() if finding.kind in kinds)
            count[name] += finding.count
        return count
