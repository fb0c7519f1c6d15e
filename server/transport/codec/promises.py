"""A plan as commands: the stock, pick capacity and slots it takes, in one atomic step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine import commands, limits
from engine.commands import LINE, CommandBatch
from engine.routing.plan import Plan
from holdfast.v1 import reservation_service_pb2 as reservations
from server.routing.assembly import Assembly
from server.transport.capacity_defaults import set_capacity
from server.transport.columns import Columns, LineRow, line
from server.transport.names import Names
from server.transport.promised_orders import Standing
from server.transport.render_plans import LineNumbers, is_pick_limited, is_slot_limited
from server.transport.validation import Checker


@dataclass(frozen=True, slots=True)
class Takes:
    """What holds a plan."""

    rows: list[LineRow]
    """Lines of the command: stock, then capacities."""
    numbers: LineNumbers
    defaults: Columns
    """SET_CAPACITY of capacities the ledger does not have yet."""
    lines: list[reservations.ReservationLineRequest]
    capacities: list[reservations.CapacityTakeRequest]
    """The same as messages, to say what a refusal is about."""

    def renumbered(self, details: NDArray[np.void], names: Names) -> NDArray[np.void]:
        """Details of a refused reroute, whose lines have the numbers of the reservation's lines,
        with the places that they have here."""
        told = details.copy()
        for detail in told:
            number, position = int(detail["line"]), int(detail["position"])
            if number >= _CAPACITIES_FROM:
                detail["line"] = len(self.lines) + number - _CAPACITIES_FROM
                continue
            node = names.position(position).node if position >= 0 else ""
            alike = [at for at, row in enumerate(self.rows) if row[_NUMBER] == number]
            there = [at for at in alike if self.lines[at].node == node]
            detail["line"] = (there or alike or [number])[0]
        return told


def takes_of(
    assembly: Assembly, plan: Plan, caller: bytes, standing: Standing | None = None
) -> Takes:
    """`standing`: of the reservation whose open lines the plan continues; None: they are new.
    Raises Refused where a reservation can not have that many lines."""
    order, network = assembly.order, assembly.network
    wanted = [
        (one.node, place, quantity)
        for one in plan.shipments
        for place, quantity in one.units.items()
    ]
    names = [
        (network.node_names[int(assembly.nodes[node])], order.skus[place], quantity)
        for node, place, quantity in wanted
    ]
    shares = (
        [[(number, quantity)] for number, (_, _, quantity) in enumerate(names)]
        if standing is None
        else standing.shared_out(names)
    )
    rows: list[LineRow] = []
    lines: list[reservations.ReservationLineRequest] = []
    for (node, sku, _), share in zip(names, shares, strict=True):
        for number, quantity in share:
            rows.append(
                line(
                    sku=sku.encode(),
                    node=node.encode(),
                    quantity=quantity,
                    number=number,
                    kind=commands.AT_NODE,
                    policy=commands.ON_HAND,
                )
            )
            lines.append(reservations.ReservationLineRequest(sku=sku, node=node, quantity=quantity))
    numbers = {(node, place): share for (node, place, _), share in zip(wanted, shares, strict=True)}
    if standing is None and len(rows) > limits.lines_per_reservation_max:
        check = Checker(0)
        check.beyond(
            "order.lines",
            f"{len(rows)} lines of the plan",
            "lines_per_reservation_max",
            limits.lines_per_reservation_max,
        )
        check.refuse()
    defaults = Columns()
    capacities: list[reservations.CapacityTakeRequest] = []
    first = len(lines) if standing is None else _CAPACITIES_FROM

    def take(kind: int, name: str, node: str, units: int) -> None:
        number = first + len(capacities)
        rows.append(
            line(sku=name.encode(), node=node.encode(), quantity=units, number=number, kind=kind)
        )

    for one in plan.shipments:
        number = int(assembly.nodes[one.node])
        node = network.node_names[number]
        if is_pick_limited(assembly, one.node):
            day = date.fromordinal(int(assembly.pick_day[one.node])).isoformat()
            units = sum(one.units.values())
            taken = reservations.CapacityTakeRequest(quantity=units)
            taken.node_capacity.node, taken.node_capacity.date = node, day
            take(commands.NODE_CAPACITY, day, node, units)
            capacities.append(taken)
            if not assembly.pick_known[one.node]:
                default = int(network.pick_default[number])
                set_capacity(defaults, commands.NODE_CAPACITY, day, node, default, caller)
        if is_slot_limited(assembly, one.node, one.service):
            slot = assembly.slot_name(one.node, one.service)
            taken = reservations.CapacityTakeRequest(quantity=len(one.parcels))
            taken.carrier_slot.node, taken.carrier_slot.slot = node, slot
            take(commands.CARRIER_SLOT, slot, node, len(one.parcels))
            capacities.append(taken)
            if not assembly.slot_known[one.node, one.service]:
                default = int(assembly.slot_default[one.node, one.service])
                set_capacity(defaults, commands.CARRIER_SLOT, slot, node, default, caller)
    return Takes(rows, numbers, defaults, lines, capacities)


_CAPACITIES_FROM: Final = limits.lines_per_reservation_max
"""Number of a reroute's first line that is a capacity."""
_NUMBER: Final = (LINE.names or ()).index("line")


def create_of(
    takes: Takes,
    *,
    caller: bytes,
    request_id: bytes,
    reservation_id: str,
    owner: str,
    channel: str,
    ttl_ms: int,
) -> CommandBatch:
    """The command that holds a new order."""
    columns = Columns()
    columns.add(
        commands.CREATE,
        caller=caller,
        request_id=request_id,
        reservation_id=reservation_id.encode(),
        owner=owner.encode(),
        channel=channel.encode(),
        fill_policy=commands.ALL_OR_NONE,
        ttl_ms=ttl_ms,
        lines=takes.rows,
    )
    return columns.batch()


def reroute_of(
    takes: Takes, *, caller: bytes, request_id: bytes, reservation_id: str, etag: int
) -> CommandBatch:
    """The command that moves what is open of a promised order to another plan."""
    columns = Columns()
    columns.add(
        commands.REROUTE,
        caller=caller,
        request_id=request_id,
        reservation_id=reservation_id.encode(),
        etag=etag,
        fill_policy=commands.ALL_OR_NONE,
        lines=takes.rows,
    )
    return columns.batch()
