"""One timer for the earliest expiry, armed as seldom as possible."""

from __future__ import annotations

from server.application.expiry_pulse import ExpiryPulse
from tests.simulation.manual_clock import START_MS, ManualClock


def pulse() -> tuple[ManualClock, ExpiryPulse, list[int]]:
    clock = ManualClock()
    woken: list[int] = []
    return clock, ExpiryPulse(clock, lambda: woken.append(clock.now_ms() - START_MS)), woken


def test_it_wakes_at_the_time_and_once() -> None:
    clock, subject, woken = pulse()
    subject.aim(START_MS + 500)
    clock.advance(499)
    assert woken == []
    clock.advance(10_000)
    assert woken == [500]


def test_an_earlier_expiry_moves_the_timer_and_a_later_one_does_not() -> None:
    clock, subject, woken = pulse()
    subject.aim(START_MS + 500)
    subject.aim(START_MS + 900)
    assert clock.armed == [START_MS + 500]
    subject.aim(START_MS + 200)
    assert clock.armed == [START_MS + 200]
    clock.advance(1_000)
    assert woken == [200]
    subject.aim(START_MS + 1_500)
    clock.advance(1_000)
    assert woken == [200, 1_500]


def test_with_no_hold_open_nothing_is_armed() -> None:
    clock, subject, _ = pulse()
    subject.aim(-1)
    assert clock.armed == []


def test_a_stopped_pulse_is_silent_until_aimed_again() -> None:
    clock, subject, woken = pulse()
    subject.aim(START_MS + 100)
    subject.stop()
    subject.stop()
    clock.advance(200)
    assert woken == []
    subject.aim(START_MS + 300)
    clock.advance(200)
    assert woken == [300]
