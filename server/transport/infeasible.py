"""Why an order has no plan, as callers read it: the constraint, the line, what there is of it."""

from __future__ import annotations

from engine.routing.infeasible import Constraint
from engine.routing.plan import Status
from server.routing.planning import Solved
from server.transport.errors import Case, Fault, Refused, refusal

_SENTENCES = {
    Constraint.STOCK: "the nodes together have too few units",
    Constraint.NODE_CLOSED: "nodes that may ship it have too few: channel, rules or frozen nodes",
    Constraint.PICK_CAPACITY: "nodes that have it can pick no more: no capacity or no working day",
    Constraint.NO_LANE: (
        "no service has a lane, rate and pickup from nodes that have it, or it has no working day"
    ),
    Constraint.SERVICE_CLOSED: "rules or the request exclude every service there",
    Constraint.NO_SLOT: "the pickups are full",
    Constraint.TOO_LATE: "every service would deliver too late",
    Constraint.NOT_CARRIED: "no service there carries the item",
    Constraint.TOO_HEAVY: "a single unit is above every weight limit",
    Constraint.KEPT_TOGETHER: "no node has all lines that are kept together",
    Constraint.SHIP_COMPLETE: "no node has the whole order",
    Constraint.SHIPMENTS_MAX: "it would take more shipments than are allowed",
    Constraint.COMBINATION: "capacities, services and parcels do not allow all lines at once",
}


def no_plan(everywhere: Solved, path: str = "order.") -> Refused:
    """`everywhere`: solved over all nodes, so that closed ones can be blamed too."""
    assembly, answer = everywhere.assembly, everywhere.answer
    if answer.status is Status.UNDECIDED or answer.refusal is None:
        return Refused(
            refusal(
                Fault.NO_FEASIBLE_PLAN,
                Case(
                    subject="order",
                    message="no plan was found within the work budget",
                    metadata={"constraint": "WORK_BUDGET", "revision": str(assembly.revision)},
                ),
            )
        )
    blamed = answer.refusal
    sku = assembly.order.skus[blamed.line]
    line = f"{path}lines[{blamed.line}]"
    return Refused(
        refusal(
            Fault.NO_FEASIBLE_PLAN,
            Case(
                subject=sku,
                message=(
                    f"no plan for {line} ({sku!r}): {_SENTENCES[blamed.constraint]} "
                    f"({blamed.constraint}: {blamed.requested} asked for, "
                    f"{blamed.available} there)"
                ),
                metadata={
                    "constraint": str(blamed.constraint),
                    "line": line,
                    "sku": sku,
                    "requested": str(blamed.requested),
                    "available": str(blamed.available),
                    "revision": str(assembly.revision),
                },
            ),
        )
    )


def nothing_to_ship(reason: str) -> Refused:
    """A network that can ship nothing at all."""
    return Refused(
        refusal(
            Fault.NO_FEASIBLE_PLAN,
            Case(subject="network", message=reason, metadata={"constraint": "NETWORK"}),
        )
    )
