"""The limit stays within bounds, leaves fast answers alone, and finds what a server can take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.admission.gradient_limit import GradientLimit, LimitSettings

SETTINGS = LimitSettings(limit_min=10, limit_max=500, tolerated_ms_min=20, tolerated_ms_max=80)
windows = st.lists(
    st.tuples(
        st.floats(min_value=0.001, max_value=1e7, allow_nan=False),
        st.integers(min_value=0, max_value=10_000),
    ),
    max_size=200,
)


@given(windows)
def test_it_never_leaves_its_bounds(seen: list[tuple[float, int]]) -> None:
    limit = GradientLimit(SETTINGS)
    for took_ms, in_flight in seen:
        now = limit.update(took_ms, in_flight)
        assert now == limit.limit
        assert SETTINGS.limit_min <= now <= SETTINGS.limit_max
        assert SETTINGS.tolerated_ms_min <= limit.tolerated_ms <= SETTINGS.tolerated_ms_max


@given(windows, st.floats(min_value=0.001, max_value=20.0), st.integers(0, 10_000))
def test_answers_within_what_is_always_tolerated_never_lower_it(
    before: list[tuple[float, int]], took_ms: float, in_flight: int
) -> None:
    limit = GradientLimit(SETTINGS)
    for window in before:
        limit.update(*window)
    held = limit.limit
    assert limit.update(took_ms, in_flight) >= held


@given(windows, st.floats(min_value=1.0, max_value=80.0))
def test_it_does_not_grow_where_less_than_half_was_used(
    before: list[tuple[float, int]], took_ms: float
) -> None:
    limit = GradientLimit(SETTINGS)
    for window in before:
        limit.update(*window)
    held = limit.limit
    assert limit.update(took_ms, held // 2 - 1) <= held


@given(windows, st.floats(min_value=80.1, max_value=1e6), st.integers(500, 10_000))
def test_answers_beyond_what_is_ever_tolerated_lower_it(
    before: list[tuple[float, int]], took_ms: float, in_flight: int
) -> None:
    """In the end, whatever was learnt before: down to where the room to try more balances it."""
    limit = GradientLimit(SETTINGS)
    for window in before:
        limit.update(*window)
    # The nearer the balance, the smaller the steps.
    for _ in range(1_000):
        limit.update(took_ms, limit.limit)
    gradient = max(0.5, 80 / took_ms)
    balance = 1 / (1 - gradient) ** 2
    assert limit.limit <= max(SETTINGS.limit_min, math.ceil(balance) + 1)


def test_a_minute_of_congestion_does_not_become_usual() -> None:
    limit = GradientLimit(SETTINGS)
    for _ in range(600):
        limit.update(5.0, 100)
    assert limit.usual_ms == pytest.approx(5.0)
    for _ in range(600):
        limit.update(60.0, 400)
    assert limit.usual_ms < 12.0


def test_a_slower_journal_becomes_usual_in_time() -> None:
    """Ten minutes at 30 ms, where 20 were tolerated."""
    limit = GradientLimit(SETTINGS)
    limit.update(5.0, 100)
    for _ in range(6_000):
        limit.update(30.0, limit.limit)
    assert limit.tolerated_ms > 30.0
    assert limit.limit == SETTINGS.limit_max


def test_the_usual_is_forgotten_when_things_get_better() -> None:
    limit = GradientLimit(SETTINGS)
    for _ in range(3_000):
        limit.update(40.0, 400)
    for _ in range(60):
        limit.update(2.0, 400)
    assert limit.usual_ms < 5.0


@dataclass
class Ledger:
    """Answers so many a second, however many are under way; one alone takes `alone_ms`."""

    answers_per_second: float
    alone_ms: float

    def took_ms(self, in_flight: int) -> float:
        return max(self.alone_ms, in_flight / self.answers_per_second * 1e3)


@pytest.mark.parametrize("answers_per_second", [200, 1_000, 5_000])
def test_it_finds_what_a_ledger_can_take(answers_per_second: float) -> None:
    """All that comes is let in: the time settles near what is tolerated, the ledger stays busy."""
    ledger = Ledger(answers_per_second, alone_ms=3.0)
    limit = GradientLimit(
        LimitSettings(limit_min=4, limit_max=2_000, tolerated_ms_min=20, tolerated_ms_max=80)
    )
    taken = []
    for window in range(400):
        took_ms = ledger.took_ms(limit.limit)
        limit.update(took_ms, limit.limit)
        if window >= 100:
            taken.append(took_ms)
    enough = answers_per_second * 0.003
    assert min(taken) >= ledger.alone_ms
    assert limit.limit >= enough
    assert max(taken) <= 120.0


def test_it_falls_within_a_second_and_is_back_within_another() -> None:
    """Windows of 0.1 s: a ledger that loses nine tenths of its speed, and gets it back."""
    settings = LimitSettings(limit_min=4, limit_max=1_000, tolerated_ms_min=20, tolerated_ms_max=80)
    limit = GradientLimit(settings)
    fast, slow = Ledger(10_000, 2.0), Ledger(1_000, 2.0)
    for _ in range(50):
        limit.update(fast.took_ms(limit.limit), limit.limit)
    before = limit.limit
    for _ in range(10):
        limit.update(slow.took_ms(limit.limit), limit.limit)
    assert limit.limit <= 100
    for _ in range(10):
        limit.update(fast.took_ms(limit.limit), limit.limit)
    assert limit.limit >= before * 0.9


@pytest.mark.parametrize("took_ms", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_can_not_be_is_refused(took_ms: float) -> None:
    with pytest.raises(ValueError, match="took_ms"):
        GradientLimit(SETTINGS).update(took_ms, 1)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"limit_min": 0}, "limit_min"),
        ({"limit_min": 11, "limit_max": 10}, "limit_min"),
        ({"tolerance": 0.9}, "tolerance"),
        ({"tolerated_ms_min": 0.0}, "tolerated_ms_min"),
        ({"tolerated_ms_min": 9.0, "tolerated_ms_max": 8.0}, "tolerated_ms_min"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LimitSettings(**settings)  # type: ignore[arg-type]
