"""PromiseOrder of usual orders, from the request's bytes to the reply's.

The same step as `server.transport.services.promises` makes: the decision and the command in one
piece, and an answer that is the same to the byte. Promises that come together are planned one after
another on the state as it stands and share one piece: the ledger and the journal's thread cost
nearly the same whatever is in it. Only the first attempt is made here; what the ledger refuses goes
on there.
"""

from __future__ import annotations

import itertools
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

# What another order may cause between plan and hold: planned again, the next plan knows of it.
CONFLICTS: Final = {
    outcomes.INSUFFICIENT_STOCK: "INSUFFICIENT_STOCK",
    outcomes.CAPACITY_EXHAUSTED: "CAPACITY_EXHAUSTED",
    outcomes.NODE_FROZEN: "NODE_FROZEN",
    outcomes.ETAG_MISMATCH: "ETAG_MISMATCH",
}

# Of a decision and its command beside what has another bound: heads, lengths, narrow columns; and
# of a reply what the ledger says.
_DECISION_BYTES_MAX: Final = 1024
_REPLY_BYTES_MAX: Final = 128
# There is room for so many promises from the start; sets are hardly larger.
_PROMISES: Final = 64


Turns: TypeAlias = tuple[Hashable, ...]
"""Of one request: those that have one in common wait for each other."""


def turns_of(reservation_id: str, key: Key, *, is_repeatable: bool) -> Turns:
    """`is_repeatable`: the request has an id of its own."""
    named: Turns = (reservation_id,) if reservation_id else ()
    return (*named, key.request) if is_repeatable else named


