"""`Views`: what a kernel reaches through it, and what may not take another's place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.compiled import kernel
from engine.routing.view import View, Views


@kernel
def _sum(k: Any) -> int:
    total = 0
    for row in range(k.a.numbers.shape[0]):
        total += k.a.numbers[row]
    return total + k.b.others[0, 0]


def _numbers(*values: int) -> View:
    return View({"numbers": np.array(values, np.int64)})


def test_another_view_of_the_same_type_takes_its_place() -> None:
    views = Views(a=_numbers(1, 2), b=View({"others": np.full((1, 1), 100)}))
    assert _sum(views) == 103
    views.put("a", _numbers(3, 4, 5))
    assert _sum(views) == 112


@pytest.mark.parametrize(
    "other",
    [
        View({"numbers": np.zeros((1, 1), np.int64)}),
        View({"others": np.zeros(1, np.int64)}),
        View({"numbers": np.zeros(1, np.int64), "others": np.zeros(1, np.int64)}),
    ],
)
def test_a_view_of_another_type_is_refused(other: View) -> None:
    views = Views(a=_numbers(1, 2), b=View({"others": np.full((1, 1), 100)}))
    with pytest.raises(ValueError, match="'a' would be of another type"):
        views.put("a", other)
    assert _sum(views) == 103
