"""Problems as decisions keep them: put together again, and priced by."""

from __future__ import annotations

from collections.abc import Mapping

from engine.routing.plan import Shipment, shipment
from engine.routing.problem import Problem
from engine.state import State
from holdfast.v1 import routing_service_pb2 as messages
from server.documents import ROUTING_DIRECTORY, ROUTING_TARIFF
from server.routing.decisions import Decision, Names, parts_of, unpack_problem, unpack_tariff
from server.transport.promised_orders import Standing


def problem_of(state: State, decision: Decision) -> tuple[Problem, Names] | None:
    """A decision's problem; None where the rates it was decided with are not kept any more."""
    tariff, directory = parts_of(decision.problem)
    rates = state.documents.get((ROUTING_TARIFF, tariff))
    named = state.documents.get((ROUTING_DIRECTORY, directory)) if directory else (b"", 0)
    if rates is None or named is None:
        return None
    return unpack_problem(decision.problem, unpack_tariff(rates[0]), named[0])


def priced(
    problem: Problem, names: Names, told: messages.PlannedShipment, units: Mapping[int, int]
) -> Shipment | None:
    """These units, by line of the order, the way `told` goes; None where they can not."""
    is_collected = not told.carrier_service
    service = len(names.services) if is_collected else names.services.index(told.carrier_service)
    return shipment(problem, names.nodes.index(told.node), service, units)


def units_of(told: messages.PlannedShipment) -> dict[int, int]:
    """A shipment's units by line of the order."""
    found: dict[int, int] = {}
    for line in told.lines:
        found[line.line] = found.get(line.line, 0) + line.quantity
    return found


def open_part(
    state: State, decision: Decision, told: messages.FulfillmentPlan, standing: Standing
) -> messages.FulfillmentPlan:
    """Shipments of a promised plan that have open units, with these alone, and their cost.

    A shipment of which nothing has left costs what was promised. The rest of another one is a
    parcel of its own, at the rates it was promised with; where those are not kept, it counts whole.
    """
    there = standing.at_nodes()
    skus = {line.line: line.sku for one in told.shipments for line in one.lines}
    plan = messages.FulfillmentPlan()
    kept: tuple[Problem, Names] | None = None
    for one in told.shipments:
        promised = units_of(one)
        units = {
            line: min(quantity, there.get((one.node, skus[line]), 0))
            for line, quantity in promised.items()
        }
        if not any(units.values()):
            continue
        shown = plan.shipments.add()
        shown.CopyFrom(one)
        if units != promised:
            left = {line: quantity for line, quantity in units.items() if quantity}
            kept = kept or problem_of(state, decision)
            rest = None if kept is None else priced(*kept, one, left)
            shown.cost_minor_units = one.cost_minor_units if rest is None else rest.cost
            del shown.lines[:]
            for line, quantity in left.items():
                shown.lines.add(line=line, sku=skus[line], quantity=quantity)
        plan.cost_minor_units += shown.cost_minor_units
    splits = len(told.shipments) - 1
    if splits > 0 and plan.shipments:
        split_cost = told.cost_terms.split_minor_units // splits
        plan.cost_minor_units += split_cost * (len(plan.shipments) - 1)
    return plan