class Ready(NamedTuple):
    """A request that was read."""

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
        return Ready(order, key, turns, ttl_ms, call.caller.text, call.remaining_s())

    async def promise(self, express: Express, wishes: Sequence[Ready]) -> list[Answer]:
        """What became of each. All were read there in one go; no two of them have a turn in common,
        and the caller sees to it that later ones of their turns wait. Raises NotDone.
        """
        gateway, keeper = self._view.gateway, self._keeper
        state = gateway.state
        keeper.refresh()
        answers: list[Answer] = [None] * len(wishes)
        writer = self._written_by(express)
        drafts = self._plan(wishes, state, writer, answers)
        if not drafts:
            return answers
        columns, caller = Columns(), drafts[0].ready.caller
        keeper.add_shared(columns, state, express.desk.tariff, express.desk.network, caller)
        gone = keeper.make_room(columns, len(drafts), caller)
        columns.extend(writer.defaults)
        batch = writer.batch()
        first = len(columns)
        if first:
            batch = CommandBatch.join([columns.batch(), batch])
        written = writer.written()
        answer = await gateway.submit(
            batch,
            remaining_s=longest([one.ready.remaining_s for one in drafts]),
            priority=RESERVE,
        )
        keeper.removed(gone)
        for draft in drafts:
            keeper.added(draft.name, draft.ready.key, has_plan=True)
        for place, (draft, reply) in enumerate(
            zip(drafts, written.replies(answer.rows, first), strict=True)
        ):
            if reply:
                self._metrics.promised(draft.shipments, draft.cost)
                answers[draft.place] = reply
            else:
                wished = written.reservation(place)
                answers[draft.place] = self._refused(draft, wished, answer, first + 2 * place + 1)
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
                if planned is None:
                    continue
                own = ready.order.part(RESERVATION_ID) or made_id(express.desk.now_ms).encode()
                name = log.next_name(own.decode())
                if not writer.put(planned, ready, own, name.encode()):
                    continue
            except Exception as fault:  # noqa: BLE001 - its own caller hears of it
                answers[place] = fault
                continue
            self._metrics.solved(*express.summary(planned))
            drafts.append(_Draft(place, ready, planned.cost, planned.shipments, own, name))
        return drafts

    def _refused(
        self, draft: _Draft, wished: types_pb2.Reservation, answer: Outcomes, row: int
    ) -> Tried:
        """Why the ledger did not take it."""
        outcome = answer.rows[row]
        code = int(outcome["code"])
        if code in CONFLICTS:
            self._metrics.conflict(CONFLICTS[code])
        end = int(answer.rows["detail_count"][: row + 1].sum(dtype=np.int64))
        details = answer.details[end - int(outcome["detail_count"]) : end]
        lines, capacities = _asked_for(wished)
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
        self._ending = np.frombuffer(writer.ending, np.uint8)
        self.defaults = Columns()
        """Capacities the ledger does not have yet."""
        self._about = np.frombuffer(about, np.uint8)
        nodes, services = len(desk.network.node_names), desk.network.collect + 1
        problem = packed_bytes_max(nodes, LINES_MAX, services) + len(about)
        self._bytes_max = writer.bytes_max + problem
        self._arena = np.zeros(1 << 16, np.uint8)
        self._facts = np.zeros(deciding.FACTS, np.int64)
        self._facts[deciding.STRATEGY] = Strategy.EXACT.value
        self._facts[deciding.WORK_BUDGET] = solver.work_budget
        self._facts[deciding.DOCUMENT_KIND] = ROUTING_DECISION
        self._kept = kept(0)

    def begin(self, promises: int) -> None:
        """The next piece, of at most so many. The desk has begun."""
        if promises > len(self._kept.arrays["marks"]):
            self._kept = kept(max(promises, _PROMISES))
        self.express.desk.views.put("r", self._kept)
        self._marks = self._kept.arrays["marks"]
        self.defaults = Columns()
        self._count = 0

    def put(self, planned: Planned, ready: Ready, reservation_id: bytes, name: bytes) -> bool:
        """Take the order at the desk in; False where the plain path must promise it. `name`: of the
        decision, which begins with the reservation's."""
        desk, writer, order = self.express.desk, self.express.writer, ready.order
        place = self._count
        used = int(self._marks[place - 1, deciding.END]) if place else 0
        most = used + self._bytes_max + len(order.raw) + len(name) + len(ready.caller)
        if most > len(self._arena):
            grown = np.zeros(2 * most, np.uint8)
            grown[:used] = self._arena[:used]
            self._arena = grown
        is_written = deciding.put_promise(
            desk.views,
            writer.texts,
            self._about,
            order.buffer,
            order.spans,
            np.frombuffer(name, np.uint8),
            len(reservation_id),
            np.frombuffer(ready.caller, np.uint8),
            ready.ttl_ms,
            writer.midnights(planned.place.time_zone, desk.now_ms),
            planned.nanoseconds,
            place,
            self._arena,
        )
        if not is_written:
            return False
        if self._marks[place, deciding.IS_NEW]:
            self._add_defaults(planned, ready.caller)
        self._count += 1
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
        count = self._count
        takes, used = self._marks[count - 1, [deciding.TAKES_END, deciding.END]].tolist()
        desk, writer = self.express.desk, self.express.writer
        self._facts[deciding.NOW_MS] = desk.now_ms
        self._facts[deciding.REVISION] = desk.state.revision
        headers, lines = np.empty(2 * count, HEADER), np.empty(count + takes, LINE)
        # Names and callers are written up to four times.
        most = 4 * used + takes * 2 * LINE.itemsize
        text = np.empty(most + count * (_DECISION_BYTES_MAX + len(self._ending)), np.uint8)
        size = deciding.draft(
            desk.views,
            count,
            self._arena,
            np.empty(used + _DECISION_BYTES_MAX, np.uint8),
            writer.texts,
            self._facts,
            headers,
            words_of(headers),
            fields_of(HEADER),
            lines,
            words_of(lines),
            fields_of(LINE),
            text,
        )
        return CommandBatch(headers, lines, text[:size])

    def written(self) -> Written:
        """What is written of each that was put, to be told when the ledger has answered."""
        marks = self._marks[: self._count].copy()
        return Written(self._arena[: marks[-1, deciding.END]].copy(), marks, self._ending)


class Written:
    """Promises that await the ledger's answer."""

    def __init__(
        self, arena: NDArray[np.uint8], marks: NDArray[np.int64], ending: NDArray[np.uint8]
    ) -> None:
        """See `server.routing.kernels.deciding`. `ending`: of each reply."""
        self._arena = arena
        self._marks = marks
        self._ending = ending

    def replies(self, rows: NDArray[np.void], first: int) -> list[bytes]:
        """PromiseOrderResponse of each; empty where the ledger refused it. `rows`: its outcomes,
        from `first` on those of the decision and the command of each."""
        count = len(self._marks)
        out = np.empty(len(self._arena) + count * (_REPLY_BYTES_MAX + len(self._ending)), np.uint8)
        ends = np.empty(count, np.int64)
        deciding.reply(self._arena, self._marks, self._ending, rows, first, out, ends)
        at = [0, *ends.tolist()]
        whole = out[: at[-1]].tobytes()
        return [whole[start:stop] for start, stop in itertools.pairwise(at)]

    def reservation(self, place: int) -> types_pb2.Reservation:
        """What a promise would hold."""
        start, end = self._marks[place, [deciding.LINES_AT, deciding.PROBLEM]].tolist()
        return types_pb2.Reservation.FromString(self._arena[start:end].tobytes())


def _asked_for(
    wished: types_pb2.Reservation,
) -> tuple[list[reservations.ReservationLineRequest], list[reservations.CapacityTakeRequest]]:
    """Lines and capacities of a reservation as its request, to say what a refusal is about."""
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
