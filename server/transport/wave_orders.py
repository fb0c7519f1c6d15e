"""The orders of a wave as they come: new ones, and promised ones that are planned anew.

An order that can not be taken into the wave is an entry too, with its refusal: the others are
planned. What is wrong with the wave as a whole is refused at once.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterable
from dataclasses import dataclass, field

from engine import commands, reads
from engine.routing.plan import Plan
from engine.state import State
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.assembly import Assembly
from server.routing.network import Network
from server.transport.codec import routing as codec
from server.transport.codec.waves import WaveAsked, check_count, check_promised, settings_of
from server.transport.errors import Fault, Refusal, Refused
from server.transport.kept_problems import open_part
from server.transport.ledger_view import LedgerView
from server.transport.malformed import read
from server.transport.promised_orders import Away, Standing, standing_of
from server.transport.services.promises import PromiseService
from server.transport.validation import Checker

_LOOKED_AT_IN_A_ROW = 8
"""Promised orders, before other calls get a turn."""


class Kind(enum.Enum):
    """What is to be done with an order."""

    NEW = enum.auto()
    BETTER = enum.auto()
    """Promised: moved where that saves something."""
    MOVE = enum.auto()
    """Promised: must leave a node or a service."""


@dataclass(slots=True)
class Entry:
    """One order of a wave, on its way."""

    kind: Kind
    path: str
    """Where it stands in the request, as refusals say it."""
    order: messages.RoutingOrder
    result: messages.WaveOrderResult
    is_decided: bool = False
    """Held by an earlier call with the same request_id, whose answer stands."""
    refused: Refusal | None = None
    assembly: Assembly | None = None
    plan: Plan | None = None
    place: int = -1
    """In the wave; -1: it is not in it."""
    is_later: bool = False
    standing: Standing | None = None
    """Of a promised order."""
    away: Away | None = None
    """What a promised order is kept away from."""
    previous: messages.FulfillmentPlan | None = None
    """What of its plan is still to be shipped."""
    moved: bool = False

    def refuse(self, refused: Refusal) -> None:
        """It has no plan, or no hold; the first reason counts."""
        self.plan = None
        if self.refused is None:
            self.refused = refused
            self.result.status.CopyFrom(refused.status)
            self.result.reason = refused.reason  # type: ignore[assignment]


@dataclass(slots=True)
class Wanted:
    """What a caller has sent."""

    asked: WaveAsked
    entries: list[Entry] = field(default_factory=list)
    reservation_ids: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)


async def received(messages_in: AsyncIterable[bytes], view: LedgerView) -> Wanted:
    """Everything the caller sends. Raises Refused."""
    wanted: Wanted | None = None
    names: dict[str, int] = {}
    known: set[str] = set()
    async for raw in messages_in:
        request = read(messages.PlanOrdersRequest, raw)
        content = request.WhichOneof("content")
        check = Checker(view.gateway.now_ms())
        if content is None:
            check.required("content", "needs settings or orders")
        elif content == "settings" and wanted is not None:
            check.invalid("settings", "a second time", "are given once, in the first message")
        elif content == "orders" and wanted is None:
            check.required("settings", "come first, before any orders")
        check.refuse()
        if content == "settings":
            wanted = Wanted(settings_of(request.settings, check.now_ms))
            continue
        assert wanted is not None
        orders = request.orders
        check_promised(check, orders, known=known)
        check.refuse()
        wanted.reservation_ids += orders.reservation_ids
        wanted.nodes += orders.replan_nodes
        wanted.services += orders.replan_carrier_services
        check_count(len(wanted.entries) + len(orders.orders) + len(wanted.reservation_ids))
        for at, order in enumerate(orders.orders):
            wanted.entries.append(_new(order, len(wanted.entries), names, check.now_ms))
            if at % _LOOKED_AT_IN_A_ROW == 0:
                await asyncio.sleep(0)
    if wanted is None:
        check = Checker(0)
        check.required("settings", "come first; nothing was sent")
        check.refuse()
        raise AssertionError("a violation refuses")
    return wanted


def _new(order: messages.RoutingOrder, number: int, names: dict[str, int], now_ms: int) -> Entry:
    path = f"orders[{number}]."
    name = order.reservation_id
    entry = Entry(
        Kind.NEW, path, order, messages.WaveOrderResult(order=number, reservation_id=name)
    )
    check = Checker(now_ms)
    codec.check_order(check, path, order)
    if name and names.setdefault(name, number) != number:
        check.invalid(f"{path}reservation_id", name, f"is orders[{names[name]}]'s already")
    try:
        check.refuse()
    except Refused as refused:
        entry.refuse(refused.refusal)
    return entry


async def add_promised(
    wanted: Wanted, network: Network, view: LedgerView, promises: PromiseService
) -> None:
    """Entries of the promised orders that were named, and of those at nodes and services to be
    left. Raises Refused for names that are not known, and for too many orders."""
    _check_names(wanted, network, view.state)
    away = Away([name for name in wanted.nodes if name in network.node_number], wanted.services)
    leaving: list[str] = []
    if wanted.nodes or wanted.services:
        for at, name in enumerate(promises.promised_ids()):
            if _is_there(name, wanted, view, promises):
                leaving.append(name)
            if at % _LOOKED_AT_IN_A_ROW == 0:
                await asyncio.sleep(0)
    taken = set(leaving)
    named = [name for name in wanted.reservation_ids if name not in taken]
    check_count(len(wanted.entries) + len(named) + len(leaving))
    for kind, ids in ((Kind.BETTER, named), (Kind.MOVE, leaving)):
        for at, name in enumerate(ids):
            number = len(wanted.entries)
            entry = Entry(
                kind,
                f"reservation {name!r}, ",
                messages.RoutingOrder(reservation_id=name),
                messages.WaveOrderResult(order=number, reservation_id=name),
                away=away if kind is Kind.MOVE else Away(),
            )
            wanted.entries.append(entry)
            try:
                _read_promise(entry, view, promises)
            except Refused as refused:
                entry.refuse(refused.refusal)
            if at % _LOOKED_AT_IN_A_ROW == 0:
                await asyncio.sleep(0)


def _read_promise(entry: Entry, view: LedgerView, promises: PromiseService) -> None:
    promised = promises.promised(entry.order.reservation_id)
    entry.order = promised.order
    entry.standing = promises.standing(entry.order)
    entry.previous = open_part(view.state, promised.decision, promised.plan, entry.standing)
    entry.result.previous_cost_minor_units = entry.previous.cost_minor_units
    entry.result.previous_shipments = len(entry.previous.shipments)


def _is_there(name: str, wanted: Wanted, view: LedgerView, promises: PromiseService) -> bool:
    """Whether an open order has units at a node, or goes by a service, that is to be left."""
    state = view.state
    if reads.reservation_row(state, name) < 0:
        return False
    try:
        promised = promises.promised(name)
        standing = standing_of(view, name)
    except Refused:
        return False  # it has ended
    open_nodes = {node for node, _ in standing.at_nodes()}
    if open_nodes.intersection(wanted.nodes):
        return True
    return any(
        one.carrier_service in wanted.services and one.node in open_nodes
        for one in promised.plan.shipments
    )


def _check_names(wanted: Wanted, network: Network, state: State) -> None:
    for index, name in enumerate(wanted.nodes):
        if reads.find_name(state, commands.NODE, name) < 0:
            field = f"orders.replan_nodes[{index}]"
            raise codec.missing(Fault.NODE_NOT_FOUND, "node", name, field)
    for index, name in enumerate(wanted.services):
        if name not in network.service_number:
            field = f"orders.replan_carrier_services[{index}]"
            raise codec.missing(Fault.CARRIER_SERVICE_NOT_FOUND, "carrier_service", name, field)
