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
from numpy.typing import NDArray

from engine import commands, limits, outcomes
from engine.commands import HEADER, LINE, CommandBatch
from engine.narrow import fields_of, words_of
from engine.outcomes import Outcomes
from engine.routing import limits as solver
from engine.routing.solver import Strategy
from engine.state import State
from holdfast.v1 import reservation_service_pb2 as reservations
from holdfast.v1 import types_pb2
from server.application.piece_queue import RESERVE
from server.documents import ROUTING_DECISION
from server.routing.decisions import Key, packed_bytes_max
from server.routing.express.desk import Planned, kept
from server.routing.express.reader import UsualOrder
from server.routing.kernels import deciding
from server.routing.kernels import desk as kernels
from server.routing.kernels.reading import LINES_MAX, REQUEST_ID, RESERVATION_ID, TTL
from server.routing.metrics import RoutingMetrics
from server.transport import refusals, render_plans, shortages
from server.transport.calls import Call
from server.transport.capacity_defaults import set_capacity
from server.transport.columns import Columns
from server.transport.decision_keeper import DecisionKeeper
from server.transport.errors import Refusal
from server.transport.express import Express
from server.transport.gathering import longest
from server.transport.ledger_view import LedgerView
from server.transport.made_ids import made_id
from server.transport.services.reservations import request_lines
from server.transport.services.routing import RoutingService
from server.transport.validation import Checker
from server.transport.wire_bytes import moment, number, piece, tag

# What another order may cause between plan and hold: planned again, the next plan knows of it.
CONFLICTS: Final = {
    outcomes.INSUFFICIENT_STOCK: "INSUFFICIENT_STOCK",
    outcomes.CAPACITY_EXHAUSTED: "CAPACITY_EXHAUSTED",
    outcomes.NODE_FROZEN: "NODE_FROZEN",
    outcomes.ETAG_MISMATCH: "ETAG_MISMATCH",
}

_FOUR, _N8 = tag(4), tag(8, is_number=True)
_CREATED, _EXPIRES, _UPDATED = tag(6), tag(7), tag(10)
# Of a decision and its command beside what has another bound: heads, lengths, narrow columns.
_DECISION_BYTES_MAX: Final = 1024
# There is room for so many promises from the start; sets are hardly larger.
_PROMISES: Final = 64
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


class _Draft(NamedTuple):
    """A promise whose plan is to be held."""

    place: int
    """Among the wishes."""
    ready: Ready
    cost: int
    shipments: int
    reservation_id: bytes
    name: str
    """Of its decision."""


