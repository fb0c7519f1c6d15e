"""PromiseOrder of usual orders, from the request's bytes to the reply's.

The same step as `server.transport.services.promises` makes: the decision and the command in one
piece, and an answer that is the same to the byte. Promises that come together are planned one after
another on the state as it stands and share one piece: the ledger and the journal's thread cost
nearly the same whatever is in it. Only the first attempt is made here; what the ledger refuses goes
on there.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from engine import commands, limits, outcomes
from engine.hashing import wide_key_of
from engine.outcomes import Outcomes
from engine.routing import limits as solver
from engine.routing.express import pricing
from engine.routing.solver import Strategy
from engine.state import State
from holdfast.v1 import reservation_service_pb2 as reservations
from server.application.piece_queue import RESERVE
from server.routing.decisions import Decision, Key, pack_problem
from server.routing.express.desk import Shown
from server.routing.express.reader import UsualOrder
from server.routing.kernels import desk as kernels
from server.routing.metrics import RoutingMetrics
from server.routing.network import Network
from server.transport import refusals, shortages
from server.transport.calls import Call
from server.transport.capacity_defaults import set_capacity
from server.transport.columns import Columns, LineRow, name_key, request_key
from server.transport.decision_keeper import DecisionKeeper
from server.transport.errors import Refusal
from server.transport.express import Express
from server.transport.express_plans import Hold, PlanWriter
from server.transport.gathering import longest
from server.transport.ledger_view import LedgerView
from server.transport.made_ids import made_id
from server.transport.services.reservations import request_lines
from server.transport.services.routing import RoutingService
from server.transport.validation import Checker
from server.transport.wire_bytes import moment, number, piece, tag, text

# What another order may cause between plan and hold: planned again, the next plan knows of it.
CONFLICTS: Final = {
    outcomes.INSUFFICIENT_STOCK: "INSUFFICIENT_STOCK",
    outcomes.CAPACITY_EXHAUSTED: "CAPACITY_EXHAUSTED",
    outcomes.NODE_FROZEN: "NODE_FROZEN",
    outcomes.ETAG_MISMATCH: "ETAG_MISMATCH",
}

_ONE, _TWO, _THREE, _FOUR, _FIVE = (tag(field) for field in range(1, 6))
_N2, _N3, _N7, _N8 = (tag(field, is_number=True) for field in (2, 3, 7, 8))
_CREATED, _EXPIRES, _CAPACITY, _UPDATED = tag(6), tag(7), tag(9), tag(10)
_HELD: Final = number(_N2, 1)
_ROW: Final = {name: place for place, name in enumerate(outcomes.OUTCOME.names or ())}


Turns: TypeAlias = tuple[Hashable, ...]
"""Of one request: those that have one in common wait for each other."""


def turns_of(reservation_id: str, key: Key, *, is_repeatable: bool) -> Turns:
    """`is_repeatable`: the request has an id of its own."""
    named: Turns = (reservation_id,) if reservation_id else ()
    return (*named, key.request) if is_repeatable else named


class Ready(NamedTuple):
    """A request that was read."""

    express: Express
    order: UsualOrder
    key: Key
    turns: Turns
    ttl_ms: int
    caller: bytes
    remaining_s: float | None
    """How long its caller still waits; None: for ever."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt the ledger refused."""

    key: Key
    name: str
    """Of its decision."""
    reservation_id: str
    refused: Refusal
    is_conflict: bool
    """Whether another order was faster, so that it may be planned again."""


Answer: TypeAlias = bytes | Tried | Exception | None
"""The reply; or what was tried in vain; or why it failed; or None where nothing was done."""


class _Planned(NamedTuple):
    """A wish with its plan."""

    place: int
    """Among the wishes."""
    ready: Ready
    shown: Shown
    problem: bytes
    """As it is kept."""
    holds: list[Hold]
    takes: _Takes


class _Draft(NamedTuple):
    """A promise that is written, and awaits the ledger's answer."""

    planned: _Planned
    reservation_id: bytes
    head: bytes
    """Of the reply: the reservation comes behind it."""
    name: str
    decision: Decision
    row: int
    """Of its command among those of the piece."""


class _Takes(NamedTuple):
    """What holds a plan: rows of the command, and capacities the ledger does not have yet."""

    rows: list[LineRow]
    defaults: Columns


