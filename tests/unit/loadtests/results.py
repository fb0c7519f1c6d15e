"""A result made by hand: some calls, some samples, all of it sound unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from loadtests import scenario
from loadtests.events import Happened
from loadtests.judge import Verdict
from loadtests.probe import Sample
from loadtests.recording import REFUSED, SERVED, Recorder, Recording
from loadtests.result import Result, measure

FILE: dict[str, Any] = {
    "title": "A <made> result",
    "description": "Nothing of it happened.",
    "load": {"saturation_s": 1},
    "shop": {"hot_share": 1.0, "units": 100},
    "phase": [
        {"name": "calm", "seconds": 5, "times": 0.5, "role": "baseline"},
        {"name": "twice", "seconds": 5, "times": 2, "role": "overload"},
        {"name": "after", "seconds": 10, "times": 0.5, "role": "recovery"},
    ],
    "journey": [{"name": "buys", "steps": ["hold", "think:1", "confirm"]}],
    "bar": [
        {"measure": "goodput_2x", "at_least": 0.9},
        {"measure": "admitted_p99_ms", "at_most": 100},
        {"measure": "recovery_seconds", "at_most": 5},
        {"measure": "confirm_success", "at_least": 0.999},
        {"measure": "oversold_units", "at_most": 0},
        {"measure": "lost_acknowledgements", "at_most": 0},
    ],
}
CAPACITY = 100.0


def recording(
    *,
    served_in_overload: int = 500,
    refused_in_overload: int = 500,
    slow_s: float = 0.01,
    slow_until_s: float = 10.0,
    failed_confirms: int = 0,
    is_made: bool = True,
) -> Recording:
    """50 calls a second, in the overload as many served and refused as said, then 50 again.

    `is_made`: whether the generators could begin those too.
    """
    recorder = Recorder([5.0, 10.0, 20.0])
    for number in range(20 * 50):
        due = number / 50
        if 5 <= due < 10:
            continue
        recorder.began(due, due)
        latency_s = slow_s if 10 <= due < slow_until_s else 0.01
        recorder.ended("hold", SERVED, due, due + latency_s)
    for number in range(served_in_overload):
        due = 5 + 4.9 * number / served_in_overload
        recorder.began(due, due)
        recorder.ended("hold", SERVED, due, due + slow_s)
    for number in range(refused_in_overload):
        due = 5 + 4.9 * number / refused_in_overload
        if is_made:
            recorder.began(due, due)
        recorder.ended(
            "hold", REFUSED, due, due, reason="UNAVAILABLE OVERLOADED", is_explained=True
        )
    for number in range(1_000):
        due = 0.0049 * number
        outcome = REFUSED if number < failed_confirms else SERVED
        recorder.ended("confirm", outcome, due, due, reason="" if outcome == SERVED else "X")
    return recorder.finish()


def result(
    *,
    verdict: Verdict | None = None,
    told: Recording | None = None,
    witness: Recording | None = None,
    notes: list[str] | None = None,
    **changes: Any,
) -> Result:
    """Measured."""
    made = Result(
        scenario=scenario.parse("made", {**FILE, **changes}, file="made.toml"),
        stretches=[(5, 50, 50), (5, 200, 200), (10, 50, 50)],
        capacity=(CAPACITY, CAPACITY),
        recording=told or recording(),
        witness=witness,
        samples=[
            Sample(
                float(at), 2**29, {"reserve": 3.0 * at}, 4.0, 0.0, 1.0, 7.0, 50.0, True, 0.5 * at
            )
            for at in range(20)
        ],
        happened=Happened(marks=[(6.0, 8.0, "something happens")]),
        verdict=verdict or Verdict(commands=1_000, revision=1_000, acknowledged=900, sold_units=99),
        verification_differences=0,
        deaths=0,
        drains_s=[0.5],
        start_unix_s=1_800_000_000.0,
        machine="a machine",
        notes=notes or [],
    )
    measure(made)
    return made
