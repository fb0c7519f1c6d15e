"""Calls of RoutingService."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.calls.call import Call, Method, request_id_of, timeout_s
from holdfast.codec import read, write, write_enum
from holdfast.times import Span, to_duration
from holdfast.v1 import routing_service_pb2 as wire
from holdfast.values.reservations import Reservation
from holdfast.values.routing import (
    Explanation,
    FulfillmentPlan,
    Plans,
    Promise,
    RoutingOrder,
    RoutingStrategy,
    RuleOutcome,
    SolverReport,
)

_SERVICE = "RoutingService"
PLAN = Method(_SERVICE, "PlanFulfillment", wire.PlanFulfillmentResponse)
PROMISE = Method(_SERVICE, "PromiseOrder", wire.PromiseOrderResponse)
REPLAN = Method(_SERVICE, "ReplanOrder", wire.ReplanOrderResponse)
EXPLAIN = Method(_SERVICE, "ExplainPlan", wire.ExplainPlanResponse)


def plan_fulfillment(
    order: RoutingOrder,
    *,
    max_plans: int = 1,
    strategy: RoutingStrategy = RoutingStrategy.UNSPECIFIED,
    work_budget: int = 0,
    include_pareto_plans: bool = False,
    timeout: Span | None = None,
) -> Call[Plans]:
    """The best ways to ship one order now. Nothing is held."""
    request = wire.PlanFulfillmentRequest(
        max_plans=max_plans, work_budget=work_budget, include_pareto_plans=include_pareto_plans
    )
    write_enum(request, "strategy", strategy)
    write(order, request.order)
    return Call(PLAN, request, lambda reply: read(Plans, reply), timeout_s(timeout), is_read=True)


def promise_order(
    order: RoutingOrder,
    *,
    ttl: Span | None = None,
    strategy: RoutingStrategy = RoutingStrategy.UNSPECIFIED,
    work_budget: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Promise]:
    """Plan one order and hold its stock, pick capacity and pickup slots in one step."""
    request = wire.PromiseOrderRequest(
        request_id=request_id_of(request_id), work_budget=work_budget
    )
    write_enum(request, "strategy", strategy)
    write(order, request.order)
    if ttl is not None:
        request.ttl.CopyFrom(to_duration(ttl))
    return Call(PROMISE, request, _promise, timeout_s(timeout), request.request_id)


def replan_order(
    reservation_id: str,
    *,
    excluded_nodes: Iterable[str] = (),
    excluded_carrier_services: Iterable[str] = (),
    work_budget: int = 0,
    request_id: str | None = None,
    timeout: Span | None = None,
) -> Call[Promise]:
    """Plan anew what is open of a promised order, without a node or service that rejected it. What
    has shipped stays as it is, the old hold until the new one stands."""
    request = wire.ReplanOrderRequest(
        request_id=request_id_of(request_id),
        reservation_id=reservation_id,
        excluded_nodes=excluded_nodes,
        excluded_carrier_services=excluded_carrier_services,
        work_budget=work_budget,
    )
    return Call(REPLAN, request, _promise, timeout_s(timeout), request.request_id)


def explain_plan(
    reservation_id: str = "",
    *,
    order: RoutingOrder | None = None,
    max_nodes: int = 0,
    timeout: Span | None = None,
) -> Call[Explanation]:
    """Why a promise is as it is or, given an order, why it would be planned so now."""
    request = wire.ExplainPlanRequest(max_nodes=max_nodes)
    if (order is None) == (not reservation_id):
        raise ValueError("explain_plan: give a reservation_id or an order, and not both")
    if order is None:
        request.reservation_id = reservation_id
    else:
        write(order, request.order)
    return Call(
        EXPLAIN, request, lambda reply: read(Explanation, reply), timeout_s(timeout), is_read=True
    )


def _promise(reply: Any) -> Promise:
    return Promise(
        plan=read(FulfillmentPlan, reply.plan),
        currency_code=reply.currency_code,
        report=read(SolverReport, reply.report),
        reservation=read(Reservation, reply.reservation, revision=reply.revision),
        rule_outcomes=tuple(read(RuleOutcome, one) for one in reply.rule_outcomes),
        hold_for_review=reply.hold_for_review,
        replans=reply.replans,
        revision=reply.revision,
    )
