"""From assembled orders to one wave of `engine.routing.waves`, a few orders at a time.

Owns: `WaveDraft`. An assembly picks the day and the pickups each node would serve its order by. A
wave shares them, so of each node it uses one day, the first on which any of its orders could be
picked there, and of each service there one pickup; for an order that is too large for that day the
node is closed. Later days and pickups come afterwards, order by order
(`server.transport.wave_later`).

Ring-fences hold order by order here; what several orders of a channel take together is held
against them when the plans are held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.routing import limits as solver
from engine.routing.plan import Plan
from engine.routing.waves.answer import WaveAnswer
from engine.routing.waves.wave import Wave, WaveOrder
from engine.state import State
from server.routing.assembly import Assembly, add_capacities
from server.routing.network import Network
from server.routing.orders import Held

Integers = NDArray[np.int64]

_ORDERS_PER_SLICE = 32
_LEFT_TIMES = 10
"""Leaving an order costs so many times what it and an average one cost alone."""
_NEVER = np.int64(1) << 40


class TooManyPositions(Exception):
    """The wave's nodes times its SKUs are beyond `positions_per_wave_max`."""


class WaveDraft:
    """Orders of one network, on their way to a wave."""

    def __init__(self, network: Network, held: Held | None = None) -> None:
        """`held`: what promised orders of the wave hold together, which any of them may use."""
        self._network = network
        self._held = held
        self.assemblies: list[Assembly] = []
        self._costs: list[int] = []
        self._costs_sum = 0
        nodes = len(network.node_names)
        self._day = np.full(nodes, _NEVER)
        self._units_most = 0
        self._places: Sequence[Integers] = ()
        self._is_late = np.zeros(0, np.bool_)
        """(N,) by the wave's nodes: whether some order could only ship from there later."""
        self.cells = 0
        """Nodes times services over all orders: what its memory goes by."""

    def __len__(self) -> int:
        return len(self.assemblies)

    def add(self, assembly: Assembly, cost: int) -> int:
        """One order, and what it costs alone; its place in the wave."""
        self.assemblies.append(assembly)
        self._costs.append(cost)
        self._costs_sum += cost
        self._units_most = max(self._units_most, sum(assembly.order.quantities))
        days = np.where(assembly.pick_day > 0, assembly.pick_day, _NEVER)
        self._day[assembly.nodes] = np.minimum(self._day[assembly.nodes], days)
        self.cells += assembly.problem.arrays.zone.size
        return len(self.assemblies) - 1

    def nodes_of(self, place: int) -> Integers:
        """The wave's nodes of an order; known once the wave is laid out."""
        return self._places[place]

    def cost_alone(self, place: int) -> int:
        """Of an order's best plan, whatever the others do."""
        return self._costs[place]

    def short_nodes(self, answer: WaveAnswer) -> NDArray[np.bool_]:
        """(N,) by the wave's nodes: where an order may do better on a later day or by a later
        pickup, as that of the wave is closed to one, or may have too little left for one."""
        wave = answer.wave
        nodes, items = wave.stock.shape
        of_nodes = slice(nodes * items, nodes * items + nodes)
        taken, left = answer.taken, wave.capacity - answer.taken
        is_short = (taken > 0) & (left < self._units_most)
        by_service = is_short[of_nodes.stop :].reshape(nodes, -1)
        found: NDArray[np.bool_] = self._is_late | is_short[of_nodes] | by_service.any(axis=1)
        return found

    def left_cost(self, place: int) -> int:
        """What the wave counts for leaving an order without a plan."""
        alone = self._costs[place] + self._costs_sum // len(self._costs)
        return min(solver.cost_max, _LEFT_TIMES * alone + 1)

    def lay_out(self, state: State) -> Iterator[_Parts | None]:
        """None after every few orders, and at last what `_Parts.wave` makes the wave of.

        Raises TooManyPositions.
        """
        parts = _Parts(self, self._network, self._day)
        for begin in range(0, len(self), _ORDERS_PER_SLICE):
            for assembly in self.assemblies[begin : begin + _ORDERS_PER_SLICE]:
                parts.note_names(assembly)
            yield None
        parts.make_room()
        for begin in range(0, len(self), _ORDERS_PER_SLICE):
            parts.note_stock(slice(begin, begin + _ORDERS_PER_SLICE), state)
            yield None
        self._places, self._is_late = parts.node, parts.is_late
        if self._held is not None:
            parts.give_back(self._held)
        yield parts


