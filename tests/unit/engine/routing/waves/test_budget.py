"""Counted work is the same everywhere, and says when a clock came first."""

from __future__ import annotations

import pytest

from engine.routing.waves.budget import NO_CLOCK_S, ClockBudget, WorkBudget, search_work_s


def test_work_is_spent_by_count() -> None:
    budget = WorkBudget(2.0)
    budget.spend(search_work_s(nodes=250_000, steps=0))
    assert budget.left_s() == pytest.approx(1.5)
    budget.spend(search_work_s(nodes=0, steps=100_000_000))
    assert budget.left_s() == pytest.approx(-1.5)
    assert budget.is_deterministic
    assert budget.clock_left_s() == NO_CLOCK_S


def test_a_clock_that_comes_first_is_told() -> None:
    now = [0.0]
    clock = ClockBudget(3.0, lambda: now[0])
    budget = WorkBudget(2.0, until=clock.left_s)
    budget.spend(0.5)
    assert (budget.left_s(), budget.clock_left_s()) == (1.5, 3.0)
    assert budget.is_deterministic
    now[0] = 3.0
    assert budget.left_s() == 0.0
    assert not budget.is_deterministic
    assert not clock.is_deterministic
