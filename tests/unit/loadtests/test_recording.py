"""Histograms and recordings of several processes are merged without loss."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from loadtests.histogram import Latencies
from loadtests.recording import DECLINED, HELD_BACK, REFUSED, SERVED, Recorder, Recording


def some(seed: int, count: int) -> list[float]:
    chance = random.Random(seed)
    return [chance.expovariate(50) for _ in range(count)]


def test_a_merged_histogram_is_that_of_all_values() -> None:
    parts = [some(seed, 2_000) for seed in range(4)]
    merged = Latencies()
    for part in parts:
        merged.add(Latencies.of(part))
    whole = Latencies.of([value for part in parts for value in part])
    assert len(merged) == len(whole) == 8_000
    for percentile in (1, 50, 90, 99, 99.9, 100):
        assert merged.ms(percentile) == whole.ms(percentile)


def test_percentiles_are_exact_to_three_digits() -> None:
    values = some(5, 10_000)
    latencies = Latencies.of(values)
    for percentile in (50, 90, 99):
        exact = float(np.percentile(values, percentile, method="inverted_cdf")) * 1e3
        assert latencies.ms(percentile) == pytest.approx(exact, rel=2e-3)


def test_an_encoded_histogram_is_the_same() -> None:
    latencies = Latencies.of(some(6, 1_000))
    back = Latencies(latencies.encode())
    assert len(back) == 1_000
    assert back.ms(99) == latencies.ms(99)


def test_an_empty_histogram_has_no_percentile() -> None:
    assert Latencies().ms(99) is None


def test_what_lies_beyond_the_bounds_counts_as_the_bound() -> None:
    latencies = Latencies.of([0.0, 10_000.0])
    assert len(latencies) == 2
    assert latencies.ms(100) == pytest.approx(600_000, rel=1e-3)


def recorded(seed: int) -> Recording:
    recorder = Recorder([2.0, 4.0])
    chance = random.Random(seed)
    for _ in range(500):
        due = chance.uniform(0, 4)
        recorder.began(due, due + 0.001)
        outcome = chance.choice([SERVED, DECLINED, REFUSED])
        reason = "" if outcome == SERVED else "UNAVAILABLE OVERLOADED"
        recorder.ended(
            "hold",
            outcome,
            due,
            due + chance.expovariate(20),
            reason=reason,
            is_explained=outcome == REFUSED,
        )
    told = recorder.finish()
    told.retries = seed
    told.connects = 8
    told.core_us_by_phase[1] = 10 * seed
    return told


def test_a_recording_survives_its_way_through_a_file() -> None:
    told = recorded(1)
    back = Recording.from_json(json.loads(json.dumps(told.to_json())))
    assert back.to_json() == told.to_json()
    assert back.outcomes() == told.outcomes()


def test_merged_recordings_add_up() -> None:
    one, other = recorded(1), recorded(2)
    merged = Recording()
    merged.add(one)
    merged.add(other)
    assert merged.outcomes() == one.outcomes() + other.outcomes()
    assert merged.offered.total() == merged.ended.total() == 1_000
    assert merged.retries == 3
    assert merged.connects == 16
    assert merged.core_us_by_phase == {1: 30}
    assert merged.refusals_explained == merged.outcomes()[REFUSED]
    assert len(merged.lag) == 1_000
    assert len(merged.latencies(None, {"hold"})) == merged.outcomes()[SERVED]


def test_a_call_is_offered_when_due_and_counted_in_the_phase_it_ends_in() -> None:
    recorder = Recorder([1.0, 2.0])
    recorder.ended("hold", SERVED, 0.9, 1.5)
    told = recorder.finish()
    assert told.offered == {(0, "hold"): 1}
    assert told.phase_ended == {(1, "hold", SERVED): 1}
    assert set(told.by_phase) == {(0, "hold")}
    assert told.latencies({0}, {"hold"}).ms(50) == pytest.approx(600, rel=2e-3)


def test_what_was_held_back_at_once_counts_like_what_was_held_back_later() -> None:
    recorder = Recorder([2.0])
    recorder.held_back("hold", 0.5, 0.6)
    recorder.held_back("hold", 1.5, 1.6)
    recorder.ended("hold", HELD_BACK, 1.7, 1.8, reason="UNAVAILABLE THROTTLED")
    told = recorder.finish()
    assert told.outcomes() == {HELD_BACK: 3}
    assert told.reasons == {("hold", HELD_BACK, "UNAVAILABLE THROTTLED"): 3}
    assert told.ended == {(0, "hold", HELD_BACK): 1, (1, "hold", HELD_BACK): 2}
    assert told.refusals_explained == 0
