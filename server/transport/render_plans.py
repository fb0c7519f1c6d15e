"""Plans as callers read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, tzinfo
from functools import lru_cache
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from engine.routing.plan import Plan, Shipment, Status
from engine.routing.prices.decide import Mode
from holdfast.v1 import routing_service_pb2 as messages
from server.routing.assembly import Assembly, zone_of
from server.routing.kernels.filling import UNLIMITED
from server.routing.network import Network
from server.routing.planning import Solved, probability_ppm, shipment_ppm
from server.routing.prices.comparison import Opportunity
from server.routing.rules.ruling import Ruling
from server.routing.version import solver_version

LineNumbers = Mapping[tuple[int, int], Sequence[tuple[int, int]]]
"""Lines of a reservation, and units of each, by (node of the problem, line of the order)."""

_PPM: Final = 1_000_000
_STATUSES: Final = {
    Status.OPTIMAL: messages.PLAN_STATUS_OPTIMAL,
    Status.FEASIBLE: messages.PLAN_STATUS_FEASIBLE,
    Status.HEURISTIC: messages.PLAN_STATUS_HEURISTIC,
}


def report_of(solved: Solved) -> messages.SolverReport:
    """How the plans were found."""
    answer = solved.answer
    return messages.SolverReport(
        opportunity=_opportunity_of(solved.opportunity),
        status=_STATUSES[answer.status],
        proven_optimal=answer.proven_optimal,
        bound_minor_units=answer.bound,
        gap_ppm=round(answer.gap * _PPM),
        steps=answer.steps,
        solve_nanoseconds=solved.nanoseconds,
        solver_version=solver_version(),
        network_version=solved.assembly.network.version,
    )


def _opportunity_of(found: Opportunity | None) -> messages.OpportunityReport | None:
    if found is None:
        return None
    return messages.OpportunityReport(
        mode=(
            messages.OpportunityReport.MODE_ON
            if found.mode is Mode.ON
            else messages.OpportunityReport.MODE_SHADOW
        ),
        changes_plan=found.changes_plan,
        dearer_minor_units=found.dearer_by,
        other_nodes=found.other_nodes,
    )


def report_of_wave(network: Network, seed: int) -> messages.SolverReport:
    """How a plan was found that a wave chose."""
    return messages.SolverReport(
        status=messages.PLAN_STATUS_WAVE,
        solver_version=solver_version(),
        network_version=network.version,
        seed=seed,
    )


def outcomes_of(ruling: Ruling) -> list[messages.RuleOutcome]:
    """What rules did."""
    return [
        messages.RuleOutcome(rule=rule.name, action=rule.action, reason=rule.reason)
        for rule in ruling.applied
    ]


def plan_of(
    assembly: Assembly, plan: Plan, numbers: LineNumbers | None = None
) -> messages.FulfillmentPlan:
    """A plan. `numbers`: of the reservation's lines, where it is held."""
    made = messages.FulfillmentPlan(cost_minor_units=plan.cost, co2e_grams=plan.co2e_g)
    for term, value in plan.terms().items():
        if value:
            setattr(made.cost_terms, f"{term}_minor_units", value)
    start_ms, end_ms = 0, 0
    for one in plan.shipments:
        shown = made.shipments.add()
        first_ms, last_ms = _fill(shown, assembly, one, numbers or {})
        start_ms, end_ms = max(start_ms, first_ms), max(end_ms, last_ms)
    _stamp(made.delivery_window.start_time, start_ms)
    _stamp(made.delivery_window.end_time, end_ms)
    made.delivery_window.probability_ppm = probability_ppm(assembly, plan)
    return made


