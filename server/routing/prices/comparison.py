"""What prices changed of one order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.routing.prices.decide import Mode, plain_cost
from engine.routing.solver import Answer
from server.routing.assembly import Assembly


@dataclass(frozen=True, slots=True)
class Opportunity:
    """What prices said of one order."""

    mode: Mode
    changes_plan: bool
    dearer_by: int
    """What the plan with prices costs more, prices left out, in minor units."""
    other_nodes: tuple[str, ...]
    """Where the plans differ: the nodes of the one not given."""


def compared(
    mode: Mode, assembly: Assembly, plain: Answer, priced: Answer, cost: NDArray[np.int64]
) -> Opportunity:
    """What prices changed. `priced` is the answer with `cost` in the problem."""
    changes = priced.amounts[0] != plain.amounts[0]
    if not changes:
        return Opportunity(mode, False, 0, ())
    other = plain.plans[0] if mode is Mode.ON else priced.plans[0]
    names = assembly.network.node_names
    return Opportunity(
        mode,
        True,
        plain_cost(priced.problem, priced.plans[0], cost) - plain.cost,
        tuple(names[int(assembly.nodes[one.node])] for one in other.shipments),
    )
