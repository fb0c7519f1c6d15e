"""One wave, from its orders to its results, a few orders at a time.

1. Assembled, and planned each by itself: an order without any plan has its answer here.
2. Planned together, by a solver of the pool or, without one, one after another.
3. What the wave leaves is planned beside it, on later days too, and what it sends by a dearer way
   because a day or a pickup ran out (`wave_later`).
4. Where wanted, held: promised orders first, in an order in which each finds room, then new ones.
   An order that loses the race for a unit is planned again by itself.

No step works on more than a few orders before other calls get a turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date
from functools import partial
from typing import Any

import numpy as np
from google.protobuf.message import Message

from engine import reads
from engine.hashing import key_of
from engine.positions import SCOPE_CAPACITY, SCOPE_SLOT, find_position, position_key
from engine.routing.plan import Plan, Status
from engine.routing.waves.answer import WaveAnswer, plan_of_column
from engine.routing.waves.pool import NONE
from holdfast.v1 import routing_service_pb2 as messages
from server.application.gateway import NotDone, Why
from server.application.pace import Pace
from server.application.solver_pool import PoolFullError, SolverPool, Source, Told
from server.application.solver_pool import Solved as WaveSolved
from server.routing import limits
from server.routing.assembly import Assembly, NothingToShip, assemble
from server.routing.decisions import BY_WAVE
from server.routing.network import Network
from server.routing.orders import Held
from server.routing.version import solver_version
from server.routing.wave_draft import (
    TooManyPositions,
    WaveDraft,
    slot_defaults_of,
    takes_of,
    together,
)
from server.routing.wave_moves import Key, Move, amounts_of, rounds_of
from server.transport import render_plans
from server.transport.admission import CLASS_OF, Admission, Door
from server.transport.calls import Call, refusal_of
from server.transport.codec import routing as codec
from server.transport.errors import Refused
from server.transport.infeasible import no_plan, nothing_to_ship
from server.transport.ledger_view import LedgerView
from server.transport.services.promises import Planned, PromiseService
from server.transport.services.routing import RoutingService
from server.transport.validation import Checker
from server.transport.wave_later import LaterPlans
from server.transport.wave_metrics import WaveMetrics
from server.transport.wave_orders import Entry, Kind, Wanted, add_promised

_ASSEMBLED_IN_A_ROW = 2
_LOCATED_AT_ONCE = 32
_PRICED_IN_A_ROW = 4
_HELD_AT_ONCE = 4
_PPM = 1_000_000
_OF_CALLER = 0.9
"""Part of the time a caller still waits that planning may take."""
_LEAST_S = 0.001
_PATIENCE_S = 30.0
"""How long an order's hold is tried again while the ledger takes nothing more."""
_STATUSES = {
    Status.OPTIMAL: messages.PLAN_STATUS_OPTIMAL,
    Status.FEASIBLE: messages.PLAN_STATUS_FEASIBLE,
    Status.HEURISTIC: messages.PLAN_STATUS_HEURISTIC,
}
_SOURCES = {
    Source.SOLVER: messages.WAVE_SOURCE_SOLVER,
    Source.TOLD: messages.WAVE_SOURCE_INTERRUPTED,
    Source.KERNELS: messages.WAVE_SOURCE_SEQUENTIAL,
}


