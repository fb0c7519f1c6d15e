"""What callers were answered, when, and how long it took: noted cheaply, merged over processes.

Times are seconds from the run's beginning. A call is offered at the moment it was due, and counted
by its outcome at the moment it ended. Latencies run from when it was due, whether or not whoever
should send it was on time: a stall of the server delays the answers of all that were due in it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.errors import Throttled
from loadtests.histogram import Latencies

SERVED = "served"
DECLINED = "declined"  # by the ledger: no stock, expired, ...; an answer like any other
REFUSED = "refused"  # turned away by the server
HELD_BACK = "held_back"  # not sent: the client's own throttle
LATE = "late"  # no answer in time
FAILED = "failed"
OUTCOMES = (SERVED, DECLINED, REFUSED, HELD_BACK, LATE, FAILED)
ANSWERED = (SERVED, DECLINED)
_THROTTLED = f"{Throttled.default_code.name} {Throttled.default_reason}"
_COUNTERS = ("offered", "ended", "phase_ended", "begun_by_phase", "core_us_by_phase", "reasons")
_NUMBERS = (
    *("refusals_explained", "confirms_too_late", "asked_again", "retries", "connects", "not_made"),
)


@dataclass(slots=True)
class Recording:
    """Of a whole run, or of one process' part of it."""

    offered: Counter[tuple[int, str]] = field(default_factory=Counter)
    """(second, step) -> calls that were due."""
    ended: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    """(second, step, outcome) -> calls that ended."""
    phase_ended: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    """(number of the phase, step, outcome) -> calls that ended in it."""
    by_phase: dict[tuple[int, str], Latencies] = field(default_factory=dict)
    """(number of the phase a call was due in, step) -> latencies of those served."""
    by_second: dict[tuple[int, str], Latencies] = field(default_factory=dict)
    lag: Latencies = field(default_factory=Latencies)
    """How late journeys began."""
    lag_by_phase: dict[int, Latencies] = field(default_factory=dict)
    begun_by_phase: Counter[int] = field(default_factory=Counter)
    """Number of the phase -> journeys that really began in it."""
    core_us_by_phase: Counter[int] = field(default_factory=Counter)
    """Number of the phase -> microseconds of a core that the generators used in it."""
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(step, outcome, code and reason) -> calls."""
    refusals_explained: int = 0
    """Of those turned away by the server: with a reason and a time to come back."""
    confirms_too_late: int = 0
    """Confirms that were first sent when the hold's time had passed, and were told so."""
    asked_again: int = 0
    """Confirms that were sent once more by the shopper."""
    retries: int = 0
    """Attempts that the client library made besides the first."""
    connects: int = 0
    """Connections that were made, by the light transport."""
    not_made: int = 0
    """Journeys that did not begin: too many of this generator's were under way."""

    def add(self, other: Recording) -> None:
        """Take over another one's."""
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lag.add(other.lag)
        for name in ("by_phase", "by_second", "lag_by_phase"):
            mine = getattr(self, name)
            for key, latencies in getattr(other, name).items():
                mine.setdefault(key, Latencies()).add(latencies)

    def outcomes(
        self, phases: set[int] | None = None, steps: set[str] | None = None
    ) -> Counter[str]:
        """Calls by outcome, of some phases and steps or of all."""
        found: Counter[str] = Counter()
        for (phase, step, outcome), count in self.phase_ended.items():
            if (phases is None or phase in phases) and (steps is None or step in steps):
                found[outcome] += count
        return found

    def latencies(self, phases: set[int] | None, steps: set[str]) -> Latencies:
        """Of those served, over some phases and steps."""
        found = Latencies()
        for (phase, step), latencies in self.by_phase.items():
            if (phases is None or phase in phases) and step in steps:
                found.add(latencies)
        return found

    def to_json(self) -> dict[str, Any]:
        """For a file; `from_json` reads it."""
        histograms = ("by_phase", "by_second", "lag_by_phase")
        return {
            **{name: _listed(getattr(self, name)) for name in _COUNTERS},
            **{name: getattr(self, name) for name in _NUMBERS},
            **{
                name: _listed({key: each.encode() for key, each in getattr(self, name).items()})
                for name in histograms
            },
            "lag": self.lag.encode(),
        }

    @staticmethod
    def from_json(given: dict[str, Any]) -> Recording:
        """What `to_json` wrote."""
        made = Recording()
        for name in _COUNTERS:
            getattr(made, name).update({_key(key): count for key, count in given[name]})
        for name in _NUMBERS:
            setattr(made, name, given[name])
        for name in ("by_phase", "by_second", "lag_by_phase"):
            getattr(made, name).update({_key(key): Latencies(text) for key, text in given[name]})
        made.lag = Latencies(given["lag"])
        return made