class _Parts:
    """What a wave is made of."""

    def __init__(self, draft: WaveDraft, network: Network, day: Integers) -> None:
        self._draft = draft
        self._network = network
        self._day = day
        self._node_place = np.full(len(network.node_names), -1)
        self._nodes = 0
        self._item_place: dict[str, int] = {}
        self.node: list[Integers] = []
        """By order: the wave's nodes of it."""
        self._item: list[Integers] = []

    def note_names(self, assembly: Assembly) -> None:
        """Number the nodes and items of an order."""
        places = self._node_place[assembly.nodes]
        if self._nodes < len(self._node_place) and (fresh := assembly.nodes[places < 0]).size:
            self._node_place[fresh] = np.arange(self._nodes, self._nodes + len(fresh))
            self._nodes += len(fresh)
            places = self._node_place[assembly.nodes]
        self.node.append(places)
        known = self._item_place
        items = [known.setdefault(sku, len(known)) for sku in assembly.order.skus]
        self._item.append(np.array(items, np.int64))

    def make_room(self) -> None:
        """Room for what there is of everything. Raises TooManyPositions."""
        nodes, items, services = self._nodes, len(self._item_place), self._network.collect + 1
        if nodes * items > solver.positions_per_wave_max:
            raise TooManyPositions(nodes * items, solver.positions_per_wave_max)
        self._stock = np.zeros((nodes, items), np.int64)
        self._pick = np.zeros(nodes, np.int64)
        self._slots = np.zeros((nodes, services), np.int64)
        self._ready = np.full((nodes, services), -1, np.int64)
        self.is_late = np.zeros(nodes, np.bool_)
        """(N,) whether an order could only ship from there later than the wave does."""

    def note_stock(self, part: slice, state: State) -> None:
        """What there is at the nodes of some orders, and which of them are open to each in this
        wave. Of each node the first of all orders says when a service's pickup is."""
        some = self._draft.assemblies[part]
        nodes, items = self.node[part], self._item[part]
        node = np.concatenate(nodes)
        self._note_positions(some, nodes, items, state)
        days = self._day[np.concatenate([one.nodes for one in some])]
        picks = np.concatenate([one.pick_day for one in some])
        same_day = picks == days
        left = np.concatenate([one.pick_left for one in some])
        np.maximum.at(self._pick, node, np.where(same_day, left, 0))
        ready = np.concatenate([one.ready_ms for one in some])
        self._note_pickups(node, np.where(same_day[:, None], ready, -1))
        other = (self._ready[node] != ready) | ~same_day[:, None]
        slots = np.concatenate([one.problem.arrays.slots for one in some])
        np.maximum.at(self._slots, node, np.where(other, 0, slots))
        if same_day.all() and not slots[other].any():
            return
        self.is_late[node[(picks > days) | (other & (slots > 0)).any(axis=1)]] = True
        begin = 0
        for one in some:
            end = begin + len(one.nodes)
            a = one.problem.arrays
            a.node_open[~same_day[begin:end]] = 0
            a.slots[other[begin:end]] = 0
            begin = end

    def _note_positions(
        self,
        some: Sequence[Assembly],
        nodes: Sequence[Integers],
        items: Sequence[Integers],
        state: State,
    ) -> None:
        every = self._stock.shape[1]
        row = np.concatenate([one.positions.ravel() for one in some])
        place = np.concatenate(
            [(at[:, None] * every + of).ravel() for at, of in zip(nodes, items, strict=True)]
        )
        one = state.positions[np.maximum(row, 0)]
        there = one["on_hand"] - one["held"] - one["committed"] - one["withheld"]
        self._stock.ravel()[place] = np.where(row < 0, 0, np.maximum(there, 0))

    def _note_pickups(self, node: Integers, ready: Integers) -> None:
        """`ready`: (n, S) of n nodes, -1 where an order says nothing."""
        at, service = np.nonzero((ready >= 0) & (self._ready[node] < 0))
        # The last one written stands: backwards, it is the first.
        backwards = slice(None, None, -1)
        self._ready[node[at][backwards], service[backwards]] = ready[at, service][backwards]

    def give_back(self, held: Held) -> None:
        """Add the stock that promised orders of the wave hold; capacities have it already."""
        for (node, sku), units in held.stock.items():
            number = self._network.node_number.get(node, -1)
            place = self._node_place[number] if number >= 0 else -1
            item = self._item_place.get(sku, -1)
            if place >= 0 and item >= 0:
                self._stock[place, item] += units

    def wave(self) -> Wave:
        """The wave, without a look at what is right as it was made. Touches nothing of the ledger:
        may run in a thread of its own."""
        draft = self._draft
        return Wave(
            self._slots.shape[1],
            tuple(
                WaveOrder(assembly.problem, node, item, draft.left_cost(place))
                for place, (assembly, node, item) in enumerate(
                    zip(draft.assemblies, self.node, self._item, strict=True)
                )
            ),
            stock=self._stock,
            pick_capacity=self._pick,
            slots=self._slots,
        )


