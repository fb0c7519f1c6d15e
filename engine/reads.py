"""Look-ups on the state, for replies: names, positions, reservations. Nothing here changes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import causes, names, outcomes, positions, reservations, supply, tables
from engine.details import write_takes
from engine.hashing import key_of, wide_key_of
from engine.ids import made_id
from engine.movements import before
from engine.reroute import plan_release
from engine.state import State

TAKES_SHOWN_MAX = 1024
_ROW_BYTES = causes.ROW_BYTES
_MODULUS = 1 << 32  # of the places that movements keep


class Cause(NamedTuple):
    """Why a movement was made; what does not apply, or is not kept, is empty."""

    request_id: str
    """Of a feed: its name."""
    supply_id: str
    reference: str


def find_name(state: State, kind: int, text: str) -> int:
    """Row of the name of this kind, -1 when it is unknown."""
    return int(names.find_name(state.tables, kind, np.uint64(key_of(text.encode()))))


def name_text(state: State, row: int) -> str:
    """The text of a name; empty for row -1."""
    if row < 0:
        return ""
    name = state.names[row]
    at = int(name["text_at"])
    return state.name_text[at : at + int(name["text_bytes"])].tobytes().decode()


def group_nodes(state: State, group: int) -> list[int]:
    """Name rows of a group's nodes, in its order."""
    name = state.names[group]
    first = int(name["first"])
    members: list[int] = state.arrays["group_members"][first : first + int(name["count"])].tolist()
    return members


def node_is_frozen(state: State, node: int) -> bool:
    """Whether no new reservation may take from this node."""
    return bool(state.names["flags"][node] & tables.NODE_IS_FROZEN)


def purchase_limit(state: State, sku: int) -> int | None:
    """Units of a SKU (its name's row) that one owner may buy; None: no limit."""
    name = state.names[sku]
    return int(name["first"]) if name["flags"] & tables.SKU_HAS_LIMIT else None


def position_row(state: State, sku: str, node: str) -> int:
    """Row of a SKU's stock at a node, -1 when there never was any."""
    return int(
        positions.find_stock(
            state.tables, np.uint64(key_of(sku.encode())), np.uint64(key_of(node.encode()))
        )
    )


def fence_row(state: State, stock: int, channel: str) -> int:
    """Row of a channel's fence on a stock position, -1 when it has none."""
    return int(positions.find_fence(state.tables, stock, np.uint64(key_of(channel.encode()))))


def available(state: State, row: int) -> int:
    """Units of a position that may be promised now; below 0 is a shortfall."""
    return int(positions.available(state.tables, row))


def sellable(state: State, row: int, channel: str = "") -> int:
    """Units of stock a channel may take: what others' fences keep is left out."""
    fence = fence_row(state, row, channel) if channel else -1
    return int(positions.sellable(state.tables, row, np.uint64(0), fence))


def supplies_of(state: State, stock: int) -> Iterator[int]:
    """Rows of a stock's open supplies by expected time; the backorder limit, if any, is last."""
    row = int(state.positions["link"][stock])
    while row >= 0:
        yield row
        row = int(state.supplies["next"][row])


def supply_row(state: State, supply_id: str) -> int:
    """Row of a supply, -1 when it is unknown."""
    return int(supply.find_supply(state.tables, np.uint64(key_of(supply_id.encode()))))


def movements_of(state: State, row: int) -> Iterator[int]:
    """Slots of a position's movements that are still kept, the newest first."""
    slot = int(state.positions["movement"][row])
    while slot >= 0:
        yield slot
        slot = int(before(state.tables, slot))


def movement_cause(state: State, slot: int) -> Cause:
    """Why the movement in this slot was made."""
    movement = state.movements[slot]
    source = int(movement["reservation"])
    supply_id = ""
    if source < tables.NONE:
        supply = tables.NONE - 1 - source  # as `causes.of_supply` has it
        supply_id = name_text(state, int(state.supplies["name"][supply]))
    request_bytes, reference_bytes = int(movement["reserved"]), int(movement["reference_bytes"])
    if state.format_number < tables.KEEPS_CAUSES:
        text = state.arrays["movement_text"][slot, :reference_bytes].tobytes()
    else:
        text = _cause_text(state, movement, request_bytes + reference_bytes)
    return Cause(text[:request_bytes].decode(), supply_id, text[request_bytes:].decode())


