"""A plan as commands: the stock, pick capacity and slots it takes, in one atomic step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from engine import commands, limits
from engine.commands import CommandBatch
from engine.routing.plan import Plan
from holdfast.v1 import reservation_service_pb2 as reservations
from server.routing.assembly import Assembly
from server.transport.capacity_defaults import set_capacity
from server.transport.columns import Columns, LineRow, line
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


def takes_of(assembly: Assembly, plan: Plan, caller: bytes) -> Takes:
    """Raises Refused where a reservation can not have that many lines."""
    order, network = assembly.order, assembly.network
    rows: list[LineRow] = []
    numbers: dict[tuple[int, int], int] = {}
    lines: list[reservations.ReservationLineRequest] = []
    for one in plan.shipments:
        node = network.node_names[int(assembly.nodes[one.node])]
        for place, quantity in one.units.items():
            sku = order.skus[place]
            numbers[one.node, place] = len(rows)
            rows.append(
                line(
                    sku=sku.encode(),
                    node=node.encode(),
                    quantity=quantity,
                    number=len(rows),
                    kind=commands.AT_NODE,
                    policy=commands.ON_HAND,
                )
            )
            lines.append(reservations.ReservationLineRequest(sku=sku, node=node, quantity=quantity))
    if len(rows) > limits.lines_per_reservation_max:
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
    for one in plan.shipments:
        number = int(assembly.nodes[one.node])
        node = network.node_names[number]
        if is_pick_limited(assembly, one.node):
            day = date.fromordinal(int(assembly.pick_day[one.node])).isoformat()
            units = sum(one.units.values())
            taken = reservations.CapacityTakeRequest(quantity=units)
            taken.node_capacity.node, taken.node_capacity.date = node, day
            capacities.append(taken)
            if not assembly.pick_known[one.node]:
                default = int(network.pick_default[number])
                set_capacity(defaults, commands.NODE_CAPACITY, day, node, default, caller)
            _take(rows, commands.NODE_CAPACITY, day, node, units)
        if is_slot_limited(assembly, one.node, one.service):
            slot = assembly.slot_name(one.node, one.service)
            taken = reservations.CapacityTakeRequest(quantity=len(one.parcels))
            taken.carrier_slot.node, taken.carrier_slot.slot = node, slot
            capacities.append(taken)
            if not assembly.slot_known[one.node, one.service]:
                default = int(network.slot_default[number, one.service])
                set_capacity(defaults, commands.CARRIER_SLOT, slot, node, default, caller)
            _take(rows, commands.CARRIER_SLOT, slot, node, len(one.parcels))
    return Takes(rows, numbers, defaults, lines, capacities)


def _take(rows: list[LineRow], kind: int, name: str, node: str, units: int) -> None:
    rows.append(
        line(sku=name.encode(), node=node.encode(), quantity=units, number=len(rows), kind=kind)
    )


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


def revise_of(
    takes: Takes, *, caller: bytes, request_id: bytes, reservation_id: str, etag: int
) -> CommandBatch:
    """The command that moves a promised order to another plan."""
    columns = Columns()
    columns.add(
        commands.REVISE,
        caller=caller,
        request_id=request_id,
        reservation_id=reservation_id.encode(),
        etag=etag,
        fill_policy=commands.ALL_OR_NONE,
        lines=takes.rows,
    )
    return columns.batch()
