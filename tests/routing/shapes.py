"""Problems small enough to check by hand: a flat tariff, one zone, costs that are easy to add."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.routing.problem import Problem
from engine.routing.tariff import Tariff

FLAT = Tariff.of(step_g=[1000, 2000, 5000], rate=[[[500, 700, 1000]]], transit_days=[[2]])
"""One service, one zone: 5.00 up to 1 kg, 7.00 up to 2 kg, 10.00 up to 5 kg; two days."""

TWO_CARRIERS = Tariff.of(
    step_g=[1000, 2000, 5000],
    rate=[[[500, 700, 1000]], [[900, 950, 990]]],
    transit_days=[[4], [1]],
)
"""The one above, but four days; and an express: 9.00, 9.50, 9.90 and one day."""


def problem(stock: Any, tariff: Tariff = FLAT, **values: Any) -> Problem:
    """Units of 600 g at nodes all in zone 0, one unit of each line wanted."""
    nodes, lines = np.shape(stock)
    return Problem.of(
        tariff,
        **{
            "quantity": np.ones(lines, np.int64),
            "unit_weight_g": 600,
            "stock": stock,
            "zone": np.zeros((nodes, tariff.services), np.int64),
        }
        | values,
    )
