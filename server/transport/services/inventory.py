"""InventoryService: balances and what changes them. Feeds have a module of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import balances, outcomes, reads, tables
from engine.outcomes import Outcomes
from holdfast.v1 import errors_pb2, types_pb2
from holdfast.v1 import inventory_service_pb2 as messages
from server.application.piece_queue import REPORT
from server.transport import refusals
from server.transport.calls import Call, Methods
from server.transport.codec import inventory as codec
from server.transport.columns import Columns
from server.transport.errors import Refused
from server.transport.ledger_view import LedgerView
from server.transport.position_messages import (
    capacity_message,
    fence_message,
    supply_message,
    told_position,
)
from server.transport.shortfall_moves import ShortfallMoves, short_rows
from server.transport.validation import Checker


class InventoryService:
    """Handlers of the service's unary methods that write."""

    def __init__(self, view: LedgerView, moves: ShortfallMoves) -> None:
        self._view = view
        self._moves = moves

    def register(self, methods: Methods) -> None:
        """Offer every method that writes."""
        for name, request, handler in (
            ("AdjustInventory", messages.AdjustInventoryRequest, self.adjust),
            ("CountInventory", messages.CountInventoryRequest, self.count),
            ("TransferInventory", messages.TransferInventoryRequest, self.transfer),
            ("WithholdInventory", messages.WithholdInventoryRequest, self.withhold),
            ("UpsertSupply", messages.UpsertSupplyRequest, self.upsert_supply),
            ("ReceiveSupply", messages.ReceiveSupplyRequest, self.receive_supply),
            ("CancelSupply", messages.CancelSupplyRequest, self.cancel_supply),
            ("SetBackorderLimit", messages.SetBackorderLimitRequest, self.set_backorder_limit),
            ("SetCapacity", messages.SetCapacityRequest, self.set_capacity),
            ("SetChannelFence", messages.SetChannelFenceRequest, self.set_channel_fence),
            ("SetPurchaseLimit", messages.SetPurchaseLimitRequest, self.set_purchase_limit),
        ):
            methods.unary(name, request, handler)  # type: ignore[arg-type]

    async def _submit(
        self,
        build: Callable[[Columns, Checker, Any, bytes], None],
        request: Any,
        call: Call,
        lines: Sequence[refusals.Line],
        names: dict[str, str] | None = None,
    ) -> Outcomes:
        """Check and apply; the outcomes. Raises Refused where the ledger says no."""
        gateway = self._view.gateway
        columns, check = Columns(), Checker(gateway.now_ms())
        build(columns, check, request, call.caller.text)
        check.refuse()
        answer = await gateway.submit(
            columns.batch(), remaining_s=call.remaining_s(), priority=REPORT
        )
        outcome = answer.rows[0]
        if outcome["code"] != outcomes.OK:
            raise Refused(
                refusals.of_outcome(
                    outcome,
                    answer.details,
                    lines=lines,
                    shortages=_shortages(lines, answer.details),
                    names=names,
                )
            )
        return answer

    def _stocks(self, answer: Outcomes) -> list[messages.InventoryPosition]:
        """The stock positions an answer tells, in order."""
        told = balances.told(answer.details)
        return [self._stock(row) for row in told[told["position_kind"] == tables.STOCK]]

    def _stock(self, told: np.void) -> messages.InventoryPosition:
        called = self._view.names.position(int(told["position"]))
        return told_position(told, called.sku, called.node)

    def _supply(self, answer: Outcomes) -> messages.Supply:
        """The one supply an answer tells."""
        told = balances.told(answer.details)
        (row,) = told[told["position_kind"] == tables.SUPPLY]
        return supply_message(row, self._view.names)

    # --- On hand -----------------------------------------------------------------------------

    async def adjust(
        self, request: messages.AdjustInventoryRequest, call: Call
    ) -> messages.AdjustInventoryResponse:
        """AdjustInventory."""
        lines = _lines("adjustments", request.adjustments)
        answer = await self._submit(codec.adjust, request, call, lines)
        return messages.AdjustInventoryResponse(
            positions=self._stocks(answer), revision=int(answer.rows["revision"][0])
        )

    async def count(
        self, request: messages.CountInventoryRequest, call: Call
    ) -> messages.CountInventoryResponse:
        """CountInventory."""
        lines = _lines("counts", request.counts)
        answer = await self._submit(codec.count, request, call, lines)
        told = balances.told(answer.details)
        results = [
            messages.InventoryCountResult(
                position=self._stock(row),
                correction=int(row["moved"]),
                netted_quantity=int(row["on_hand"]) - item.on_hand,
            )
            for item, row in zip(request.counts, told, strict=True)
        ]
        for line, name in self._cancelled(answer.details):
            results[line].cancelled_reservation_ids.append(name)
        short = {
            row: line
            for line, row in short_rows(answer)
            if request.counts[line].shortfall_policy == types_pb2.SHORTFALL_POLICY_REPLAN
        }
        for row, names in (await self._moves.cover(short, call)).items():
            results[short[row]].reassigned_reservation_ids.extend(names)
        return messages.CountInventoryResponse(
            results=results, revision=int(answer.rows["revision"][0])
        )

    def _cancelled(self, details: NDArray[np.void]) -> Iterator[tuple[int, str]]:
        """(line, reservation id) of the holds that were cancelled and are still known."""
        state = self._view.state
        for detail in details[details["kind"] == outcomes.CANCELLED_HOLD]:
            row = int(detail["position"])
            if state.reservations["create_revision"][row] == detail["time_ms"]:
                yield int(detail["line"]), reads.reservation_id(state, row)

    async def transfer(
        self, request: messages.TransferInventoryRequest, call: Call
    ) -> messages.TransferInventoryResponse:
        """TransferInventory."""
        lines = _lines("lines", request.lines, node=request.source_node)
        answer = await self._submit(codec.transfer, request, call, lines)
        reply = messages.TransferInventoryResponse(revision=int(answer.rows["revision"][0]))
        told = balances.told(answer.details)
        stock = told[told["position_kind"] == tables.STOCK]
        # Of every line its source comes first.
        reply.source_positions.extend(self._stock(row) for row in stock[0::2])
        reply.destination_positions.extend(self._stock(row) for row in stock[1::2])
        reply.supplies.extend(
            # Answers that an older version gave do not have the source.
            supply_message(row, self._view.names, request.source_node)
            for row in told[told["position_kind"] == tables.SUPPLY]
        )
        return reply

    async def withhold(
        self, request: messages.WithholdInventoryRequest, call: Call
    ) -> messages.WithholdInventoryResponse:
        """WithholdInventory."""
        lines = _lines("withholdings", request.withholdings)
        answer = await self._submit(codec.withhold, request, call, lines)
        return messages.WithholdInventoryResponse(
            positions=self._stocks(answer), revision=int(answer.rows["revision"][0])
        )

    # --- Supply ------------------------------------------------------------------------------

    async def _move(self, request: Any, answer: Outcomes, call: Call) -> None:
        """REPLAN of a supply that shrank, or brought less than was promised of it."""
        if request.shortfall_policy == types_pb2.SHORTFALL_POLICY_REPLAN:
            await self._moves.cover([row for _, row in short_rows(answer)], call)

    async def upsert_supply(
        self, request: messages.UpsertSupplyRequest, call: Call
    ) -> messages.UpsertSupplyResponse:
        """UpsertSupply."""
        lines = [
            refusals.Line(field="(request)", sku=request.sku, node=request.node),
            refusals.Line(field="source_node", node=request.source_node),  # SOURCE_LINE
        ]
        names = {"sku": request.sku, "node": request.node, "supply_id": request.supply_id}
        answer = await self._submit(codec.upsert_supply, request, call, lines, names)
        await self._move(request, answer, call)
        return messages.UpsertSupplyResponse(
            supply=self._supply(answer),
            shortfall_quantity=_shortfall(answer.details),
            revision=int(answer.rows["revision"][0]),
        )

    async def receive_supply(
        self, request: messages.ReceiveSupplyRequest, call: Call
    ) -> messages.ReceiveSupplyResponse:
        """ReceiveSupply."""
        names = {"supply_id": request.supply_id}
        answer = await self._submit(codec.receive_supply, request, call, (), names)
        await self._move(request, answer, call)
        moved = answer.details[answer.details["kind"] == outcomes.MOVED]
        return messages.ReceiveSupplyResponse(
            supply=self._supply(answer),
            position=self._stocks(answer)[0],
            moved_quantity=int(moved["quantity"].sum()),
            shortfall_quantity=_shortfall(answer.details),
            revision=int(answer.rows["revision"][0]),
        )

    async def cancel_supply(
        self, request: messages.CancelSupplyRequest, call: Call
    ) -> messages.CancelSupplyResponse:
        """CancelSupply."""
        names = {"supply_id": request.supply_id}
        answer = await self._submit(codec.cancel_supply, request, call, (), names)
        await self._move(request, answer, call)
        return messages.CancelSupplyResponse(
            supply=self._supply(answer),
            shortfall_quantity=_shortfall(answer.details),
            revision=int(answer.rows["revision"][0]),
        )

    async def set_backorder_limit(
        self, request: messages.SetBackorderLimitRequest, call: Call
    ) -> messages.SetBackorderLimitResponse:
        """SetBackorderLimit."""
        names = {"sku": request.sku, "node": request.node}
        answer = await self._submit(codec.set_backorder_limit, request, call, (), names)
        return messages.SetBackorderLimitResponse(
            position=self._stocks(answer)[0], revision=int(answer.rows["revision"][0])
        )

    # --- Limits ------------------------------------------------------------------------------

    async def set_capacity(
        self, request: messages.SetCapacityRequest, call: Call
    ) -> messages.SetCapacityResponse:
        """SetCapacity."""
        node = request.node_capacity.node or request.carrier_slot.node
        answer = await self._submit(codec.set_capacity, request, call, (), {"node": node})
        outcome = answer.rows[0]
        reply = messages.SetCapacityResponse(revision=int(outcome["revision"]))
        if request.HasField("quantity"):
            (told,) = balances.told(answer.details)
            called = self._view.names.position(int(told["position"]))
            reply.capacity.CopyFrom(capacity_message(told, called))
        return reply

    async def set_channel_fence(
        self, request: messages.SetChannelFenceRequest, call: Call
    ) -> messages.SetChannelFenceResponse:
        """SetChannelFence."""
        names = {"sku": request.sku, "node": request.node, "channel": request.channel}
        answer = await self._submit(codec.set_channel_fence, request, call, (), names)
        outcome = answer.rows[0]
        reply = messages.SetChannelFenceResponse(revision=int(outcome["revision"]))
        if request.HasField("quantity"):
            (told,) = balances.told(answer.details)
            called = self._view.names.position(int(told["position"]))
            reply.channel_fence.CopyFrom(fence_message(told, called))
        return reply

    async def set_purchase_limit(
        self, request: messages.SetPurchaseLimitRequest, call: Call
    ) -> messages.SetPurchaseLimitResponse:
        """SetPurchaseLimit."""
        answer = await self._submit(
            codec.set_purchase_limit, request, call, (), {"sku": request.sku}
        )
        reply = messages.SetPurchaseLimitResponse(
            sku=request.sku, revision=int(answer.rows["revision"][0])
        )
        if request.HasField("quantity"):
            reply.quantity = request.quantity
        return reply


# --- What an answer tells --------------------------------------------------------------------


def _lines(field: str, items: Iterable[Any], *, node: str = "") -> list[refusals.Line]:
    return [
        refusals.Line(
            field=f"{field}[{index}]", sku=item.sku, node=node or getattr(item, "node", "")
        )
        for index, item in enumerate(items)
    ]


def _shortages(
    lines: Sequence[refusals.Line], details: NDArray[np.void]
) -> list[errors_pb2.Shortage]:
    """Entries that would take more than is available."""
    found = []
    for detail in details[details["kind"] == outcomes.SHORTAGE]:
        number = int(detail["line"])
        line = lines[number]
        found.append(
            errors_pb2.Shortage(
                line=number,
                sku=line.sku,
                node=line.node,
                requested_quantity=int(detail["quantity"]),
                available_quantity=int(detail["available"]),
            )
        )
    return found


def _shortfall(details: NDArray[np.void]) -> int:
    return int(details["shortfall"][details["kind"] == outcomes.SHORTFALL].sum())
