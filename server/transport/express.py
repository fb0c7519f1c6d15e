"""The way of the usual order: one network version's desk, and the writer of its plans."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from engine.routing import limits
from engine.routing.plan import Status
from engine.routing.solver import Strategy
from holdfast.v1 import types_pb2
from server.routing.express.desk import Desk, Planned
from server.routing.express.reader import UsualOrder
from server.routing.items import Items
from server.routing.lanes import Destination
from server.routing.network import Network
from server.routing.planning import Planner
from server.transport.codec import network as codec
from server.transport.codec.routing import located
from server.transport.errors import Refused
from server.transport.express_plans import PlanWriter
from server.transport.validation import Checker

_PLACE: Final = "destination."


class Express:
    """Plans and writes usual orders over one network version."""

    def __init__(
        self,
        network: Network,
        items: Items,
        planner: Planner,
    ) -> None:
        self.desk = Desk(network, items, planner.solver, _place_of)
        if self.desk.is_open:
            self.writer = PlanWriter(network)
            self.desk.add_texts(self.writer.known)

    def plan(self, order: UsualOrder) -> Planned | None:
        """Plan an order at the desk, which has begun; None: the plain path must plan it, or say why
        there is none."""
        planned = self.desk.plan(order, limits.work_budget)
        if planned is not None:
            self.writer.name_slots(self.desk, planned)
        return planned

    @staticmethod
    def summary(planned: Planned) -> tuple[Strategy, Status, int, float]:
        """(strategy, status, nanoseconds, gap) of a plan."""
        cost, bound = planned.cost, planned.bound
        status = Status.OPTIMAL if bound >= cost else Status.FEASIBLE
        return Strategy.EXACT, status, planned.nanoseconds, (cost - bound) / max(1, cost)


def _place_of(raw: bytes) -> tuple[Destination, str] | None:
    """A destination from the bytes of a Place; None where the plain path must refuse it."""
    try:
        place = types_pb2.Place.FromString(raw)
    except DecodeError:
        return None
    check = Checker(0)
    codec.place(check, _PLACE, place)
    if check.violations or place.SerializeToString(deterministic=True) != raw:
        return None
    try:
        return located(place, "")
    except Refused:
        return None
