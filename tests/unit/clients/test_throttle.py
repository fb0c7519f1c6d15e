"""The throttle sends what the server takes, and a little more to notice that it is back."""

from __future__ import annotations

import pytest

from holdfast.throttle import Throttle


def test_nothing_is_dropped_while_the_server_answers():
    throttle = Throttle(k=2)
    for second in range(500):
        assert throttle.admit(second, chance=0.0)
        throttle.accepted(second)


def test_twice_what_the_server_takes_is_let_through():
    throttle = Throttle(k=2)
    let_through = accepted = 0
    for call in range(60_000):  # 100 calls a second at a server that takes 20
        now_s = call / 100
        if call % 100 == 0:
            room = 20
        if throttle.admit(now_s, chance=(call * 0.618034) % 1):
            let_through += 1
            if room:
                room -= 1
                accepted += 1
                throttle.accepted(now_s)
    assert accepted == pytest.approx(600 * 20, rel=0.05)
    assert let_through == pytest.approx(2 * accepted, rel=0.1)


def test_some_calls_always_get_through():
    throttle = Throttle(k=2)
    for _ in range(1_000):
        throttle.admit(0.0, chance=0.0)
    assert throttle.admit(0.0, chance=0.9995)


def test_what_is_older_than_the_window_is_forgotten():
    throttle = Throttle(k=2, window_s=120)
    for _ in range(100):
        throttle.admit(0.0, chance=1.0)
    assert not throttle.admit(119.0, chance=0.5)
    assert throttle.admit(245.0, chance=0.0)


@pytest.mark.parametrize(("k", "window_s"), [(0.9, 120), (2, 0), (2, -1)])
def test_settings_that_make_no_sense_are_refused(k: float, window_s: float):
    with pytest.raises(ValueError, match="k must be"):
        Throttle(k, window_s)
