"""A wave as the kernels see it: every order's problem by its address, what is left, what it costs.

Owns: `Memory`. The kernels of one order read a problem behind one pointer (`engine.routing.view`).
Here that pointer leads to a window: a block of addresses that a `@kernel` fills in for one order
after another, so that a wave is walked without a step in Python. Two windows lie over each order,
`source`, the order as it was posed, and `seen`, the same with the stock and capacity that are left
and with prices on them.

Money in `seen` counts in 1/FINENESS of a minor unit: prices on resources are seldom whole.

Invariants
1. Every array lives as long as the `Memory`, and is never reallocated.
2. ``stock_left``, ``pick_left`` and ``slots_left`` are parts of ``left``, and the three dues of
   ``due``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engine.routing.problem import Arrays
from engine.routing.tariff import NO_RATE, Integers, Tariff
from engine.routing.view import View
from engine.routing.waves.packed import laid_out
from engine.routing.waves.wave import Wave
from engine.routing.work import work_for

FINENESS: Final = 16
"""Parts of a minor unit that prices on resources count in."""

PLANS_MAX: Final = 8
"""Plans of one order that one look may yield."""

CUTS_MAX: Final = 256
"""Cuts of one wave (`cuts`)."""

ROWS_PER_CUT_MAX: Final = 8
"""Rows of one cut."""

_REPLACED: Final = (
    "stock",
    "pick_capacity",
    "shipment_cost",
    "unit_cost",
    "opportunity_cost",
    "service_cost",
    "slots",
    "terms",
)
"""Fields of a problem that `seen` has of its own. So it has "charge", one for each tariff."""


class Memory:
    """Views over a wave, and the memory that its kernels work in; one caller at a time."""

    def __init__(self, wave: Wave) -> None:
        laid = laid_out(wave.orders)
        nodes = int(laid.nodes.max())
        lines = int(laid.lines.max())
        services = wave.services
        first = wave.orders[0].problem.arrays
        self.source = _window(first)
        self.seen = _window(first)
        self._scratch = {
            "stock": np.zeros((nodes, lines), np.int64),
            "pick_capacity": np.zeros(nodes, np.int64),
            "shipment_cost": np.zeros(nodes, np.int64),
            "unit_cost": np.zeros(nodes, np.int64),
            "opportunity_cost": np.zeros((nodes, lines), np.int64),
            "service_cost": np.zeros((nodes, services), np.int64),
            "slots": np.zeros((nodes, services), np.int64),
            "terms": np.zeros_like(first.terms),
        }
        assert tuple(self._scratch) == _REPLACED
        self._charges = [_finer(tariff) for tariff in laid.tariffs]
        self._work = work_for(
            nodes, lines, PLANS_MAX, cuts=CUTS_MAX, places=CUTS_MAX * ROWS_PER_CUT_MAX
        )
        self.work = View(self._work._asdict())
        self.capacity = wave.capacity
        self.due = np.zeros_like(self.capacity)
        """(R,) price of one of each resource, in 1/FINENESS of a minor unit."""
        self.left = self.capacity.copy()
        """(R,) what no plan has taken."""
        self.bound = np.zeros(len(wave.orders), np.int64)
        """(O,) what an order costs at least at the prices, in 1/FINENESS of a minor unit."""
        self._shared = {
            "block": laid.block,
            "source_words": self.source.block.reshape(-1),
            "seen_words": self.seen.block.reshape(-1),
            "scratch": np.array(
                [
                    _address(self._scratch[name]) if name in _REPLACED else 0
                    for name in Arrays._fields
                ],
                np.int64,
            ),
            "charge": np.array([_address(one) for one in self._charges], np.int64)[laid.tariff],
            "node_start": _starts(laid.nodes),
            "node": laid.node,
            "item_start": _starts(laid.lines),
            "item": laid.item,
            "unrouted": laid.unrouted_cost,
            "bound": self.bound,
        }
        self.nodes = len(laid.node)
        """Nodes of all orders together: what one look at each of them goes through."""
        self.lines = lines
        """Lines of the order that has most."""
        self._wave = wave
        self.whole = self._view(self.capacity)
        """The wave with all of its resources."""
        self.rest = self._view(self.left)
        """The wave with what is left of them."""

    def _view(self, left: Integers) -> View:
        return View(self._shared | self._parts("left", left) | self._parts("due", self.due))

    def _parts(self, name: str, flat: Integers) -> dict[str, Integers]:
        """A row of resources, and its three kinds as tables."""
        nodes, items = self._wave.stock.shape
        stock, pick = nodes * items, nodes * items + nodes
        return {
            name: flat,
            f"stock_{name}": flat[:stock].reshape(nodes, items),
            f"pick_{name}": flat[stock:pick],
            f"slots_{name}": flat[pick:].reshape(nodes, -1),
        }


def _window(arrays: Any) -> View:
    """A view whose block is filled in later; its first arrays are only there for their type."""
    return View({name: array.copy() for name, array in arrays._asdict().items()})


def _finer(tariff: Tariff) -> Integers:
    """What a tariff's parcels cost, in 1/FINENESS of a minor unit."""
    return np.where(tariff.charge < NO_RATE, tariff.charge * FINENESS, NO_RATE)


def _address(array: Integers) -> int:
    return int(array.__array_interface__["data"][0])


def _starts(sizes: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
