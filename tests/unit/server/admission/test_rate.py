"""A bucket gives what fills it, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.admission.rate import TokenBucket


@given(
    st.floats(min_value=0.1, max_value=1e4),
    st.floats(min_value=1, max_value=1e4),
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 100)), max_size=100),
)
def test_no_more_than_the_burst_and_what_came_in_since(
    per_second: float, burst: float, asked: list[tuple[float, int]]
) -> None:
    """Not counting the last one taken, which may go into debt."""
    bucket = TokenBucket(per_second, burst, 0.0)
    now_s = taken = last = 0.0
    for wait_s, tokens in asked:
        now_s += wait_s
        if bucket.take(tokens, now_s) == 0.0:
            taken += last
            last = tokens
        assert taken <= burst + per_second * now_s + 1e-6


@given(st.floats(min_value=0.1, max_value=1e4), st.integers(1, 1_000))
def test_who_waits_as_told_gets_a_token(per_second: float, tokens: int) -> None:
    bucket = TokenBucket(per_second, 1.0, 0.0)
    assert bucket.take(tokens, 0.0) == 0.0
    wait_s = bucket.take(1, 0.0)
    assert wait_s > 0
    assert bucket.take(1, wait_s * 0.99 - 1e-6) > 0
    assert bucket.take(1, wait_s * 1.000001) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1.0, 100.0)
    assert bucket.take(1, 100.0) == 0.0
    assert bucket.take(1, 50.0) == pytest.approx(1.0)
    assert bucket.take(1, 101.0) == 0.0


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0.5)])
def test_buckets_that_never_give_are_refused(per_second: float, burst: float) -> None:
    with pytest.raises(ValueError, match="per_second"):
        TokenBucket(per_second, burst, 0.0)
