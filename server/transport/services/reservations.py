"""ReservationService: hold, confirm, cancel and what follows. Bulk, exchange: own modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from engine import commands, outcomes, reads
from engine.outcomes import Outcomes
from holdfast.v1 import reservation_service_pb2 as messages
from holdfast.v1 import types_pb2
from server.application.piece_queue import EXTEND, RESERVE, SETTLE
from server.metrics import Metrics
from server.transport import refusals, render, scan, shortages
from server.transport.calls import Call, Methods
from server.transport.capacity_defaults import add_defaults
from server.transport.channel_nodes import ChannelNodes
from server.transport.codec import reservations as codec
from server.transport.columns import Columns, name_key
from server.transport.create_collector import CreateCollector
from server.transport.errors import Case, Fault, Refusal, Refused, refusal
from server.transport.ledger_view import LedgerView
from server.transport.malformed import read
from server.transport.paging import page_of
from server.transport.sold_out import SoldOut
from server.transport.validation import Checker

Q = TypeVar("Q", bound=Message)
Build = Callable[[Columns, Checker, Any, bytes], None]


@dataclass(frozen=True, slots=True)
class _Step:
    """How one kind of request about an existing reservation is handled."""

    request: type[Message]
    reply: type[Message]
    build: Build
    priority: int


STEPS = {
    "ConfirmReservation": _Step(
        messages.ConfirmReservationRequest,
        messages.ConfirmReservationResponse,
        codec.confirm,
        SETTLE,
    ),
    "CancelReservation": _Step(
        messages.CancelReservationRequest,
        messages.CancelReservationResponse,
        codec.cancel,
        SETTLE,
    ),
    "ExtendReservation": _Step(
        messages.ExtendReservationRequest,
        messages.ExtendReservationResponse,
        codec.extend,
        EXTEND,
    ),
    "ReviseReservation": _Step(
        messages.ReviseReservationRequest,
        messages.ReviseReservationResponse,
        codec.revise,
        RESERVE,
    ),
    "ReassignReservation": _Step(
        messages.ReassignReservationRequest,
        messages.ReassignReservationResponse,
        codec.reassign,
        RESERVE,
    ),
    "FulfillReservation": _Step(
        messages.FulfillReservationRequest,
        messages.FulfillReservationResponse,
        codec.fulfill,
        EXTEND,
    ),
    "ReturnReservation": _Step(
        messages.ReturnReservationRequest,
        messages.ReturnReservationResponse,
        codec.give_back,
        EXTEND,
    ),
}


class ReservationService:
    """Handlers of the service's unary methods."""

    def __init__(
        self,
        view: LedgerView,
        channels: ChannelNodes,
        metrics: Metrics,
        sold_out: SoldOut,
        busy_share: Callable[[], float],
    ) -> None:
        """`busy_share`: of its time that the event loop was busy lately."""
        self._view = view
        self._channels = channels
        self._metrics = metrics
        self._sold_out = sold_out
        self._collector = CreateCollector(view, channels, busy_share)

    def register(self, methods: Methods) -> None:
        """Offer every unary method."""
        methods.unary_raw("CreateReservation", self._sold_out.before(self._create_raw))
        methods.unary(
            "BatchCreateReservations", messages.BatchCreateReservationsRequest, self.batch_create
        )
        methods.unary("GetReservation", messages.GetReservationRequest, self.get)
        methods.unary("ListReservations", messages.ListReservationsRequest, self.list_reservations)
        for name, step in STEPS.items():
            methods.unary(name, step.request, self._handler_of(step))

    # --- Create ------------------------------------------------------------------------------

    async def _create_raw(self, raw: bytes, call: Call) -> bytes:
        """CreateReservation from and to bytes, by the compiled codec where the request is usual."""
        answer = await self._collector.create(raw, call)
        if isinstance(answer, bytes):
            return answer
        known = self._sold_out.again(raw, answer) if answer is not None else None
        if known is not None:
            raise Refused(known)
        request = read(messages.CreateReservationRequest, raw)
        if answer is None:
            self._metrics.decode_fallbacks += 1
            reply = await self.create(request, call)
        else:
            try:
                reply = self._created(request, answer)
            except Refused as refused:
                self._sold_out.learn(raw, request, answer, refused.refusal)
                raise
        return reply.SerializeToString(deterministic=True)

    async def create(
        self, request: messages.CreateReservationRequest, call: Call
    ) -> messages.CreateReservationResponse:
        """CreateReservation from a message."""
        gateway = self._view.gateway
        columns, check = Columns(), Checker(gateway.now_ms())
        before = add_defaults(columns, gateway.state, request.capacity_takes, call.caller.text)
        codec.create(columns, check, request, call.caller.text)
        check.refuse()
        batch = columns.batch()
        self._channels.check(batch.headers[before:], [request])
        answer = await gateway.submit(
            batch,
            remaining_s=call.remaining_s(),
            memory_only=request.durability == types_pb2.DURABILITY_MEMORY,
        )
        return self._created(request, without_first(answer, before))

    def _created(
        self, request: messages.CreateReservationRequest, answer: Outcomes
    ) -> messages.CreateReservationResponse:
        outcome = answer.rows[0]
        if outcome["code"] != outcomes.OK:
            raise Refused(create_refusal(request, outcome, answer.details))
        return messages.CreateReservationResponse(
            reservation=self._new(request, outcome, answer.details),
            revision=int(outcome["revision"]),
        )

    def _new(
        self,
        request: messages.CreateReservationRequest,
        outcome: np.void,
        details: NDArray[np.void],
    ) -> types_pb2.Reservation:
        return render.reservation(
            outcome,
            details,
            self._view.names,
            reservation_id=render.created_id(
                request.reservation_id, outcome, self._view.ledger_seed()
            ),
            owner=request.owner,
            channel=request.channel,
        )

    async def batch_create(
        self, request: messages.BatchCreateReservationsRequest, call: Call
    ) -> messages.BatchCreateReservationsResponse:
        """BatchCreateReservations: all of them or none."""
        gateway = self._view.gateway
        columns, check = Columns(), Checker(gateway.now_ms())
        takes = [take for item in request.requests for take in item.capacity_takes]
        before = add_defaults(columns, gateway.state, takes, call.caller.text)
        codec.batch_create(columns, check, request, call.caller.text)
        check.refuse()
        batch = columns.batch()
        self._channels.check(batch.headers[before:], request.requests)
        answer = await gateway.submit(
            batch,
            remaining_s=call.remaining_s(),
            memory_only=all(
                item.durability == types_pb2.DURABILITY_MEMORY for item in request.requests
            ),
        )
        answer = without_first(answer, before)
        ends = np.cumsum(answer.rows["detail_count"])
        parts = np.split(answer.details, ends[:-1])
        refused = [
            index
            for index, code in enumerate(answer.rows["code"])
            if code not in (outcomes.OK, outcomes.BATCH_ABORTED)
        ]
        if refused:
            index = refused[0]
            raise Refused(
                create_refusal(
                    request.requests[index], answer.rows[index], parts[index], request_index=index
                )
            )
        return messages.BatchCreateReservationsResponse(
            reservations=[
                self._new(item, row, part)
                for item, row, part in zip(request.requests, answer.rows, parts, strict=True)
            ],
            revision=int(answer.rows["revision"].max()),
        )

    # --- What follows ------------------------------------------------------------------------

    def _handler_of(self, step: _Step) -> Callable[[Any, Call], Any]:
        async def handle(request: Any, call: Call) -> Message:
            return await self.apply_step(step, request, call)

        return handle

    async def apply_step(self, step: _Step, request: Any, call: Call) -> Message:
        """Confirm, cancel, extend, revise, reassign, fulfil or return."""
        gateway = self._view.gateway
        columns, check = Columns(), Checker(gateway.now_ms())
        step.build(columns, check, request, call.caller.text)
        check.refuse()
        answer = await gateway.submit(
            columns.batch(), remaining_s=call.remaining_s(), priority=step.priority
        )
        outcome = answer.rows[0]
        if outcome["code"] != outcomes.OK:
            raise Refused(self._step_refusal(request, outcome, answer.details))
        return step.reply(
            reservation=self._known(request.reservation_id, outcome, answer.details),
            revision=int(outcome["revision"]),
        )

    def _known(
        self, reservation_id: str, outcome: np.void, details: NDArray[np.void]
    ) -> types_pb2.Reservation:
        """An existing reservation. Owner and channel never change, so the ledger's row has them."""
        state, row = self._view.state, int(outcome["reservation"])
        owner = channel = ""
        if row >= 0 and state.reservations["id_hi"][row] == outcome["reservation_hi"]:
            owner = reads.reservation_owner(state, row)
            channel = reads.reservation_channel(state, row)
        return render.reservation(
            outcome,
            details,
            self._view.names,
            reservation_id=reservation_id,
            owner=owner,
            channel=channel,
        )

    def _step_refusal(self, request: Any, outcome: np.void, details: NDArray[np.void]) -> Refusal:
        lines: Sequence[refusals.Line] = ()
        short: list[Any] = []
        if isinstance(request, messages.ReviseReservationRequest):
            lines = request_lines(request.lines, request.capacity_takes)
            short = shortages.refused(request.lines, request.capacity_takes, details)
        elif isinstance(request, messages.ReassignReservationRequest):
            state, row = self._view.state, int(outcome["reservation"])
            if row >= 0:
                shown, takes = reads.reservation_outcome(state, row)
                current = self._known(request.reservation_id, shown[0], takes)
                moves = [(item.line, item.destination_node) for item in request.reassignments]
                short = shortages.of_reservation(current, moves, details)
        return refusals.of_outcome(
            outcome,
            details,
            lines=lines,
            shortages=short,
            reservation_id=request.reservation_id,
        )

    # --- Reads -------------------------------------------------------------------------------

    async def get(
        self, request: messages.GetReservationRequest, call: Call
    ) -> messages.GetReservationResponse:
        """GetReservation."""
        check = Checker(self._view.gateway.now_ms())
        check.identifier(
            "reservation_id", request.reservation_id, "reservation_id_bytes_max", required=True
        )
        check.refuse()
        state = self._view.state
        row = reads.reservation_row(state, request.reservation_id)
        if row < 0:
            metadata = {"reservation_id": request.reservation_id, "revision": str(state.revision)}
            raise Refused(
                refusal(
                    Fault.RESERVATION_NOT_FOUND,
                    Case(
                        message=f"no such reservation: {request.reservation_id!r}",
                        metadata=metadata,
                    ),
                )
            )
        reply = messages.GetReservationResponse(
            reservation=self._stored(row), revision=state.revision
        )
        await self._view.gateway.durable()
        return reply

    def _stored(self, row: int) -> types_pb2.Reservation:
        state = self._view.state
        shown, takes = reads.reservation_outcome(state, row)
        return render.reservation(
            shown[0],
            takes,
            self._view.names,
            reservation_id=reads.reservation_id(state, row),
            owner=reads.reservation_owner(state, row),
            channel=reads.reservation_channel(state, row),
        )

    async def list_reservations(
        self, request: messages.ListReservationsRequest, call: Call
    ) -> messages.ListReservationsResponse:
        """ListReservations, oldest first."""
        state = self._view.state
        check = Checker(self._view.gateway.now_ms())
        page = page_of(check, request)
        owner = check.identifier("owner", request.owner, "owner_bytes_max")
        check.identifier("sku", request.sku, "sku_bytes_max")
        check.identifier("node", request.node, "node_bytes_max")
        check.identifier("channel", request.channel, "channel_bytes_max")
        wanted = check.enumerated("state", request.state, render.STATE_OF, default=0)
        check.refuse()
        filters = {}
        for name, kind, text in (
            ("sku", commands.SKU, request.sku),
            ("node", commands.NODE, request.node),
            ("channel", commands.CHANNEL, request.channel),
        ):
            if text:
                filters[name] = reads.find_name(state, kind, text)
        rows: list[int] = []
        last = -1
        if -1 not in filters.values():  # of an unknown name there are none
            rows, last = scan.reservations(
                state,
                page.after,
                page.size,
                owner_key=name_key(owner),
                in_state=wanted,
                **filters,
            )
        reply = messages.ListReservationsResponse(
            reservations=[self._stored(row) for row in rows],
            next_page_token=page.token(last),
            revision=state.revision,
        )
        await self._view.gateway.durable()
        return reply


