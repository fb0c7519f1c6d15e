"""How full the ledger's tables are: for metrics, admin, and refusals that name a limit."""

from __future__ import annotations

from engine.state import State


def table_use(state: State) -> list[tuple[str, int, int]]:
    """(name of the limit, maximum, use) of every table."""
    meta, room = state.meta[0], state.capacity
    movements = int(meta["movement_next"] - meta["movement_oldest"])
    requests = int(meta["request_next"] - meta["request_oldest"])
    reservations = int(meta["held_count"] + meta["confirmed_count"] + meta["terminal_count"])
    return [
        ("group_members_max", room.group_members, int(meta["group_member_count"])),
        (
            "movements_kept_max",
            room.movements,
            movements,
        ),
        ("name_bytes_max", room.name_bytes, int(meta["name_bytes"])),
        ("names_max", room.names, int(meta["name_count"])),
        ("positions_max", room.positions, int(meta["position_count"])),
        (
            "reply_details_kept_max",
            room.reply_details,
            min(room.reply_details, int(meta["detail_next"])),
        ),
        ("requests_remembered_max", room.requests, requests),
        ("reservations_max", room.reservations, reservations),
        ("supplies_max", room.supplies, int(meta["supply_count"])),
        ("takes_max", room.takes, int(meta["take_count"])),
    ]