class ExpressPromises:
    """Promises usual orders."""

    def __init__(
        self,
        view: LedgerView,
        routing: RoutingService,
        metrics: RoutingMetrics,
        keeper: DecisionKeeper,
    ) -> None:
        self._view = view
        self._routing = routing
        self._metrics = metrics
        self._keeper = keeper
        self._texts: tuple[Network, bytes, int] | None = None

    def read(self, raw: bytes, call: Call) -> Ready | None:
        """A request that can be promised here; None: the plain way must read it."""
        express = self._routing.express()
        if express is None or not express.desk.is_without_exclusions:
            return None
        order = express.desk.read(raw, is_promise=True)
        if order is None:
            return None
        ttl_ms = _ttl_ms(order.ttl)
        if ttl_ms is None:
            return None
        caller = call.caller.text
        key = Key(request_key(caller, order.request_id), wide_key_of(raw))
        named = order.reservation_id.decode()
        turns = turns_of(named, key, is_repeatable=bool(order.request_id))
        return Ready(express, order, key, turns, ttl_ms, caller, call.remaining_s())

    async def promise(self, wishes: Sequence[Ready]) -> list[Answer]:
        """What became of each. All were read in one go; no two of them have a turn in common, and
        the caller sees to it that later ones of their turns wait. Raises NotDone.
        """
        gateway, keeper = self._view.gateway, self._keeper
        state = gateway.state
        keeper.refresh()
        answers: list[Answer] = [None] * len(wishes)
        planned = self._plan(wishes, state, answers)
        if not planned:
            return answers
        express, caller = wishes[0].express, wishes[0].caller
        columns = Columns()
        keeper.add_shared(columns, state, express.desk.tariff, express.desk.network, caller)
        gone = keeper.make_room(columns, len(planned), caller)
        drafts = self._draft(planned, express.writer, columns)
        answer = await gateway.submit(
            columns.batch(),
            remaining_s=longest([one.ready.remaining_s for one in planned]),
            priority=RESERVE,
        )
        keeper.removed(gone)
        rows = answer.rows.tolist()
        for draft in drafts:
            keeper.added(draft.name, draft.decision)
        for draft in drafts:
            row = rows[draft.row]
            is_held = row[_ROW["code"]] == outcomes.OK
            answers[draft.planned.place] = (
                self._held(draft, express.writer, row) if is_held else self._refused(draft, answer)
            )
        return answers

    def _plan(self, wishes: Sequence[Ready], state: State, answers: list[Answer]) -> list[_Planned]:
        """Those that can be promised here; why a plan failed goes to the answers."""
        found: list[tuple[int, Ready, Shown, bytes]] = []
        for place, ready in enumerate(wishes):
            express = ready.express
            if self._keeper.log.has_request(ready.key.request):
                continue
            try:
                shown = express.plan(ready.order, state, self._view.gateway.now_ms())
            except Exception as fault:  # noqa: BLE001 - its own caller hears of it
                answers[place] = fault
                continue
            if shown is None:
                continue
            # The desk has the problem until it plans the next order.
            found.append((place, ready, shown, self._problem(express)))
        planned = []
        for place, ready, shown, problem in found:
            express = ready.express
            self._metrics.solved(*express.summary(shown))
            holds = express.writer.holds(shown)
            takes = _takes(express, shown, holds, ready.caller)
            if takes is not None:
                planned.append(_Planned(place, ready, shown, problem, holds, takes))
        return planned

    def _draft(
        self, planned: Sequence[_Planned], writer: PlanWriter, columns: Columns
    ) -> list[_Draft]:
        """Add their decisions and commands: one step after another for all of them, which costs
        less than all steps for one after another, as a step's code stays in the core's caches.
        """
        ids = [
            one.ready.order.reservation_id or made_id(one.shown.now_ms).encode() for one in planned
        ]
        commands_ = [_create(one, own) for one, own in zip(planned, ids, strict=True)]
        in_bytes = [command.batch().to_bytes() for command in commands_]
        heads = [
            b"".join(
                (
                    piece(_ONE, writer.plan(one.shown, one.holds)),
                    writer.currency,
                    piece(_THREE, writer.report(one.shown)),
                )
            )
            for one in planned
        ]
        decisions = [
            _decision(one, own, head + writer.ending, command)
            for one, own, head, command in zip(planned, ids, heads, in_bytes, strict=True)
        ]
        drafts = []
        for one, own, head, decision, command in zip(
            planned, ids, heads, decisions, commands_, strict=True
        ):
            name = self._keeper.log.next_name(own.decode())
            columns.extend(one.takes.defaults)
            self._keeper.write(columns, name, decision, one.ready.caller)
            columns.extend(command)
            drafts.append(_Draft(one, own, head, name, decision, len(columns) - 1))
        return drafts

    def _held(self, draft: _Draft, writer: PlanWriter, row: Sequence[int]) -> bytes:
        """The reply."""
        one = draft.planned
        self._metrics.promised(len(one.holds), one.shown.head[pricing.COST])
        made = _reservation(row, one.ready.order, one.holds, draft.reservation_id)
        revision = number(_N8, row[_ROW["revision"]])
        return b"".join((draft.head, piece(_FOUR, made), writer.ending, revision))

    def _refused(self, draft: _Draft, answer: Outcomes) -> Tried:
        """Why the ledger did not take it."""
        ready, outcome = draft.planned.ready, answer.rows[draft.row]
        code = int(outcome["code"])
        if code in CONFLICTS:
            self._metrics.conflict(CONFLICTS[code])
        end = int(answer.rows["detail_count"][: draft.row + 1].sum(dtype=np.int64))
        details = answer.details[end - int(outcome["detail_count"]) : end]
        lines, capacities = _as_messages(ready.order, draft.planned.holds)
        reservation_id = draft.reservation_id.decode()
        refused = refusals.of_outcome(
            outcome,
            details,
            lines=request_lines(lines, capacities),
            shortages=shortages.refused(lines, capacities, details),
            reservation_id=reservation_id,
        )
        return Tried(ready.key, draft.name, reservation_id, refused, code in CONFLICTS)

    def _problem(self, express: Express) -> bytes:
        """The problem at the desk, to be kept."""
        desk = express.desk
        if self._texts is None or self._texts[0] is not desk.network:
            kept = self._keeper.text(desk.tariff, desk.network)
            self._texts = (desk.network, kept, desk.network.collect + 1)
        _, kept, services = self._texts
        shape = (desk.nodes, desk.lines, services)
        return pack_problem(desk.p, desk.chosen, self._keeper.room, shape=shape, text=kept)