class _Held(NamedTuple):
    """What the reply to a promise says beside the ledger's answer."""

    answer: bytes
    """Plan, currency and report."""
    lines: bytes
    """Of the Reservation, and what comes before them."""
    capacities: bytes
    """The same."""


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
        self._writer: PromiseWriter | None = None

    def now(self) -> Express | None:
        """Where usual orders are promised now; None where none are."""
        express = self._routing.express()
        return express if express is not None and express.desk.is_without_exclusions else None

    def read(self, express: Express, raw: bytes, call: Call) -> Ready | None:
        """A request that can be promised here; None: the plain way must read it."""
        order = express.desk.read(raw, call.caller)
        if order is None:
            return None
        ttl_ms = _ttl_ms(order.part(TTL))
        if ttl_ms is None:
            return None
        key = order.key()
        named = order.part(RESERVATION_ID).decode()
        turns = turns_of(named, key, is_repeatable=order.places[REQUEST_ID + 1] > 0)
        return Ready(express, order, key, turns, ttl_ms, call.caller.text, call.remaining_s())

    async def promise(self, wishes: Sequence[Ready]) -> list[Answer]:
        """What became of each. All were read in one go; no two of them have a turn in common, and
        the caller sees to it that later ones of their turns wait. Raises NotDone.
        """
        gateway, keeper = self._view.gateway, self._keeper
        state = gateway.state
        keeper.refresh()
        answers: list[Answer] = [None] * len(wishes)
        if not wishes:
            return answers
        express, caller = wishes[0].express, wishes[0].caller
        writer = self._written_by(express)
        drafts = self._plan(wishes, state, writer, answers)
        if not drafts:
            return answers
        columns = Columns()
        keeper.add_shared(columns, state, express.desk.tariff, express.desk.network, caller)
        gone = keeper.make_room(columns, len(drafts), caller)
        columns.extend(writer.defaults)
        batch = writer.batch()
        first = len(columns)
        if first:
            batch = CommandBatch.join([columns.batch(), batch])
        held = writer.held()
        answer = await gateway.submit(
            batch,
            remaining_s=longest([one.ready.remaining_s for one in drafts]),
            priority=RESERVE,
        )
        keeper.removed(gone)
        for draft in drafts:
            keeper.added(draft.name, draft.ready.key, has_plan=True)
        rows = answer.rows[first + 1 :: 2].tolist()
        for place, (draft, told) in enumerate(zip(drafts, held, strict=True)):
            answers[draft.place] = (
                self._held(draft, told, writer.ending, rows[place])
                if rows[place][_ROW["code"]] == outcomes.OK
                else self._refused(draft, told, answer, first + 2 * place + 1)
            )
        return answers

    def _written_by(self, express: Express) -> PromiseWriter:
        desk = express.desk
        if self._writer is None or self._writer.express is not express:
            about = self._keeper.text(desk.tariff, desk.network)
            self._writer = PromiseWriter(express, about)
        return self._writer

    def _plan(
        self,
        wishes: Sequence[Ready],
        state: State,
        writer: PromiseWriter,
        answers: list[Answer],
    ) -> list[_Draft]:
        """Those that can be promised here; why a plan failed goes to the answers."""
        express, log = writer.express, self._keeper.log
        express.desk.begin(state, self._view.gateway.now_ms())
        writer.begin(len(wishes))
        drafts: list[_Draft] = []
        for place, ready in enumerate(wishes):
            if log.has_request(ready.key.request):
                continue
            try:
                planned = express.plan(ready.order)
            except Exception as fault:  # noqa: BLE001 - its own caller hears of it
                answers[place] = fault
                continue
            if planned is None:
                continue
            own = ready.order.part(RESERVATION_ID) or made_id(express.desk.now_ms).encode()
            name = log.next_name(own.decode())
            if not writer.put(planned, ready, own, name.encode()):
                continue
            self._metrics.solved(*express.summary(planned))
            drafts.append(_Draft(place, ready, planned.cost, planned.shipments, own, name))
        return drafts

    def _held(self, draft: _Draft, told: _Held, ending: bytes, row: Sequence[int]) -> bytes:
        """The reply."""
        self._metrics.promised(draft.shipments, draft.cost)
        made = b"".join(
            (
                told.lines,
                moment(_CREATED, row[_ROW["create_ms"]]),
                moment(_EXPIRES, row[_ROW["expire_ms"]]),
                number(_N8, row[_ROW["etag"]]),
                told.capacities,
                moment(_UPDATED, row[_ROW["update_ms"]]),
            )
        )
        revision = number(_N8, row[_ROW["revision"]])
        return b"".join((told.answer, piece(_FOUR, made), ending, revision))

    def _refused(self, draft: _Draft, told: _Held, answer: Outcomes, row: int) -> Tried:
        """Why the ledger did not take it."""
        outcome = answer.rows[row]
        code = int(outcome["code"])
        if code in CONFLICTS:
            self._metrics.conflict(CONFLICTS[code])
        end = int(answer.rows["detail_count"][: row + 1].sum(dtype=np.int64))
        details = answer.details[end - int(outcome["detail_count"]) : end]
        lines, capacities = _asked_for(told)
        reservation_id = draft.reservation_id.decode()
        refused = refusals.of_outcome(
            outcome,
            details,
            lines=request_lines(lines, capacities),
            shortages=shortages.refused(lines, capacities, details),
            reservation_id=reservation_id,
        )
        return Tried(draft.ready.key, draft.name, reservation_id, refused, code in CONFLICTS)


