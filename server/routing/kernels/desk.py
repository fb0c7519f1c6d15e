"""A problem in memory that is there already, and what a reply needs of its plan.

``k`` has the views of a desk: the ledger's tables ``st``, a network's ``n``, ``o``, ``p`` and ``x``
of `server.routing.kernels.filling`, the search's memory ``w``, ``t`` of
`engine.routing.express.pricing` with one number more (`LIMITED_SLOTS`), and its own, ``d``:
``stock`` and ``rows`` (N, L), ``chosen`` (N), ``lines`` (L, LINE_FACTS), ``told`` (8, TOLD),
``row_of`` (I, N) the rows found for items plus 1, and ``row_seen`` (I) among how many positions.
The arrays have room for the largest order of the desk; how much of it an order uses stands in the
views' blocks, which is what makes one piece of memory serve orders of every size.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.compiled import Integer, kernel
from engine.positions import find_stock
from engine.routing.express.pricing import CARRIED_BY as CARRIED_BY_SERVICE
from engine.routing.express.pricing import HEAD, NODE, PRICED, SHIPMENTS, ZONE, plan
from engine.routing.problem import NO_GROUP
from server.routing.kernels.filling import UNITS, UNLIMITED, fill, weigh

# What an extent of an array is.
BY_LINE: Final = 1
BY_NODE: Final = 2
BY_SERVICE: Final = 3

# Places in a row of d.lines.
SKU_KEY: Final = 0
QUANTITY: Final = 1
WEIGHT: Final = 2
VOLUME: Final = 3
CARRIED_BY: Final = 4
ITEM: Final = 5
LINE_FACTS: Final = 6

# Places in a row of d.told.
NUMBER: Final = 0
PICK_DAY: Final = 1
PICK_KNOWN: Final = 2
READY_MS: Final = 3
SLOT_KNOWN: Final = 4
DELIVERY_MIN: Final = 5
DELIVERY_MAX: Final = 6
DISTANCE: Final = 7
IN_TIME_PPM: Final = 8
SLOT_DEFAULT: Final = 9
PICK_LIMITED: Final = 10
SLOT_LIMITED: Final = 11
# Where the name of a limited slot stands among the writer's texts: see `writing`.
SLOT_AT: Final = 12
SLOT_BYTES: Final = 13
TOLD: Final = 14

# The last number of t.head: shipments whose pickup takes so many parcels and no more.
LIMITED_SLOTS: Final = HEAD

_PPM: Final = 1_000_000


@kernel
def resize(
    block: NDArray[np.int64], extents: NDArray[np.int64], lines: int, nodes: int, services: int
) -> None:
    """Write how much of each array is in use. `extents`: (fields, 3) what each extent is, 0: as
    it stands."""
    for field in range(extents.shape[0]):
        for place in range(3):
            what = extents[field, place]
            if what == BY_LINE:
                block[field, 1 + place] = lines
            elif what == BY_NODE:
                block[field, 1 + place] = nodes
            elif what == BY_SERVICE:
                block[field, 1 + place] = services


@kernel
def _find_rows(st: Any, n: Any, d: Any, line: int) -> None:
    """The rows of a line's stock at every node: those found before stay where they are, the others
    are looked for again once the ledger has more positions."""
    item = d.lines[line, ITEM]
    sku_key = np.uint64(d.lines[line, SKU_KEY])
    count = st.meta[0].position_count
    is_new = d.row_seen[item] != count
    d.row_seen[item] = count
    rows, known = d.rows, d.row_of[item]
    for node in range(rows.shape[0]):
        row = known[node] - 1
        if row < 0 and is_new:
            row = np.int64(find_stock(st, sku_key, np.uint64(n.node_key[node])))
            known[node] = row + 1
        rows[node, line] = row


@kernel
def assemble(
    k: Any,
    block: NDArray[np.int64],
    extents: NDArray[np.int64],
    lines: int,
    services: int,
) -> Integer:
    """The problem of the order in d.lines: how many nodes it has. O(N L + K (L + S)).

    `block` and `extents`: those of the views o, p, x and d, one behind the other.
    """
    st, n, o, p, x, d = k.st, k.n, k.o, k.p, k.x, k.d
    resize(block, extents, lines, 0, services)
    total = np.int64(0)
    for line in range(lines):
        o.sku_key[line] = d.lines[line, SKU_KEY]
        total += d.lines[line, QUANTITY]
        _find_rows(st, n, d, line)
    o.numbers[UNITS] = total
    count = weigh(st, o, d.stock, d.rows, d.chosen)
    resize(block, extents, lines, count, services)
    for line in range(lines):
        p.quantity[line] = d.lines[line, QUANTITY]
        p.unit_weight_g[line] = d.lines[line, WEIGHT]
        p.unit_volume_cm3[line] = d.lines[line, VOLUME]
        p.carried_by[line] = d.lines[line, CARRIED_BY]
        p.group[line] = NO_GROUP
    fill(st, n, o, p, x, d.chosen[:count], d.stock, d.rows)
    return count


@kernel
def solve(k: Any, budget: Integer) -> Integer:
    """The best plan of the problem, priced; what came of it, as
    `engine.routing.express.pricing.plan` says it, and what a reply tells of it."""
    found = plan(k.p, k.w, k.t, budget)
    if found == PRICED:
        _tell(k.n, k.x, k.p, k.d, k.t)
    return found


@kernel
def _tell(n: Any, x: Any, p: Any, d: Any, t: Any) -> None:
    """Fill d.told: what a reply says of each shipment besides its price."""
    t.head[LIMITED_SLOTS] = 0
    for place in range(t.head[SHIPMENTS]):
        node = t.shipments[place, NODE]
        service = t.shipments[place, CARRIED_BY_SERVICE]
        number = d.chosen[node]
        d.told[place, NUMBER] = number
        d.told[place, PICK_DAY] = x.pick_day[node]
        d.told[place, PICK_KNOWN] = x.pick_known[node]
        d.told[place, READY_MS] = x.ready_ms[node, service]
        d.told[place, SLOT_KNOWN] = x.slot_known[node, service]
        d.told[place, SLOT_DEFAULT] = x.slot_default[node, service]
        d.told[place, DELIVERY_MIN] = x.delivery_min[node, service]
        d.told[place, DELIVERY_MAX] = x.delivery_max[node, service]
        d.told[place, DISTANCE] = p.distance[node]
        of_zone = n.service_ppm[service, t.shipments[place, ZONE]]
        d.told[place, IN_TIME_PPM] = n.reliability_ppm[number] * of_zone // _PPM
        has_capacity = x.pick_known[node] != 0 or n.pick_default[number] < UNLIMITED
        d.told[place, PICK_LIMITED] = 1 if has_capacity else 0
        has_slot = x.slot_known[node, service] != 0 or x.slot_default[node, service] < UNLIMITED
        d.told[place, SLOT_LIMITED] = 1 if has_slot else 0
        d.told[place, SLOT_AT] = 0
        d.told[place, SLOT_BYTES] = 0
        t.head[LIMITED_SLOTS] += 1 if has_slot else 0
