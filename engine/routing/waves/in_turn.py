"""One order after another, each at its cheapest.

`take_turns` is the step that the solver begins with, and `route_in_slices` a wave without its
solver: what a server does by itself when that is not to be had. Between two slices it can do
something else. The answer is that of the solver's first stage, marked HEURISTIC.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.routing import limits
from engine.routing.plan import Status
from engine.routing.tariff import Integers
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.columns import Columns
from engine.routing.waves.emit import STEPS, Outlet
from engine.routing.waves.memory import Memory
from engine.routing.waves.pool import NONE
from engine.routing.waves.pricing import route_in_turn
from engine.routing.waves.wave import Wave


def take_turns(
    memory: Memory,
    columns: Columns,
    out: Outlet,
    turn: Integers,
    chosen: Integers,
    work_budget: int,
) -> int:
    """Route the orders of `turn`, in that order, at the memory's prices over what is left there.

    `chosen`: (O,) the column of each order; those of the orders that got a plan are set. The steps
    that the searches took.
    """
    unrouted = memory.rest.arrays["unrouted"]
    first = steps = 0
    out.clear()
    while first < len(turn):
        first = route_in_turn(
            memory.rest,
            memory.source,
            memory.seen,
            memory.work,
            out.view,
            turn,
            first,
            work_budget,
        )
        steps += int(out.state[STEPS])
        places = columns.add(out)
        places = places[columns.cost[places] < unrouted[columns.order[places]]]
        chosen[columns.order[places]] = places
    return steps


def route_in_slices(
    wave: Wave, orders: int, *, work_budget: int = limits.work_budget
) -> Iterator[WaveAnswer | None]:
    """None once the wave is laid out and after every `orders` orders, and at last the answer."""
    memory, columns = Memory(wave), Columns()
    out = Outlet(memory.lines)
    unrouted = memory.rest.arrays["unrouted"]
    count = len(wave.orders)
    chosen = np.full(count, NONE)
    yield None
    for begin in range(0, count, orders):
        turn = np.arange(begin, min(count, begin + orders))
        take_turns(memory, columns, out, turn, chosen, work_budget)
        yield None
    routed = chosen != NONE
    cost = int(columns.cost[chosen[routed]].sum() + unrouted[~routed].sum())
    yield WaveAnswer(
        wave=wave,
        status=Status.HEURISTIC,
        cost=cost,
        bound=0,
        sequential_cost=cost,
        columns=columns,
        chosen=chosen,
        impossible=frozenset(),
        due=memory.due,
        work_s=0.0,
    )