class PromiseWriter:
    """Writes promises of one network version: the rows and texts of a piece of the ledger."""

    def __init__(self, express: Express, about: bytes) -> None:
        """`about`: the texts of a problem that is kept."""
        desk, writer = express.desk, express.writer
        self.express = express
        self.ending = writer.ending
        """Of each reply."""
        self.defaults = Columns()
        """Capacities the ledger does not have yet."""
        self._about = np.frombuffer(about, np.uint8)
        nodes, services = len(desk.network.node_names), desk.network.collect + 1
        self._services = services
        problem = packed_bytes_max(nodes, LINES_MAX, services) + len(about)
        self._bytes_max = writer.bytes_max + problem
        self._arena = np.zeros(1 << 16, np.uint8)
        self._facts = np.zeros(deciding.FACTS, np.int64)
        self._facts[deciding.STRATEGY] = Strategy.EXACT.value
        self._facts[deciding.WORK_BUDGET] = solver.work_budget
        self._facts[deciding.DOCUMENT_KIND] = ROUTING_DECISION
        self._totals = np.zeros(deciding.TOTALS, np.int64)
        self._kept = kept(0)

    def begin(self, promises: int) -> None:
        """The next piece, of at most so many. The desk has begun."""
        if promises > len(self._kept.arrays["marks"]):
            self._kept = kept(max(promises, _PROMISES))
        self.express.desk.views.put("r", self._kept)
        self._marks = self._kept.arrays["marks"]
        self.defaults = Columns()
        self._asked: list[tuple[int, ...]] = []
        self._spans: list[NDArray[np.int64]] = []
        self._names: list[bytes] = []
        self._names_bytes = 0

    def put(self, planned: Planned, ready: Ready, reservation_id: bytes, name: bytes) -> bool:
        """Take the order at the desk in; False where the plain path must promise it. `name`: of the
        decision, which begins with the reservation's."""
        desk, writer, order = self.express.desk, self.express.writer, ready.order
        place = len(self._asked)
        used = int(self._marks[place - 1, deciding.PROBLEM_END]) if place else 0
        if used + self._bytes_max > len(self._arena):
            grown = np.zeros(2 * (used + self._bytes_max), np.uint8)
            grown[:used] = self._arena[:used]
            self._arena = grown
        is_written = deciding.put_promise(
            desk.views,
            writer.texts,
            np.frombuffer(reservation_id, np.uint8),
            self._about,
            order.buffer,
            order.spans,
            writer.midnights(planned.place.time_zone, desk.now_ms),
            desk.nodes,
            desk.lines,
            self._services,
            planned.nanoseconds,
            place,
            self._arena,
        )
        if not is_written:
            return False
        if self._marks[place, deciding.IS_NEW]:
            self._add_defaults(planned, ready.caller)
        name_at = self._names_bytes + len(order.raw)
        caller_at = name_at + len(name)
        self._asked.append(
            (
                *(self._names_bytes, name_at, len(name), len(reservation_id), ready.ttl_ms),
                *(caller_at, len(ready.caller)),
            )
        )
        self._spans.append(order.spans)
        self._names += (order.raw, name, ready.caller)
        self._names_bytes = caller_at + len(ready.caller)
        return True

    def _add_defaults(self, planned: Planned, caller: bytes) -> None:
        """The first promise that takes from a day or a slot sets what its document says."""
        desk, network = self.express.desk, self.express.desk.network
        for place in range(planned.shipments):
            told = desk.told[place].tolist()
            node = told[kernels.NUMBER]
            name = network.node_names[node]
            if told[kernels.PICK_LIMITED] and not told[kernels.PICK_KNOWN]:
                day = render_plans.day_text(told[kernels.PICK_DAY])
                units = int(network.pick_default[node])
                set_capacity(self.defaults, commands.NODE_CAPACITY, day, name, units, caller)
            if told[kernels.SLOT_LIMITED] and not told[kernels.SLOT_KNOWN]:
                slot = self.express.writer.slot_name(told)
                units = told[kernels.SLOT_DEFAULT]
                set_capacity(self.defaults, commands.CARRIER_SLOT, slot, name, units, caller)

    def batch(self) -> CommandBatch:
        """Decision and command of each that was put, in turn. O(bytes)."""
        count = len(self._asked)
        takes = int(self._marks[count - 1, deciding.TAKES_END])
        used = int(self._marks[count - 1, deciding.PROBLEM_END])
        desk, writer = self.express.desk, self.express.writer
        self._facts[deciding.NOW_MS] = desk.now_ms
        self._facts[deciding.REVISION] = desk.state.revision
        headers, lines = np.empty(2 * count, HEADER), np.empty(count + takes, LINE)
        most = used + 4 * self._names_bytes + takes * 2 * LINE.itemsize
        text_ = np.empty(most + count * (_DECISION_BYTES_MAX + len(self.ending)), np.uint8)
        deciding.draft(
            desk.views,
            count,
            self._arena,
            np.frombuffer(b"".join(self._names), np.uint8),
            np.array(self._asked, np.int64),
            np.stack(self._spans),
            np.empty(2 * self._names_bytes + _DECISION_BYTES_MAX, np.uint8),
            writer.texts,
            self._facts,
            headers,
            words_of(headers),
            fields_of(HEADER),
            lines,
            words_of(lines),
            fields_of(LINE),
            text_,
            self._totals,
        )
        return CommandBatch(headers, lines, text_[: self._totals[deciding.TEXT]])

    def held(self) -> list[_Held]:
        """What the reply to each of them says."""
        count = len(self._asked)
        whole = self._arena[: self._marks[count - 1, deciding.PROBLEM_END]].tobytes()
        return [
            _Held(whole[start:answer_end], whole[answer_end:lines_end], whole[lines_end:end])
            for start, answer_end, lines_end, end, *_ in self._marks[:count].tolist()
        ]


def _asked_for(
    told: _Held,
) -> tuple[list[reservations.ReservationLineRequest], list[reservations.CapacityTakeRequest]]:
    """Lines and capacities of a reservation as its request, to say what a refusal is about."""
    wished = types_pb2.Reservation.FromString(told.lines + told.capacities)
    lines = [
        reservations.ReservationLineRequest(
            sku=line.sku, node=line.takes[0].node, quantity=line.quantity
        )
        for line in wished.lines
    ]
    capacities = [
        reservations.CapacityTakeRequest.FromString(take.SerializeToString())
        for take in wished.capacity_takes
    ]
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
