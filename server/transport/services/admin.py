"""AdminService: status, snapshots, freezing nodes, draining. For those who run the server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from engine import commands, invariants, limits, outcomes, reads, tables
from engine.compiled import Integer, kernel
from engine.state import State
from holdfast.v1 import admin_service_pb2 as messages
from holdfast.v1 import network_service_pb2 as network
from server.application.gateway import Gateway, Phase
from server.application.piece_queue import REPORT
from server.application.sequencer import Status
from server.logs import get
from server.transport.calls import Call, Methods
from server.transport.columns import Columns, line
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.ledger_view import LedgerView
from server.transport.render import timestamp
from server.transport.resources import NODE
from server.transport.services.network import NetworkService
from server.transport.table_use import table_use
from server.transport.validation import Checker

_log = get("admin")
_SLOTS = 1024

_KINDS = {
    "sqlite": messages.JOURNAL_KIND_SQLITE,
    "redis": messages.JOURNAL_KIND_REDIS,
    "rediss": messages.JOURNAL_KIND_REDIS,
    "memory": messages.JOURNAL_KIND_MEMORY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """A snapshot, as admin tells it."""

    revision: int
    size_bytes: int
    create_ms: int
    seconds: float


class Operator(Protocol):
    """What the life of the server offers to those who run it."""

    @property
    def start_ms(self) -> int:
        """When the server started, by the ledger's clock."""
        ...

    @property
    def version(self) -> str:
        """Version of the server."""
        ...

    @property
    def journal_scheme(self) -> str:
        """What keeps the journal, as its URL says."""
        ...

    @property
    def open_calls(self) -> int:
        """Calls under way."""
        ...

    @property
    def last_snapshot(self) -> SnapshotTaken | None:
        """The newest snapshot known of."""
        ...

    async def snapshot(self) -> SnapshotTaken:
        """Write one now. Raises `SnapshotNotTaken`."""
        ...

    def drain(self, grace_ms: int) -> None:
        """Begin to shut down, as SIGTERM does."""
        ...


class SnapshotNotTaken(Exception):
    """No snapshot was written; says why."""


@kernel
def _open_at(st: Any, node: int) -> Integer:
    found = 0
    for row in range(st.meta[0].reservation_high):
        reservation = st.reservations[row]
        if reservation.state != outcomes.HELD and reservation.state != outcomes.CONFIRMED:
            continue
        take_row = np.int64(reservation.first_take)
        while take_row >= 0:
            take = st.takes[take_row]
            position = st.positions[take.position]
            if take.quantity > 0 and position.node == node and position.kind == tables.STOCK:
                found += 1
                break
            take_row = np.int64(take.next)
    return found


def open_reservations_at(state: State, node: int) -> int:
    """Open reservations with units still to ship at this node (name row). O(reservations)."""
    return int(_open_at(state.tables, node))


