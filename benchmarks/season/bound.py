"""What no policy can be below, where some orders must go without.

A wave's own bound comes from prices that begin at nothing. An item of which more is asked for than
there is needs a price near what an order left unrouted costs, many times any other, and the rounds
of a wave end long before. Here the prices of such items begin there. Any prices give a bound, so
the better one counts.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.routing import limits
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.ascent import Ascent, Pricer
from engine.routing.waves.columns import Columns
from engine.routing.waves.emit import Outlet
from engine.routing.waves.memory import FINENESS, Memory
from engine.routing.waves.wave import Wave

ROUNDS: Final = 300
_FIRST_LENGTH: Final = 0.05
"""Of an order's average cost: how far one price moves at first, as in a wave."""


def clairvoyant_bound(wave: Wave, answer: WaveAnswer) -> int:
    """The better of the answer's bound and that from prices that know which items run out."""
    asked = np.zeros(wave.items, np.int64)
    for order in wave.orders:
        asked[order.item] += order.problem.arrays.quantity
    short = asked > wave.stock.sum(axis=0)
    if not short.any():
        return answer.bound
    average = sum(plan.cost for plan in answer.plans if plan is not None) / len(wave.orders)
    unrouted = max(order.unrouted_cost for order in wave.orders)
    due = answer.due.astype(np.float64)
    prices = due[: wave.stock.size].reshape(wave.stock.shape)
    # The dearest node of an item where an average order is as well left unrouted.
    prices[:, short] += (unrouted - average) * FINENESS - prices[:, short].max(axis=0)
    np.maximum(prices, 0.0, out=prices)
    ascent = Ascent(due, _FIRST_LENGTH * average * FINENESS)
    lines = max(order.problem.lines for order in wave.orders)
    pricer = Pricer(Memory(wave), Columns(), Outlet(lines), limits.work_budget)
    for _ in range(ROUNDS):
        ascent.move(pricer.price(ascent.due, 1).over)
    return max(answer.bound, pricer.bound)
