"""What a plan pays for units that it takes together.

A cut of a wave (`engine.routing.waves.cuts`) names places, each a line at a node or all lines at a
node, and charges a plan

    price x floor((offset + units that the plan takes at the places) / 2)

No price is negative, so whatever bounds a plan's cost without them bounds it with them: the search
needs to add them only where it has a whole plan in hand. They depend on amounts alone and leave
the choice of services as it is. An order by itself has none.
"""

from __future__ import annotations

from typing import Any, Final

from engine.compiled import Integer, kernel
from engine.routing.problem import NO_GROUP, SHIP_COMPLETE
from engine.routing.work import CUTS, LOTS

EVERY_LINE: Final = -1
"""In place of a line: all units that the node ships."""


@kernel
def _units(p: Any, w: Any, place: Integer, line: Integer) -> Integer:
    """What the trial takes of a line, or of all, at one of its nodes."""
    if line == EVERY_LINE:
        units = 0
        for lot in range(w.state[LOTS]):
            units += w.trial_amount[place, lot] * w.lot_units[lot]
        return units
    units = w.trial_amount[place, w.lot_of[line]]
    if p.terms[SHIP_COMPLETE] == 1 or p.group[line] != NO_GROUP:
        units *= p.quantity[line]
    return units


@kernel
def cuts_of_trial(p: Any, w: Any, size: Integer) -> Integer:
    """What the cuts charge the plan in the trial arrays. O(cuts x places x size)."""
    total = 0
    for cut in range(w.state[CUTS]):
        taken = w.cut_offset[cut]
        for at in range(w.cut_start[cut], w.cut_start[cut + 1]):
            for place in range(size):
                if w.trial_node[place] == w.cut_node[at]:
                    taken += _units(p, w, place, w.cut_line[at])
        total += w.cut_price[cut] * (taken >> 1)
    return total