def _listed(mapping: dict[Any, Any]) -> list[list[Any]]:
    return [[list(key) if isinstance(key, tuple) else key, value] for key, value in mapping.items()]


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


class Recorder:
    """Notes calls as they end, in three numbers each; sorts them into a `Recording` afterwards."""

    def __init__(self, phase_ends: list[float]) -> None:
        """`phase_ends`: seconds from the run's beginning, ascending."""
        self._phase_ends = np.array(phase_ends)
        self._moments: dict[tuple[str, str], tuple[array[float], array[float]]] = {}
        self._began_due: array[float] = array("d")
        self._began: array[float] = array("d")
        self._held_back: dict[str, tuple[array[float], array[float]]] = {}
        self.recording = Recording()

    def began(self, due_s: float, now_s: float) -> None:
        """A journey that was due at `due_s` begins."""
        self._began_due.append(due_s)
        self._began.append(now_s)

    def ended(
        self,
        step: str,
        outcome: str,
        due_s: float,
        now_s: float,
        *,
        reason: str = "",
        is_explained: bool = False,
    ) -> None:
        """A call that was due at `due_s` has ended."""
        moments = self._moments.get((step, outcome))
        if moments is None:
            moments = self._moments[step, outcome] = (array("d"), array("d"))
        moments[0].append(due_s)
        moments[1].append(now_s)
        if reason:
            self.recording.reasons[step, outcome, reason] += 1
            self.recording.refusals_explained += is_explained

    def held_back(self, step: str, due_s: float, now_s: float) -> None:
        """A call that was due at `due_s` was held back before it was even made."""
        moments = self._held_back.get(step)
        if moments is None:
            moments = self._held_back[step] = (array("d"), array("d"))
        moments[0].append(due_s)
        moments[1].append(now_s)

    def finish(self) -> Recording:
        """Everything that was noted."""
        told = self.recording
        noted = list(self._moments.items())
        for step, moments in self._held_back.items():
            noted.append(((step, HELD_BACK), moments))
            told.reasons[step, HELD_BACK, _THROTTLED] += len(moments[0])
        for (step, outcome), (dues, ends) in noted:
            due, end = np.array(dues), np.array(ends)
            for second, count in _counted(np.floor(due)):
                told.offered[second, step] += count
            for second, count in _counted(np.floor(end)):
                told.ended[second, step, outcome] += count
            for phase, count in _counted(self._phase(end)):
                told.phase_ended[phase, step, outcome] += count
            if outcome == SERVED:
                self._sort(told.by_phase, step, self._phase(due), end - due)
                self._sort(told.by_second, step, np.floor(end), end - due)
        if self._began:
            due, began = np.array(self._began_due), np.array(self._began)
            told.lag = Latencies.of(began - due)
            phases = self._phase(began)
            for phase, count in _counted(phases):
                told.begun_by_phase[phase] += count
                told.lag_by_phase[phase] = Latencies.of((began - due)[phases == phase])
        return told

    def _phase(self, moments: np.ndarray) -> np.ndarray:
        """The number of the phase each lies in; after the last one: as many as there are."""
        return np.searchsorted(self._phase_ends, moments, side="right")

    def _sort(
        self,
        into: dict[tuple[int, str], Latencies],
        step: str,
        keys: np.ndarray,
        seconds: np.ndarray,
    ) -> None:
        for key in np.unique(keys):
            into[int(key), step] = Latencies.of(seconds[keys == key])


def _counted(keys: np.ndarray) -> list[tuple[int, int]]:
    values, counts = np.unique(keys, return_counts=True)
    return [(int(value), int(count)) for value, count in zip(values, counts, strict=True)]
