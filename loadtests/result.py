"""From what was recorded to the measures that bars are about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from loadtests.events import Happened
from loadtests.histogram import Latencies
from loadtests.judge import Verdict
from loadtests.measures import MEASURES, RESULT_KEYS
from loadtests.probe import Sample
from loadtests.recording import ANSWERED, REFUSED, SERVED, Recording
from loadtests.scenario import Bar, Scenario

_MULTIPLES = {"goodput_2x": 2.0, "goodput_5x": 5.0, "goodput_10x": 10.0}
# A multiple counts as measured when that part of its journeys really began.
_MADE_SHARE_MIN = 0.8
_RECOVERED_SECONDS = 3
_RECOVERED_SHARE = 0.99
_RECOVERED_P99_MS_MIN = 50.0
_HELD = {"hold"}


@dataclass(slots=True, kw_only=True)
class Result:
    """Everything about one run; `measure` fills in `measured`."""

    scenario: Scenario
    stretches: list[tuple[float, float, float]]
    """(seconds, journeys a second at the beginning, at the end) of each phase."""
    capacity: tuple[float, float] | None
    """Calls answered and journeys a second, where it was measured."""
    recording: Recording
    witness: Recording | None
    """What the witness alone found, where there was one; `recording` counts it too."""
    samples: list[Sample]
    happened: Happened
    verdict: Verdict
    verification_differences: int
    deaths: int
    drains_s: list[float]
    start_unix_s: float = 0.0
    is_quick: bool = False
    machine: str = ""
    measured: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """The last line of a run."""
        told: dict[str, Any] = {"scenario": self.scenario.name}
        for name in RESULT_KEYS:
            value = self.measured.get(name)
            told[name] = None if value is None else _rounded(value)
        return told

    def missed(self) -> list[Bar]:
        """Bars that were not reached."""
        return [bar for bar in self.scenario.bars if not bar.is_reached(self.measured[bar.measure])]

    @property
    def heard(self) -> Recording:
        """Whose latencies are the server's: the witness', where there was one."""
        return self.witness or self.recording

    def phases_of(self, role: str) -> set[int]:
        """Numbers of the phases with that role."""
        return {at for at, phase in enumerate(self.scenario.phases) if phase.role == role}

    def p99_by_second(self, step: str) -> dict[int, float]:
        """Second -> p99 of calls that were served and ended in it, ms."""
        return {
            second: latencies.ms(99) or 0.0
            for (second, name), latencies in self.recording.by_second.items()
            if name == step
        }


def measure(result: Result) -> None:
    """Fill in `measured`; what this run does not measure is None."""
    told: dict[str, float | None] = dict.fromkeys(MEASURES)
    recording, verdict = result.recording, result.verdict
    _goodput(result, told)
    overload = result.phases_of("overload")
    baseline = result.phases_of("baseline")
    told["admitted_p99_ms"] = result.heard.latencies(overload or None, _HELD).ms(99)
    told["baseline_p99_ms"] = result.heard.latencies(baseline, _HELD).ms(99)
    told["generators_p99_ms"] = recording.latencies(overload or None, _HELD).ms(99)
    if told["baseline_p99_ms"] and told["admitted_p99_ms"] and overload:
        told["p99_growth"] = told["admitted_p99_ms"] / told["baseline_p99_ms"]
    if overload:
        told["recovery_seconds"] = _recovery_s(result, told["baseline_p99_ms"])
    held = recording.outcomes(overload, _HELD)
    if overload and held.total():
        told["overload_hold_success"] = sum(held[each] for each in ANSWERED) / held.total()
    told["confirm_success"] = _confirm_success(recording)
    ended = recording.outcomes()
    if total := ended.total():
        told["failed_calls_share"] = 1 - sum(ended[outcome] for outcome in ANSWERED) / total
        told["refusals_explained"] = (
            recording.refusals_explained / ended[REFUSED] if ended[REFUSED] else 1.0
        )
    sizes = [sample.memory_bytes for sample in result.samples if sample.memory_bytes]
    if sizes:
        told["memory_growth_mib"] = (max(sizes) - sizes[0]) / 2**20
    if result.drains_s:
        told["drain_seconds"] = max(result.drains_s)
    if any(event.kind == "feed" for event in result.scenario.events):
        told["feed_rows"] = result.happened.feed_rows
    answered = [sample for sample in result.samples if sample.is_answered]
    if answered:
        told["expired_holds"] = max(sample.expired_holds for sample in answered)
        told["expiry_late_ms_max"] = max(sample.expiry_due_ms for sample in answered)
    if result.scenario.shop.hot_share:
        told["sold_units"] = verdict.sold_units
        told["sold_share"] = verdict.sold_units / result.scenario.shop.units
    told["generator_lag_p99_ms"] = recording.lag.ms(99)
    told["oversold_units"] = max(
        [verdict.oversold_units, *(int(sample.oversold_positions) for sample in result.samples)]
    )
    told["unsold_while_refused"] = verdict.unsold_while_refused
    told["lost_acknowledgements"] = verdict.lost_acknowledgements
    told["verification_faults"] = verdict.fault_count + result.verification_differences
    told["server_deaths"] = result.deaths
    result.measured = told


def answered_in(recording: Recording, phases: set[int]) -> int:
    """Calls that the ledger answered in these phases."""
    outcomes = recording.outcomes(phases)
    return sum(outcomes[outcome] for outcome in ANSWERED)


def _goodput(result: Result, told: dict[str, float | None]) -> None:
    recording, scenario = result.recording, result.scenario
    seconds = [phase.seconds for phase in scenario.phases]
    if baseline := result.phases_of("baseline"):
        told["goodput_baseline"] = answered_in(recording, baseline) / sum(
            seconds[at] for at in baseline
        )
    if result.capacity is None:
        return
    peak, journeys = result.capacity
    told["capacity"] = peak
    if at_peak := result.phases_of("peak"):
        peak = answered_in(recording, at_peak) / sum(seconds[at] for at in at_peak)
    told["peak_goodput"] = peak
    for name, multiple in _MULTIPLES.items():
        phases = {
            at
            for at, phase in enumerate(scenario.phases)
            if phase.times == multiple and phase.until is None
        }
        if not phases or not peak or not journeys:
            continue
        length = sum(seconds[at] for at in phases)
        share = answered_in(recording, phases) / length / peak
        made = sum(recording.begun_by_phase[at] for at in phases) / length / journeys
        if made >= _MADE_SHARE_MIN * multiple:
            told[name] = share
        else:
            result.notes.append(
                f"{name} is not measured: the generators could only make {made:.1f} times the "
                f"capacity, of which goodput was {share:.3f} of the peak"
            )
    if journeys:
        told["offered_multiple_max"] = max(
            recording.begun_by_phase[at] / length / journeys for at, length in enumerate(seconds)
        )


def _confirm_success(recording: Recording) -> float | None:
    outcomes = recording.outcomes(steps={"confirm"})
    asked = outcomes.total() - recording.confirms_too_late
    return outcomes[SERVED] / asked if asked > 0 else None


def _recovery_s(result: Result, baseline_p99_ms: float | None) -> float | None:
    """Seconds after the last overload; as long as was looked, where it did not come to that."""
    ends = result.scenario.starts_s()
    last = max(result.phases_of("overload"))
    phase = result.scenario.phases[last]
    end = ends[phase.name] + phase.seconds
    watched = int(result.scenario.seconds - end)
    limit_ms = max(2 * (baseline_p99_ms or 0.0), _RECOVERED_P99_MS_MIN)
    p99 = result.p99_by_second("hold")
    ended: dict[int, list[int]] = {}
    for (second, _, outcome), count in result.recording.ended.items():
        row = ended.setdefault(second, [0, 0])
        row[0] += count
        row[1] += count if outcome in ANSWERED else 0
    calm = 0
    for number in range(watched):
        second = int(end) + number
        total, answered = ended.get(second, [0, 0])
        is_calm = (
            total > 0
            and answered >= _RECOVERED_SHARE * total
            and p99.get(second, limit_ms + 1) <= limit_ms
        )
        calm = calm + 1 if is_calm else 0
        if calm == _RECOVERED_SECONDS:
            return float(number + 1 - _RECOVERED_SECONDS)
    if watched < _RECOVERED_SECONDS:
        return None
    result.notes.append(f"not recovered within the {watched} s that were watched")
    return float(watched)


def latencies_of(result: Result, phase: int, step: str) -> list[tuple[str, Latencies]]:
    """Those of one phase and step, if there were any, and whose they are."""
    found = [("", result.recording.by_phase.get((phase, step)))]
    if result.witness is not None:
        found.append(("the witness", result.witness.by_phase.get((phase, step))))
    return [(who, latencies) for who, latencies in found if latencies is not None]


def _rounded(value: float) -> float | int:
    return int(value) if value == int(value) else float(f"{value:.5g}")
