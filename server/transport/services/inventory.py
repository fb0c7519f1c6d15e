"""InventoryService: balances and what changes them. Feeds have a module of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, reads
from engine.outcomes import Outcomes
from engine.state import State
from holdfast.v1 import errors_pb2
from holdfast.v1 import inventory_service_pb2 as messages
from server.application.piece_queue import REPORT
from server.transport import refusals
from server.transport.calls import Call, Methods
from server.transport.codec import inventory as codec
from server.transport.columns import Columns
from server.transport.errors import Refused
from server.transport.ledger_view import LedgerView
from server.transport.names import Names
from server.transport.position_columns import read_positions
from server.transport.position_messages import inventory_position
from server.transport.render import timestamp
from server.transport.validation import Checker

_SUPPLY_KINDS = {
    commands.PURCHASE_ORDER: messages.SUPPLY_TYPE_PURCHASE_ORDER,
    commands.TRANSFER_SUPPLY: messages.SUPPLY_TYPE_TRANSFER,
    commands.PREORDER: messages.SUPPLY_TYPE_PREORDER,
}


class InventoryService:
    """Handlers of the service's unary methods that write."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view

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
        build: Callable[[Columns, Checker, Any, bytes], Any],
        request: Any,
        call: Call,
        lines: Sequence[refusals.Line],
        names: dict[str, str] | None = None,
    ) -> tuple[Outcomes, Any]:
        """Check, apply, and raise Refused where the ledger says no. (outcomes, build's result)"""
        gateway = self._view.gateway
        columns, check = Columns(), Checker(gateway.now_ms())
        built = build(columns, check, request, call.caller.text)
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
        return answer, built

    def _positions(self, pairs: Iterable[tuple[str, str]]) -> list[messages.InventoryPosition]:
        """The positions of these SKUs and nodes, as they stand."""
        named = list(pairs)
        state = self._view.state
        rows = np.array([reads.position_row(state, *pair) for pair in named], np.int64)
        numbers = read_positions(state, rows)
        return [
            inventory_position(numbers[index], sku, node) for index, (sku, node) in enumerate(named)
        ]

    # --- On hand -----------------------------------------------------------------------------

    async def adjust(
        self, request: messages.AdjustInventoryRequest, call: Call
    ) -> messages.AdjustInventoryResponse:
        """AdjustInventory."""
        lines = _lines("adjustments", request.adjustments)
        answer, _ = await self._submit(codec.adjust, request, call, lines)
        return messages.AdjustInventoryResponse(
            positions=self._positions((item.sku, item.node) for item in request.adjustments),
            revision=int(answer.rows["revision"][0]),
        )

    async def count(
        self, request: messages.CountInventoryRequest, call: Call
    ) -> messages.CountInventoryResponse:
        """CountInventory."""
        lines = _lines("counts", request.counts)
        answer, _ = await self._submit(codec.count, request, call, lines)
        positions = self._positions((item.sku, item.node) for item in request.counts)
        revision = int(answer.rows["revision"][0])
        results = []
        for item, position in zip(request.counts, positions, strict=True):
            result = messages.InventoryCountResult(position=position)
            moved = _movement_at(self._view.state, item.sku, item.node, revision)
            if moved is not None:
                result.correction = int(moved["delta"])
                result.netted_quantity = int(moved["on_hand"]) - item.on_hand
            results.append(result)
        return messages.CountInventoryResponse(results=results, revision=revision)

    async def transfer(
        self, request: messages.TransferInventoryRequest, call: Call
    ) -> messages.TransferInventoryResponse:
        """TransferInventory."""
        lines = _lines("lines", request.lines, node=request.source_node)
        answer, supplies = await self._submit(codec.transfer, request, call, lines)
        state = self._view.state
        source, destination = request.source_node, request.destination_node
        return messages.TransferInventoryResponse(
            source_positions=self._positions((item.sku, source) for item in request.lines),
            destination_positions=self._positions(
                (item.sku, destination) for item in request.lines
            ),
            supplies=[
                self._supply(state, reads.supply_row(state, name.decode()), source)
                for name in supplies
            ],
            revision=int(answer.rows["revision"][0]),
        )

    async def withhold(
        self, request: messages.WithholdInventoryRequest, call: Call
    ) -> messages.WithholdInventoryResponse:
        """WithholdInventory."""
        lines = _lines("withholdings", request.withholdings)
        answer, _ = await self._submit(codec.withhold, request, call, lines)
        return messages.WithholdInventoryResponse(
            positions=self._positions((item.sku, item.node) for item in request.withholdings),
            revision=int(answer.rows["revision"][0]),
        )

    # --- Supply ------------------------------------------------------------------------------

    def _supply(self, state: State, row: int, source_node: str = "") -> messages.Supply:
        return supply_message(state, self._view.names, row, source_node)

    async def upsert_supply(
        self, request: messages.UpsertSupplyRequest, call: Call
    ) -> messages.UpsertSupplyResponse:
        """UpsertSupply."""
        lines = [refusals.Line(field="(request)", sku=request.sku, node=request.node)]
        names = {"sku": request.sku, "node": request.node, "supply_id": request.supply_id}
        answer, _ = await self._submit(codec.upsert_supply, request, call, lines, names)
        outcome = answer.rows[0]
        return messages.UpsertSupplyResponse(
            supply=self._supply(self._view.state, int(outcome["affected"]), request.source_node),
            shortfall_quantity=_shortfall(answer.details),
            revision=int(outcome["revision"]),
        )

    async def receive_supply(
        self, request: messages.ReceiveSupplyRequest, call: Call
    ) -> messages.ReceiveSupplyResponse:
        """ReceiveSupply."""
        names = {"supply_id": request.supply_id}
        answer, _ = await self._submit(codec.receive_supply, request, call, (), names)
        outcome = answer.rows[0]
        supply = self._supply(self._view.state, int(outcome["affected"]))
        moved = answer.details[answer.details["kind"] == outcomes.MOVED]
        return messages.ReceiveSupplyResponse(
            supply=supply,
            position=self._positions([(supply.sku, supply.node)])[0],
            moved_quantity=int(moved["quantity"].sum()),
            shortfall_quantity=_shortfall(answer.details),
            revision=int(outcome["revision"]),
        )

    async def cancel_supply(
        self, request: messages.CancelSupplyRequest, call: Call
    ) -> messages.CancelSupplyResponse:
        """CancelSupply."""
        names = {"supply_id": request.supply_id}
        answer, _ = await self._submit(codec.cancel_supply, request, call, (), names)
        outcome = answer.rows[0]
        return messages.CancelSupplyResponse(
            supply=self._supply(self._view.state, int(outcome["affected"])),
            shortfall_quantity=_shortfall(answer.details),
            revision=int(outcome["revision"]),
        )

    async def set_backorder_limit(
        self, request: messages.SetBackorderLimitRequest, call: Call
    ) -> messages.SetBackorderLimitResponse:
        """SetBackorderLimit."""
        names = {"sku": request.sku, "node": request.node}
        answer, _ = await self._submit(codec.set_backorder_limit, request, call, (), names)
        return messages.SetBackorderLimitResponse(
            position=self._positions([(request.sku, request.node)])[0],
            revision=int(answer.rows["revision"][0]),
        )

    # --- Limits ------------------------------------------------------------------------------

    async def set_capacity(
        self, request: messages.SetCapacityRequest, call: Call
    ) -> messages.SetCapacityResponse:
        """SetCapacity."""
        node = request.node_capacity.node or request.carrier_slot.node
        answer, _ = await self._submit(codec.set_capacity, request, call, (), {"node": node})
        outcome = answer.rows[0]
        reply = messages.SetCapacityResponse(revision=int(outcome["revision"]))
        if request.HasField("quantity"):
            row = int(outcome["affected"])
            reply.capacity.CopyFrom(capacity_message(self._view.state, self._view.names, row))
        return reply

    async def set_channel_fence(
        self, request: messages.SetChannelFenceRequest, call: Call
    ) -> messages.SetChannelFenceResponse:
        """SetChannelFence."""
        names = {"sku": request.sku, "node": request.node, "channel": request.channel}
        answer, _ = await self._submit(codec.set_channel_fence, request, call, (), names)
        outcome = answer.rows[0]
        reply = messages.SetChannelFenceResponse(revision=int(outcome["revision"]))
        if request.HasField("quantity"):
            row = int(outcome["affected"])
            reply.channel_fence.CopyFrom(fence_message(self._view.state, self._view.names, row))
        return reply

    async def set_purchase_limit(
        self, request: messages.SetPurchaseLimitRequest, call: Call
    ) -> messages.SetPurchaseLimitResponse:
        """SetPurchaseLimit."""
        answer, _ = await self._submit(
            codec.set_purchase_limit, request, call, (), {"sku": request.sku}
        )
        reply = messages.SetPurchaseLimitResponse(
            sku=request.sku, revision=int(answer.rows["revision"][0])
        )
        if request.HasField("quantity"):
            reply.quantity = request.quantity
        return reply