def _fill(
    shown: messages.PlannedShipment, assembly: Assembly, one: Shipment, numbers: LineNumbers
) -> tuple[int, int]:
    """Fill in a shipment; when it may arrive at first and at last."""
    network, order = assembly.network, assembly.order
    node, service = one.node, one.service
    number = int(assembly.nodes[node])
    is_collected = service == network.collect
    shown.node = network.node_names[number]
    shown.cost_minor_units = one.cost
    shown.distance_km = int(assembly.lanes.distance_km[number])
    shown.days_late = one.days_late
    _add_lines(shown.lines, one.units, order.skus, _queues(one, numbers))
    shown.pick_date = day_text(int(assembly.pick_day[node]))
    ready_ms = int(assembly.ready_ms[node, service])
    _stamp(shown.ready_time, ready_ms)
    if is_collected:
        shown.fulfillment_type = messages.FULFILLMENT_TYPE_PICKUP
        first_ms = last_ms = ready_ms
    else:
        shown.fulfillment_type = (
            messages.FULFILLMENT_TYPE_SHIP_FROM_STORE
            if network.is_store[number]
            else messages.FULFILLMENT_TYPE_DELIVERY
        )
        shown.carrier = network.carrier_names[service]
        shown.carrier_service = network.service_names[service]
        shown.zone = network.zone_name(service, int(assembly.problem.arrays.zone[node, service]))
        if is_slot_limited(assembly, node, service):
            shown.slot = assembly.slot_name(node, service)
        queues = _queues(one, numbers)
        for parcel in one.parcels:
            packed = shown.parcels.add(
                charged_weight_grams=parcel.charged_g,
                rate_minor_units=parcel.rate,
                co2e_grams=parcel.co2e_g,
            )
            _add_lines(packed.lines, parcel.units, order.skus, queues)
        zone = zone_of(order.time_zone)
        first_ms = midnight_ms(int(assembly.delivery_min[node, service]), zone)
        last_ms = midnight_ms(int(assembly.delivery_max[node, service]) + 1, zone)
    window = shown.delivery_window
    _stamp(window.start_time, max(first_ms, ready_ms))
    _stamp(window.end_time, last_ms)
    window.probability_ppm = shipment_ppm(assembly, node, service)
    return max(first_ms, ready_ms), last_ms


def is_slot_limited(assembly: Assembly, node: int, service: int) -> bool:
    """Whether a shipment takes slots of a pickup."""
    if service == assembly.network.collect:
        return False
    default = int(assembly.slot_default[node, service])
    return bool(assembly.slot_known[node, service]) or default < UNLIMITED


def is_pick_limited(assembly: Assembly, node: int) -> bool:
    """Whether a shipment takes pick capacity of a day."""
    default = int(assembly.network.pick_default[assembly.nodes[node]])
    return bool(assembly.pick_known[node]) or default < UNLIMITED


_Queues = Mapping[int, list[tuple[int, int]]]
"""Lines of a reservation, and units of each that are still to be shown, by line of the order."""


def _queues(one: Shipment, numbers: LineNumbers) -> _Queues:
    return {
        line: list(numbers.get((one.node, line), ((0, quantity),)))
        for line, quantity in one.units.items()
    }


def _add_lines(target: Any, units: Mapping[int, int], skus: Sequence[str], queues: _Queues) -> None:
    """Show units, those of one line of the reservation after the other's."""
    for line, quantity in units.items():
        queue, left = queues[line], quantity
        while left:
            number, most = queue[0]
            part = min(left, most)
            target.add(line=line, sku=skus[line], quantity=part, reservation_line=number)
            left -= part
            queue[0] = (number, most - part)
            if part == most:
                del queue[0]


@lru_cache(maxsize=4096)
def midnight_ms(day: int, zone: tzinfo) -> int:
    """When a day (an ordinal) begins."""
    start = date.fromordinal(day)
    local = datetime(start.year, start.month, start.day, tzinfo=zone)
    return int(local.timestamp() * 1000)


@lru_cache(maxsize=4096)
def day_text(day: int) -> str:
    """A day (an ordinal) as YYYY-MM-DD."""
    return date.fromordinal(day).isoformat()


def _stamp(target: Timestamp, moment_ms: int) -> None:
    """As FromMilliseconds, in a tenth of its time."""
    target.seconds = moment_ms // 1000
    target.nanos = moment_ms % 1000 * 1_000_000
