"""A desk: memory and look-ups of one network version, at which usual orders are planned.

Invariants
1. What an order finds in the memory was written for it: kernels write before they read.
2. One order at a time; what is to be kept of it is taken away before the next one comes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.routing import limits
from engine.routing.express import pricing
from engine.routing.problem import TERMS
from engine.routing.solver import Solver
from engine.routing.view import View, Views
from engine.state import State
from server.caller import Caller
from server.documents import ITEM
from server.routing import assembly
from server.routing.express.reader import UsualOrder, read_order
from server.routing.items import ItemFacts, Items
from server.routing.kernels import deciding, filling
from server.routing.kernels import desk as kernels
from server.routing.kernels.reading import FIRST_LINE, LINES_MAX
from server.routing.lanes import Destination, Lanes
from server.routing.layout import Fixed
from server.routing.network import ChannelFacts, Network
from server.routing.rules.ruling import NO_RULE

Integers = NDArray[np.int64]

DESTINATIONS_KEPT_MAX: Final = 20_000
_ROWS_BYTES_MAX: Final = 64 * 1024 * 1024
"""For the rows of items' stock at the nodes."""
_ITEMS_KEPT_MAX: Final = 50_000
_SHIPMENTS_MAX: Final = limits.shipments_per_plan_max
_ROWS: Final = [struct.Struct("=" + "qqqqqq" * lines) for lines in range(LINES_MAX + 1)]
_LETTERS: Final = {
    "L": kernels.BY_LINE,
    "N": kernels.BY_NODE,
    "S": kernels.BY_SERVICE,
}
_SHIPMENT: Final = pricing.SHIPMENT


class _Known(NamedTuple):
    """An item that was asked for."""

    facts: ItemFacts
    document: tuple[int, str]
    """What it was read from."""
    row: tuple[int, ...]
    """For the kernels; empty: the plain path must take it."""
    number: int


_NONE: Final = (b"", -1)


class Place(NamedTuple):
    """A destination that was looked up."""

    destination: Destination
    time_zone: str
    lanes: Lanes


class Planned(NamedTuple):
    """An order that has a plan."""

    order: UsualOrder
    place: Place
    cost: int
    bound: int
    """No plan is cheaper."""
    shipments: int
    limited_slots: int
    """Shipments whose pickup takes so many parcels and no more."""
    nanoseconds: int
    """Of the search."""


