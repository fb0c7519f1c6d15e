"""Promised orders as they stand: what of them is open, and what that may use again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from engine import outcomes, reads, tables
from engine.state import State
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.network import Network
from server.routing.orders import Held
from server.transport import refusals
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.ledger_view import LedgerView


@dataclass(frozen=True, slots=True)
class OpenLine:
    """A line of a reservation that still has units to ship."""

    number: int
    sku: str
    at: Mapping[str, int]
    """Its open units by node."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open of a reservation."""

    etag: int
    """Of the reservation as it is told here."""
    lines: Sequence[OpenLine]
    held: Held
    """What a reroute gives back, so that a new plan may use it. What waits for supply is not on
    hand, capacity that shipments went out with is used up, and what a fence of others keeps is
    theirs: none is in it."""

    def units_of(self) -> dict[str, int]:
        """Open units by SKU."""
        found: dict[str, int] = {}
        for line in self.lines:
            for units in line.at.values():
                _add(found, line.sku, units)
        return found

    def at_nodes(self) -> dict[tuple[str, str], int]:
        """Open units by (node, SKU)."""
        found: dict[tuple[str, str], int] = {}
        for line in self.lines:
            for node, units in line.at.items():
                _add(found, (node, line.sku), units)
        return found

    def shared_out(self, wanted: Sequence[tuple[str, str, int]]) -> list[list[tuple[int, int]]]:
        """Which line of the reservation the units of a plan, (node, SKU, units), are for: (line,
        units) of each. A line keeps what it has at a node before others get of it there."""
        left = {line.number: sum(line.at.values()) for line in self.lines}
        shares: list[dict[int, int]] = [{} for _ in wanted]
        rest = [units for _, _, units in wanted]
        for only_there in (True, False):
            for place, (node, sku, _) in enumerate(wanted):
                for line in self.lines:
                    if line.sku != sku:
                        continue
                    most = line.at.get(node, 0) if only_there else left[line.number]
                    units = min(rest[place], left[line.number], most)
                    _add(shares[place], line.number, units)
                    left[line.number] -= units
                    rest[place] -= units
        return [sorted(share.items()) for share in shares]


def standing_of(view: LedgerView, reservation_id: str) -> Standing:
    """A reservation as it stands. Raises Refused where there is none, or it has ended."""
    state = view.state
    row = reads.reservation_row(state, reservation_id)
    if row < 0:
        raise not_promised(reservation_id)
    shown, _ = reads.reservation_outcome(state, row)
    if int(shown["state"][0]) not in (outcomes.HELD, outcomes.CONFIRMED):
        raise _has_ended(shown[0], reservation_id)
    lines: dict[int, tuple[str, dict[str, int]]] = {}
    released: dict[int, int] = {}
    for take_row, given_back in reads.rerouted_units(state, row):
        take = state.takes[take_row]
        position = int(take["position"])
        called = view.names.position(position)
        _add(released, position, given_back)
        if called.kind in (tables.STOCK, tables.SUPPLY):
            _, at = lines.setdefault(int(take["line"]), (called.sku, {}))
            _add(at, called.node, int(take["quantity"]))
    return Standing(
        etag=int(shown["etag"][0]),
        lines=[OpenLine(number, sku, at) for number, (sku, at) in sorted(lines.items()) if at],
        held=_usable(view, released, reads.reservation_channel(state, row)),
    )


def _usable(view: LedgerView, released: Mapping[int, int], channel: str) -> Held:
    """What more of everything an order may use once so much of its positions is given back."""
    state = view.state
    stock: dict[tuple[str, str], int] = {}
    pick: dict[tuple[str, int], int] = {}
    slots: dict[tuple[str, str], int] = {}
    for row, units in released.items():
        called = view.names.position(row)
        if called.kind == tables.STOCK:
            fence = reads.fence_row(state, row, channel) if channel else tables.NONE
            more = _sellable(state, row, units, fence, released.get(fence, 0))
            _add(stock, (called.node, called.sku), more - _sellable(state, row, 0, fence, 0))
        elif called.kind == tables.CAPACITY and called.is_slot:
            _add(slots, (called.node, called.sku), units)
        elif called.kind == tables.CAPACITY:
            _add(pick, (called.node, date.fromisoformat(called.sku).toordinal()), units)
    return Held(stock, pick, slots)


def _sellable(state: State, row: int, units: int, fence: int, share: int) -> int:
    """What the order's channel may take of a stock that gets `units` back, and its fence `share`,
    as `engine.positions.sellable` has it; below 0 where the stock is short."""
    free = reads.available(state, row) + units
    fenced = int(state.positions["fenced"][row])
    own = 0
    if fence >= 0:
        left = reads.available(state, fence)
        own = max(0, left + share)
        fenced += own - max(0, left)
    return min(free, own + max(0, free - fenced))


def _add(target: dict[Any, int], key: object, units: int) -> None:
    if units:
        target[key] = target.get(key, 0) + units


def cut(order: messages.RoutingOrder, standing: Standing) -> None:
    """Only what is open: the order's lines get that quantity, or go. What was added to the
    reservation since it was promised comes with it."""
    left = standing.units_of()
    kept = []
    for line in order.lines:
        units = left.pop(line.sku, 0)
        if units:
            kept.append(messages.RoutingLine.FromString(line.SerializeToString()))
            kept[-1].quantity = units
    kept += [messages.RoutingLine(sku=sku, quantity=units) for sku, units in left.items()]
    del order.lines[:]
    order.lines.extend(kept)


@dataclass(frozen=True, slots=True)
class Away:
    """What a promised order is kept away from as it is planned anew, besides what it excludes."""

    nodes: Sequence[str] = ()
    """For good."""
    carrier_services: Sequence[str] = ()
    """This time only."""

    def note(self, order: messages.RoutingOrder) -> None:
        """Let the order exclude from now on what it is kept away from for good."""
        _set(order.excluded_nodes, (*order.excluded_nodes, *self.nodes))

    def planned(self, order: messages.RoutingOrder, network: Network) -> messages.RoutingOrder:
        """The order as it is planned this time. What it excludes and the network no longer has is
        left out, as nothing ships from there; what was named now stays, to be refused."""
        made = messages.RoutingOrder()
        made.CopyFrom(order)
        nodes = [one for one in order.excluded_nodes if one in network.node_number]
        services = [one for one in order.excluded_carrier_services if one in network.service_number]
        _set(made.excluded_nodes, (*nodes, *self.nodes))
        _set(made.excluded_carrier_services, (*services, *self.carrier_services))
        return made


def _set(target: Any, names: Iterable[str]) -> None:
    """Each name once."""
    once = dict.fromkeys(names)
    del target[:]
    target.extend(once)


def not_promised(reservation_id: str) -> Refused:
    """No decision is kept about it."""
    return Refused(
        refusal(
            Fault.RESERVATION_NOT_FOUND,
            Case(
                message=f"no decision is kept about reservation {reservation_id!r}: it was not "
                "promised by PromiseOrder, or longer ago than routing_decisions_max",
                metadata={"reservation_id": reservation_id},
            ),
        )
    )


def _has_ended(shown: np.void, reservation_id: str) -> Refused:
    row = shown.copy()
    row["code"] = outcomes.STATE_TRANSITION_NOT_ALLOWED
    return Refused(refusals.of_outcome(row, _NO_DETAILS, reservation_id=reservation_id))


_NO_DETAILS = np.empty(0, outcomes.DETAIL)
