"""ExplainPlan: a promise as it was decided, or an order as it would be planned now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from engine.routing import limits as solver
from engine.routing.plan import Plan
from engine.routing.problem import SPLIT_COST, Problem
from engine.routing.solver import Answer, Strategy
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.assembly import assemble
from server.routing.decision_log import DecisionLog
from server.routing.decisions import BY_WAVE, Names
from server.routing.explaining import Explainer, NodeWhy, ServiceWhy, Why
from server.routing.limits import nodes_explained_default
from server.routing.planning import Planner
from server.transport import render_plans
from server.transport.calls import Call, Methods
from server.transport.codec import routing as codec
from server.transport.decision_keeper import names_of
from server.transport.errors import Case, Fault, Refused, refusal
from server.transport.kept_problems import priced, problem_of, units_of
from server.transport.ledger_view import LedgerView
from server.transport.promised_orders import not_promised
from server.transport.services.routing import RoutingService
from server.transport.validation import Checker

_REASONS: Final = {
    Why.CHOSEN: messages.NOT_CHOSEN_REASON_UNSPECIFIED,
    Why.NO_STOCK: messages.NOT_CHOSEN_REASON_NO_STOCK,
    Why.CAPACITY: messages.NOT_CHOSEN_REASON_CAPACITY,
    Why.CUTOFF_PASSED: messages.NOT_CHOSEN_REASON_CUTOFF_PASSED,
    Why.RULE: messages.NOT_CHOSEN_REASON_RULE,
    Why.DOMINATED: messages.NOT_CHOSEN_REASON_DOMINATED,
    Why.COST: messages.NOT_CHOSEN_REASON_COST,
    Why.NO_LANE: messages.NOT_CHOSEN_REASON_NO_LANE,
    Why.NOT_CARRIED: messages.NOT_CHOSEN_REASON_NOT_CARRIED,
    Why.CLOSED: messages.NOT_CHOSEN_REASON_CLOSED,
}


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is explained."""

    reply: messages.ExplainPlanResponse
    problem: Problem
    names: Names
    plan: Plan


class ExplanationService:
    """Handler of ExplainPlan. Has a solver of its own: it lets other calls in between."""

    def __init__(self, view: LedgerView, routing: RoutingService, log: DecisionLog) -> None:
        self._view = view
        self._routing = routing
        self._log = log

    def register(self, methods: Methods) -> None:
        """Offer it."""
        methods.unary("ExplainPlan", messages.ExplainPlanRequest, self.explain)

    async def explain(self, request: messages.ExplainPlanRequest, call: Call) -> Message:
        """ExplainPlan."""
        gateway = self._view.gateway
        check = Checker(gateway.now_ms())
        subject = request.WhichOneof("subject")
        if subject is None:
            check.required("subject", "needs a reservation_id or an order")
        elif subject == "order":
            codec.check_order(check, "order.", request.order)
        else:
            check.identifier(
                "reservation_id",
                request.reservation_id,
                "reservation_id_bytes_max",
                required=True,
            )
        check.whole(
            "max_nodes",
            request.max_nodes,
            "nodes_per_order_max",
            maximum=solver.nodes_per_order_max,
        )
        check.refuse()
        planner = Planner()
        if subject == "order":
            found = self._as_of_now(request.order)
        else:
            found = self._as_decided(request.reservation_id, planner)
        reply = found.reply
        explainer = Explainer(found.problem, found.plan, found.names, planner)
        most = request.max_nodes or nodes_explained_default
        for node in _in_order(found.problem, found.plan)[:most]:
            told = explainer.node(node)
            _add(reply, told, found.problem, found.names)
            await asyncio.sleep(0)  # a node may take several searches
        reply.revision = gateway.state.revision
        await gateway.durable()
        return reply

    def _as_of_now(self, asked: messages.RoutingOrder) -> _Subject:
        routing, state = self._routing, self._view.state
        network = routing.network()
        order = codec.order_of(asked, network, routing.items, state)
        solved = routing.solve(network, order)
        # Over all nodes, to speak of those too that have nothing or may not ship.
        everywhere = assemble(network, state, order, solved.assembly.now_ms, everywhere=True)
        whole = routing.planner.solve(everywhere)
        plan = whole.answer.plans[0]
        reply = messages.ExplainPlanResponse(
            plan=render_plans.plan_of(everywhere, plan),
            currency_code=network.currency,
            report=render_plans.report_of(whole),
            rule_outcomes=render_plans.outcomes_of(everywhere.ruling),
            replayed=True,
            planned_revision=everywhere.revision,
        )
        reply.plan_time.FromMilliseconds(everywhere.now_ms)
        return _Subject(reply, everywhere.problem, names_of(everywhere), plan)

    def _as_decided(self, reservation_id: str, planner: Planner) -> _Subject:
        gateway = self._view.gateway
        state = gateway.state
        self._log.refresh(state, gateway.documents_version)
        kept = self._log.latest(state, reservation_id)
        if kept is None:
            raise not_promised(reservation_id)
        decision = kept[1]
        found = problem_of(state, decision)
        if found is None:
            raise _no_tariff(reservation_id)
        problem, names = found
        # What the ledger adds later has the same field numbers in both replies.
        told = messages.PromiseOrderResponse.FromString(decision.reply)
        if decision.strategy == BY_WAVE:
            plan, replayed = _as_told(problem, told.plan, names)
        else:
            answer = planner.answer(problem, decision.work_budget, Strategy(decision.strategy))
            plan, replayed = answer.plans[0], _is_same(answer, told.plan, names)
        reply = messages.ExplainPlanResponse(
            plan=told.plan,
            currency_code=told.currency_code,
            report=told.report,
            rule_outcomes=told.rule_outcomes,
            replayed=replayed,
            planned_revision=decision.revision,
        )
        reply.plan_time.FromMilliseconds(decision.time_ms)
        return _Subject(reply, problem, names, plan)


