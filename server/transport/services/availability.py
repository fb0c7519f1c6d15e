"""AvailabilityService.QueryAvailability: read from the live state, between two batches."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from engine import limits
from holdfast.v1 import availability_service_pb2 as messages
from server.admission.brownout import Brownout
from server.transport.calls import Call, Methods
from server.transport.channel_nodes import ChannelNodes
from server.transport.ledger_view import LedgerView
from server.transport.malformed import read
from server.transport.node_rows import NodeRows
from server.transport.position_columns import find_rows, read_positions
from server.transport.position_messages import position_availability
from server.transport.recent_answers import RecentAnswers
from server.transport.render import timestamp
from server.transport.selection import check_selection, select, too_many
from server.transport.validation import Checker

# Look-ups of SKUs at nodes nobody named; far above what a query of named ones may ask.
_LOOKUPS_MAX = 1_000_000
# Messages made before other calls get a turn.
_MESSAGES_IN_A_ROW = 500

_SUMMED = ("on_hand", "held", "committed", "incoming", "in_transit")
_FLOORED = ("available", "available_to_promise", "available_to_sell")


class AvailabilityService:
    """The handler of QueryAvailability."""

    def __init__(
        self,
        view: LedgerView,
        channels: ChannelNodes,
        nodes: NodeRows,
        brownout: Brownout,
        *,
        degraded_age_ms_max: int,
    ) -> None:
        self._view = view
        self._channels = channels
        self._nodes = nodes
        self._brownout = brownout
        self._recent = RecentAnswers()
        self._degraded_age_ms_max = degraded_age_ms_max

    def register(self, methods: Methods) -> None:
        """Offer it."""
        methods.unary_raw("QueryAvailability", self.query_raw)

    async def query_raw(self, raw: bytes, call: Call) -> bytes:
        """QueryAvailability from and to bytes; in a brown-out perhaps what it read a moment ago."""
        if not self._brownout.cached_availability:
            if self._recent:
                self._recent.clear()
            reply = await self.query(read(messages.QueryAvailabilityRequest, raw), call)
            return reply.SerializeToString(deterministic=True)
        self._view.gateway.require_fresh(limits.max_staleness_ms_max)  # and that there is a state
        now_ms = self._view.gateway.now_ms()
        found = self._recent.find(raw, now_ms)
        if found is not None:
            self._brownout.degraded_answers += 1
            return found
        request = read(messages.QueryAvailabilityRequest, raw)
        reply = await self.query(request, call)
        answer = reply.SerializeToString(deterministic=True)
        self._keep(raw, request, reply, now_ms)
        return answer

    def _keep(
        self,
        raw: bytes,
        request: messages.QueryAvailabilityRequest,
        reply: messages.QueryAvailabilityResponse,
        read_ms: int,
    ) -> None:
        """Tell it again, marked as degraded, where its caller takes numbers of that age."""
        staleness_ms = limits.max_staleness_ms_default
        if request.HasField("max_staleness"):
            staleness_ms = request.max_staleness.ToMilliseconds()
        if not staleness_ms:
            return
        for position in reply.positions:
            position.degraded = True
        for total in reply.totals:
            total.degraded = True
        self._recent.keep(
            raw,
            reply.SerializeToString(deterministic=True),
            read_ms=read_ms,
            age_ms_max=min(staleness_ms, self._degraded_age_ms_max),
        )

    async def query(
        self, request: messages.QueryAvailabilityRequest, call: Call
    ) -> messages.QueryAvailabilityResponse:
        """QueryAvailability from a message, read now."""
        state = self._view.state
        check = Checker(state.now_ms)
        check_selection(check, request, skus_required=True)
        check.identifier("owner", request.owner, "owner_bytes_max")
        need_by_ms = 0
        if request.HasField("need_by_time"):
            need_by_ms = check.time_ms("need_by_time", request.need_by_time)
            check.not_past("need_by_time", need_by_ms)
        staleness_ms = limits.max_staleness_ms_default
        if request.HasField("max_staleness"):
            staleness_ms = check.milliseconds(
                "max_staleness", request.max_staleness, "max_staleness_ms_max"
            )
        check.refuse()
        self._view.gateway.require_fresh(staleness_ms)
        rows, skus, nodes = self._rows(request)
        numbers = read_positions(
            state, rows, channel=request.channel, need_by_ms=need_by_ms, owner=request.owner
        )
        reply = messages.QueryAvailabilityResponse(
            totals=_totals(self._view, numbers, skus),
            as_of_time=timestamp(state.now_ms),
            revision=state.revision,
        )
        now_ms, names = state.now_ms, self._view.names
        if not request.totals_only:
            for index, row in enumerate(numbers):
                reply.positions.append(
                    position_availability(
                        row,
                        names.text(int(skus[index])),
                        names.text(int(nodes[index])),
                        now_ms=now_ms,
                    )
                )
                if index % _MESSAGES_IN_A_ROW == _MESSAGES_IN_A_ROW - 1:
                    await asyncio.sleep(0)
        if staleness_ms == 0:
            # What was read may be ahead of the journal: it is told once that has caught up.
            await self._view.gateway.durable()
        return reply

    def _rows(
        self, request: messages.QueryAvailabilityRequest
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(stock rows, SKU of each, node of each), SKUs in their order, nodes in theirs."""
        chosen = select(self._view, self._channels, request)
        keys = self._view.state.names["key"]
        every = chosen.nodes is None
        nodes = self._nodes.rows() if chosen.nodes is None else chosen.nodes
        pairs = len(chosen.skus) * len(nodes)
        if pairs > (_LOOKUPS_MAX if every else limits.query_positions_max):
            raise too_many("skus", pairs)
        rows = find_rows(self._view.state, keys[chosen.skus], keys[nodes]).ravel()
        skus = np.repeat(chosen.skus, len(nodes))
        node_rows = np.tile(nodes, len(chosen.skus))
        if every:
            there = rows >= 0
            rows, skus, node_rows = rows[there], skus[there], node_rows[there]
            if len(rows) > limits.query_positions_max:
                raise too_many("skus", len(rows))
        return rows, skus, node_rows


def _totals(
    view: LedgerView, numbers: NDArray[np.void], skus: NDArray[np.int64]
) -> list[messages.SkuAvailability]:
    """The sum of each SKU over its positions; balances below 0 count as 0."""
    names = view.names
    order, first, place = np.unique(skus, return_index=True, return_inverse=True)
    sums = {}
    for field in (*_SUMMED, *_FLOORED, "shortfall", "withheld"):
        if field == "shortfall":
            values = np.maximum(0, -numbers["available"])
        elif field == "withheld":
            values = (
                numbers["safety_stock"]
                + numbers["damaged"]
                + numbers["quality_control"]
                + numbers["frozen"]
            )
        elif field in _FLOORED:
            values = np.maximum(0, numbers[field])
        else:
            values = numbers[field]
        total = np.zeros(len(order), np.int64)
        np.add.at(total, place, values)
        sums[field] = total
    return [
        messages.SkuAvailability(
            sku=names.text(int(order[index])),
            **{field: int(total[index]) for field, total in sums.items()},  # type: ignore[arg-type]
        )
        for index in np.argsort(first)
    ]
