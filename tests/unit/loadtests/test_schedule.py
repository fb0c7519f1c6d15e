"""Arrivals are where the rate says, alike for the same seed, and add up over generators."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.schedule import Stretch, arrival_times, inverse

CALM_THEN_BUSY = [Stretch(10, 20, 20), Stretch(5, 200, 200), Stretch(10, 20, 20)]


def even(stretches: list[Stretch], part: int = 0, parts: int = 1) -> np.ndarray:
    return arrival_times(stretches, is_poisson=False, seed=1, part=part, parts=parts)


def poisson(
    stretches: list[Stretch], *, seed: int = 1, part: int = 0, parts: int = 1
) -> np.ndarray:
    return arrival_times(stretches, is_poisson=True, seed=seed, part=part, parts=parts)


def test_even_arrivals_have_even_gaps() -> None:
    times = even([Stretch(2, 50, 50)])
    assert len(times) == 100
    assert np.diff(times) == pytest.approx(0.02)


def test_each_stretch_has_its_number_of_arrivals() -> None:
    times = even(CALM_THEN_BUSY)
    counts, _ = np.histogram(times, [0, 10, 15, 25])
    assert counts.tolist() == [200, 1000, 200]


def test_a_ramp_begins_and_ends_at_its_rates() -> None:
    times = even([Stretch(10, 0, 1000)])
    assert len(times) == 5000
    # The running number is 50 t^2: a quarter of all by half of the time.
    assert times[1250] == pytest.approx(5.0)
    assert 1 / np.diff(times)[-1] == pytest.approx(1000, rel=0.01)


def test_a_ramp_down_is_the_mirror_of_a_ramp_up() -> None:
    up = inverse([Stretch(10, 0, 100)], np.array([0.0, 100.0, 400.0]))
    down = inverse([Stretch(10, 100, 0)], np.array([500.0 - 400.0, 500.0 - 100.0]))
    assert 10 - down[::-1] == pytest.approx(up[1:])


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_even_parts_are_the_whole(parts: int) -> None:
    together = np.sort(np.concatenate([even(CALM_THEN_BUSY, at, parts) for at in range(parts)]))
    assert together == pytest.approx(even(CALM_THEN_BUSY))


@pytest.mark.parametrize("seed", range(5))
def test_poisson_has_the_mean_and_the_scatter_of_its_law(seed: int) -> None:
    times = poisson([Stretch(200, 100, 100)], seed=seed)
    gaps = np.diff(times)
    assert np.all(gaps >= 0)
    # 20,000 arrivals: six standard deviations of their number, and of the mean and scatter of gaps.
    assert abs(len(times) - 20_000) < 6 * np.sqrt(20_000)
    assert gaps.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps.std() == pytest.approx(0.01, rel=0.05)


def test_poisson_parts_have_the_rate_together() -> None:
    parts = [poisson(CALM_THEN_BUSY, part=part, parts=4) for part in range(4)]
    total = sum(len(part) for part in parts)
    assert abs(total - 1400) < 6 * np.sqrt(1400)
    assert all(len(part) > 200 for part in parts)
    assert not np.isin(parts[0], parts[1]).any()


def test_the_same_seed_gives_the_same_arrivals_and_another_one_others() -> None:
    assert poisson(CALM_THEN_BUSY, seed=3).tolist() == poisson(CALM_THEN_BUSY, seed=3).tolist()
    assert poisson(CALM_THEN_BUSY, seed=3).tolist() != poisson(CALM_THEN_BUSY, seed=4).tolist()


def test_a_rate_of_nothing_has_no_arrivals() -> None:
    assert len(even([Stretch(10, 0, 0)])) == 0
    times = even([Stretch(10, 0, 0), Stretch(1, 10, 10)])
    assert len(times) == 10
    assert times[0] == pytest.approx(10.0)
