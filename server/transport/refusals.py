"""From a refused outcome to what the caller reads: which lines, which names, which state.

The table of errors chooses code, reason and sentence; this module fills in what is particular:
metadata of ErrorInfo, the short lines, the field that was wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import limits, outcomes
from holdfast.v1 import errors_pb2
from server.transport.errors import TABLE, Case, Fault, Refusal, Violation, refusal

_STATE_NAMES = {
    outcomes.HELD: "HELD",
    outcomes.CONFIRMED: "CONFIRMED",
    outcomes.FULFILLED: "FULFILLED",
    outcomes.CANCELLED: "CANCELLED",
    outcomes.EXPIRED: "EXPIRED",
}

# The limit behind a refusal that is about one.
_LIMITS = {
    outcomes.QUANTITY_OUT_OF_RANGE: "units_per_position_max",
    outcomes.TOO_MANY_TAKES: "takes_per_reservation_max",
}

# Which field the ledger means, where it is the one to find it wrong.
_FIELDS = {
    outcomes.OWNER_REQUIRED: ("owner", Fault.FIELD_REQUIRED),
    outcomes.KEY_COLLISION: ("name", Fault.FIELD_INVALID),
    outcomes.TIME_IN_FUTURE: ("as_of_time", Fault.FIELD_INVALID),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a line of the request was about, for people and for metadata."""

    field: str
    sku: str = ""
    node: str = ""
    node_group: str = ""
    quantity: int = 0

    def names(self) -> dict[str, str]:
        """Those that are given."""
        named = {"sku": self.sku, "node": self.node, "node_group": self.node_group}
        return {key: value for key, value in named.items() if value}


def of_outcome(
    outcome: np.void,
    details: NDArray[np.void],
    *,
    lines: Sequence[Line] = (),
    shortages: Sequence[errors_pb2.Shortage] = (),
    reservation_id: str = "",
    names: dict[str, str] | None = None,
) -> Refusal:
    """The refusal of a command. `names` are further metadata: what the whole request was about."""
    code = int(outcome["code"])
    metadata = {"revision": str(int(outcome["revision"]))}
    if reservation_id:
        metadata["reservation_id"] = reservation_id
    if outcome["state"]:
        metadata["state"] = _STATE_NAMES[int(outcome["state"])]
    if code == outcomes.ETAG_MISMATCH:
        metadata["etag"] = str(int(outcome["etag"]))
    metadata |= {key: value for key, value in (names or {}).items() if value}
    limit = _LIMITS.get(code)
    if limit is not None:
        metadata |= {"limit": limit, "maximum": str(getattr(limits, limit))}
    wrong = _first_line(code, details, lines)
    if wrong is not None:
        metadata |= {"line": wrong.field, **wrong.names()}
    if code == outcomes.OPEN_UNITS_DIFFER and len(details):
        metadata |= {"given": str(details[0]["quantity"]), "open": str(details[0]["available"])}
    about = " ".join(f"{key} {value!r}" for key, value in _about(metadata).items())
    sentence = TABLE[code].sentence
    message = f"{sentence}: {about}" if about else sentence
    if shortages:
        message = f"{sentence}: {_first_shortage(shortages)}"
    return refusal(
        code,
        Case(
            subject=_subject(metadata),
            message=message,
            metadata=metadata,
            shortages=shortages,
            violations=_violations(code, wrong, sentence),
        ),
    )


def _first_line(code: int, details: NDArray[np.void], lines: Sequence[Line]) -> Line | None:
    """The line that the ledger names as the cause."""
    for detail in details:
        if detail["kind"] == outcomes.LINE_ERROR and int(detail["code"]) == code:
            number = int(detail["line"])
            return lines[number] if number < len(lines) else None
    return None


def _about(metadata: dict[str, str]) -> dict[str, str]:
    wanted = (
        *("sku", "node", "node_group", "channel", "supply_id", "date", "slot"),
        *("reservation_id", "state", "limit", "maximum", "given", "open"),
    )
    return {key: metadata[key] for key in wanted if key in metadata}


def _subject(metadata: dict[str, str]) -> str:
    if "reservation_id" in metadata:
        return f"reservation/{metadata['reservation_id']}"
    if "sku" in metadata:
        return f"{metadata['sku']}@{metadata.get('node') or metadata.get('node_group', '')}"
    return metadata.get("node", "") or metadata.get("limit", "")


def _first_shortage(shortages: Sequence[errors_pb2.Shortage]) -> str:
    first = shortages[0]
    what = first.sku or first.node_capacity.date or first.carrier_slot.slot
    node = first.node or first.node_capacity.node or first.carrier_slot.node
    where = f" at {node!r}" if node else ""
    more = f" (and {len(shortages) - 1} more)" if len(shortages) > 1 else ""
    return (
        f"{first.requested_quantity} of {what!r}{where} asked for, "
        f"{first.available_quantity} available{more}"
    )


def _violations(code: int, wrong: Line | None, sentence: str) -> list[Violation]:
    if code not in _FIELDS:
        return []
    field, fault = _FIELDS[code]
    path = f"{wrong.field}.{field}" if wrong is not None and field != "owner" else field
    return [Violation(field=path, fault=fault, description=sentence)]
