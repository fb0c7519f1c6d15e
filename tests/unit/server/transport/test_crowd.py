"""Crowd: whether a call waits for company, how long, and when enough are together."""

from __future__ import annotations

import pytest

from server.transport.crowd import Crowd


def crowd(under_way: int, busy_share: float) -> Crowd:
    made = Crowd(lambda: busy_share)
    for _ in range(under_way):
        made.enter()
    return made


def test_a_few_are_no_load_and_many_are_for_a_while() -> None:
    few = crowd(3, 1.0)
    assert not few.is_load
    many = crowd(40, 1.0)
    for _ in range(40):
        many.leave()
    assert many.is_load
    for _ in range(100):
        many.set_goes()
    assert not many.is_load


@pytest.mark.parametrize(
    ("busy_share", "patience"), [(0.0, 0.1), (0.2, 0.1), (0.5, 0.25), (1.0, 1.0), (1.3, 1.0)]
)
def test_the_less_time_the_loop_has_the_longer_company_is_waited_for(
    busy_share: float, patience: float
) -> None:
    assert crowd(40, busy_share).patience == pytest.approx(patience)


@pytest.mark.parametrize(
    ("under_way", "busy_share", "together"),
    [(64, 0.5, 32), (64, 1.0, 58), (10, 1.0, 9), (6, 1.0, 8), (6, 0.5, 8), (4000, 1.0, 1024)],
)
def test_most_of_those_under_way_are_enough(
    under_way: int, busy_share: float, together: int
) -> None:
    assert together - 1 < crowd(under_way, busy_share).enough <= together