def _cause_text(state: State, movement: np.void, size: int) -> bytes:
    """The texts of the command behind a movement, b"" where younger ones have taken their room."""
    ring = state.arrays["cause_text"]
    account = state.arrays["format"][0]
    stop = int(account["cause_next"])
    first = stop - (stop - int(movement["reserved2"])) % _MODULUS
    # Only the place's lower bits are kept: they say all as long as they can not have come again.
    younger = int(state.meta["movement_next"][0]) - int(movement["sequence"])
    if first < account["cause_oldest"] or younger * causes.ROWS_PER_CAUSE_MAX >= _MODULUS:
        return b""
    rows = np.arange(first, first + -(-size // _ROW_BYTES)) & (len(ring) - 1)
    return ring[rows].tobytes()[:size]


def reservation_row(state: State, reservation_id: str) -> int:
    """Row of a reservation, -1 when it is unknown or its room was needed."""
    hi, lo = wide_key_of(reservation_id.encode())
    return int(reservations.find_reservation(state.tables, np.uint64(hi), np.uint64(lo)))


def reservation_id(state: State, row: int) -> str:
    """The id of a reservation, the caller's or the one made."""
    reservation = state.reservations[row]
    size = int(reservation["id_bytes"])
    if size:
        return state.arrays["id_text"][row, :size].tobytes().decode()
    return made_id(
        int(reservation["create_ms"]),
        int(reservation["create_revision"]),
        int(state.meta["ledger_seed"][0]),
    )


def reservation_owner(state: State, row: int) -> str:
    """The owner a reservation was made for; may be empty."""
    size = int(state.reservations["owner_bytes"][row])
    return state.arrays["owner_text"][row, :size].tobytes().decode()


def reservation_channel(state: State, row: int) -> str:
    """The channel a reservation was made through; may be empty."""
    return name_text(state, int(state.reservations["channel"][row]))


def owned_by(state: State, owner: str) -> Iterator[int]:
    """Rows of an owner's open holds, the newest first."""
    row = int(reservations.first_owned(state.tables, np.uint64(key_of(owner.encode()))))
    while row >= 0:
        yield row
        row = int(state.reservations["next_owned"][row])


def takes_of(state: State, row: int) -> Iterator[int]:
    """Rows of a reservation's takes, in order."""
    take = int(state.reservations["first_take"][row])
    while take >= 0:
        yield take
        take = int(state.takes["next"][take])


def reservation_outcome(state: State, row: int) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """A reservation as it stands, in the shape of an answer: (OUTCOME rows (1,), DETAIL rows)."""
    outcome = np.zeros(1, outcomes.OUTCOME)
    details = np.empty(TAKES_SHOWN_MAX, outcomes.DETAIL)
    count = write_takes(state.tables, row, outcome[0], details, 0)
    outcome["detail_count"] = count
    outcome["revision"] = state.revision
    outcome["now_ms"] = state.now_ms
    if outcome["state"][0] == outcomes.HELD and outcome["expire_ms"][0] <= state.now_ms:
        # Its time has come; the release follows, but it is over from that instant.
        outcome["state"] = outcomes.EXPIRED
    return outcome, details[:count]


def rerouted_units(state: State, row: int) -> list[tuple[int, int]]:
    """What a reroute of an open reservation would give back: (row of the take, units)."""
    takes = list(takes_of(state, row))
    released = np.zeros(len(takes), np.int64)
    plan_release(state.tables, row, released)
    return list(zip(takes, released.tolist(), strict=True))


def reservations_from(state: State, row: int) -> Iterator[int]:
    """Rows of the reservations kept, from `row` on, in row order."""
    high = int(state.meta["reservation_high"][0])
    states = state.reservations["state"]
    for at in range(row, high):
        if states[at]:
            yield at


def stock_rows(state: State, sku: int = -1, node: int = -1) -> NDArray[np.int64]:
    """Rows of all stock positions, or of one SKU's or one node's (name rows). O(positions)."""
    used = state.positions[: int(state.meta["position_count"][0])]
    wanted = used["kind"] == tables.STOCK
    if sku >= 0:
        wanted &= used["sku"] == sku
    if node >= 0:
        wanted &= used["node"] == node
    return np.flatnonzero(wanted)