class Desk:
    """Plans usual orders over one network version."""

    def __init__(
        self,
        network: Network,
        items: Items,
        solver: Solver,
        place_of: Callable[[bytes], tuple[Destination, str] | None],
    ) -> None:
        """`place_of`: a destination from its bytes; None where it is to be refused."""
        self.network = network
        self._items = items
        self._solver = solver
        self._place_of = place_of
        self._places: dict[bytes, Place] = {}
        self._known: dict[bytes, _Known] = {}
        rules = network.rules
        # Rules that ask about an order, or keep lines together, are for the plain path.
        self.is_open = not rules.needs_facts and 0 < len(network.node_names) <= _NODES_MAX
        if self.is_open:
            self.is_open = not rules.always.keep_together
        if self.is_open:
            self._make_memory()

    def _make_memory(self) -> None:
        network, ruling = self.network, self.network.rules.always
        nodes, services = len(network.node_names), network.collect + 1
        tariff = network.tariff()
        self.tariff = tariff.tariff
        self.is_without_exclusions = bool(
            (ruling.node_rule == NO_RULE).all() and (ruling.service_rule == NO_RULE).all()
        )
        """Whether no rule keeps out a node or a service."""
        sizes = {
            "N": nodes,
            "L": LINES_MAX,
            "S": services,
            "T": TERMS,
            "M": filling.NUMBERS,
        }

        def room(fields: dict[str, str], given: dict[str, Integers]) -> dict[str, Integers]:
            return {
                name: given[name]
                if not letters
                else np.zeros([sizes[letter] for letter in letters], np.int64)
                for name, letters in fields.items()
            }

        none = {name: fixed.array for name, fixed in assembly.nothing_back().items()}
        first = np.zeros((nodes, services), np.int64)
        self._asked = room(
            assembly.ASKED_FIELDS,
            {
                "node_open": ruling.node_open,
                "service_open": ruling.service_open,
                "service_penalty": ruling.fixed_service_penalty.array,
                "node_penalty": ruling.fixed_node_penalty.array,
                "zone": first,
                "distance": first[:, 0].copy(),
                **none,
            },
        )
        self._problem = room(
            assembly.PROBLEM_FIELDS, {name: one.array for name, one in tariff.fixed.items()}
        )
        self._beside = room(assembly.BESIDE_FIELDS, {})
        self._items_max = max(LINES_MAX, min(_ITEMS_KEPT_MAX, _ROWS_BYTES_MAX // (8 * nodes)))
        own = {
            "stock": np.zeros((nodes, LINES_MAX), np.int64),
            "rows": np.zeros((nodes, LINES_MAX), np.int64),
            "chosen": np.zeros(nodes, np.int64),
            "lines": np.zeros((LINES_MAX, kernels.LINE_FACTS), np.int64),
            "told": np.zeros((_SHIPMENTS_MAX, kernels.TOLD), np.int64),
            # Zero pages: only items that were asked for take memory.
            "row_of": np.zeros((self._items_max, nodes), np.int64),
            "row_seen": np.zeros(self._items_max, np.int64),
        }
        answer = {
            "rate": tariff.tariff.rate,
            "co2e_g": tariff.tariff.co2e_g,
            "head": np.zeros(pricing.HEAD + 1, np.int64),
            "shipments": np.zeros((_SHIPMENTS_MAX, _SHIPMENT), np.int64),
            "amounts": np.zeros((_SHIPMENTS_MAX, LINES_MAX), np.int64),
        }
        views = [View(arrays) for arrays in (self._asked, self._problem, self._beside, own)]
        fields: list[dict[str, str]] = [
            dict(assembly.ASKED_FIELDS),
            dict(assembly.PROBLEM_FIELDS),
            dict(assembly.BESIDE_FIELDS),
            {
                "stock": ".L",
                "rows": ".L",
                "chosen": "",
                "lines": "",
                "told": "",
                "row_of": "",
                "row_seen": "",
            },
        ]
        self._block, self._extents = _together(views, fields)
        o, self.p, x, d = views
        self._o_row = {name: place for place, name in enumerate(assembly.ASKED_FIELDS)}
        self._members = {"o": o, "p": self.p, "x": x, "d": d, "t": View(answer), "r": kept(1)}
        self._bundle: Views | None = None
        self._services = services
        self._line_bytes = own["lines"].data.cast("B")
        self.head, self.shipments, self.told = answer["head"], answer["shipments"], own["told"]
        self._row_of, self._row_seen = own["row_of"], own["row_seen"]
        self._rows_of: State | None = None
        numbers = self._asked["numbers"]
        numbers[filling.FAILURE_COST] = network.rules.objective.failed_delivery_cost
        numbers[filling.DAY_BASE] = assembly.DAY_BASE
        self._fill_terms()
        self._channels: dict[str, ChannelFacts | None] = {}
        self._channel: bytes | None = None
        """Whose the memory is."""
        self._open_nodes = {"": ruling.fixed_node_open}

    def _fill_terms(self) -> None:
        """Those of an order without a latest day."""
        assembly.fill_terms(
            self._problem["terms"],
            self.network,
            shipments_max=0,
            ship_complete=self.network.rules.always.ship_complete,
            lateness=assembly.NEVER_LATE,
        )

    def add_texts(self, known: View) -> None:
        """Where the texts of replies stand: ``c`` of `server.routing.kernels.writing`. Once, before
        the desk begins."""
        self._members["c"] = known

    @property
    def views(self) -> Views:
        """What the kernels of `server.routing.kernels` take. The desk has begun."""
        assert self._bundle is not None
        return self._bundle

    # --- Reading -----------------------------------------------------------------------------

    def read(self, raw: bytes, promised_to: Caller | None = None) -> UsualOrder | None:
        """A request that can be planned here; None: the plain path must read it. `promised_to`:
        whose PromiseOrder it is."""
        return read_order(raw, promised_to) if self.is_open else None

    # --- Planning ----------------------------------------------------------------------------

    def begin(self, state: State, now_ms: int) -> None:
        """The orders that come are planned on this state, as of now; until the event loop goes on
        nothing changes."""
        network = self.network
        network.schedule.at(now_ms)
        self._asked["numbers"][filling.ROAD_BASE] = network.road_base(now_ms)
        self.state, self.now_ms = state, now_ms
        facts = network.view(state)
        if self._bundle is None:
            memory = self._solver.memory(1, 1)
            self._bundle = Views(st=state.tables, n=facts, w=memory, **self._members)
        self._bundle.put("st", state.tables)
        self._bundle.put("n", facts)
        if self._rows_of is not state:
            self._forget(state)

    def plan(self, order: UsualOrder, work_budget: int = limits.work_budget) -> Planned | None:
        """Plan an order; None: the plain path must plan it, or say why there is none. Its numbers
        are in the memory until the next one comes.

        Raises RuntimeError where the search's total is not that of its plan.
        """
        place = self._places.get(order.destination) or self._locate(order.destination)
        if place is None or not self._choose_channel(order.channel):
            return None
        if len(self._known) + len(order.skus) > self._items_max:
            self._forget(self.state)
        documents = self.state.documents
        facts: list[int] = []
        for sku, quantity in zip(order.skus, order.quantities, strict=True):
            known = self._known.get(sku)
            if known is None or documents.get(known.document, _NONE)[1] != known.facts.revision:
                known = self._learn(sku)
                if known is None:
                    return None
            row = known.row
            if not row:
                return None
            facts += (row[0], quantity, *row[1:], known.number)
        lines = len(order.skus)
        _ROWS[lines].pack_into(self._line_bytes, 0, *facts)
        lanes = place.lanes
        self._block[self._o_row["zone"]] = lanes.fixed_zone.row
        self._block[self._o_row["distance"]] = lanes.fixed_distance.row
        views = self.views
        count = kernels.assemble(views, self._block, self._extents, lines, self._services)
        views.put("w", self._solver.memory(count, lines))
        began = time.perf_counter_ns()
        found = kernels.solve(views, work_budget)
        nanoseconds = time.perf_counter_ns() - began
        if found != pricing.PRICED:
            if found == pricing.WRONG_TOTAL:
                raise RuntimeError("a plan's price is not what the search says")
            return None
        cost, bound, _, shipments, *_, limited_slots = self.head.tolist()
        return Planned(order, place, cost, bound, shipments, limited_slots, nanoseconds)

    def _forget(self, state: State) -> None:
        """Items' rows are those of another state, or there is no room for one more item."""
        self._rows_of = state
        self._row_of[: len(self._known)] = 0
        self._row_seen[: len(self._known)] = 0
        self._known.clear()

    def _learn(self, sku: bytes) -> _Known | None:
        """An item as a row; an empty one for an item with flags that make an order dearer. None for
        one that is not known."""
        name = sku.decode()
        item = self._items.get(self.state, name)
        if item is None:
            return None
        row: tuple[int, ...] = ()
        if not item.flags & self.network.surcharge_flags:
            key = item.key - (1 << 64) if item.key >= 1 << 63 else item.key
            carried = assembly.carried_by(self.network, item)
            row = (key, item.weight_g, item.volume_cm3, carried)
        before = self._known.get(sku)
        number = len(self._known) if before is None else before.number
        known = self._known[sku] = _Known(item, (ITEM, name), row, number)
        return known

    def _locate(self, destination: bytes) -> Place | None:
        found = self._place_of(destination)
        if found is None:
            return None
        if len(self._places) >= DESTINATIONS_KEPT_MAX:
            self._places.clear()
        lanes = self.network.lanes.to(found[0])
        place = self._places[destination] = Place(found[0], found[1], lanes)
        return place

    def _choose_channel(self, channel: bytes) -> bool:
        """Whether orders of this channel are planned here; the memory is then its."""
        if channel == self._channel:
            return True
        name = channel.decode()
        numbers = self._asked["numbers"]
        ruling = self.network.rules.always
        if name not in self._open_nodes:
            facts = self.network.channels.get(name)
            if facts is None or facts.delivery_ms_max is not None:
                return False
            is_open = ruling.node_open
            if facts.nodes is not None:
                is_open = is_open & facts.nodes
            self._channels[name] = facts
            self._open_nodes[name] = Fixed.of(np.ascontiguousarray(is_open))
        chosen = self._channels.get(name)
        numbers.view(np.uint64)[filling.CHANNEL] = 0 if chosen is None else chosen.key
        self._block[self._o_row["node_open"]] = self._open_nodes[name].row
        self._channel = channel
        return True


_NODES_MAX: Final = limits.nodes_per_order_max


def kept(promises: int) -> View:
    """Room for what is kept of so many promises: ``r`` of `server.routing.kernels.deciding`."""
    takes = promises * deciding.TAKES_MAX
    return View(
        {
            "marks": np.zeros((promises, deciding.MARKS), np.int64),
            "spans": np.zeros((promises, FIRST_LINE), np.int64),
            "takes": np.zeros((takes, deciding.TAKE), np.int64),
        }
    )


def _together(views: Sequence[View], fields: Sequence[dict[str, str]]) -> tuple[Integers, Integers]:
    """Put the views' blocks into one, behind each other: it, and what each extent is."""
    block = np.concatenate([view.block for view in views])
    extents = np.zeros((len(block), 3), np.int64)
    start = int(block.__array_interface__["data"][0])
    at = 0
    for view, named in zip(views, fields, strict=True):
        rows = len(view.block)
        view.block = block[at : at + rows]
        view.address = start + at * block.strides[0]
        for row, letters in enumerate(named.values()):
            for place, letter in enumerate(letters):
                extents[at + row, place] = _LETTERS.get(letter, 0)
        at += rows
    return block, extents
