"""PromiseOrder and ReplanOrder: a plan and its hold in one atomic step of the ledger.

A promise is one piece: the decision as a document, and the command that holds. Both are in the
journal or neither is. A conflict (another order took the last unit) is planned again, a bounded
number of times, under request ids of their own; the decision says which, so that a retry after a
crash goes on where the first call stopped and never holds twice (docs/decisions/0022).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from numpy.typing import NDArray

from engine import limits, outcomes
from engine.commands import CommandBatch
from engine.hashing import wide_key_of
from engine.outcomes import Outcomes
from engine.routing import limits as solver
from engine.routing.plan import Plan
from engine.routing.solver import Strategy
from holdfast.v1 import errors_pb2
from holdfast.v1 import routing_service_pb2 as messages
from server.application.piece_queue import RESERVE
from server.documents import ROUTING_DECISION
from server.routing.assembly import Assembly
from server.routing.decision_log import DecisionLog
from server.routing.decisions import Decision, Key
from server.routing.limits import replans_max
from server.routing.metrics import RoutingMetrics
from server.transport import refusals, render, render_plans, shortages
from server.transport.calls import Call, Methods, with_messages
from server.transport.codec import routing as codec
from server.transport.codec.promises import Takes, create_of, reroute_of, takes_of
from server.transport.columns import Columns, request_key
from server.transport.decision_keeper import DecisionKeeper
from server.transport.detached import shielded
from server.transport.document_commands import delete_documents
from server.transport.errors import Case, Fault, Refusal, Refused, refusal
from server.transport.express import Express
from server.transport.gathering import Gathered, Gathering
from server.transport.ledger_view import LedgerView
from server.transport.made_ids import made_id
from server.transport.malformed import read
from server.transport.promised_orders import Away, Standing, cut, not_promised, standing_of
from server.transport.services.express_promises import (
    CONFLICTS,
    ExpressPromises,
    Ready,
    Tried,
    Turns,
    turns_of,
)
from server.transport.services.reservations import request_lines
from server.transport.services.routing import RoutingService
from server.transport.validation import Checker

# How long a promise waits under load for others, to share their batch of the journal: as long as a
# set of those before takes the event loop, which answers nobody before.
_COMPANY_S = 0.024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What one call asks for, the same for promises and replans."""

    key: Key
    turns: Turns
    request_id: bytes
    caller: bytes
    order: messages.RoutingOrder
    """With its reservation_id, given or made."""
    strategy: Strategy
    budget: int
    reply: Callable[[], Any]
    """A new reply message."""
    command: Callable[[Takes, bytes, int, str], CommandBatch]
    """The command that holds, given takes, request id, the reservation's etag and its id."""
    standing: Callable[[], Standing | None]
    """What is open of a promised order, to which it is cut; None for a new one."""
    away: Away | None = None
    """What a promised order is kept away from; None for a new one."""
    planned: Planned | None = None
    """What a wave has planned: tried first."""
    replans_max: int = replans_max


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan to be held, and what is said of it."""

    assembly: Assembly
    plan: Plan
    report: messages.SolverReport
    strategy: int
    """How it was found, as its decision keeps it."""
    standing: Standing | None
    """Of the reservation it was planned for; None for a new one."""


class PromiseService:
    """Handlers of the methods that hold."""

    def __init__(
        self,
        view: LedgerView,
        routing: RoutingService,
        metrics: RoutingMetrics,
        log: DecisionLog,
        busy_share: Callable[[], float],
    ) -> None:
        """`busy_share`: of its time that the event loop was busy lately."""
        self._view = view
        self._routing = routing
        self._busy_share = busy_share
        self._metrics = metrics
        self._log = log
        self._keeper = DecisionKeeper(view, metrics, log)
        self._express = ExpressPromises(view, routing, metrics, self._keeper)
        self._locks: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()
        self._in_sets: dict[Hashable, asyncio.Lock] = {}
        """Turns that are promised together, and the lock of their set."""
        self._anew = asyncio.Lock()

    def register(self, methods: Methods) -> None:
        """Offer them."""
        gathering = Gathering(
            self._promise_together, wait_s=_COMPANY_S, busy_share=self._busy_share
        )
        plain = with_messages(messages.PromiseOrderRequest, self.promise)
        methods.unary_raw("PromiseOrder", gathering.handler(plain))
        methods.unary("ReplanOrder", messages.ReplanOrderRequest, self.replan)

    # --- The two methods ---------------------------------------------------------------------

    async def _promise_together(self, calls: Sequence[Gathered]) -> None:
        """PromiseOrder of the usual orders among them, without messages; the others are told that
        they are none. One lock for all: their turns end together."""
        usual: list[tuple[Gathered, Ready]] = []
        lock = asyncio.Lock()
        async with lock:
            express = self._express.now()
            try:
                for one in calls:
                    ready = None
                    if express is not None:
                        ready = self._express.read(express, one.raw, one.call)
                    if ready is None or any(self._is_taken(turn) for turn in ready.turns):
                        one.tell(None)
                        continue
                    for turn in ready.turns:
                        self._in_sets[turn] = lock
                    usual.append((one, ready))
                if express is not None and usual:
                    await self._promise_all(express, usual)
            finally:
                for _, ready in usual:
                    for turn in ready.turns:
                        del self._in_sets[turn]

    def _is_taken(self, turn: Hashable) -> bool:
        """Whether somebody has this turn, or waits for it."""
        return turn in self._in_sets or turn in self._locks

    async def _promise_all(self, express: Express, usual: Sequence[tuple[Gathered, Ready]]) -> None:
        answers = await self._express.promise(express, [ready for _, ready in usual])
        conflicts = []
        for (one, _), answer in zip(usual, answers, strict=True):
            if isinstance(answer, Tried):
                conflicts.append(self._go_on(one, answer))
            else:
                one.tell(answer)
        await asyncio.gather(*conflicts)

    async def _go_on(self, one: Gathered, tried: Tried) -> None:
        """With messages, after an attempt in vain."""
        request = read(messages.PromiseOrderRequest, one.raw)
        request.order.reservation_id = tried.reservation_id
        try:
            wish = self._wish(request, one.call, tried.key)
            answer = await self._fulfil(wish, one.call, tried)
        except Exception as fault:  # noqa: BLE001 - its own caller hears of it
            one.tell(fault)
        else:
            one.tell(answer.SerializeToString(deterministic=True))

    async def promise(self, request: messages.PromiseOrderRequest, call: Call) -> Message:
        """PromiseOrder of any order."""
        wish = self._wish(request, call)
        return await self._in_turn(wish.turns, lambda: wish, call)

    def _wish(
        self, request: messages.PromiseOrderRequest, call: Call, key: Key | None = None
    ) -> _Wish:
        """What a PromiseOrder asks for. `key`: where it is known. Raises Refused."""
        check = Checker(self._view.gateway.now_ms())
        request_id = check.identifier("request_id", request.request_id, "request_id_bytes_max")
        if not request.HasField("order"):
            check.required("order")
        codec.check_order(check, "order.", request.order)
        ttl_ms = limits.hold_ttl_ms_default
        if request.HasField("ttl"):
            ttl_ms = check.milliseconds("ttl", request.ttl, "hold_ttl_ms_max", low=1)
        strategy = self._routing.strategy_now(codec.strategy_of(check, request.strategy))
        budget = codec.work_budget_of(check, request.work_budget)
        if not check.violations or not self._is_known(call, request_id):
            check.refuse()
        key = key or _key(call.caller.text, request_id, request)
        wish = self._promise_wish(request.order, key, request_id, ttl_ms, call)
        return replace(wish, strategy=strategy, budget=budget)

    def _promise_wish(
        self, order: messages.RoutingOrder, key: Key, request_id: bytes, ttl_ms: int, call: Call
    ) -> _Wish:
        caller = call.caller.text
        turns = turns_of(order.reservation_id, key, is_repeatable=bool(request_id))
        if not order.reservation_id:
            order.reservation_id = made_id(self._view.gateway.now_ms())

        def create(takes: Takes, attempt_id: bytes, etag: int, reservation_id: str) -> CommandBatch:
            return create_of(
                takes,
                caller=caller,
                request_id=attempt_id,
                reservation_id=reservation_id,
                owner=order.owner,
                channel=order.channel,
                ttl_ms=ttl_ms,
            )

        return _Wish(
            key=key,
            turns=turns,
            request_id=request_id,
            caller=caller,
            order=order,
            strategy=Strategy.EXACT,
            budget=solver.work_budget,
            reply=messages.PromiseOrderResponse,
            command=create,
            standing=lambda: None,
        )

    async def replan(self, request: messages.ReplanOrderRequest, call: Call) -> Message:
        """ReplanOrder."""
        check = Checker(self._view.gateway.now_ms())
        request_id = check.identifier("request_id", request.request_id, "request_id_bytes_max")
        check.identifier(
            "reservation_id", request.reservation_id, "reservation_id_bytes_max", required=True
        )
        codec.check_exclusions(check, "", request.excluded_nodes, request.excluded_carrier_services)
        budget = codec.work_budget_of(check, request.work_budget)
        check.refuse()
        key = _key(call.caller.text, request_id, request)

        def wish() -> _Wish:
            # In turn, so that it goes on from what a replan before it has decided.
            order = self.promised(request.reservation_id).order
            away = Away(request.excluded_nodes, request.excluded_carrier_services)
            strategy = self._routing.strategy_now(Strategy.EXACT)
            found = self._move_wish(order, away, key, request_id, call)
            return replace(found, strategy=strategy, budget=budget)

        turns = turns_of(request.reservation_id, key, is_repeatable=bool(request_id))
        return await self._in_turn(turns, wish, call)

    def _move_wish(
        self, order: messages.RoutingOrder, away: Away, key: Key, request_id: bytes, call: Call
    ) -> _Wish:
        caller = call.caller.text
        away.note(order)

        def reroute(
            takes: Takes, attempt_id: bytes, etag: int, reservation_id: str
        ) -> CommandBatch:
            return reroute_of(
                takes,
                caller=caller,
                request_id=attempt_id,
                reservation_id=reservation_id,
                etag=etag,
            )

        def standing() -> Standing:
            return self.standing(order)

        return _Wish(
            key=key,
            turns=turns_of(order.reservation_id, key, is_repeatable=bool(request_id)),
            request_id=request_id,
            caller=caller,
            order=order,
            strategy=Strategy.EXACT,
            budget=solver.work_budget,
            reply=messages.ReplanOrderResponse,
            command=reroute,
            standing=standing,
            away=away,
        )

    # --- For waves ---------------------------------------------------------------------------

    async def hold_planned(
        self,
        order: messages.RoutingOrder,
        planned: Planned | None,
        *,
        request_id: bytes,
        ttl_ms: int,
        call: Call,
    ) -> Any:
        """PromiseOrder of what a wave has planned; None: of what was decided before. Its reply."""
        key = _key(call.caller.text, request_id, order)
        wish = self._promise_wish(order, key, request_id, ttl_ms, call)
        return await self._in_turn(wish.turns, lambda: replace(wish, planned=planned), call)

    async def move_planned(
        self,
        order: messages.RoutingOrder,
        planned: Planned | None,
        *,
        away: Away,
        request_id: bytes,
        must: bool,
        call: Call,
    ) -> Any:
        """ReplanOrder of what a wave has planned. `must`: it may end at another plan where others
        were faster. Its reply."""
        key = _key(call.caller.text, request_id, order)
        wish = self._move_wish(order, away, key, request_id, call)
        wish = replace(wish, planned=planned, replans_max=replans_max if must else 0)
        return await self._in_turn(wish.turns, lambda: wish, call)

    def is_decided(self, call: Call, request_id: bytes) -> bool:
        """Whether this request has its answer already."""
        return bool(request_id) and self._is_known(call, request_id)

    def promised(self, reservation_id: str) -> Promised:
        """What was last promised of an order. Raises Refused where no decision is kept."""
        self._keeper.refresh()
        found = self._log.latest(self._view.state, reservation_id)
        if found is None:
            raise not_promised(reservation_id)
        told = messages.PromiseOrderResponse.FromString(found[1].reply)
        return Promised(messages.RoutingOrder.FromString(found[1].order), told.plan, found[1])

    def standing(self, order: messages.RoutingOrder) -> Standing:
        """What is open of a promised order, which is cut to it. Raises Refused."""
        found = standing_of(self._view, order.reservation_id)
        cut(order, found)
        return found

    def promised_ids(self) -> list[str]:
        """Reservations that a decision with a plan is kept about, in the order of their names."""
        self._keeper.refresh()
        return self._log.reservations()

    # --- One wish ----------------------------------------------------------------------------

    def _is_known(self, call: Call, request_id: bytes) -> bool:
        """Whether a decision is kept for this request: its answer stands, whatever time it is."""
        state = self._view.state
        self._keeper.refresh()
        return self._log.by_request(state, request_key(call.caller.text, request_id)) is not None

    async def _in_turn(self, turns: Turns, wish: Callable[[], _Wish], call: Call) -> Message:
        """What became of a wish. It goes on when its caller hangs up: what the ledger has, the log
        of decisions has to have as well, for a retry to find it."""
        return await shielded(self._take_turn(turns, wish, call))

    async def _take_turn(self, turns: Turns, wish: Callable[[], _Wish], call: Call) -> Message:
        """Equal requests take turns, so that the second one finds what the first decided."""
        locks = [self._locks.setdefault(turn, asyncio.Lock()) for turn in turns]
        async with contextlib.AsyncExitStack() as held:
            # In the same order everywhere.
            for lock in sorted(locks, key=id):
                await held.enter_async_context(lock)
            # No set takes a turn that somebody waits for: those before it are the last.
            for lock in {self._in_sets[turn] for turn in turns if turn in self._in_sets}:
                async with lock:
                    pass
            return await self._fulfil(wish(), call)

    async def _fulfil(self, wish: _Wish, call: Call, tried: Tried | None = None) -> Message:
        gateway = self._view.gateway
        state = gateway.state
        self._keeper.refresh()
        attempt, name = 0, ""
        last: Refusal | None = None
        if tried is not None:
            name, attempt, last = tried.name, 1, tried.refused
            if not tried.is_conflict:
                await self._remember_refusal(wish, name, 0, last, call)
                raise Refused(last)
        elif (known := self._log.by_request(state, wish.key.request)) is not None:
            name, decision = known
            if decision.key.fingerprint != wish.key.fingerprint:
                raise Refused(refusal(outcomes.REQUEST_ID_REUSED))
            wish.order.reservation_id = name.rpartition("\0")[0]
            answer = await self._again(wish, decision, call)
            if answer is not None:
                return answer
            attempt = decision.attempt + 1
        most = wish.replans_max + 1
        beyond = most if tried is not None else attempt + most
        planned = wish.planned
        for number in range(attempt, beyond):
            self._keeper.refresh()
            name = name or self._log.next_name(wish.order.reservation_id)
            self._metrics.replans += number > 0
            # Anew one after another: planned at the same time they would meet again, at the next
            # node with too little for all of them, and some give up while there is stock elsewhere.
            async with self._anew if number else contextlib.nullcontext():
                reply, refused = await self._attempt(wish, name, number, call, planned)
            planned = None  # it has met its conflict: from here on the order is planned alone
            if reply is not None:
                return reply
            last = refused
        await self._leave_open(wish, name, number, call)
        raise Refused(_stale(wish.order.reservation_id, wish.replans_max, last))

    async def _again(self, wish: _Wish, decision: Decision, call: Call) -> Message | None:
        """The first answer once more; None where the attempt kept was a conflict."""
        if decision.refusal:
            raise Refused(_refusal_from(decision.refusal))
        if not decision.command:
            return None
        batch = CommandBatch.from_bytes(decision.command)
        answer = await self._submit(batch, call)
        outcome = answer.rows[-1]
        if int(outcome["code"]) in CONFLICTS:
            return None
        if outcome["code"] != outcomes.OK:
            raise Refused(refusals.of_outcome(outcome, answer.details))
        return self._reply(wish, decision.reply, outcome, answer.details, decision.attempt)

    def _plan(self, wish: _Wish) -> Planned:
        """The order's best plan now. Raises Refused."""
        standing = wish.standing()
        held = None if standing is None else standing.held
        network = self._routing.network()
        asked = wish.order if wish.away is None else wish.away.planned(wish.order, network)
        order = codec.order_of(asked, network, self._routing.items, self._view.state)
        solved = self._routing.solve(
            network, order, strategy=wish.strategy, budget=wish.budget, held=held
        )
        report = render_plans.report_of(solved)
        plan = solved.answer.plans[0]
        return Planned(solved.assembly, plan, report, wish.strategy.value, standing)

    async def _attempt(
        self, wish: _Wish, name: str, number: int, call: Call, planned: Planned | None
    ) -> tuple[Message | None, Refusal | None]:
        """(reply, None), or (None, why) where the ledger had moved on."""
        try:
            planned = planned or self._plan(wish)
        except Refused as refused:
            await self._remember_refusal(wish, name, number, refused.refusal, call)
            raise
        assembly, plan = planned.assembly, planned.plan
        network = assembly.network
        standing = planned.standing
        takes = takes_of(assembly, plan, wish.caller, standing)
        attempt_id = wish.request_id + b"\0attempt%d" % number if wish.request_id else b""
        etag = 0 if standing is None else standing.etag
        command = wish.command(takes, attempt_id, etag, wish.order.reservation_id)
        reply = wish.reply()
        reply.plan.CopyFrom(render_plans.plan_of(assembly, plan, takes.numbers))
        reply.currency_code = network.currency
        reply.report.CopyFrom(planned.report)
        reply.rule_outcomes.extend(render_plans.outcomes_of(assembly.ruling))
        reply.hold_for_review = assembly.ruling.hold_for_review
        decision = Decision(
            key=wish.key,
            time_ms=assembly.now_ms,
            attempt=number,
            revision=assembly.revision,
            strategy=planned.strategy,
            work_budget=wish.budget,
            order=wish.order.SerializeToString(deterministic=True),
            reply=reply.SerializeToString(deterministic=True),
            refusal=b"",
            command=command.to_bytes(),
            problem=self._keeper.packed(assembly),
        )
        columns = takes.defaults
        state = self._view.state
        self._keeper.add_shared(columns, state, assembly.problem.tariff, network, wish.caller)
        gone = self._keeper.put(columns, name, decision, wish.caller)
        batch = CommandBatch.join([columns.batch(), command])
        answer = await self._submit(batch, call)
        self._keeper.note(name, decision, gone)
        outcome = answer.rows[-1]
        code = int(outcome["code"])
        if code == outcomes.OK:
            self._metrics.promised(len(plan.shipments), plan.cost)
            self._routing.took(assembly, plan, name)
            return self._reply(wish, decision.reply, outcome, answer.details, number), None
        details = answer.details
        if standing is not None:
            details = takes.renumbered(details, self._view.names)
        found = refusals.of_outcome(
            outcome,
            details,
            lines=request_lines(takes.lines, takes.capacities),
            shortages=shortages.refused(takes.lines, takes.capacities, details),
            reservation_id=wish.order.reservation_id,
        )
        if code not in CONFLICTS:
            await self._remember_refusal(wish, name, number, found, call)
            raise Refused(found)
        self._metrics.conflict(CONFLICTS[code])
        return None, found

    def _reply(
        self,
        wish: _Wish,
        kept: bytes,
        outcome: np.void,
        details: NDArray[np.void],
        attempt: int,
    ) -> Message:
        reply: Any = wish.reply()
        reply.MergeFromString(kept)
        reply.reservation.CopyFrom(
            render.reservation(
                outcome,
                details,
                self._view.names,
                reservation_id=wish.order.reservation_id,
                owner=wish.order.owner,
                channel=wish.order.channel,
            )
        )
        reply.replans = attempt
        reply.revision = int(outcome["revision"])
        made: Message = reply
        return made

    async def _submit(self, batch: CommandBatch, call: Call) -> Outcomes:
        return await self._view.gateway.submit(
            batch, remaining_s=call.remaining_s(), priority=RESERVE
        )

    # --- Attempts without a plan --------------------------------------------------------------

    async def _remember_refusal(
        self, wish: _Wish, name: str, attempt: int, refused: Refusal, call: Call
    ) -> None:
        """A refusal is an answer too: the same request gets it again."""
        await self._replace(
            wish, name, attempt, refused.status.SerializeToString(deterministic=True), call
        )

    async def _leave_open(self, wish: _Wish, name: str, attempt: int, call: Call) -> None:
        """Nothing is decided: the same request goes on with the next attempt."""
        await self._replace(wish, name, attempt, b"", call)

    async def _replace(
        self, wish: _Wish, name: str, attempt: int, status: bytes, call: Call
    ) -> None:
        """Put a decision without a plan in place of an attempt that failed."""
        columns = Columns()
        if not wish.request_id:
            if name in self._log:
                delete_documents(columns, ROUTING_DECISION, [name], wish.caller)
                await self._submit(columns.batch(), call)
                self._log.removed(name)
            return
        decision = Decision(
            key=wish.key,
            time_ms=self._view.gateway.now_ms(),
            attempt=attempt,
            revision=self._view.state.revision,
            strategy=wish.strategy.value,
            work_budget=wish.budget,
            order=wish.order.SerializeToString(deterministic=True),
            reply=b"",
            refusal=status,
            command=b"",
            problem=b"",
        )
        gone = self._keeper.put(columns, name, decision, wish.caller)
        await self._submit(columns.batch(), call)
        self._keeper.note(name, decision, gone)


