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

_OUTCOME_FIELDS = outcomes.OUTCOME.names or ()
_DETAIL_FIELDS = outcomes.DETAIL.names or ()
_KIND, _POSITION_KIND, _LINE, _POSITION, _QUANTITY = (
    _DETAIL_FIELDS.index(name) for name in ("kind", "position_kind", "line", "position", "quantity")
)
# Places of units that are no longer open, and the fields of a line that tell them.
_ENDED = tuple(
    (_DETAIL_FIELDS.index(name), f"{name}_quantity")
    for name in ("shortfall", "fulfilled", "cancelled", "returned")
)


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
    # As tuples of ints: a field of a numpy record takes longer than all else that is done with it.
    told = dict(zip(_OUTCOME_FIELDS, outcome.tolist(), strict=True))
    standing = told["state"]
    made = types_pb2.Reservation(
        reservation_id=reservation_id,
        state=_STATES[standing],
        owner=owner,
        channel=channel,
        create_time=timestamp(told["create_ms"]),
        etag=told["etag"],
        update_time=timestamp(told["update_ms"]),
    )
    if standing in (outcomes.HELD, outcomes.EXPIRED):
        made.expire_time.CopyFrom(timestamp(told["expire_ms"]))
    for detail in details.tolist():
        if detail[_KIND] == outcomes.TAKE:
            _add_take(made, detail, names)
    return made


def _add_take(made: types_pb2.Reservation, detail: tuple[int, ...], names: Names) -> None:
    kind, quantity = detail[_POSITION_KIND], detail[_QUANTITY]
    if kind in (tables.FENCE, tables.LIMIT):
        return  # the same units are counted by their stock
    called = names.position(detail[_POSITION])
    if kind == tables.CAPACITY:
        taken = made.capacity_takes.add(quantity=quantity)
        if called.is_slot:
            taken.carrier_slot.slot, taken.carrier_slot.node = called.sku, called.node
        else:
            taken.node_capacity.date, taken.node_capacity.node = called.sku, called.node
        return
    number = detail[_LINE]
    while len(made.lines) <= number:
        made.lines.add()
    line = made.lines[number]
    line.sku = called.sku
    line.quantity += quantity
    for place, field in _ENDED:
        units = detail[place]
        if units:
            setattr(line, field, getattr(line, field) + units)
            if field != "returned_quantity":
                line.quantity += units
    if quantity > 0:
        line.takes.add(
            node=called.node,
            quantity=quantity,
            supply_id=called.scope if kind == tables.SUPPLY else "",
        )
