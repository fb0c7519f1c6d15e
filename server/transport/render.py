"""Replies to commands about reservations, from request, outcome, details and names.

Pure functions: an outcome that the ledger remembered renders to the same bytes as the first time,
after a restart too. Nothing here reads a balance.
"""

from __future__ import annotations

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from engine import outcomes, tables
from engine.ids import made_id
from holdfast.v1 import types_pb2
from server.transport.names import Names

_STATES = {
    outcomes.HELD: types_pb2.Reservation.STATE_HELD,
    outcomes.CONFIRMED: types_pb2.Reservation.STATE_CONFIRMED,
    outcomes.FULFILLED: types_pb2.Reservation.STATE_FULFILLED,
    outcomes.CANCELLED: types_pb2.Reservation.STATE_CANCELLED,
    outcomes.EXPIRED: types_pb2.Reservation.STATE_EXPIRED,
}
STATE_OF = {wire: state for state, wire in _STATES.items()}


def timestamp(time_ms: int) -> Timestamp:
    """A moment of the ledger's time."""
    return Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)


def state(engine_state: int) -> types_pb2.Reservation.State.ValueType:
    """A reservation's state as the wire says it."""
    return _STATES[engine_state]


def created_id(given: str, outcome: np.void, ledger_seed: int) -> str:
    """The id of the reservation a CREATE made: as given, or made by the ledger."""
    return given or made_id(int(outcome["create_ms"]), int(outcome["revision"]), ledger_seed)


def reservation(
    outcome: np.void,
    details: NDArray[np.void],
    names: Names,
    *,
    reservation_id: str,
    owner: str,
    channel: str,
) -> types_pb2.Reservation:
    """The reservation as it stood right after the command. O(details)."""
    standing = int(outcome["state"])
    made = types_pb2.Reservation(
        reservation_id=reservation_id,
        state=_STATES[standing],
        owner=owner,
        channel=channel,
        create_time=timestamp(int(outcome["create_ms"])),
        etag=int(outcome["etag"]),
        update_time=timestamp(int(outcome["update_ms"])),
    )
    if standing in (outcomes.HELD, outcomes.EXPIRED):
        made.expire_time.CopyFrom(timestamp(int(outcome["expire_ms"])))
    for detail in details:
        if detail["kind"] == outcomes.TAKE:
            _add_take(made, detail, names)
    return made


def _add_take(made: types_pb2.Reservation, detail: np.void, names: Names) -> None:
    kind = int(detail["position_kind"])
    if kind in (tables.FENCE, tables.LIMIT):
        return  # the same units are counted by their stock
    called = names.position(int(detail["position"]))
    quantity = int(detail["quantity"])
    if kind == tables.CAPACITY:
        taken = made.capacity_takes.add(quantity=quantity)
        if called.is_slot:
            taken.carrier_slot.slot, taken.carrier_slot.node = called.sku, called.node
        else:
            taken.node_capacity.date, taken.node_capacity.node = called.sku, called.node
        return
    number = int(detail["line"])
    while len(made.lines) <= number:
        made.lines.add()
    line = made.lines[number]
    line.sku = called.sku
    line.shortfall_quantity += int(detail["shortfall"])
    line.fulfilled_quantity += int(detail["fulfilled"])
    line.cancelled_quantity += int(detail["cancelled"])
    line.returned_quantity += int(detail["returned"])
    line.quantity += (
        quantity + int(detail["shortfall"]) + int(detail["fulfilled"]) + int(detail["cancelled"])
    )
    if quantity > 0:
        line.takes.add(
            node=called.node,
            quantity=quantity,
            supply_id=called.scope if kind == tables.SUPPLY else "",
        )