def without_first(answer: Outcomes, commands_before: int) -> Outcomes:
    """The answer without that of the first commands, which have no details."""
    return answer._replace(rows=answer.rows[commands_before:]) if commands_before else answer


def request_lines(
    lines: Sequence[messages.ReservationLineRequest],
    capacities: Sequence[messages.CapacityTakeRequest],
    path: str = "",
) -> list[refusals.Line]:
    """The lines of a create or revise, in the order of their numbers."""
    found = [
        refusals.Line(
            field=f"{path}lines[{number}]",
            sku=line.sku,
            node=line.node,
            node_group=line.node_group,
            quantity=line.quantity,
        )
        for number, line in enumerate(lines)
    ]
    for index, item in enumerate(capacities):
        node = item.node_capacity.node or item.carrier_slot.node
        found.append(refusals.Line(field=f"{path}capacity_takes[{index}]", node=node))
    return found


def create_refusal(
    request: messages.CreateReservationRequest,
    outcome: np.void,
    details: NDArray[np.void],
    *,
    request_index: int | None = None,
) -> Refusal:
    """Why a create was refused; `request_index` is its place in a batch."""
    index = request_index or 0
    path = "" if request_index is None else f"requests[{index}]."
    names = {"channel": request.channel}
    if request_index is not None:
        names["request"] = str(index)
    return refusals.of_outcome(
        outcome,
        details,
        lines=request_lines(request.lines, request.capacity_takes, path),
        shortages=shortages.refused(request.lines, request.capacity_takes, details, request=index),
        reservation_id=request.reservation_id,
        names=names if outcome["code"] == outcomes.CHANNEL_NOT_FOUND or index else {},
    )