def _takes(express: Express, shown: Shown, holds: Sequence[Hold], caller: bytes) -> _Takes | None:
    """None where a reservation can not have that many lines."""
    desk, keys = express.desk, shown.keys
    rows: list[LineRow] = []
    for hold, told in zip(holds, shown.told, strict=True):
        node_key = desk.node_keys[told[kernels.NUMBER]]
        for line in hold.lines:
            rows.append(
                (
                    *(keys[line], node_key, 0, 0, hold.units[line], len(rows)),
                    *(commands.AT_NODE, commands.ON_HAND, 0, 0),
                )
            )
    if len(rows) > limits.lines_per_reservation_max:
        return None
    defaults = Columns()
    network = desk.network
    for hold, told in zip(holds, shown.told, strict=True):
        node = told[kernels.NUMBER]
        node_name = network.node_names[node]
        if hold.pick_date:
            if not told[kernels.PICK_KNOWN]:
                units = int(network.pick_default[node])
                kind = commands.NODE_CAPACITY
                set_capacity(defaults, kind, hold.pick_date, node_name, units, caller)
            rows.append(
                _capacity(
                    commands.NODE_CAPACITY,
                    hold.pick_date,
                    desk.node_keys[node],
                    sum(hold.units),
                    len(rows),
                )
            )
        if hold.slot:
            if not told[kernels.SLOT_KNOWN]:
                units = told[kernels.SLOT_DEFAULT]
                kind = commands.CARRIER_SLOT
                set_capacity(defaults, kind, hold.slot, node_name, units, caller)
            rows.append(
                _capacity(commands.CARRIER_SLOT, hold.slot, desk.node_keys[node], 1, len(rows))
            )
    return _Takes(rows, defaults)


def _capacity(kind: int, name: str, node_key: int, units: int, place: int) -> LineRow:
    return _key_of(name), node_key, 0, 0, units, place, kind, 0, 0, 0