class AdminService:
    """Handlers of the service."""

    def __init__(self, view: LedgerView, service: NetworkService, operator: Operator) -> None:
        self._view = view
        self._network = service
        self._operator = operator

    def register(self, methods: Methods) -> None:
        """Offer every method."""
        methods.unary("GetStatus", messages.GetStatusRequest, self.get_status)
        methods.unary("CreateSnapshot", messages.CreateSnapshotRequest, self.create_snapshot)
        methods.unary("FreezeNode", messages.FreezeNodeRequest, self.freeze_node)
        methods.unary("UnfreezeNode", messages.UnfreezeNodeRequest, self.unfreeze_node)
        methods.unary("Drain", messages.DrainRequest, self.drain)

    # --- Status ------------------------------------------------------------------------------

    async def get_status(
        self, request: messages.GetStatusRequest, call: Call
    ) -> messages.GetStatusResponse:
        """GetStatus. Also answers while the shard does not serve."""
        gateway, operator = self._view.gateway, self._operator
        reply = messages.GetStatusResponse(
            version=operator.version,
            start_time=timestamp(operator.start_ms),
            ledger_time=timestamp(gateway.now_ms()),
        )
        shard = reply.shards.add(shard=0, slots=_SLOTS, state=_shard_state(gateway))
        sequencer, standby = gateway.sequencer, gateway.standby
        ledger = sequencer or standby
        if ledger is None:
            return reply
        state = ledger.state
        meta = state.meta[0]
        shard.revision = reply.revision = state.revision
        shard.positions = int(meta["position_count"])
        shard.open_holds = int(meta["held_count"])
        shard.reservations = int(
            meta["held_count"] + meta["confirmed_count"] + meta["terminal_count"]
        )
        if sequencer is not None:
            shard.queue_age.FromMilliseconds(int(max(sequencer.queue_ages_s()) * 1000))
            shard.message = sequencer.reason
            shard.epoch = sequencer.epoch
        elif standby is not None:
            shard.message = (
                f"follows {standby.owner or 'nobody'}, {standby.behind_s() * 1e3:.0f} ms and "
                f"{standby.records_behind} records behind"
            )
        journal = ledger.journal
        shard.journal.kind = _KINDS.get(operator.journal_scheme, messages.JOURNAL_KIND_UNSPECIFIED)
        shard.journal.durability = (
            messages.JOURNAL_DURABILITY_DURABLE
            if journal.loss_window_ms == 0
            else messages.JOURNAL_DURABILITY_RELAXED
        )
        shard.journal.detail = journal.durability
        shard.journal.size_bytes = journal.size_bytes
        taken = operator.last_snapshot
        if taken is not None:
            shard.journal.snapshot_revision = taken.revision
            shard.journal.snapshot_time.CopyFrom(timestamp(taken.create_ms))
        for name, maximum, used in table_use(state):
            reply.limits.add(limit=name, maximum=maximum, used=used)
        if request.include_state_hash:
            shard.state_hash = invariants.state_hash(state).hex()
            reply.state_hash = shard.state_hash
        if shard.state == messages.SHARD_STATE_SERVING:
            await gateway.durable()
        return reply

    # --- Snapshot ----------------------------------------------------------------------------

    async def create_snapshot(
        self, request: messages.CreateSnapshotRequest, call: Call
    ) -> messages.CreateSnapshotResponse:
        """CreateSnapshot. Writing one twice does no harm, so its request_id needs no memory."""
        check = Checker(0)
        check.identifier("request_id", request.request_id, "request_id_bytes_max")
        if request.HasField("shard") and request.shard != 0:
            check.invalid("shard", request.shard, "is no shard of this server: it has shard 0")
        check.refuse()
        self._view.gateway.require_owner()
        try:
            taken = await self._operator.snapshot()
        except SnapshotNotTaken as fault:
            raise Refused(refusal(Fault.INTERNAL, Case(message=str(fault)))) from None
        reply = messages.CreateSnapshotResponse(revision=self._view.state.revision)
        made = reply.snapshots.add(
            shard=0,
            revision=taken.revision,
            size_bytes=taken.size_bytes,
            create_time=timestamp(taken.create_ms),
        )
        made.write_time.FromMilliseconds(int(taken.seconds * 1000))
        return reply

    # --- Nodes -------------------------------------------------------------------------------

    async def _set_frozen(
        self, request_id: str, node: str, frozen: bool, call: Call, reason: str = ""
    ) -> tuple[int, int]:
        """(revision, name row of the node). The log says who did it, and why."""
        check = Checker(0)
        encoded = check.identifier("request_id", request_id, "request_id_bytes_max")
        name = check.identifier("node", node, "node_bytes_max", required=True)
        check.refuse()
        columns = Columns()
        columns.add(
            commands.SET_NODE_FROZEN,
            caller=call.caller.text,
            request_id=encoded,
            lines=[line(node=name, quantity=int(frozen))],
        )
        answer = await self._view.gateway.submit(
            columns.batch(), remaining_s=call.remaining_s(), priority=REPORT
        )
        outcome = answer.rows[0]
        if outcome["code"] != outcomes.OK:
            raise Refused(
                refusal(
                    int(outcome["code"]),
                    Case(message=f"no such node: {node!r}", metadata={"node": node}),
                )
            )
        revision = int(outcome["revision"])
        _log.warning(
            "node frozen" if frozen else "node unfrozen",
            node=node,
            reason=" ".join(reason.split()) or None,  # one line
            caller=call.caller.text.decode(errors="replace"),
            revision=revision,
        )
        return revision, reads.find_name(self._view.state, commands.NODE, node)

    def _node(self, state: State, name: str, *, frozen: bool) -> network.Node:
        """The node as it is now; one without a document has just its name."""
        found: network.Node | None = self._network.stored(state, NODE, name)
        node = found if found is not None else network.Node(node=name)
        node.status = network.NODE_STATUS_FROZEN if frozen else network.NODE_STATUS_ACTIVE
        return node

    async def freeze_node(
        self, request: messages.FreezeNodeRequest, call: Call
    ) -> messages.FreezeNodeResponse:
        """FreezeNode."""
        check = Checker(0)
        check.text("reason", request.reason, "display_name_bytes_max")
        check.refuse()
        revision, row = await self._set_frozen(
            request.request_id, request.node, True, call, request.reason
        )
        state = self._view.state
        return messages.FreezeNodeResponse(
            node=self._node(state, request.node, frozen=True),
            open_reservations=open_reservations_at(state, row),
            revision=revision,
        )

    async def unfreeze_node(
        self, request: messages.UnfreezeNodeRequest, call: Call
    ) -> messages.UnfreezeNodeResponse:
        """UnfreezeNode."""
        revision, _ = await self._set_frozen(request.request_id, request.node, False, call)
        node = self._node(self._view.state, request.node, frozen=False)
        return messages.UnfreezeNodeResponse(node=node, revision=revision)

    # --- Drain -------------------------------------------------------------------------------

    async def drain(self, request: messages.DrainRequest, call: Call) -> messages.DrainResponse:
        """Drain, as SIGTERM. Asking twice changes nothing."""
        check = Checker(0)
        check.identifier("request_id", request.request_id, "request_id_bytes_max")
        grace_ms = limits.drain_grace_ms_default
        if request.HasField("grace"):
            grace_ms = check.milliseconds("grace", request.grace, "drain_grace_ms_max")
        check.refuse()
        gateway = self._view.gateway
        ledger = gateway.sequencer or gateway.standby
        revision = ledger.state.revision if ledger is not None else 0
        reply = messages.DrainResponse(open_calls=self._operator.open_calls, revision=revision)
        # This call is one of those under way: its answer leaves first.
        asyncio.get_running_loop().call_soon(self._operator.drain, grace_ms)
        return reply


def _shard_state(gateway: Gateway) -> messages.ShardState.ValueType:
    if gateway.phase is Phase.STANDBY:
        return messages.SHARD_STATE_STANDBY
    if gateway.phase is Phase.DRAINING:
        return messages.SHARD_STATE_DRAINING
    if gateway.sequencer is None or gateway.phase is Phase.STARTING:
        return messages.SHARD_STATE_RECOVERING
    return {
        Status.SERVING: messages.SHARD_STATE_SERVING,
        Status.DRAINING: messages.SHARD_STATE_DRAINING,
        Status.REBUILDING: messages.SHARD_STATE_RECOVERING,
        Status.STOPPED: messages.SHARD_STATE_STOPPED,
    }[gateway.sequencer.status]