# --- Messages --------------------------------------------------------------------------------


def supply_message(state: State, names: Names, row: int, source_node: str = "") -> messages.Supply:
    """A supply as it stands."""
    supply = state.supplies[row]
    position = state.positions[int(supply["position"])]
    called = names.position(int(supply["position"]))
    standing = messages.Supply.STATE_OPEN
    if not supply["open"]:
        standing = messages.Supply.STATE_CANCELLED
        if supply["received"] > 0:
            standing = messages.Supply.STATE_RECEIVED
    return messages.Supply(
        supply_id=called.scope,
        sku=called.sku,
        node=called.node,
        type=_SUPPLY_KINDS.get(int(supply["type"]), messages.SUPPLY_TYPE_UNSPECIFIED),
        quantity=int(position["on_hand"]),
        promised_quantity=int(position["held"]) + int(position["committed"]),
        received_quantity=int(supply["received"]),
        expected_time=timestamp(int(supply["expected_ms"])),
        state=standing,
        source_node=source_node,
        etag=int(position["changed_revision"]),
    )


def _free(position: np.void) -> int:
    return int(position["on_hand"]) - int(position["held"]) - int(position["committed"])


def capacity_message(state: State, names: Names, row: int) -> messages.Capacity:
    """A capacity as it stands."""
    position = state.positions[row]
    called = names.position(row)
    made = messages.Capacity(
        quantity=reads.capacity_units(state, row),
        held=int(position["held"]),
        committed=int(position["committed"]),
        available=_free(position),
    )
    if called.is_slot:
        made.carrier_slot.slot, made.carrier_slot.node = called.sku, called.node
    else:
        made.node_capacity.date, made.node_capacity.node = called.sku, called.node
    return made


def fence_message(state: State, names: Names, row: int) -> messages.ChannelFence:
    """A ring-fence as it stands."""
    position = state.positions[row]
    called = names.position(row)
    return messages.ChannelFence(
        channel=called.scope,
        sku=called.sku,
        node=called.node,
        quantity=int(position["on_hand"]),
        held=int(position["held"]),
        committed=int(position["committed"]),
        available=_free(position),
    )


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


def _movement_at(state: State, sku: str, node: str, revision: int) -> np.void | None:
    """The movement of a position that this revision made, while it is kept."""
    row = reads.position_row(state, sku, node)
    if row < 0:
        return None
    for slot in reads.movements_of(state, row):
        movement: np.void = state.movements[slot]
        if movement["revision"] == revision:
            return movement
        if movement["revision"] < revision:
            return None
    return None