@dataclass(frozen=True, slots=True)
class Promised:
    """An order as it was last promised."""

    order: messages.RoutingOrder
    plan: messages.FulfillmentPlan
    decision: Decision


def _key(caller: bytes, request_id: bytes, request: Message) -> Key:
    body = request.SerializeToString(deterministic=True)
    return Key(request_key(caller, request_id), wide_key_of(body))


def _stale(reservation_id: str, replans: int, last: Refusal | None) -> Refusal:
    why = "" if last is None else f": {last.status.message}"
    return refusal(
        Fault.PLAN_STALE,
        Case(
            subject=reservation_id,
            message=f"planned {replans + 1} times, and each time others were faster{why}",
            metadata={"reservation_id": reservation_id, "replans": str(replans)},
        ),
    )


def _refusal_from(kept: bytes) -> Refusal:
    status = status_pb2.Status.FromString(kept)
    code = next(one for one in StatusCode if one.value[0] == status.code)
    found = Refusal(code, 0, status)
    named = _reason_of(found)
    return Refusal(code, named, status)


def _reason_of(found: Refusal) -> int:
    info = error_details_pb2.ErrorInfo()
    found.status.details[0].Unpack(info)
    return int(errors_pb2.ErrorReason.Value(f"ERROR_REASON_{info.reason}"))
