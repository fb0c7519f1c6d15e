"""The throttle sends what the server takes, and a little more to notice that it is back."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from holdfast.errors import Throttled
from holdfast.retry import Attempts, Patience, RetryBudget, RetryPolicy
from holdfast.throttle import Throttle


def test_nothing_is_dropped_while_the_server_answers():
    throttle = Throttle(k=2)
    for second in range(500):
        assert throttle.admit(second, chance=0.0)
        throttle.accepted(second)


def test_twice_what_the_server_takes_is_let_through():
    throttle = Throttle(k=2, window_s=120)
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
            else:
                throttle.turned_away(now_s)
    assert accepted == pytest.approx(600 * 20, rel=0.05)
    assert let_through == pytest.approx(2 * accepted, rel=0.1)


def test_some_calls_always_get_through():
    throttle = Throttle(k=2)
    for _ in range(1_000):
        throttle.admit(0.0, chance=0.0)
        throttle.turned_away(0.0)
    assert not throttle.admit(0.0, chance=0.99)
    assert throttle.admit(0.0, chance=0.9995)


def test_what_is_older_than_the_window_is_forgotten():
    throttle = Throttle(k=2, window_s=120)
    for _ in range(100):
        throttle.admit(0.0, chance=1.0)
    throttle.turned_away(119.0)
    assert not throttle.admit(119.0, chance=0.5)
    throttle.turned_away(245.0)
    assert throttle.admit(245.0, chance=0.0)


@pytest.mark.parametrize(("k", "window_s"), [(0.9, 120), (2, 0), (2, -1)])
def test_settings_that_make_no_sense_are_refused(k: float, window_s: float):
    with pytest.raises(ValueError, match="k must be"):
        Throttle(k, window_s)


def test_calm_is_above_zero():
    with pytest.raises(ValueError, match="calm_s must be"):
        Throttle(calm_s=0)


class Server:
    """Takes so many calls a second, in one queue of so many; knows no time but what it is told."""

    def __init__(self, calls_per_s: float, queue_max: int) -> None:
        self.calls_per_s = calls_per_s
        self.queue_max = queue_max
        self.queue = 0.0

    def takes(self) -> bool:
        if self.queue >= self.queue_max:
            return False
        self.queue += 1
        return True


def test_fifty_clients_are_back_a_second_after_a_tenfold_spike():
    """The clients offer ten times what the server takes for 30 s, then four fifths of it."""
    chance = random.Random(7)
    clients = [Throttle(k=1.3) for _ in range(50)]
    server = Server(1_000, queue_max=60)
    answered: Counter[int] = Counter()
    sent: Counter[int] = Counter()
    due = 0.0
    for tick in range(3_600):  # of 10 ms
        now_s = tick / 100
        due += (10.0 if now_s < 30 else 0.8) * 10
        while due >= 1:
            due -= 1
            client = chance.choice(clients)
            if not client.admit(now_s, chance.random()):
                continue
            sent[int(now_s)] += 1
            if server.takes():
                client.accepted(now_s)
                answered[int(now_s)] += 1
            else:
                client.turned_away(now_s)
        server.queue = max(0.0, server.queue - 10)
    spike = range(5, 30)
    assert sum(answered[second] for second in spike) >= 0.99 * 25 * 1_000
    assert sum(sent[second] for second in spike) <= 2.0 * 25 * 1_000
    assert [answered[second] for second in range(32, 36)] == pytest.approx([800] * 4, rel=0.02)


def test_who_asks_before_the_attempt_is_counted_once():
    throttle = Throttle(k=1.0)
    chance = 0.5
    policy = RetryPolicy()
    patience = Patience(policy, RetryBudget(policy), throttle, lambda: 1.0, lambda: chance)
    first = Attempts(patience, repeatable=True, timeout_s=1.0)
    assert first.admitted()
    first.begin()
    assert throttle._requests == 1
    first.begin()  # its second attempt asks anew
    assert throttle._requests == 2
    throttle.turned_away(1.0)
    chance = 0.1
    held_back = Attempts(patience, repeatable=True, timeout_s=1.0)
    assert not held_back.admitted()
    assert throttle._requests == 3
    with pytest.raises(Throttled):
        Attempts(patience, repeatable=True, timeout_s=1.0).begin()
    urgent = Attempts(patience, repeatable=True, timeout_s=1.0, urgent=True)
    assert urgent.admitted()
    urgent.begin()
    assert throttle._requests == 5