class WaveRun:
    """The one wave of a call. `outbox` has its messages, then None."""

    def __init__(
        self,
        wanted: Wanted,
        call: Call,
        *,
        view: LedgerView,
        routing: RoutingService,
        promises: PromiseService,
        pool: SolverPool,
        metrics: WaveMetrics,
        admission: Admission,
    ) -> None:
        self._wanted, self._asked, self._entries = wanted, wanted.asked, wanted.entries
        self._call = call
        # Each hold and each move is let in as the call it stands for: no queue and no quota of the
        # caller is passed by.
        self._hold_door = Door(admission, "PromiseOrder", CLASS_OF["PromiseOrder"])
        self._move_door = Door(admission, "ReplanOrder", CLASS_OF["ReplanOrder"])
        self._view = view
        self._routing = routing
        self._promises = promises
        self._pool = pool
        self._brownout = admission.brownout
        self._metrics = metrics
        self._is_browned_out = admission.brownout.greedy_routing
        self._pace = Pace()
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        budget_s = self._asked.budget_ms / 1000
        remaining_s = call.remaining_s()
        if remaining_s is not None:
            budget_s = min(budget_s, _OF_CALLER * remaining_s)
        self._deadline_s = self._began_s + budget_s
        self._progress = messages.WaveProgress(phase="assembling")
        self._summary = messages.WaveSummary(seed=self._asked.seed, solver_version=solver_version())
        self._free: Held | None = None
        self.outbox: asyncio.Queue[messages.PlanOrdersResponse | None] = asyncio.Queue()

    async def run(self) -> None:
        """All of it; its messages are in `outbox`."""
        try:
            telling = asyncio.create_task(self._tell())
            try:
                await self._plan()
                await self._settle()
            finally:
                telling.cancel()
            await self._view.gateway.durable()
            await self._answer()
        finally:
            self.outbox.put_nowait(None)

    async def _tell(self) -> None:
        """Progress, again and again."""
        while True:
            self._send(progress=self._progress)
            await asyncio.sleep(self._asked.interval_ms / 1000)

    def _send(self, **content: Message) -> None:
        self._progress.elapsed_ms = self._elapsed_ms()
        made = messages.PlanOrdersResponse(revision=self._view.state.revision)
        for field, message in content.items():
            getattr(made, field).CopyFrom(message)
        self.outbox.put_nowait(made)

    def _elapsed_ms(self) -> int:
        return round((self._loop.time() - self._began_s) * 1000)

    # --- Planning ----------------------------------------------------------------------------

    async def _plan(self) -> None:
        network = self._routing.network()
        await add_promised(self._wanted, network, self._view, self._promises)
        self._progress.orders = len(self._entries)
        self._free = together(
            [one.standing.held for one in self._entries if one.standing is not None]
        )
        draft = await self._assembled(network)
        self._summary.planned_revision = self._view.state.revision
        self._summary.network_version = network.version
        self._summary.currency_code = network.currency
        if len(draft):
            solved = await self._solved(draft)
            await self._choose(solved)
            self._note_wave(solved, draft)
            await self._plan_later(network, draft, solved)
        self._summary.elapsed_ms = self._elapsed_ms()

    async def _assembled(self, network: Network) -> WaveDraft:
        """Every order as a problem, and planned by itself. Raises Refused for too large a wave."""
        draft = WaveDraft(network, self._free)
        for number, entry in enumerate(self._entries):
            if number % _LOCATED_AT_ONCE == 0:
                _locate(self._entries[number : number + _LOCATED_AT_ONCE], network)
            if entry.refused is None:
                self._assemble(entry, number, network, draft)
            if draft.cells > limits.wave_cells_max:
                raise _too_large("wave_cells_max", draft.cells, limits.wave_cells_max)
            if number % _ASSEMBLED_IN_A_ROW == 0:
                await self._pace.turn()
        return draft

    def _assemble(self, entry: Entry, number: int, network: Network, draft: WaveDraft) -> None:
        if entry.kind is Kind.NEW and self._asked.hold:
            entry.is_decided = self._promises.is_decided(self._call, self._request_id(number))
            if entry.is_decided:
                return
        try:
            entry.assembly = self._posed(entry, network, self._free)
            cost = self._cost_alone(entry, entry.assembly)
        except Refused as refused:
            entry.refuse(refused.refusal)
        else:
            entry.place = draft.add(entry.assembly, cost)

    def _posed(
        self, entry: Entry, network: Network, held: Held | None, *, everywhere: bool = False
    ) -> Assembly:
        state = self._view.state
        asked = entry.order if entry.away is None else entry.away.planned(entry.order, network)
        order = codec.order_of(asked, network, self._routing.items, state, entry.path)
        now_ms = self._view.gateway.now_ms()
        try:
            return assemble(network, state, order, now_ms, held=held, everywhere=everywhere)
        except NothingToShip as fault:
            raise nothing_to_ship(str(fault)) from None

    def _cost_alone(self, entry: Entry, assembly: Assembly) -> int:
        """Of an order's best plan whatever the others do. Raises Refused where it has none."""
        planner, network = self._routing.planner, assembly.network
        cost = planner.cost(assembly)
        if cost is not None:
            return cost
        if len(assembly.nodes) < len(network.node_names):
            assembly = self._posed(entry, network, self._free, everywhere=True)
        raise no_plan(planner.solve(assembly), entry.path)

    async def _solved(self, draft: WaveDraft) -> WaveSolved:
        """The wave's answer; where from is said. Raises Refused, and NotDone when too many wait."""
        try:
            for parts in draft.lay_out(self._view.state):  # noqa: B007 - the last one counts
                await self._pace.turn()
        except TooManyPositions as fault:
            most = fault.args[1]
            raise _too_large("positions_per_wave_max", fault.args[0], most) from None
        assert parts is not None
        wave = await asyncio.to_thread(parts.wave)
        if self._is_browned_out:
            self._brownout.degraded_answers += 1
        self._progress.phase = "in turn"
        began_s = self._loop.time()
        try:
            solved = await self._pool.solve(
                wave,
                budget_s=max(_LEAST_S, self._deadline_s - began_s),
                seed=self._asked.seed,
                gap_enough=self._asked.gap_enough,
                work_s=self._asked.work_ms / 1000,
                is_browned_out=self._is_browned_out,
                progress=self._note_progress,
            )
        except PoolFullError as fault:
            raise NotDone.overloaded(str(fault), self._asked.budget_ms) from None
        self._metrics.solved(solved, self._loop.time() - began_s)
        return solved

    def _note_progress(self, told: Told) -> None:
        is_first = not self._progress.cost_minor_units
        self._progress.phase = told.stage
        self._note_answer(self._progress, told.answer)
        self._progress.orders_planned = int((told.answer.chosen != NONE).sum())
        if is_first:
            self._send(progress=self._progress)

    @staticmethod
    def _note_answer(progress: messages.WaveProgress, answer: WaveAnswer) -> None:
        progress.cost_minor_units = answer.cost
        progress.bound_minor_units = answer.bound
        progress.gap_ppm = round(answer.gap * _PPM) if answer.bound else 0

    def _note_wave(self, solved: WaveSolved, draft: WaveDraft) -> None:
        answer, summary = solved.answer, self._summary
        self._progress.phase = "plans"
        self._note_answer(self._progress, answer)
        summary.status = _STATUSES[answer.status]
        summary.source = _SOURCES[solved.source]
        summary.wave_cost_minor_units = answer.cost
        summary.bound_minor_units = answer.bound
        summary.gap_ppm = self._progress.gap_ppm
        summary.sequential_cost_minor_units = answer.sequential_cost
        summary.left_cost_minor_units = sum(
            draft.left_cost(place) for place in (answer.chosen == NONE).nonzero()[0].tolist()
        )
        summary.deterministic = solved.is_deterministic

    async def _choose(self, solved: WaveSolved) -> None:
        """The plans of the answer, priced anew."""
        answer = solved.answer
        for number, entry in enumerate(self._entries):
            if entry.place < 0:
                continue
            column = int(answer.chosen[entry.place])
            entry.plan = (
                None if column == NONE else plan_of_column(answer.wave, answer.columns, column)
            )
            if number % _PRICED_IN_A_ROW == 0:
                await self._pace.turn()

    async def _plan_later(self, network: Network, draft: WaveDraft, solved: WaveSolved) -> None:
        """What the wave leaves, or sends by a dearer way for want of a day or a pickup."""
        placed = [one for one in self._entries if one.place >= 0]
        short = draft.short_nodes(solved.answer)
        if self._is_browned_out:
            short[:] = False
        if not short.any() and all(one.plan is not None for one in placed):
            return
        remaining_s = self._call.remaining_s()
        later = LaterPlans(
            placed,
            draft,
            lambda entry, beside: self._posed(entry, network, beside),
            planner=self._routing.planner,
            free=self._free,
            pace=self._pace,
            until_s=math.inf if remaining_s is None else self._loop.time() + remaining_s / 2,
        )
        await later.plan(short)

    # --- Promised orders, and holds ----------------------------------------------------------

    async def _settle(self) -> None:
        """Move and hold what is to be; else only say what would be moved."""
        self._progress.phase = "holding" if self._asked.hold else "plans"
        began_s = self._loop.time()
        if self._asked.hold:
            self._progress.orders_planned = 0
        for moves in await self._rounds():
            entries = [self._entries[move.number] for move in moves]
            for entry in entries:
                entry.moved = True
            if self._asked.hold:
                await _a_few_at_once(entries, self._move, self._pace)
        for entry in self._entries:
            if entry.kind is not Kind.NEW and not entry.moved and entry.refused is None:
                entry.plan = None
                entry.result.kept = True
        if self._asked.hold:
            new = [one for one in self._entries if one.kind is Kind.NEW and one.refused is None]
            await _a_few_at_once(new, self._hold, self._pace)
            self._summary.holding_ms = round((self._loop.time() - began_s) * 1000)

    async def _rounds(self) -> list[list[Move]]:
        moves = []
        slots: dict[tuple[str, str], int] = {}
        for number, entry in enumerate(self._entries):
            if number % _PRICED_IN_A_ROW == 0:
                await self._pace.turn()
            if entry.kind is Kind.NEW or entry.plan is None or entry.assembly is None:
                continue
            assert entry.standing is not None
            assert entry.previous is not None
            if _is_same(entry.assembly, entry.plan, entry.previous):
                continue
            slots.update(slot_defaults_of(entry.assembly, entry.plan))
            moves.append(
                Move(
                    number,
                    gives=amounts_of(entry.standing.held),
                    takes=amounts_of(takes_of(entry.assembly, entry.plan)),
                    saving=entry.previous.cost_minor_units - entry.plan.cost,
                    must=entry.kind is Kind.MOVE,
                )
            )
        return rounds_of(moves, partial(self._left_of, slots), self._asked.saving_min)

    def _left_of(self, slots: Mapping[tuple[str, str], int], key: Key) -> int:
        """What is left of something now. `slots`: parcels that pickups take, by (node, slot), where
        the ledger does not know; it knows of everything that is held."""
        kind, node, name = key
        state = self._view.state
        if kind == "stock":
            row = reads.position_row(state, name, node)
            return max(0, reads.available(state, row)) if row >= 0 else 0
        scope, text = SCOPE_SLOT, name
        if kind == "pick":
            scope, text = SCOPE_CAPACITY, date.fromordinal(name).isoformat()
        names = np.uint64(key_of(text.encode())), np.uint64(key_of(node.encode()))
        row = int(find_position(state.tables, np.uint64(position_key(*names, scope))))
        if row >= 0:
            return max(0, reads.available(state, row))
        if kind == "slot":
            return slots[node, name]
        network = self._routing.network()
        return int(network.pick_default[network.node_number[node]])

    async def _move(self, entry: Entry) -> None:
        away = entry.away
        assert away is not None

        async def move(planned: Planned | None) -> Any:
            return await self._promises.move_planned(
                entry.order,
                planned,
                away=away,
                request_id=b"",
                must=entry.kind is Kind.MOVE,
                call=self._call,
            )

        request = messages.ReplanOrderRequest(reservation_id=entry.order.reservation_id)
        await self._held(entry, self._move_door, request, move)

    async def _hold(self, entry: Entry) -> None:
        name = self._request_id(entry.result.order)

        async def hold(planned: Planned | None) -> Any:
            return await self._promises.hold_planned(
                entry.order, planned, request_id=name, ttl_ms=self._asked.ttl_ms, call=self._call
            )

        request = messages.PromiseOrderRequest(order=entry.order, request_id=name.decode())
        await self._held(entry, self._hold_door, request, hold)

    async def _held(
        self,
        entry: Entry,
        door: Door,
        request: Message,
        hold: Callable[[Planned | None], Awaitable[Any]],
    ) -> None:
        """Hold an entry's plan, or say why not. `request` is the call that it stands for."""
        planned = None
        if entry.plan is not None and entry.assembly is not None:
            report = render_plans.report_of_wave(entry.assembly.network, self._asked.seed)
            planned = Planned(entry.assembly, entry.plan, report, BY_WAVE, entry.standing)
        try:
            reply: Any = await self._patiently(
                lambda: door.serve_message(lambda _, call: hold(planned), request, self._call)
            )
        except (Refused, NotDone) as fault:
            if entry.kind is Kind.BETTER:
                entry.moved = False  # others were faster: it stays as it is
                self._summary.conflicts += 1
            else:
                entry.refuse(refusal_of(fault))
                entry.moved = False
            return
        result = entry.result
        result.reservation_id = reply.reservation.reservation_id
        result.plan.CopyFrom(reply.plan)
        result.rule_outcomes.extend(reply.rule_outcomes)
        result.hold_for_review = reply.hold_for_review
        result.replans = reply.replans
        result.revision = reply.revision
        result.held = True
        self._summary.conflicts += reply.replans
        self._progress.orders_planned += 1

    async def _patiently(self, hold: Callable[[], Awaitable[Message]]) -> Message:
        """Like everybody the wave is asked to come back when the ledger is behind, or its caller
        asks for too much in a second: it does, for as long as a caller may wait."""
        until_s = self._loop.time() + _PATIENCE_S
        while True:
            try:
                return await hold()
            except NotDone as fault:
                wait_s = fault.retry_ms / 1000
                if fault.why is not Why.OVERLOADED or self._loop.time() + wait_s > until_s:
                    raise
            except Refused as fault:
                wait_s = fault.refusal.retry_ms / 1000
                is_rate = fault.refusal.metadata.get("limit") == "requests_per_second"
                if not is_rate or self._loop.time() + wait_s > until_s:
                    raise
            await asyncio.sleep(wait_s)

    def _request_id(self, number: int) -> bytes:
        """Of one order's hold; as repeatable as the wave."""
        name = self._asked.request_id
        return name + b"\0wave%d" % number if name else b""

    # --- Results -----------------------------------------------------------------------------

    async def _answer(self) -> None:
        summary = self._summary
        summary.orders = len(self._entries)
        terms: dict[str, int] = {}
        batch = messages.WaveResults()
        for number, entry in enumerate(self._entries):
            result = entry.result
            self._render(entry)
            batch.results.append(result)
            if len(batch.results) == limits.results_per_message_max:
                self._send(results=batch)
                batch = messages.WaveResults()
            self._sum_up(entry, terms)
            if number % _PRICED_IN_A_ROW == 0:
                await self._pace.turn()
        if batch.results:
            self._send(results=batch)
        for field, units in terms.items():
            setattr(summary.cost_terms, field, units)
        self._metrics.ended(summary)
        self._send(summary=summary)

    def _render(self, entry: Entry) -> None:
        result = entry.result
        if result.held or entry.plan is None or entry.assembly is None or entry.refused:
            return
        ruling = entry.assembly.ruling
        result.plan.CopyFrom(render_plans.plan_of(entry.assembly, entry.plan))
        result.rule_outcomes.extend(render_plans.outcomes_of(ruling))
        result.hold_for_review = ruling.hold_for_review

    def _sum_up(self, entry: Entry, terms: dict[str, int]) -> None:
        result, summary = entry.result, self._summary
        summary.orders_held += result.held
        if result.kept and entry.previous is not None:
            summary.orders_planned += 1
            summary.cost_minor_units += entry.previous.cost_minor_units
            summary.shipments += len(entry.previous.shipments)
        elif result.HasField("plan"):
            summary.orders_planned += 1
            summary.cost_minor_units += result.plan.cost_minor_units
            summary.shipments += len(result.plan.shipments)
            summary.orders_later += entry.is_later
            for field, units in result.plan.cost_terms.ListFields():
                terms[field.name] = terms.get(field.name, 0) + units
        if entry.moved and entry.previous is not None:
            summary.orders_moved += 1
            summary.saving_minor_units += (
                entry.previous.cost_minor_units - result.plan.cost_minor_units
            )
            summary.shipments_saved += len(entry.previous.shipments) - len(result.plan.shipments)


