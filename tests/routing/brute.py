"""Every plan there is, one by one: the definition of a problem, written down as plainly as it goes.

Nothing here knows lots, bounds or kernels: amounts of each line over the nodes, each constraint
checked as it is worded, each shipment priced by `engine.routing.plan`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from engine.routing.plan import shipment
from engine.routing.problem import NO_GROUP, SHIP_COMPLETE, SHIPMENTS_MAX, SPLIT_COST, Problem

Amounts = dict[int, dict[int, int]]


def splits(problem: Problem, line: int) -> Iterator[dict[int, int]]:
    """All ways to take a line from the nodes: units by node."""
    wanted = int(problem.arrays.quantity[line])
    ranges = [range(min(wanted, int(there)) + 1) for there in problem.arrays.stock[:, line]]
    for units in itertools.product(*ranges):
        if sum(units) == wanted:
            yield {node: many for node, many in enumerate(units) if many}


def is_allowed(problem: Problem, amounts: Amounts) -> bool:
    """Capacity, number of shipments, what is kept together."""
    a = problem.arrays
    if len(amounts) > a.terms[SHIPMENTS_MAX]:
        return False
    if a.terms[SHIP_COMPLETE] and len(amounts) > 1:
        return False
    if any(sum(units.values()) > a.pick_capacity[node] for node, units in amounts.items()):
        return False
    for group in {int(one) for one in a.group if one != NO_GROUP}:
        lines = {line for line in range(problem.lines) if a.group[line] == group}
        if sum(bool(lines & units.keys()) for units in amounts.values()) > 1:
            return False
    return True


def plans(problem: Problem) -> dict[frozenset[int], int]:
    """The least cost over every set of nodes that can ship the order, using all of them."""
    prices: dict[tuple[int, tuple[tuple[int, int], ...]], int | None] = {}

    def price(node: int, units: dict[int, int]) -> int | None:
        key = (node, tuple(sorted(units.items())))
        if key not in prices:
            costs = [
                one.cost
                for service in range(problem.tariff.services)
                if (one := shipment(problem, node, service, units)) is not None
            ]
            prices[key] = min(costs) if costs else None
        return prices[key]

    best: dict[frozenset[int], int] = {}
    choices = [list(splits(problem, line)) for line in range(problem.lines)]
    for choice in itertools.product(*choices):
        amounts: Amounts = {}
        for line, units in enumerate(choice):
            for node, many in units.items():
                amounts.setdefault(node, {})[line] = many
        if not is_allowed(problem, amounts):
            continue
        total = int(problem.arrays.terms[SPLIT_COST]) * (len(amounts) - 1)
        for node, units in amounts.items():
            cost = price(node, units)
            if cost is None:
                break
            total += cost
        else:
            nodes = frozenset(amounts)
            best[nodes] = min(total, best.get(nodes, total))
    return best
