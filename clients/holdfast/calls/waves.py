"""The bookkeeping of a wave: its messages, and what comes back. Pure: the clients move them.

A wave whose stream breaks is sent again as a whole, where that can do no harm: nothing is held, or
its holds have a request_id, under which the server finds those that stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.calls.call import Method, request_id_of, timeout_s
from holdfast.codec import read, write
from holdfast.errors import ServerFault
from holdfast.failures import Failure, from_status
from holdfast.times import Span, seconds_of, to_duration
from holdfast.v1 import routing_service_pb2 as wire
from holdfast.values.routing import (
    FulfillmentPlan,
    RoutingOrder,
    RuleOutcome,
    WaveOrderResult,
    WavePlans,
    WaveProgress,
    WaveSummary,
)

PLAN_ORDERS = Method("RoutingService", "PlanOrders", wire.PlanOrdersResponse)
ORDERS_PER_MESSAGE = 200
BUDGET_S_DEFAULT = 10.0
_PPM = 1_000_000

Progress = Callable[[WaveProgress], None]


@dataclass(slots=True)
class Wave:
    """One wave, ready to be sent, as often as it takes."""

    settings: wire.WaveSettings
    orders: Sequence[RoutingOrder]
    more: wire.WaveOrders
    timeout_s: float | None
    """Seconds beyond the budget; None: as a slow call of the client's."""
    progress: Progress | None = None
    _results: list[WaveOrderResult] = field(default_factory=list)

    @property
    def repeatable(self) -> bool:
        """Whether sending it again can do no harm."""
        return not self.settings.hold or bool(self.settings.request_id)

    def patience_s(self, slow_timeout_s: float) -> float:
        """Seconds that the wave may take, from the first attempt to the last answer."""
        if self.timeout_s is not None:
            return self.timeout_s
        budget = self.settings.budget
        return slow_timeout_s + budget.seconds + budget.nanos / 1e9

    def requests(self) -> Iterator[wire.PlanOrdersRequest]:
        """Its messages. What came of an earlier attempt is forgotten."""
        self._results.clear()
        yield wire.PlanOrdersRequest(settings=self.settings)
        for begin in range(0, len(self.orders), ORDERS_PER_MESSAGE):
            message = wire.PlanOrdersRequest()
            for order in self.orders[begin : begin + ORDERS_PER_MESSAGE]:
                write(order, message.orders.orders.add())
            yield message
        yield wire.PlanOrdersRequest(orders=self.more)

    def take(self, message: wire.PlanOrdersResponse) -> WavePlans | None:
        """The answer, once `message` completes it."""
        kind = message.WhichOneof("content")
        if kind == "progress":
            if self.progress is not None:
                self.progress(read(WaveProgress, message.progress))
        elif kind == "results":
            self._results += map(_result, message.results.results)
        elif kind == "summary":
            return WavePlans(
                tuple(self._results),
                read(WaveSummary, message.summary),
                self.settings.request_id,
            )
        return None


INCOMPLETE = Failure(ServerFault.default_code, "the server ended a wave without its summary")


def plan_orders(
    orders: Iterable[RoutingOrder],
    *,
    budget: Span,
    hold: bool,
    ttl: Span | None,
    seed: int,
    work: Span | None,
    gap_enough: float,
    reservation_ids: Iterable[str],
    replan_nodes: Iterable[str],
    replan_carrier_services: Iterable[str],
    saving_min_minor_units: int,
    progress: Progress | None,
    progress_interval: Span,
    request_id: str | None,
    timeout: Span | None,
) -> Wave:
    """A wave. Raises ValueError for a budget of nothing."""
    settings = wire.WaveSettings(
        hold=hold,
        seed=seed,
        gap_enough_ppm=round(gap_enough * _PPM),
        saving_min_minor_units=saving_min_minor_units,
    )
    if hold:
        settings.request_id = request_id_of(request_id)
    if seconds_of(budget) <= 0:
        raise ValueError(f"budget must be above 0 seconds, not {seconds_of(budget):g}")
    settings.budget.CopyFrom(to_duration(budget))
    settings.progress_interval.CopyFrom(to_duration(progress_interval))
    if ttl is not None:
        settings.ttl.CopyFrom(to_duration(ttl))
    if work is not None:
        settings.work.CopyFrom(to_duration(work))
    more = wire.WaveOrders(
        reservation_ids=reservation_ids,
        replan_nodes=replan_nodes,
        replan_carrier_services=replan_carrier_services,
    )
    return Wave(settings, tuple(orders), more, timeout_s(timeout), progress)


def _result(message: Any) -> WaveOrderResult:
    return WaveOrderResult(
        order=message.order,
        reservation_id=message.reservation_id,
        plan=read(FulfillmentPlan, message.plan) if message.HasField("plan") else None,
        error=from_status(message.status).error() if message.HasField("status") else None,
        rule_outcomes=tuple(read(RuleOutcome, one) for one in message.rule_outcomes),
        hold_for_review=message.hold_for_review,
        held=message.held,
        kept=message.kept,
        replans=message.replans,
        previous_cost_minor_units=message.previous_cost_minor_units,
        previous_shipments=message.previous_shipments,
        revision=message.revision,
    )