async def _a_few_at_once(
    entries: Iterable[Entry], work: Callable[[Entry], Awaitable[None]], pace: Pace
) -> None:
    """`work` on all entries, in their order, some at a time. The first fault ends it."""
    waiting = iter(entries)

    async def next_ones() -> None:
        for entry in waiting:
            await work(entry)
            await pace.turn()

    async with asyncio.TaskGroup() as group:
        for _ in range(_HELD_AT_ONCE):
            group.create_task(next_ones())


def _locate(entries: Iterable[Entry], network: Network) -> None:
    """Find the lanes to where some orders go, all at once."""
    found = []
    for entry in entries:
        order = entry.order
        # What is wrong with a place is said when its order is assembled.
        with contextlib.suppress(Refused):
            found.append(codec.located(order.destination, entry.path, is_pickup=True)[0])
    network.lanes.learn(found)


def _is_same(assembly: Assembly, plan: Plan, previous: messages.FulfillmentPlan) -> bool:
    """Whether a plan ships the same from the same nodes by the same services."""
    network = assembly.network
    collect = network.collect
    mine = {
        (
            network.node_names[int(assembly.nodes[one.node])],
            "" if one.service == collect else network.service_names[one.service],
        ): {assembly.order.skus[line]: units for line, units in one.units.items()}
        for one in plan.shipments
    }
    theirs: dict[tuple[str, str], Counter[str]] = {}
    for one in previous.shipments:
        units = theirs.setdefault((one.node, one.carrier_service), Counter())
        for line in one.lines:
            units[line.sku] += line.quantity
    return mine == theirs


def _too_large(limit: str, value: int, maximum: int) -> Refused:
    check = Checker(0)
    check.beyond("orders", value, limit, maximum)
    try:
        check.refuse()
    except Refused as refused:
        return refused
    raise AssertionError("a violation refuses")