@lru_cache(maxsize=1 << 14)
def _key_of(name: str) -> int:
    """Key of a day or a slot: of either there are few, and the same ones for a day."""
    return name_key(name.encode())


def _create(one: _Planned, reservation_id: bytes) -> Columns:
    """The command that holds."""
    ready, order = one.ready, one.ready.order
    columns = Columns()
    columns.add(
        commands.CREATE,
        caller=ready.caller,
        request_id=order.request_id + b"\0attempt0" if order.request_id else b"",
        reservation_id=reservation_id,
        owner=order.owner,
        channel=order.channel,
        fill_policy=commands.ALL_OR_NONE,
        ttl_ms=ready.ttl_ms,
        lines=one.takes.rows,
    )
    return columns


def _decision(one: _Planned, reservation_id: bytes, reply: bytes, command: bytes) -> Decision:
    """What is kept of it."""
    order = one.ready.order
    return Decision(
        key=one.ready.key,
        time_ms=one.shown.now_ms,
        attempt=0,
        revision=one.shown.revision,
        strategy=Strategy.EXACT.value,
        work_budget=solver.work_budget,
        order=order.order if order.reservation_id else text(_ONE, reservation_id) + order.order,
        reply=reply,
        refusal=b"",
        command=command,
        problem=one.problem,
    )


def _reservation(
    row: Sequence[int], order: UsualOrder, holds: Sequence[Hold], reservation_id: bytes
) -> bytes:
    """The Reservation as made: all of its lines are held, so its takes are those of the plan."""
    parts = [text(_ONE, reservation_id), _HELD, text(_THREE, order.owner)]
    parts.append(text(_FOUR, order.channel))
    for hold in holds:
        for line in hold.lines:
            units = number(_N2, hold.units[line])
            take = piece(_THREE, text(_ONE, hold.node) + units)
            parts.append(piece(_FIVE, text(_ONE, order.skus[line]) + units + take))
    parts.append(moment(_CREATED, row[_ROW["create_ms"]]))
    parts.append(moment(_EXPIRES, row[_ROW["expire_ms"]]))
    parts.append(number(_N8, row[_ROW["etag"]]))
    for hold in holds:
        if hold.pick_date:
            day = text(_ONE, hold.node) + text(_TWO, hold.pick_date.encode())
            parts.append(piece(_CAPACITY, piece(_ONE, day) + number(_N3, sum(hold.units))))
        if hold.slot:
            slot = text(_ONE, hold.slot.encode()) + text(_TWO, hold.node)
            parts.append(piece(_CAPACITY, piece(_TWO, slot) + number(_N3, 1)))
    parts.append(moment(_UPDATED, row[_ROW["update_ms"]]))
    return b"".join(parts)


def _as_messages(
    order: UsualOrder, holds: Sequence[Hold]
) -> tuple[list[reservations.ReservationLineRequest], list[reservations.CapacityTakeRequest]]:
    """Lines and capacities as messages, to say what a refusal is about."""
    lines, capacities = [], []
    for hold in holds:
        node = hold.node.decode()
        for line in hold.lines:
            sku, units = order.skus[line].decode(), hold.units[line]
            lines.append(reservations.ReservationLineRequest(sku=sku, node=node, quantity=units))
        if hold.pick_date:
            taken = reservations.CapacityTakeRequest(quantity=sum(hold.units))
            taken.node_capacity.node, taken.node_capacity.date = node, hold.pick_date
            capacities.append(taken)
        if hold.slot:
            taken = reservations.CapacityTakeRequest(quantity=1)
            taken.carrier_slot.node, taken.carrier_slot.slot = node, hold.slot
            capacities.append(taken)
    return lines, capacities


@lru_cache(maxsize=256)
def _ttl_ms(raw: bytes) -> int | None:
    """How long to hold, from the Duration's bytes; None where the plain way must refuse it."""
    if not raw:
        return limits.hold_ttl_ms_default
    try:
        ttl = Duration.FromString(raw)
    except DecodeError:
        return None
    check = Checker(0)
    found = check.milliseconds("ttl", ttl, "hold_ttl_ms_max", low=1)
    if check.violations or ttl.SerializeToString(deterministic=True) != raw:
        return None
    return found
