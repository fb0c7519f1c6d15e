"""What the commands of one journal record did, in words: for people who ask what happened.

A record holds commands as keys and numbers. Applied to the state they were applied to, they give
the very outcomes that were answered, and the names behind the keys: both are in an `Event`.

Callers: `journal_audit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, outcomes, reads
from engine.commands import CommandBatch
from engine.outcomes import Outcomes
from engine.state import State
from server.journal.record import JournalRecord

STATE_NAMES = {
    outcomes.HELD: "HELD",
    outcomes.CONFIRMED: "CONFIRMED",
    outcomes.FULFILLED: "FULFILLED",
    outcomes.CANCELLED: "CANCELLED",
    outcomes.EXPIRED: "EXPIRED",
}
# Most lines of one command that are told; the number of all of them is told in any case.
_LINES_TOLD_MAX = 100


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line of a command, or what it took. Names that are not known any more are keys in hex."""

    sku: str
    node: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One command, or the expiry of one reservation. Times in ms since 1970."""

    record: str
    revision: int
    time_ms: int
    what: str
    outcome: str
    """``OK``, or why it was refused; ``OK (replayed)`` when a repeated request was answered."""
    state: str
    """The reservation's after it; empty where there is none."""
    reservation: str
    owner: str
    actor: str
    reference: str
    request: str
    """The request's id, where the command carries its text: in what moves units, since format 3."""
    request_key: str
    line_count: int
    lines: tuple[EventLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked about; what is not said leaves everything in. Keys as `engine.hashing` has."""

    sku_key: int = 0
    node_key: int = 0
    reservation_key: tuple[int, int] | None = None
    request_key: tuple[int, int] | None = None
    actor: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Wanted()


class Names:
    """The texts of the names in a state, by key. Grows with the state, never forgets."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._known = 0

    def learn(self, state: State) -> None:
        """Take in the names that are new since the last call. O(new names)."""
        count = int(state.meta["name_count"][0])
        for row in range(self._known, count):
            self._texts[int(state.names["key"][row])] = reads.name_text(state, row)
        self._known = count

    def text(self, key: int) -> str:
        """The name of `key`; empty for none."""
        if not key:
            return ""
        return self._texts.get(key, f"{key:016x}")


def held_before(state: State, batch: CommandBatch) -> NDArray[np.uint8] | None:
    """The reservations' states, kept for `events` when the batch releases holds."""
    if not (batch.headers["kind"] == commands.EXPIRE).any():
        return None
    return state.reservations["state"][: int(state.meta["reservation_high"][0])].copy()


def events(
    state: State,
    names: Names,
    record: JournalRecord,
    batch: CommandBatch,
    answered: Outcomes,
    before: NDArray[np.uint8] | None,
    wanted: Wanted,
) -> Iterator[Event]:
    """The events of `record` that are `wanted`; `state` is the one after it. O(commands)."""
    names.learn(state)
    if before is not None:
        yield from _expired(state, record, answered, before, wanted)
    line = text = detail = 0
    for header, outcome in zip(batch.headers, answered.rows, strict=True):
        line_end = line + int(header["line_count"])
        text_end = text + int(header["text_bytes"])
        detail_end = detail + int(outcome["detail_count"])
        is_wanted = int(header["kind"]) != commands.EXPIRE and _is_wanted(
            state,
            header,
            outcome,
            batch.lines[line:line_end],
            answered.details[detail:detail_end],
            batch.text[text:text_end],
            wanted,
        )
        if is_wanted:
            yield _event(
                state,
                names,
                record,
                header,
                outcome,
                batch.lines[line:line_end],
                answered.details[detail:detail_end],
                batch.text[text:text_end].tobytes(),
            )
        line, text, detail = line_end, text_end, detail_end


def _is_wanted(
    state: State,
    header: Any,
    outcome: Any,
    lines: NDArray[np.void],
    details: NDArray[np.void],
    text: NDArray[np.uint8],
    wanted: Wanted,
) -> bool:
    if wanted.reservation_key is not None and wanted.reservation_key not in (
        (int(header["reservation_hi"]), int(header["reservation_lo"])),
        (int(outcome["reservation_hi"]), int(outcome["reservation_lo"])),
    ):
        return False
    if wanted.request_key is not None and wanted.request_key != (
        int(header["request_hi"]),
        int(header["request_lo"]),
    ):
        return False
    if wanted.actor is not None and wanted.actor != _texts(header, text.tobytes())[2]:
        return False
    if not wanted.sku_key and not wanted.node_key:
        return True
    # Named by a line of the command, or touched through the reservation it is about.
    named = np.ones(len(lines), bool)
    if wanted.sku_key:
        named &= lines["sku_key"] == np.uint64(wanted.sku_key)
    if wanted.node_key:
        named &= (lines["node_key"] == np.uint64(wanted.node_key)) | (lines["node_key"] == 0)
    if named.any():
        return True
    return any(_is_of(state, int(row), wanted) for row in details["position"])


def _is_of(state: State, position: int, wanted: Wanted) -> bool:
    if position < 0:
        return False
    found = state.positions[position]
    return all(
        not key or (row >= 0 and int(state.names["key"][row]) == key)
        for key, row in ((wanted.sku_key, found["sku"]), (wanted.node_key, found["node"]))
    )


def _event(
    state: State,
    names: Names,
    record: JournalRecord,
    header: Any,
    outcome: Any,
    lines: NDArray[np.void],
    details: NDArray[np.void],
    text: bytes,
) -> Event:
    given_id, called, actor, reference = _texts(header, text)
    is_create = int(header["kind"]) == commands.CREATE
    owner, request = (called, "") if is_create else ("", called)
    code = outcomes.REASON_NAMES[int(outcome["code"])]
    replayed = " (replayed)" if outcome["flags"] & outcomes.REPLAYED else ""
    row = _row_of(state, outcome)
    told = [
        EventLine(
            names.text(int(each["sku_key"])),
            names.text(int(each["node_key"])),
            int(each["quantity"]),
        )
        for each in lines[:_LINES_TOLD_MAX]
    ]
    if not len(lines):
        told = [_take(state, each) for each in details[:_LINES_TOLD_MAX]
                if each["kind"] == outcomes.TAKE and each["position"] >= 0]  # fmt: skip
    key = int(header["request_hi"]) << 64 | int(header["request_lo"])
    return Event(
        record=str(record.record_id),
        revision=int(outcome["revision"]),
        time_ms=int(outcome["now_ms"]) if replayed else record.now_ms,
        what=commands.KIND_NAMES[int(header["kind"])],
        outcome=code + replayed,
        state=STATE_NAMES.get(int(outcome["state"]), ""),
        reservation=given_id or (reads.reservation_id(state, row) if row >= 0 else ""),
        owner=owner or (reads.reservation_owner(state, row) if row >= 0 else ""),
        actor=actor,
        reference=reference,
        request=request,
        request_key=f"{key:032x}" if key else "",
        line_count=len(lines) or len(told),
        lines=tuple(told),
    )


def _take(state: State, detail: Any) -> EventLine:
    position = state.positions[int(detail["position"])]
    return EventLine(
        reads.name_text(state, int(position["sku"])),
        reads.name_text(state, int(position["node"])),
        int(detail["quantity"]),
    )


def _row_of(state: State, outcome: Any) -> int:
    """The reservation's row, if it is still that reservation's."""
    row = int(outcome["reservation"])
    if row < 0 or row >= int(state.meta["reservation_high"][0]):
        return -1
    found = state.reservations[row]
    is_same = (found["id_hi"], found["id_lo"]) == (
        outcome["reservation_hi"],
        outcome["reservation_lo"],
    )
    return row if is_same else -1


def _texts(header: Any, text: bytes) -> tuple[str, str, str, str]:
    """Reservation id, owner (of other kinds than CREATE: request), actor and reference: the texts
    every command begins with."""
    found = []
    at = 0
    for name in ("reservation_bytes", "owner_bytes", "actor_bytes", "reference_bytes"):
        size = int(header[name])
        found.append(text[at : at + size].decode(errors="replace"))
        at += size
    return found[0], found[1], found[2], found[3]


def _expired(
    state: State,
    record: JournalRecord,
    answered: Outcomes,
    before: NDArray[np.uint8],
    wanted: Wanted,
) -> Iterator[Event]:
    """One event for each hold that this record released because its time had come."""
    if wanted.request_key is not None or wanted.actor is not None:
        return
    now = state.reservations["state"][: len(before)]
    for row in np.flatnonzero((now == outcomes.EXPIRED) & (before == outcomes.HELD)).tolist():
        reservation = state.reservations[row]
        key = int(reservation["id_hi"]), int(reservation["id_lo"])
        if wanted.reservation_key not in (None, key):
            continue
        takes = [state.takes[take] for take in reads.takes_of(state, row)]
        if (wanted.sku_key or wanted.node_key) and not any(
            _is_of(state, int(take["position"]), wanted) for take in takes
        ):
            continue
        yield Event(
            record=str(record.record_id),
            revision=int(answered.rows["revision"][0]),
            time_ms=record.now_ms,
            what="EXPIRE",
            outcome="OK",
            state="EXPIRED",
            reservation=reads.reservation_id(state, row),
            owner=reads.reservation_owner(state, row),
            actor="",
            reference="",
            request="",
            request_key="",
            line_count=len(takes),
            lines=tuple(
                EventLine(
                    reads.name_text(state, int(state.positions["sku"][int(take["position"])])),
                    reads.name_text(state, int(state.positions["node"][int(take["position"])])),
                    int(take["quantity"]),
                )
                for take in takes[:_LINES_TOLD_MAX]
            ),
        )
