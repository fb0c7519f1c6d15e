"""Each bar is missed by a result that is bad in just that way."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.judge import Verdict
from loadtests.measures import MEASURES, RESULT_KEYS
from loadtests.result import Result
from tests.unit.loadtests.results import CAPACITY, FILE, recording, result


def missed(made: Result) -> set[str]:
    return {bar.measure for bar in made.missed()}


def test_a_good_result_misses_nothing() -> None:
    made = result()
    assert missed(made) == set()
    assert made.measured["goodput_2x"] == pytest.approx(1.0)
    assert made.measured["recovery_seconds"] == 0
    assert made.measured["sold_units"] == 99
    assert made.measured["sold_share"] == 0.99


@pytest.mark.parametrize(
    ("planted", "bar"),
    [
        ({"told": recording(served_in_overload=400, refused_in_overload=600)}, "goodput_2x"),
        ({"told": recording(slow_s=0.5)}, "admitted_p99_ms"),
        ({"told": recording(slow_s=0.5, slow_until_s=18.0)}, "recovery_seconds"),
        ({"told": recording(failed_confirms=2)}, "confirm_success"),
        ({"verdict": Verdict(oversold_units=1)}, "oversold_units"),
        ({"verdict": Verdict(lost_acknowledgements=1)}, "lost_acknowledgements"),
    ],
)
def test_a_planted_fault_misses_its_bar(planted: dict[str, Any], bar: str) -> None:
    assert bar in missed(result(**planted))


def test_a_multiple_that_the_generators_could_not_make_is_not_measured() -> None:
    made = result(told=recording(is_made=False))
    assert made.measured["goodput_2x"] is None
    assert "goodput_2x" in missed(made)
    assert any("could only make 1.0 times the capacity" in note for note in made.notes)


def test_the_peak_is_what_was_answered_when_just_so_many_came_by_themselves() -> None:
    calm, twice, after = FILE["phase"]
    made = result(phase=[{**calm, "role": "peak"}, twice, after])
    assert made.measured["capacity"] == CAPACITY
    # 50 holds and 200 confirms a second in the phase of that role, 100 holds in the overload.
    assert made.measured["peak_goodput"] == 250.0
    assert made.measured["goodput_2x"] == pytest.approx(0.4)
    assert result().measured["peak_goodput"] == result().measured["capacity"] == CAPACITY


def test_recovery_is_counted_from_the_end_of_the_last_overload() -> None:
    made = result(told=recording(slow_s=0.5, slow_until_s=12.5))
    assert made.measured["recovery_seconds"] == 3


def test_what_never_recovers_is_said_to_be_so() -> None:
    made = result(told=recording(slow_s=0.5, slow_until_s=20.0))
    assert made.measured["recovery_seconds"] == 10
    assert "not recovered within the 10 s that were watched" in made.notes


def test_an_oversold_position_seen_while_it_ran_counts_even_if_the_end_is_sound() -> None:
    made = result()
    made.samples[3].oversold_positions = 2.0
    from loadtests.result import measure

    measure(made)
    assert missed(made) == {"oversold_units"}


def test_where_there_is_a_witness_it_is_heard_and_not_the_generators() -> None:
    slow, quick = recording(slow_s=0.5), recording()
    assert missed(result(told=slow, witness=quick)) == set()
    made = result(told=quick, witness=slow)
    assert missed(made) == {"admitted_p99_ms"}
    # What the generators found is told all the same.
    generators_ms = made.measured["generators_p99_ms"]
    assert generators_ms is not None
    assert generators_ms < 100


def test_an_expired_hold_is_no_failed_confirm() -> None:
    told = recording()
    told.phase_ended[1, "confirm", "declined"] += 10
    told.reasons["confirm", "declined", "FAILED_PRECONDITION RESERVATION_EXPIRED"] += 10
    told.confirms_too_late = 10
    assert result(told=told).measured["confirm_success"] == 1.0


def test_a_hold_that_expired_while_its_confirm_was_turned_away_is_a_failed_one() -> None:
    told = recording()
    told.phase_ended[1, "confirm", "declined"] += 10
    told.reasons["confirm", "declined", "FAILED_PRECONDITION RESERVATION_EXPIRED"] += 10
    assert result(told=told).measured["confirm_success"] == 1_000 / 1_010
    assert "confirm_success" in missed(result(told=told))


def test_every_measure_has_a_value_or_none() -> None:
    assert set(result().measured) == set(MEASURES)


def test_the_last_line_has_its_keys() -> None:
    assert list(result().line()) == ["scenario", *RESULT_KEYS]
    assert result().line()["goodput_5x"] is None
