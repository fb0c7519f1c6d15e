"""The orders of a wave as one row of numbers, and as what a search reads of them.

Owns: `Laid`, `PackedOrders`. A wave of thousands of orders has a hundred thousand arrays. Made one
by one they cost more than a first answer; here the places of all of them are worked out at once,
and an order is only made where somebody asks for it.

Invariants
1. Numbers lie order by order, field by field in the order of `Arrays` without those of the tariff.
2. A block's addresses are those of `PackedOrders`, or of the orders' own arrays: whoever reads it
   keeps them alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np

from engine.routing.extents import EXTENTS
from engine.routing.problem import TERMS, Arrays, Problem
from engine.routing.tariff import Integers, Tariff
from engine.routing.view import View
from engine.routing.waves.wave import WaveOrder

_WORDS: Final = 4
_BYTES: Final = 8
_OF_TARIFF: Final = tuple(name for name in Arrays._fields if name not in EXTENTS)


@dataclass(frozen=True, slots=True)
class Laid:
    """O orders as arrays."""

    block: Integers
    """(O, words) of every order's view."""
    nodes: Integers
    """(O,) nodes of each."""
    lines: Integers
    """(O,) lines of each."""
    node: Integers
    """The wave's nodes of all of them, one order after another."""
    item: Integers
    """The same for items."""
    unrouted_cost: Integers
    """(O,)"""
    tariffs: Sequence[Tariff]
    tariff: Integers
    """(O,) which of `tariffs` is each one's."""


def laid_out(orders: Sequence[WaveOrder]) -> Laid:
    """Any orders. O(orders), and O(1) for `PackedOrders`."""
    if isinstance(orders, PackedOrders):
        return orders.laid
    problems = [order.problem for order in orders]
    tariffs = {id(one.tariff): one.tariff for one in problems}
    places = {key: place for place, key in enumerate(tariffs)}
    return Laid(
        block=np.stack([one.view.block.ravel() for one in problems]),
        nodes=np.array([one.nodes for one in problems], np.int64),
        lines=np.array([one.lines for one in problems], np.int64),
        node=np.concatenate([order.node for order in orders]),
        item=np.concatenate([order.item for order in orders]),
        unrouted_cost=np.array([order.unrouted_cost for order in orders], np.int64),
        tariffs=tuple(tariffs.values()),
        tariff=np.array([places[id(one.tariff)] for one in problems], np.int64),
    )


def numbers_of(orders: Sequence[WaveOrder]) -> Integers:
    """All numbers of the orders' own fields, as `PackedOrders` takes them."""
    if isinstance(orders, PackedOrders):
        return orders.numbers
    places = [Arrays._fields.index(name) for name in EXTENTS]
    numbers: Integers = np.concatenate(
        [order.problem.arrays[place].ravel() for order in orders for place in places]
    )
    return numbers


class PackedOrders(Sequence[WaveOrder]):
    """Orders that are made when they are asked for."""

    def __init__(
        self,
        numbers: Integers,
        *,
        nodes: Integers,
        lines: Integers,
        node: Integers,
        item: Integers,
        unrouted_cost: Integers,
        tariffs: Sequence[Tariff],
        tariff: Integers,
    ) -> None:
        """Fields as in `Laid`. Raises ValueError where they do not fit together."""
        services = {one.services for one in tariffs}
        if len(services) != 1:
            raise ValueError("the tariffs of a wave's orders have different services")
        if len(node) != nodes.sum() or len(item) != lines.sum():
            raise ValueError("an order names more or fewer nodes or items than it has")
        self.numbers = np.ascontiguousarray(numbers)
        extents = {
            "N": nodes,
            "L": lines,
            "S": np.full_like(nodes, services.pop()),
            "T": np.full_like(nodes, TERMS),
        }
        sizes = np.stack(
            [
                np.prod([extents[letter] for letter in letters], axis=0)
                for letters in EXTENTS.values()
            ],
            axis=1,
        )
        ends = np.cumsum(sizes.ravel()).reshape(sizes.shape)
        if ends[-1, -1] != len(numbers):
            raise ValueError(f"orders of {ends[-1, -1]} numbers have {len(numbers)}")
        self._start = ends - sizes
        self._end = ends
        self._extents = extents
        self._node_start = np.cumsum(nodes) - nodes
        self._line_start = np.cumsum(lines) - lines
        self.laid = Laid(
            self._block(tariffs, tariff),
            nodes,
            lines,
            node,
            item,
            unrouted_cost,
            tuple(tariffs),
            tariff,
        )

    def _block(self, tariffs: Sequence[Tariff], tariff: Integers) -> Integers:
        block = np.zeros((len(tariff), len(Arrays._fields), _WORDS), np.int64)
        address = int(self.numbers.__array_interface__["data"][0])
        for place, (name, letters) in enumerate(EXTENTS.items()):
            row = block[:, Arrays._fields.index(name)]
            row[:, 0] = address + _BYTES * self._start[:, place]
            for at, letter in enumerate(letters):
                row[:, 1 + at] = self._extents[letter]
        rows = np.stack(
            [View({name: getattr(one, name) for name in _OF_TARIFF}).block for one in tariffs]
        )
        block[:, [Arrays._fields.index(name) for name in _OF_TARIFF]] = rows[tariff]
        return block.reshape(len(tariff), -1)

    def __len__(self) -> int:
        return len(self.laid.tariff)

    @overload
    def __getitem__(self, at: int) -> WaveOrder: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[WaveOrder]: ...
    def __getitem__(self, at: int | slice) -> WaveOrder | Sequence[WaveOrder]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        laid = self.laid
        tariff = laid.tariffs[laid.tariff[at]]
        arrays: dict[str, Any] = {name: getattr(tariff, name) for name in _OF_TARIFF}
        for place, (name, letters) in enumerate(EXTENTS.items()):
            part = self.numbers[self._start[at, place] : self._end[at, place]]
            arrays[name] = part.reshape([self._extents[letter][at] for letter in letters])
        posed = Arrays(**arrays)
        nodes, lines = self._node_start[at], self._line_start[at]
        return WaveOrder(
            Problem(tariff, posed, View(posed._asdict())),
            laid.node[nodes : nodes + laid.nodes[at]],
            laid.item[lines : lines + laid.lines[at]],
            int(laid.unrouted_cost[at]),
        )
