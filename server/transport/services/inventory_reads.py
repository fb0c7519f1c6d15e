"""InventoryService: what only reads. Lists go by row numbers, which are the order of recording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, limits, reads, tables
from engine.balances import read_balance
from engine.invariants import Difference
from engine.state import State
from holdfast.v1 import inventory_service_pb2 as messages
from server.transport import scan
from server.transport.calls import Call, Methods
from server.transport.codec.inventory import ADJUSTMENT_BASE, BUCKETS
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.ledger_view import LedgerView
from server.transport.names import BACKORDER, Names
from server.transport.node_rows import NodeRows
from server.transport.paging import Page, page_of
from server.transport.position_columns import find_rows, read_positions
from server.transport.position_messages import (
    capacity_message,
    fence_message,
    inventory_position,
    supply_message,
)
from server.transport.render import timestamp
from server.transport.validation import Checker

_MOVEMENT_TYPES = {
    tables.RECEIPT: messages.MOVEMENT_TYPE_RECEIVE,
    tables.ADJUSTMENT: messages.MOVEMENT_TYPE_ADJUST,
    tables.COUNTED: messages.MOVEMENT_TYPE_COUNT,
    tables.FULFILLMENT: messages.MOVEMENT_TYPE_FULFILL,
    tables.RETURNED: messages.MOVEMENT_TYPE_RETURN,
    tables.TRANSFER_OUT: messages.MOVEMENT_TYPE_TRANSFER_OUT,
    tables.TRANSFER_IN: messages.MOVEMENT_TYPE_TRANSFER_IN,
    tables.WITHHELD: messages.MOVEMENT_TYPE_WITHHOLD,
}
_POSITION_KINDS = {
    tables.STOCK: messages.POSITION_KIND_STOCK,
    tables.SUPPLY: messages.POSITION_KIND_SUPPLY,
    tables.CAPACITY: messages.POSITION_KIND_NODE_CAPACITY,
    tables.FENCE: messages.POSITION_KIND_CHANNEL_FENCE,
    tables.LIMIT: messages.POSITION_KIND_PURCHASE_LIMIT,
}
_WIRE_BUCKETS = {bucket: wire for wire, bucket in BUCKETS.items()}
_UNKNOWN = -2  # a filter names what the ledger has never heard of: nothing matches


class InventoryReads:
    """Handlers of the service's methods that change nothing."""

    def __init__(self, view: LedgerView, nodes: NodeRows) -> None:
        self._view = view
        self._nodes = nodes

    def register(self, methods: Methods) -> None:
        """Offer them."""
        for name, request, handler in (
            ("GetInventoryPosition", messages.GetInventoryPositionRequest, self.get),
            ("ListInventoryPositions", messages.ListInventoryPositionsRequest, self.list_positions),
            ("ListInventoryMovements", messages.ListInventoryMovementsRequest, self.movements),
            ("VerifyInventory", messages.VerifyInventoryRequest, self.verify),
            ("ListSupplies", messages.ListSuppliesRequest, self.supplies),
            ("ListCapacities", messages.ListCapacitiesRequest, self.capacities),
            ("ListChannelFences", messages.ListChannelFencesRequest, self.fences),
        ):
            methods.unary(name, request, handler)  # type: ignore[arg-type]

    def _asked(self, request: Any, *filters: str) -> tuple[State, Page | None, dict[str, int]]:
        """(state, page, name rows of the filters given); raises Refused for what is not valid."""
        state = self._view.state
        check = Checker(self._view.gateway.now_ms())
        page = page_of(check, request) if hasattr(request, "page_size") else None
        rows = {}
        for name in filters:
            text = getattr(request, name)
            check.identifier(name, text, f"{name}_bytes_max")
            kind = {"sku": commands.SKU, "node": commands.NODE, "channel": commands.CHANNEL}[name]
            rows[name] = -1
            if text:
                found = reads.find_name(state, kind, text)
                rows[name] = found if found >= 0 else _UNKNOWN
        check.refuse()
        return state, page, rows

    # --- Positions ---------------------------------------------------------------------------

    async def get(
        self, request: messages.GetInventoryPositionRequest, call: Call
    ) -> messages.GetInventoryPositionResponse:
        """GetInventoryPosition."""
        check = Checker(0)
        check.identifier("sku", request.sku, "sku_bytes_max", required=True)
        check.identifier("node", request.node, "node_bytes_max", required=True)
        check.refuse()
        state, _, rows = self._asked(request, "sku", "node")
        row = reads.position_row(state, request.sku, request.node)
        if row < 0:
            fault = Fault.POSITION_NOT_FOUND
            if rows["sku"] < 0:
                fault = Fault.SKU_NOT_FOUND
            elif rows["node"] < 0:
                fault = Fault.NODE_NOT_FOUND
            metadata = {"sku": request.sku, "node": request.node}
            raise Refused(
                refusal(fault, Case(subject=f"{request.sku}@{request.node}", metadata=metadata))
            )
        numbers = read_positions(state, np.array([row], np.int64))
        reply = messages.GetInventoryPositionResponse(
            position=inventory_position(numbers[0], request.sku, request.node),
            revision=state.revision,
        )
        await self._view.gateway.durable()
        return reply

    async def list_positions(
        self, request: messages.ListInventoryPositionsRequest, call: Call
    ) -> messages.ListInventoryPositionsResponse:
        """ListInventoryPositions."""
        state, page, rows = self._asked(request, "sku", "node")
        assert page is not None
        found, after = self._stock(state, page, rows["sku"], rows["node"], request.shortfall_only)
        numbers = read_positions(state, found)
        reply = messages.ListInventoryPositionsResponse(
            positions=[
                inventory_position(item, *self._called(int(item["row"]))) for item in numbers
            ],
            next_page_token=page.token(after),
            revision=state.revision,
        )
        await self._view.gateway.durable()
        return reply

    def _called(self, row: int) -> tuple[str, str]:
        called = self._view.names.position(row)
        return called.sku, called.node

    def _stock(
        self, state: State, page: Page, sku: int, node: int, short_only: bool
    ) -> tuple[NDArray[np.int64], int]:
        if _UNKNOWN in (sku, node):
            return np.zeros(0, np.int64), -1
        if sku < 0:
            return scan.positions(
                state, tables.STOCK, page.after, page.size, node=node, short_only=short_only
            )
        # One SKU: look it up at every node instead of walking through all positions.
        nodes = np.array([node], np.int64) if node >= 0 else self._nodes.rows()
        names = state.names
        rows = find_rows(state, names["key"][[sku]], names["key"][nodes])[0]
        rows = np.sort(rows[rows >= page.after])
        if short_only:
            rows = rows[read_positions(state, rows)["available"] < 0]
        return rows[: page.size], int(rows[page.size]) if len(rows) > page.size else -1

    # --- Movements ---------------------------------------------------------------------------

    async def movements(
        self, request: messages.ListInventoryMovementsRequest, call: Call
    ) -> messages.ListInventoryMovementsResponse:
        """ListInventoryMovements, oldest first."""
        state, page, rows = self._asked(request, "sku", "node")
        assert page is not None
        check = Checker(self._view.gateway.now_ms())
        check.identifier("reservation_id", request.reservation_id, "reservation_id_bytes_max")
        check.identifier("request_id", request.request_id, "request_id_bytes_max")
        start_ms = end_ms = 0
        if request.HasField("start_time"):
            start_ms = check.time_ms("start_time", request.start_time)
        if request.HasField("end_time"):
            end_ms = check.time_ms("end_time", request.end_time)
            if start_ms and end_ms <= start_ms:
                check.invalid("end_time", end_ms, "is not after start_time")
        check.refuse()
        reservation = -1
        if request.reservation_id:
            reservation = reads.reservation_row(state, request.reservation_id)
            reservation = reservation if reservation >= 0 else _UNKNOWN
        slots: NDArray[np.int64] = np.zeros(0, np.int64)
        after = -1
        if _UNKNOWN not in (rows["sku"], rows["node"], reservation):
            slots, after = scan.movements(
                state,
                page.after,
                page.size,
                sku=rows["sku"],
                node=rows["node"],
                reservation=reservation,
                start_ms=start_ms,
                end_ms=end_ms,
                request_id=request.request_id,
            )
        reply = messages.ListInventoryMovementsResponse(
            movements=[self._movement(state, int(slot)) for slot in slots],
            next_page_token=page.token(after),
            revision=state.revision,
        )
        await self._view.gateway.durable()
        return reply

    def _movement(self, state: State, slot: int) -> messages.InventoryMovement:
        movement = state.movements[slot]
        sku, node = self._called(int(movement["position"]))
        reason = int(movement["reason"])
        adjusted = reason >= ADJUSTMENT_BASE
        cause = reads.movement_cause(state, slot)
        made = messages.InventoryMovement(
            revision=int(movement["revision"]),
            create_time=timestamp(int(movement["time_ms"])),
            sku=sku,
            node=node,
            type=messages.MOVEMENT_TYPE_ADJUST if adjusted else _MOVEMENT_TYPES[reason],
            on_hand_delta=int(movement["delta"]),
            withheld_delta=int(movement["withheld_delta"]),
            on_hand=int(movement["on_hand"]),
            supply_id=cause.supply_id,
            request_id=cause.request_id,
            reference=cause.reference,
        )
        if movement["bucket"]:
            made.bucket = _WIRE_BUCKETS[int(movement["bucket"])]
        if adjusted:
            made.reason = reason - ADJUSTMENT_BASE  # type: ignore[assignment]
        row = int(movement["reservation"])
        if row >= 0:
            kept = state.reservations[row]
            # The row may belong to a younger reservation by now.
            if kept["state"] and kept["create_revision"] <= movement["revision"]:
                made.reservation_id = reads.reservation_id(state, row)
        if reason == tables.FULFILLMENT:
            made.committed_delta = int(movement["delta"])
        return made

    # --- Supplies, capacities, fences --------------------------------------------------------

    async def supplies(
        self, request: messages.ListSuppliesRequest, call: Call
    ) -> messages.ListSuppliesResponse:
        """ListSupplies by expected time."""
        state, page, rows = self._asked(request, "sku", "node")
        assert page is not None
        check = Checker(0)
        states = {value: value for value in messages.Supply.State.values() if value}
        wanted = check.enumerated("state", request.state, states, default=0)
        check.refuse()
        found: list[int] = []
        after = -1
        if _UNKNOWN not in rows.values():
            found, after = scan.supplies(
                state, page.after, page.size, sku=rows["sku"], node=rows["node"], in_state=wanted
            )
        reply = messages.ListSuppliesResponse(
            supplies=[
                supply_message(read_balance(state, row), self._view.names)
                for row in state.supplies["position"][found].tolist()
            ],
            next_page_token=page.token(after),
            revision=state.revision,
        )
        await self._view.gateway.durable()
        return reply

    async def capacities(
        self, request: messages.ListCapacitiesRequest, call: Call
    ) -> messages.ListCapacitiesResponse:
        """ListCapacities in the order they were first set."""
        state, page, rows = self._asked(request, "node")
        assert page is not None
        found: NDArray[np.int64] = np.zeros(0, np.int64)
        after = -1
        if rows["node"] != _UNKNOWN:
            found, after = scan.positions(
                state, tables.CAPACITY, page.after, page.size, node=rows["node"]
            )
        reply = messages.ListCapacitiesResponse(
            capacities=[
                capacity_message(read_balance(state, row), self._view.names.position(row))
                for row in found.tolist()
            ],
            next_page_token=page.token(after),
            revision=state.revision,
        )
        await self._view.gateway.durable()
        return reply

    async def fences(
        self, request: messages.ListChannelFencesRequest, call: Call
    ) -> messages.ListChannelFencesResponse:
        """ListChannelFences in the order they were first set."""
        state, page, rows = self._asked(request, "channel", "sku", "node")
        assert page is not None
        found: NDArray[np.int64] = np.zeros(0, np.int64)
        after = -1
        if _UNKNOWN not in rows.values():
            found, after = scan.positions(
                state,
                tables.FENCE,
                page.after,
                page.size,
                sku=rows["sku"],
                node=rows["node"],
                scope=rows["channel"],
            )
        reply = messages.ListChannelFencesResponse(
            channel_fences=[
                fence_message(read_balance(state, row), self._view.names.position(row))
                for row in found.tolist()
            ],
            next_page_token=page.token(after),
            revision=state.revision,
        )
        await self._view.gateway.durable()
        return reply

    # --- Verify ------------------------------------------------------------------------------

    async def verify(
        self, request: messages.VerifyInventoryRequest, call: Call
    ) -> messages.VerifyInventoryResponse:
        """VerifyInventory: recompute beside the traffic, compare, report. A difference stops the
        shard once this is answered."""
        _, _, rows = self._asked(request, "sku", "node")
        gateway = self._view.gateway
        report = await gateway.verify()
        found = [
            item
            for item in report.differences
            for position in (report.state.positions[item.position],)
            if rows["sku"] in (-1, position["sku"]) and rows["node"] in (-1, position["node"])
        ]
        # Not the view's names: the shard may have stopped by now.
        names = Names(report.state)
        reply = messages.VerifyInventoryResponse(
            differences=[
                _difference(names, item) for item in found[: limits.differences_per_verify_max]
            ],
            differences_total=len(found),
            positions_checked=report.positions,
            reservations_checked=report.reservations,
            revision=report.revision,
        )
        if report.differences:
            return reply
        if not request.skip_state_hash:
            reply.state_hash, reply.revision = await gateway.state_hash()
        await gateway.durable()
        return reply


def _difference(names: Names, item: Difference) -> messages.BalanceDifference:
    called = names.position(item.position)
    kind = _POSITION_KINDS[called.kind]
    if called.is_slot:
        kind = messages.POSITION_KIND_CARRIER_SLOT
    elif called.kind == tables.SUPPLY and called.scope == BACKORDER:
        kind = messages.POSITION_KIND_BACKORDER
    return messages.BalanceDifference(
        kind=kind,
        position=called.label,
        sku="" if called.kind == tables.CAPACITY else called.sku,
        node=called.node,
        field=item.field,
        stored=item.stored,
        recomputed=item.recomputed,
    )
