"""Which lines were short, as a caller reads it.

The ledger reports each short line as it met it: later lines of the same SKU and node find what
earlier ones left. A caller asked for the sum, so equal lines are told as one: what all of them
asked for, and what there was before the first of them took its part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine import outcomes
from holdfast.v1 import errors_pb2, types_pb2
from holdfast.v1 import reservation_service_pb2 as messages


def _key(line: messages.ReservationLineRequest) -> tuple[str, str] | None:
    return (line.sku, line.node) if line.WhichOneof("source") == "node" else None


def refused(
    lines: Sequence[messages.ReservationLineRequest],
    capacities: Sequence[messages.CapacityTakeRequest],
    details: NDArray[np.void],
    *,
    request: int = 0,
) -> list[errors_pb2.Shortage]:
    """The shortages of a refused create or revise; `request` is its index in a batch."""
    found: list[errors_pb2.Shortage] = []
    told: set[tuple[int, tuple[str, str]]] = set()
    for detail in details[details["kind"] == outcomes.SHORTAGE]:
        number, code = int(detail["line"]), int(detail["code"])
        requested, available = int(detail["quantity"]), int(detail["available"])
        shortage = errors_pb2.Shortage(line=number, request=request)
        if number >= len(lines):
            shortage.line = number - len(lines)
            taken = capacities[shortage.line]
            if taken.WhichOneof("resource") == "node_capacity":
                shortage.node_capacity.CopyFrom(taken.node_capacity)
            else:
                shortage.carrier_slot.CopyFrom(taken.carrier_slot)
        else:
            line = lines[number]
            shortage.sku = line.sku
            if code != outcomes.PURCHASE_LIMIT_REACHED:
                shortage.node = line.node
                key = _key(line)
                if key is not None:
                    if (code, key) in told:
                        continue
                    told.add((code, key))
                    equal = [i for i, other in enumerate(lines) if _key(other) == key]
                    requested = sum(lines[i].quantity for i in equal)
                    available += sum(lines[i].quantity for i in equal if i < number)
        shortage.requested_quantity = requested
        shortage.available_quantity = available
        if detail["time_ms"] > 0:
            shortage.next_available_time.FromMilliseconds(int(detail["time_ms"]))
        found.append(shortage)
    return found


def cut(
    lines: Sequence[messages.ReservationLineRequest], details: NDArray[np.void]
) -> list[errors_pb2.Shortage]:
    """The shortages of a hold that a partial fill policy cut."""
    found = []
    for detail in details[(details["kind"] == outcomes.TAKE) & (details["shortfall"] > 0)]:
        number = int(detail["line"])
        line = lines[number]
        found.append(
            errors_pb2.Shortage(
                line=number,
                sku=line.sku,
                node=line.node,
                requested_quantity=line.quantity,
                available_quantity=line.quantity - int(detail["shortfall"]),
            )
        )
    return found


def of_reservation(
    reservation: types_pb2.Reservation, moves: Sequence[tuple[int, str]], details: NDArray[np.void]
) -> list[errors_pb2.Shortage]:
    """The shortages of a refused reassignment; `moves` are (line, destination node)."""
    found = []
    for detail in details[details["kind"] == outcomes.SHORTAGE]:
        number = int(detail["line"])
        node = next((node for line, node in moves if line == number), "")
        sku = reservation.lines[number].sku if number < len(reservation.lines) else ""
        found.append(
            errors_pb2.Shortage(
                line=number,
                sku=sku,
                node=node,
                requested_quantity=int(detail["quantity"]),
                available_quantity=int(detail["available"]),
            )
        )
    return found