def _is_same(answer: Answer, told: messages.FulfillmentPlan, names: Names) -> bool:
    """Whether the solver's plan is the one that was promised, to the last unit and cent."""
    plan = answer.plans[0]
    if plan.cost != told.cost_minor_units or len(plan.shipments) != len(told.shipments):
        return False
    for one, shown in zip(plan.shipments, told.shipments, strict=True):
        service = "" if one.service == len(names.services) else names.services[one.service]
        units = units_of(shown)
        same = (names.nodes[one.node], service, one.cost, dict(one.units))
        if same != (shown.node, shown.carrier_service, shown.cost_minor_units, units):
            return False
    return True


def _as_told(problem: Problem, told: messages.FulfillmentPlan, names: Names) -> tuple[Plan, bool]:
    """A plan that a wave chose, priced anew, and whether it costs what was promised."""
    shipments = []
    for one in told.shipments:
        units = units_of(one)
        made = priced(problem, names, one, units)
        if made is None:
            raise RuntimeError(f"{one.node} can not ship {units} by {one.carrier_service} any more")
        shipments.append(made)
    split = int(problem.arrays.terms[SPLIT_COST]) * (len(shipments) - 1)
    plan = Plan(tuple(shipments), split)
    same = all(
        made.cost == one.cost_minor_units
        for made, one in zip(shipments, told.shipments, strict=True)
    )
    return plan, same and plan.cost == told.cost_minor_units


def _in_order(problem: Problem, plan: Plan) -> Sequence[int]:
    """The plan's nodes first, then the nearest."""
    chosen = [one.node for one in plan.shipments]
    distance = problem.arrays.distance
    others = sorted(set(range(problem.nodes)) - set(chosen), key=lambda node: distance[node])
    return [*chosen, *others]


def _add(
    reply: messages.ExplainPlanResponse, told: NodeWhy, problem: Problem, names: Names
) -> None:
    node = reply.nodes.add(
        node=names.nodes[told.node],
        chosen=told.why is Why.CHOSEN,
        reason=_REASONS[told.why],
        rule=told.rule,
        distance_km=int(problem.arrays.distance[told.node]),
    )
    if told.forced_cost is not None:
        node.forced_cost_minor_units = told.forced_cost
    for one in told.services:
        _add_service(node, one, names)


def _add_service(node: Any, one: ServiceWhy, names: Names) -> None:
    service = node.services.add(
        carrier_service=names.services[one.service],
        chosen=one.why is Why.CHOSEN,
        reason=_REASONS[one.why],
        rule=one.rule,
    )
    if one.forced_cost is not None:
        service.forced_cost_minor_units = one.forced_cost


def _no_tariff(reservation_id: str) -> Refused:
    return Refused(
        refusal(
            Fault.RESERVATION_NOT_FOUND,
            Case(
                message=f"the rates that {reservation_id!r} was decided with are not kept any more",
                metadata={"reservation_id": reservation_id},
            ),
        )
    )