class Taken:
    """What plans take of the ledger, by name, being added up."""

    def __init__(self, free: Held | None) -> None:
        """`free`: what promised orders hold, and give back."""
        self._stock: dict[str, dict[str, int]] = {}
        self._pick: dict[tuple[str, int], int] = {}
        self._slots: dict[tuple[str, str], int] = {}
        self._capacities_on: dict[Any, tuple[Integers, Integers]] = {}
        if free is not None:
            for (node, sku), units in free.stock.items():
                self._add_stock(node, sku, units)
            self._pick.update(free.pick)
            self._slots.update(free.slots)

    def add(self, assembly: Assembly, plan: Plan) -> None:
        """One plan's."""
        self._change(assembly, plan, -1)

    def give_back(self, assembly: Assembly, plan: Plan) -> None:
        """One plan's, which was added before."""
        self._change(assembly, plan, 1)

    def _change(self, assembly: Assembly, plan: Plan, times: int) -> None:
        taken = takes_of(assembly, plan)
        for (node, sku), units in taken.stock.items():
            self._add_stock(node, sku, times * units)
        for day, units in taken.pick.items():
            self._pick[day] = self._pick.get(day, 0) + times * units
        for slot, parcels in taken.slots.items():
            self._slots[slot] = self._slots.get(slot, 0) + times * parcels
        network = assembly.network
        known = self._capacities_on.get((network.schedule, network.schedule.renewals))
        if known is not None:
            add_capacities(network, taken, *known, times)

    def _add_stock(self, node: str, sku: str, units: int) -> None:
        at = self._stock.setdefault(sku, {})
        at[node] = at.get(node, 0) + units

    def beside(self, skus: Sequence[str]) -> Held:
        """What an order of these SKUs may use beside the ledger's when all this is taken, until
        more is."""
        stock = {
            (node, sku): units for sku in skus for node, units in self._stock.get(sku, {}).items()
        }
        return Held(stock, self._pick, self._slots, self._capacities_on)


def takes_of(assembly: Assembly, plan: Plan) -> Held:
    """What a plan takes of the ledger, by name."""
    network = assembly.network
    stock: dict[tuple[str, str], int] = {}
    pick: dict[tuple[str, int], int] = {}
    slots: dict[tuple[str, str], int] = {}
    for one in plan.shipments:
        node = network.node_names[int(assembly.nodes[one.node])]
        for line, quantity in one.units.items():
            stock[node, assembly.order.skus[line]] = quantity
        pick[node, int(assembly.pick_day[one.node])] = sum(one.units.values())
        if one.service != network.collect:
            slots[node, assembly.slot_name(one.node, one.service)] = len(one.parcels)
    return Held(stock, pick, slots)


def slot_defaults_of(assembly: Assembly, plan: Plan) -> dict[tuple[str, str], int]:
    """Parcels that the pickups of a plan take where the ledger says nothing, by (node, slot)."""
    network = assembly.network
    return {
        (
            network.node_names[int(assembly.nodes[one.node])],
            assembly.slot_name(one.node, one.service),
        ): int(assembly.slot_default[one.node, one.service])
        for one in plan.shipments
        if one.service != network.collect
    }


def together(holds: Sequence[Held]) -> Held | None:
    """What several orders hold; None for none."""
    if not holds:
        return None
    stock: Counter[tuple[str, str]] = Counter()
    pick: Counter[tuple[str, int]] = Counter()
    slots: Counter[tuple[str, str]] = Counter()
    for held in holds:
        stock.update(held.stock)
        pick.update(held.pick)
        slots.update(held.slots)
    return Held(stock, pick, slots)
